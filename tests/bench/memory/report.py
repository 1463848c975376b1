"""The outcomes of the memory suite as JSON lines and as tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.bench.memory.engines import WRITERS
from tests.bench.report import BASELINE, geometric_mean, machine


@dataclass(frozen=True)
class Outcome:
    """One run. `unable`: the engine was not asked, as its SQL or this suite has no form of the workload for it."""

    workload: str
    engine: str
    limit: int
    wall: float
    cpu: float
    peak: int
    error: str | None
    unable: bool = False

    @property
    def within(self) -> bool:
        return self.peak <= self.limit

    @property
    def passed(self) -> bool:
        return self.error is None and self.within


def as_json(outcome: Outcome) -> str:
    return json.dumps({**asdict(outcome), "passed": outcome.passed})


def line(outcome: Outcome) -> str:
    """
    >>> line(Outcome("sort", "duckdb", 256_000_000, 1.5, 2.0, 300_000_000, None))
    'sort, duckdb at 256 MB: 300 MB OVER, 1.5 s, cpu 2.0'
    """
    over = "" if outcome.within else " OVER"
    end = f", {outcome.error}" if outcome.error else ""
    return (
        f"{outcome.workload}, {outcome.engine} at {outcome.limit / 1e6:.0f} MB: {outcome.peak / 1e6:.0f} MB{over}, "
        f"{outcome.wall:.1f} s, cpu {outcome.cpu:.1f}{end}"
    )


def _cell(outcome: Outcome | None) -> str:
    if outcome is None or outcome.unable:
        return "-"
    if outcome.error == "wrong answer" or outcome.error == "timeout":
        return f"**{outcome.error.split()[0]}**"
    if outcome.error is not None:
        return "**error**"
    peak = f"{outcome.peak / 1e6:.0f} MB"
    return f"{peak if outcome.within else f'**{peak}**'} {outcome.wall:.1f} s"


def markdown(title: str, outcomes: Sequence[Outcome]) -> str:
    """Per limit a table of workloads by engines: peak and seconds, in bold what did not keep the promise."""
    engines = list(dict.fromkeys(outcome.engine for outcome in outcomes))
    workloads = list(dict.fromkeys(outcome.workload for outcome in outcomes))
    told = ", ".join(f"{name} {WRITERS[name].version()}" for name in engines)
    bounded = ", ".join(name for name in engines if WRITERS[name].bounded)
    lines = [f"# {title}", "", machine(), "", f"Engines: {told}. Told the limit: {bounded}.", ""]
    lines += [
        "Peak of the resident memory of the process tree (the larger of samples every 20 ms and the kernel's",
        "high-water mark) and seconds. Bold is a failure: an error, a wrong answer, a time-out, or a peak above the",
        "limit. `-`: the suite has no form of the workload for that engine.",
        "",
    ]
    for limit in dict.fromkeys(outcome.limit for outcome in outcomes):
        found = {(o.workload, o.engine): o for o in outcomes if o.limit == limit}
        lines += [f"## {limit / 1e6:.0f} MB", "", _row(["workload", *engines]), _row(["---"] * (len(engines) + 1))]
        lines += [_row([name, *(_cell(found.get((name, engine))) for engine in engines)]) for name in workloads]
        passed, slower = [], []
        for engine in engines:
            own = [o for o in found.values() if o.engine == engine and not o.unable]
            passed.append(f"{sum(o.passed for o in own)} of {len(own)}")
            ratios = [
                o.wall / max(base.wall, 1e-3)
                for o in own
                if o.error is None and (base := found.get((o.workload, BASELINE))) is not None and base.error is None
            ]
            slower.append(f"{geometric_mean(ratios):.2f} ({len(ratios)})" if ratios else "-")
        lines.append(_row(["**kept the promise**", *passed]))
        if BASELINE in engines:
            lines.append(_row([f"time against {BASELINE} where both finished (workloads)", *slower]))
        lines.append("")
    failed = [outcome for outcome in outcomes if not outcome.passed and not outcome.unable]
    if failed:
        lines += ["## Failures", "", *(f"- {line(outcome)}" for outcome in failed), ""]
    return "\n".join(lines)


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"
