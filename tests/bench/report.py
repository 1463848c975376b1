"""What was measured, as JSON lines (one per run) and tables in Markdown: medians, ratios to DuckDB, geometric means."""

from __future__ import annotations

import json
import math
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.engines import ENGINES
from tests.bench.measure import Measured

BASELINE = "duckdb"


@dataclass(frozen=True)
class Run:
    """One measurement. `error` is what the engine said, or `wrong answer`."""

    suite: str
    query: str
    engine: str
    round: int
    measured: Measured

    @property
    def ok(self) -> bool:
        return self.measured.error is None


def as_json(run: Run) -> str:
    record = asdict(run)
    return json.dumps({**{k: v for k, v in record.items() if k != "measured"}, **record["measured"]})


def machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, Python {platform.python_version()}, {platform.system()} {platform.release()}"


@dataclass(frozen=True)
class Cell:
    """An engine on a query: medians over the rounds, or the error."""

    wall: float
    cpu: float
    peak: int
    error: str | None = None


def cells(runs: Sequence[Run]) -> dict[tuple[str, str], Cell]:
    grouped: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.query, run.engine), []).append(run)
    result = {}
    for place, group in grouped.items():
        failed = [run.measured.error for run in group if not run.ok]
        result[place] = Cell(
            statistics.median(run.measured.wall for run in group),
            statistics.median(run.measured.cpu for run in group),
            max(run.measured.peak_rss for run in group),
            failed[0] if failed else None,
        )
    return result


def geometric_mean(values: Sequence[float]) -> float:
    """
    >>> geometric_mean([1.0, 4.0])
    2.0
    """
    return math.exp(sum(math.log(max(v, 1e-9)) for v in values) / len(values)) if values else math.nan


def markdown(title: str, remarks: Sequence[str], runs: Sequence[Run]) -> str:
    """The report of a run of a suite."""
    found = cells(runs)
    queries = list(dict.fromkeys(run.query for run in runs))
    engines = list(dict.fromkeys(run.engine for run in runs))
    lines = [f"# {title}", "", machine(), "", *(f"- {remark}" for remark in remarks), ""]
    lines += ["Engines: " + ", ".join(f"{name} {ENGINES[name].version()}" for name in engines) + ".", ""]
    others = [name for name in engines if name != BASELINE] if BASELINE in engines else []
    for kind, unit in (
        ("wall", "Seconds"),
        ("cpu", "CPU seconds (user and system)"),
        ("peak", "Peak RSS of the process tree, MiB"),
    ):
        lines += [f"## {unit}", "", _row(["query", *engines, *(f"{name} / {BASELINE}" for name in others)])]
        lines.append(_row(["---"] * (1 + len(engines) + len(others))))
        for query in queries:
            values = [_shown(found.get((query, name)), kind) for name in engines]
            lines.append(_row([query, *values, *(_ratio(found, query, name, kind) for name in others)]))
        if others:
            means = []
            for name in others:
                ratios = [r for q in queries if (r := ratio(found, q, name, kind)) is not None]
                means.append(f"**{geometric_mean(ratios):.2f}** ({len(ratios)})" if ratios else "-")
            lines.append(_row(["geometric mean (queries)", *[""] * len(engines), *means]))
        lines.append("")
    errors = [(q, name, cell.error) for (q, name), cell in found.items() if cell.error is not None]
    if errors:
        lines += ["## Errors", "", *(f"- {q}, {name}: {error}" for q, name, error in errors), ""]
    return "\n".join(lines)


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _value(cell: Cell, kind: str) -> float:
    return cell.peak / 2**20 if kind == "peak" else float(getattr(cell, kind))


def _shown(cell: Cell | None, kind: str) -> str:
    if cell is None:
        return "-"
    if cell.error is not None:
        return "wrong" if cell.error == "wrong answer" else "error"
    return f"{_value(cell, kind):.0f}" if kind == "peak" else f"{_value(cell, kind):.3f}"


def ratio(found: dict[tuple[str, str], Cell], query: str, engine: str, kind: str) -> float | None:
    """How many times the baseline's figure; None if either failed."""
    own, base = found.get((query, engine)), found.get((query, BASELINE))
    if own is None or base is None or own.error is not None or base.error is not None:
        return None
    return _value(own, kind) / max(1e-9, _value(base, kind))


def _ratio(found: dict[tuple[str, str], Cell], query: str, engine: str, kind: str) -> str:
    value = ratio(found, query, engine, kind)
    return "-" if value is None else f"{value:.2f}"
