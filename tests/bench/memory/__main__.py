"""`python -m tests.bench.memory --engines sqlengine,duckdb --limits 256MB,512MB`: does the budget hold, is it right?

Each run is a process of its own; the resident memory of its tree is sampled and the kernel's high-water mark of the
process is read at its end. The answer is compared with that of DuckDB without a limit. What an engine cannot say in its
SQL is not counted as a failure of memory; every other error, a wrong answer, and a peak above the limit are. With
`--hard` each run is inside a cgroup of the limit, so that an overrun is a kill.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sqlengine.settings import parse_bytes
from tests.bench.measure import watch
from tests.bench.memory import answers
from tests.bench.memory.data import make
from tests.bench.memory.engines import WRITERS
from tests.bench.memory.hard_limit import hard_limit
from tests.bench.memory.report import Outcome, as_json, line, markdown
from tests.bench.memory.workloads import WORKLOADS, Workload

_TOP = Path(__file__).parents[3]
_REPORTS = Path(__file__).parents[1] / "reports"
_DATA = Path.home() / ".cache" / "sqlengine-bench"
_UNBOUNDED = 8 << 30


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _limits(text: str) -> list[int]:
    return [parse_bytes(name) for name in _names(text)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data; 1 is 6 M rows (default 1)")
    parser.add_argument("--workloads", type=_names, default=list(WORKLOADS), help="only these (default all)")
    parser.add_argument("--engines", type=_names, default=["sqlengine"], help=f"of {','.join(WRITERS)}")
    parser.add_argument("--limits", type=_limits, default="256MB,512MB,1GB", help="default 256MB,512MB,1GB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="of one run (default 300)")
    parser.add_argument("--data", type=Path, default=_DATA, metavar="DIR", help=f"where data is kept (default {_DATA})")
    parser.add_argument("--hard", action="store_true", help="run inside a memory cgroup of exactly the limit")
    parser.add_argument("--report", action="store_true", help=f"write .jsonl and .md into {_REPORTS}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    for kind, given, known in (("engine", options.engines, WRITERS), ("workload", options.workloads, WORKLOADS)):
        for name in given:
            if name not in known:
                parser.error(f"unknown {kind} {name}; there are {', '.join(known)}")
    tables = make(options.scale, options.data)
    outcomes: list[Outcome] = []
    for name in options.workloads:
        expected = _expected(WORKLOADS[name], tables, options)
        for limit in options.limits:
            for engine in options.engines:
                outcome = _measured(engine, WORKLOADS[name], tables, limit, options, expected)
                outcomes.append(outcome)
                print(line(outcome), file=sys.stderr, flush=True)
    date = datetime.datetime.now()
    hard = ", each run in a cgroup of the limit" if options.hard else ""
    title = f"Memory suite at scale {options.scale:g}, {options.threads} threads{hard}, {date:%Y-%m-%d %H:%M}"
    text = markdown(title, outcomes)
    print(text)
    if options.report:
        stem = f"memory-{options.scale:g}-{date:%Y%m%d-%H%M}"
        _REPORTS.mkdir(exist_ok=True)
        (_REPORTS / f"{stem}.md").write_text(text)
        (_REPORTS / f"{stem}.jsonl").write_text("".join(as_json(outcome) + "\n" for outcome in outcomes))
        print(f"written: {_REPORTS / stem}.md and .jsonl")
    return 0 if all(outcome.passed for outcome in outcomes if outcome.engine == "sqlengine") else 1


def _expected(workload: Workload, tables: Mapping[str, str], options: argparse.Namespace) -> answers.Answer:
    """The answer of DuckDB without a limit, kept beside the data."""
    key = hashlib.sha256(f"{workload.sql} {workload.before} {workload.ordered}".encode()).hexdigest()[:16]
    kept = Path(tables["facts"]).parent / f"answer-{workload.name}-{key}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="expected-", dir=options.data) as folder:
            output = Path(folder) / "answer.parquet"
            found = _run("duckdb", workload, tables, _UNBOUNDED, options, output, oracle=True)
            if found["error"] is not None:
                raise RuntimeError(f"{workload.name}: no right answer to compare with: {found['error']}")
            kept.write_text(json.dumps(answers.read(output, workload.ordered), default=float))
    return list(json.loads(kept.read_text()))


def _measured(
    engine: str,
    workload: Workload,
    tables: Mapping[str, str],
    limit: int,
    options: argparse.Namespace,
    expected: answers.Answer,
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.data) as folder:
        output = Path(folder) / "answer.parquet"
        found = _run(engine, workload, tables, limit, options, output)
        error = found["error"]
        if error is None:
            copies = [output, *(Path(f"{output}.{i}") for i in range(1, workload.at_once))]
            right = all(answers.same(answers.read(copy, workload.ordered), expected) for copy in copies)
            error = None if right else "wrong answer"
    return Outcome(
        workload.name, engine, limit, found["wall"], found["cpu"], found["peak"], error, found.get("unable", False)
    )


def _run(
    engine: str,
    workload: Workload,
    tables: Mapping[str, str],
    limit: int,
    options: argparse.Namespace,
    output: Path,
    oracle: bool = False,
) -> dict[str, Any]:
    payload = json.dumps(
        {
            "engine": engine, "workload": workload.name, "tables": dict(tables), "output": str(output),
            "threads": options.threads, "limit": limit, "oracle": oracle,
        }
    )  # fmt: skip
    with hard_limit(limit) if options.hard and not oracle else nullcontext() as enter:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.memory.child"],
            cwd=_TOP, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "POLARS_MAX_THREADS": str(options.threads), "DAFT_PROGRESS_BAR": "0"},
            preexec_fn=enter,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(payload)
        process.stdin.close()
        process.stdin = None
        peak = watch(process, options.timeout)
        stdout, stderr = process.communicate()
    shutil.rmtree(f"{output}.spill", ignore_errors=True)
    if peak is None:
        return {"wall": options.timeout, "cpu": 0.0, "peak": 0, "error": "timeout"}
    if process.returncode != 0 or not stdout.strip():
        last = (stderr.strip().splitlines() or ["killed"])[-1]
        return {"wall": 0.0, "cpu": 0.0, "peak": peak, "error": f"exit {process.returncode}: {last[:300]}"}
    found: dict[str, Any] = json.loads(stdout.strip().splitlines()[-1])
    return {**found, "peak": max(peak, found["peak"])}


if __name__ == "__main__":
    sys.exit(main())
