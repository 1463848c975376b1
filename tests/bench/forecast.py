"""`python -m tests.bench.forecast`: is EXPLAIN MEMORY right? Predicted beside measured, for TPC-H and the memory suite.

Every query runs in a process of its own, at a roomy limit, at a tight one (256 MB), and at the least limit at which it
is said to run. There it may not be refused, nor take more. Judged are the peak of the resident memory of the process,
what operators reserved of their pool, and the verdict (fits or spills).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlengine.settings import parse_bytes
from tests.bench.measure import high_water
from tests.bench.memory.data import make
from tests.bench.memory.workloads import WORKLOADS
from tests.bench.report import machine
from tests.bench.suites import tpch

_TOP = Path(__file__).parents[2]
_REPORTS = Path(__file__).parent / "reports"
_UNSTEADY = 1 << 20  # the weight of a process differs by so much from run to run
_DATA = Path.home() / ".cache" / "sqlengine-bench"


@dataclass(frozen=True)
class Judged:
    """One run; sizes in bytes. `limit` 0 was asked for: the least one. `refused`: the error, if it did not run."""

    query: str
    limit: int
    at_least: bool
    predicted_rss: int = 0
    rss: int = 0
    predicted_reserved: int = 0
    reserved: int = 0
    capacity: int = 0
    predicted_verdict: str = ""
    spilled: int = 0
    predicted_spill: int = 0
    error: str | None = None

    @property
    def verdict(self) -> str:
        if self.error is not None:
            return "refused"
        return "spills" if self.spilled else "fits"

    @property
    def verdict_right(self) -> bool:
        return self.predicted_verdict == self.verdict


def _ratio(predicted: int, measured: int) -> float:
    return predicted / max(1, measured)


def _child(told: dict[str, Any]) -> dict[str, Any]:
    import sqlengine
    from sqlengine.formats import open_source
    from sqlengine.physical.forecast import least_limit
    from tests.bench.memory.engines import widen

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: told["threads"]])

    def opened(limit: int) -> Any:
        session = sqlengine.connect(threads=told["threads"], memory_limit=limit)
        for name, path in told["tables"].items():
            session.register_source(name, open_source(path))
        session.udf(widen)
        return session

    limit = told["limit"]
    found: dict[str, Any] = {"limit": limit}
    if not limit:
        with opened(8 << 30) as session:
            plan = session.sql(told["sql"]).plan
            least = least_limit(
                session.planner(plan), session.current, session.weight, lambda other: other.verdict != "refused"
            )
        return {"limit": least or 0}
    with opened(limit) as session:
        plan = session.sql(told["sql"]).plan
        found["predicted_verdict"] = session.forecast(plan).verdict
        found["capacity"] = session.memory.capacity
        try:
            measured = json.loads(session.explain(plan, "analyze memory", None, "json"))
        except Exception as problem:
            return {**found, "error": f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:300]}
    return {
        **found,
        "predicted_rss": measured["predicted_peak_rss"],
        "rss": high_water(),
        "predicted_reserved": measured["predicted_reserved"],
        "reserved": measured["reserved"],
        "spilled": measured["spilled"],
        "predicted_spill": measured["predicted_spill"],
    }


def _judged(name: str, sql: str, tables: Mapping[str, str], limit: int, threads: int, timeout: float) -> Judged:
    """`limit` 0: the least one, found in a process of its own, as what that leaves behind weighs."""
    told: dict[str, Any] = {"sql": sql, "tables": dict(tables), "limit": limit, "threads": threads}
    found: dict[str, Any] = {}
    for _ in range(1 if limit else 2):
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.forecast", "--child"],
                cwd=_TOP, input=json.dumps(told), capture_output=True, text=True, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Judged(name, told["limit"], not limit, error="timeout")
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["killed"])[-1]
            return Judged(name, told["limit"], not limit, error=f"exit {done.returncode}: {last[:200]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        told["limit"] = found["limit"] + (0 if limit else _UNSTEADY)
    return Judged(name, at_least=not limit, **found)


def line(judged: Judged) -> str:
    if judged.error is not None:
        return f"{judged.query} at {judged.limit / 1e6:.0f} MB: {judged.predicted_verdict}, but {judged.error}"
    return (
        f"{judged.query} at {judged.limit / 1e6:.0f} MB: resident {judged.predicted_rss / 1e6:.0f} / "
        f"{judged.rss / 1e6:.0f} MB = {_ratio(judged.predicted_rss, judged.rss):.2f}, reserved "
        f"{judged.predicted_reserved / 1e6:.0f} / {judged.reserved / 1e6:.0f} = "
        f"{_ratio(judged.predicted_reserved, judged.reserved):.2f}, {judged.predicted_verdict} / {judged.verdict}, "
        f"spilled {judged.predicted_spill / 1e6:.0f} / {judged.spilled / 1e6:.0f} MB"
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(1, whole):.0f} %)"


def distribution(found: Sequence[Judged]) -> list[tuple[str, str]]:
    """What the promise is measured by."""
    ran = [item for item in found if item.error is None]
    asked = [item for item in found if not item.at_least]
    rows = []
    for what, pairs in (
        ("resident", [(item.predicted_rss, item.rss) for item in ran if not item.at_least]),
        ("reserved", [(item.predicted_reserved, item.reserved) for item in ran if not item.at_least]),
    ):
        ratios = sorted(_ratio(*pair) for pair in pairs)
        if not ratios:
            continue
        rows.append((f"{what}: within a factor of 2", _share(sum(0.5 <= r <= 2 for r in ratios), len(ratios))))
        rows.append((f"{what}: under half of the measured", _share(sum(r < 0.5 for r in ratios), len(ratios))))
        quantiles = [ratios[min(len(ratios) - 1, int(q * len(ratios)))] for q in (0, 0.1, 0.5, 0.9, 1)]
        shown = " · ".join(f"{q:.2f}" for q in quantiles)
        rows.append((f"{what}: predicted / measured, least · 10 % · median · 90 % · most", shown))
    rows.append(("verdict right", _share(sum(item.verdict_right for item in asked), len(asked))))
    least = [item for item in found if item.at_least]
    held = sum(item.error is None and item.reserved <= item.capacity and item.rss <= item.limit for item in least)
    rows.append(("ran at its least limit within it", _share(held, len(least))))
    return rows


def markdown(title: str, found: Sequence[Judged]) -> str:
    lines = [f"# {title}", "", machine(), "", "| | |", "| --- | --- |"]
    lines += [f"| {what} | {value} |" for what, value in distribution(found)]
    heads = ("query", "limit MB", "resident", "measured", "ratio", "reserved", "measured", "ratio", "spill", "measured")
    lines += ["", "Sizes in MB, predicted beside measured.", "", "| " + " | ".join((*heads, "verdict")) + " |"]
    lines.append("| --- |" + " --: |" * (len(heads) - 1) + " --- |")
    for item in found:
        sizes = []
        for a, b in ((item.predicted_rss, item.rss), (item.predicted_reserved, item.reserved)):
            sizes += [f"{a / 1e6:.0f}", f"{b / 1e6:.0f}", f"{_ratio(a, b):.2f}"]
        sizes += [f"{item.predicted_spill / 1e6:.0f}", f"{item.spilled / 1e6:.0f}"]
        verdict = item.verdict if item.verdict_right else f"**{item.verdict}**, predicted {item.predicted_verdict}"
        limit = f"{item.limit / 1e6:.0f}{' (least)' if item.at_least else ''}"
        lines.append("| " + " | ".join((item.query, limit, *sizes, verdict)) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.forecast", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--suites", default="tpch,memory", help="of tpch, memory")
    parser.add_argument("--only", default="", help="queries with these texts in their names, separated by commas")
    parser.add_argument("--limits", default="2GB,256MB,least", help="default 2GB,256MB,least")
    parser.add_argument("--sf", type=float, default=1.0, help="scale of TPC-H")
    parser.add_argument("--scale", type=float, default=1.0, help="scale of the memory suite; 1 is 6 M rows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--data", type=Path, default=_DATA, help=f"where data is kept (default {_DATA})")
    parser.add_argument("--report", action="store_true", help=f"write .jsonl and .md into {_REPORTS}")
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(_child(json.load(sys.stdin))))
        return 0
    asked: list[tuple[str, str, Mapping[str, str]]] = []
    if "tpch" in options.suites:
        suite = tpch(options.sf, options.data)
        asked += [(name, sql, suite.tables) for name, sql in suite.queries.items()]
    if "memory" in options.suites:
        tables = make(options.scale, options.data)
        alone = [w for w in WORKLOADS.values() if not w.before and w.at_once == 1]
        asked += [(workload.name, workload.sql, tables) for workload in alone]
    wanted = [text for text in options.only.split(",") if text]
    found = []
    for name, sql, tables in asked:
        if wanted and not any(text in name for text in wanted):
            continue
        for text in options.limits.split(","):
            limit = 0 if text == "least" else parse_bytes(text)
            found.append(_judged(name, sql, tables, limit, options.threads, options.timeout))
            print(line(found[-1]), file=sys.stderr, flush=True)
    date = datetime.datetime.now()
    title = f"EXPLAIN MEMORY: TPC-H SF {options.sf:g}, memory suite at scale {options.scale:g}, {date:%Y-%m-%d %H:%M}"
    text = markdown(title, found)
    for what, value in distribution(found):
        print(f"{what}: {value}")
    if options.report:
        stem = f"forecast-{date:%Y%m%d-%H%M}"
        _REPORTS.mkdir(exist_ok=True)
        (_REPORTS / f"{stem}.md").write_text(text)
        (_REPORTS / f"{stem}.jsonl").write_text("".join(json.dumps(asdict(item)) + "\n" for item in found))
        print(f"written: {_REPORTS / stem}.md and .jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
