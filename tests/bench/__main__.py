"""`python -m tests.bench tpch --scale 1 --engines sqlengine,duckdb --rounds 3`: engines in turn, answers checked.

For each round and query every engine runs once, each time in a new process, in an order that alternates, so that what
else the machine does meets all alike. DuckDB's answer is the right one; an engine that gives another has no time.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlengine.settings import parse_bytes
from tests.bench.engines import ENGINES, Job
from tests.bench.fingerprint import Fingerprint, same
from tests.bench.measure import measure
from tests.bench.report import BASELINE, Run, as_json, cells, markdown, ratio
from tests.bench.suites import SUITES, Suite

_REPORTS = Path(__file__).parent / "reports"
_DATA = Path.home() / ".cache" / "sqlengine-bench"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n")[0])
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data (default 1)")
    parser.add_argument("--queries", type=_names, help="only these, such as q01,q07")
    parser.add_argument("--engines", type=_names, default=["sqlengine", "duckdb"], help=f"of {','.join(ENGINES)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-limit", type=parse_bytes, metavar="SIZE", help="for the engines that can be bounded")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="of one run (default 120)")
    parser.add_argument("--data", type=Path, default=_DATA, metavar="DIR", help=f"where data is kept (default {_DATA})")
    parser.add_argument("--report", action="store_true", help=f"write .jsonl and .md into {_REPORTS}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    suite = SUITES[options.suite](options.scale, options.data)
    for name in options.engines:
        if name not in ENGINES:
            _parser().error(f"unknown engine {name}; there are {', '.join(ENGINES)}")
    for name in options.queries or ():
        if name not in suite.queries:
            _parser().error(f"unknown query {name}; there are {', '.join(suite.queries)}")
    runs = _run(suite, options)
    bounded = [name for name in options.engines if ENGINES[name].bounded]
    remarks = [f"{options.threads} threads, medians of {options.rounds} rounds, every run in a new process"]
    if options.memory_limit is not None:
        remarks.append(f"memory limit {options.memory_limit:,} bytes, given to {', '.join(bounded)}")
    date = datetime.datetime.now()
    text = markdown(f"{suite.name}, {date:%Y-%m-%d %H:%M}", remarks, runs)
    print(text)
    if options.report:
        stem = f"{suite.name}-{date:%Y%m%d-%H%M}"
        _REPORTS.mkdir(exist_ok=True)
        (_REPORTS / f"{stem}.md").write_text(text)
        (_REPORTS / f"{stem}.jsonl").write_text("".join(as_json(run) + "\n" for run in runs))
        print(f"written: {_REPORTS / stem}.md and .jsonl")
    return 0 if all(run.ok for run in runs if run.engine == "sqlengine") else 1


def _run(suite: Suite, options: argparse.Namespace) -> list[Run]:
    runs: list[Run] = []
    right: dict[str, Fingerprint] = {}
    queries = options.queries or list(suite.queries)
    if BASELINE not in options.engines:
        for query in queries:
            found = measure(BASELINE, Job(suite.queries[query], suite.tables, options.threads), options.timeout)
            if found.answer is not None:
                right[query] = found.answer
    for number in range(options.rounds):
        order = options.engines if number % 2 == 0 else options.engines[::-1]
        for query in queries:
            for engine in order:
                job = Job(suite.queries[query], suite.tables_for(engine), options.threads, options.memory_limit)
                run = Run(suite.name, query, engine, number, measure(engine, job, options.timeout))
                if engine == BASELINE and run.measured.answer is not None:
                    right.setdefault(query, run.measured.answer)
                runs.append(run)
            print(_progress(runs, query, number, options.engines), file=sys.stderr, flush=True)
    return [_checked(run, right) for run in runs]


def _checked(run: Run, right: dict[str, Fingerprint]) -> Run:
    expected = right.get(run.query)
    if run.measured.answer is None or expected is None or same(run.measured.answer, expected):
        return run
    return replace(run, measured=replace(run.measured, error="wrong answer"))


def _progress(runs: list[Run], query: str, number: int, engines: list[str]) -> str:
    latest = {run.engine: run for run in runs if run.query == query and run.round == number}
    found = cells(list(latest.values()))
    parts = []
    for name in engines:
        cell = found[query, name]
        if cell.error is not None:
            parts.append(f"{name} {cell.error[:60]}")
            continue
        walls, cpus = ratio(found, query, name, "wall"), ratio(found, query, name, "cpu")
        times = f" ({walls:.2f}x, cpu {cpus:.2f}x)" if walls is not None and cpus is not None else ""
        parts.append(f"{name} {cell.wall:.3f} s, cpu {cell.cpu:.3f}{times if name != BASELINE else ''}")
    return f"{number + 1} {query}: " + "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
