"""What `udfs` and `downloads` share: cases by engine, each run in a process of its own, and the report.

What a case measures gives an answer, a number; engines must agree on it. Imports, opening a session and registering
tables are not on the clock: planning and running are. The
peak is of the resident memory of the whole tree (sampled; of the process itself the kernel's high-water mark).
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.measure import cpu_seconds, high_water, watch
from tests.bench.report import machine

_ROOT = Path(__file__).parents[2]
_REPORTS = Path(__file__).parent / "reports"
THREADS = 2

Prepare = Callable[[Mapping[str, Any]], Callable[[], float]]


@dataclass(frozen=True)
class Case:
    """`say`: what it does; `engines`: how each gets ready, which gives what is measured; `limit`: the budget in MB that
    engines with one are given."""

    say: str
    engines: Mapping[str, Prepare]
    limit: int = 256


@dataclass(frozen=True)
class Result:
    case: str
    engine: str
    wall: float
    cpu: float
    peak: int
    answer: float | None
    error: str | None


def child() -> None:
    told = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    case = importlib.import_module(told["module"]).CASES[told["case"]]
    for name in ("sqlengine", "duckdb", "daft", "polars", "datafusion"):
        if told["engine"].startswith(name):
            importlib.import_module(name)
    answer, error = None, None
    run = case.engines[told["engine"]](told["options"] | {"limit": case.limit})
    wall, cpu = time.perf_counter(), cpu_seconds()
    try:
        answer = float(run())
    except BaseException as problem:
        error = f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:300]
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    print("\n" + json.dumps({"wall": wall, "cpu": cpu, "peak": high_water(), "answer": answer, "error": error}))
    sys.stdout.flush()
    os._exit(0)  # some engines' threads do not end


def measure(module: str, case: str, engine: str, options: Mapping[str, Any], timeout: float) -> Result:
    environment = {
        **os.environ,
        "POLARS_MAX_THREADS": str(THREADS),
        "DAFT_PROGRESS_BAR": "0",
        "PYTHONWARNINGS": "ignore",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.bench.calls import child; child()"], cwd=_ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps({"module": module, "case": case, "engine": engine, "options": dict(options)}))
    process.stdin.close()
    process.stdin = None
    peak = watch(process, timeout)
    stdout, _ = process.communicate()
    if peak is None:
        return Result(case, engine, timeout, 0.0, 0, None, f"killed after {timeout:g} s")
    last = stdout.strip().splitlines()[-1:]
    if process.returncode != 0 or not last:
        return Result(case, engine, 0.0, 0.0, peak, None, f"ended with {process.returncode}")
    found = json.loads(last[0])
    return Result(case, engine, found["wall"], found["cpu"], max(peak, found["peak"]), found["answer"], found["error"])


def markdown(title: str, cases: Mapping[str, Case], results: Sequence[Result]) -> str:
    lines = [f"# {title}", "", f"{machine()}, {THREADS} threads. Peak: resident memory of the process tree.", ""]
    for name, case in cases.items():
        found = [r for r in results if r.case == name]
        if not found:
            continue
        lines += [f"## {name}", "", f"{case.say} Budget where there is one: {case.limit} MB.", ""]
        lines += ["| engine | wall s | cpu s | peak MB | |", "|---|---:|---:|---:|---|"]
        right = next((r.answer for r in found if r.answer is not None), None)
        for r in found:
            wrong = "" if r.answer is None or r.answer == right else f"answer {r.answer}, not {right}"
            lines.append(f"| {r.engine} | {r.wall:.2f} | {r.cpu:.2f} | {r.peak / 1e6:.0f} | {r.error or wrong} |")
        lines.append("")
    return "\n".join(lines)


def main(module: str, title: str, cases: Mapping[str, Case], around: Callable[[str], Any] | None = None) -> None:
    """`around(case)` is a context manager that gives the options of a case (a server's address)."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=title)
    parser.add_argument("--cases", default=",".join(cases), help="comma-separated")
    parser.add_argument("--engines", default="", help="comma-separated; all by default")
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--report", action="store_true", help="write it to tests/bench/reports")
    given = parser.parse_args()
    chosen = [name for name in given.engines.split(",") if name]
    results = []
    for name in given.cases.split(","):
        if around is None:
            results += _engines(module, name, cases[name], chosen, {}, given.timeout)
            continue
        with around(name) as options:
            results += _engines(module, name, cases[name], chosen, options, given.timeout)
    text = markdown(title, cases, results)
    if given.report:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M")
        path = _REPORTS / f"{module.rpartition('.')[2]}-{stamp}"
        path.with_suffix(".md").write_text(text)
        path.with_suffix(".jsonl").write_text("".join(json.dumps(asdict(r)) + "\n" for r in results))
    print(text)


def _engines(
    module: str, name: str, case: Case, chosen: Sequence[str], options: Mapping[str, Any], timeout: float
) -> list[Result]:
    results = []
    for engine in case.engines:
        if chosen and engine not in chosen:
            continue
        result = measure(module, name, engine, options, timeout)
        print(f"{name} {engine}: {result.wall:.2f} s, {result.cpu:.2f} cpu, {result.peak / 1e6:.0f} MB "
              f"{result.error or result.answer}", file=sys.stderr)  # fmt: skip
        results.append(result)
    return results
