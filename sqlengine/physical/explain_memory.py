"""EXPLAIN MEMORY and EXPLAIN ANALYZE MEMORY as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlengine.operators.base import Operator
from sqlengine.physical.forecast import (
    Alternative,
    MemoryForecast,
    OperatorForecast,
    Planner,
    StageForecast,
    alternatives,
    forecast,
    least_limit,
)
from sqlengine.runtime.guard import QueryPeaks
from sqlengine.runtime.metrics import OperatorMetrics
from sqlengine.settings import Settings, format_bytes


def explain_memory(plan: Planner, settings: Settings, limit: int, weight: int, format: str = "text") -> str:
    """The forecast of a query under `settings`, with what other settings would do."""
    found = forecast(plan, settings, limit, weight)
    least = least_limit(plan, settings, weight, lambda other: other.verdict != "refused")
    others = alternatives(plan, settings, found)
    if format == "json":
        return json.dumps(_document(found, least, others), indent=2)
    lines = [*_head(found, least), ""]
    for stage in found.stages:
        lines += [*_stage_lines(stage), ""]
    lines.append("settings that would change this, each tried by planning again:")
    rows = [_alternative_row(item, found) for item in others]
    lines += [f"  {line}" for line in _aligned(rows)]
    return "\n".join(lines)


def explain_measured_memory(
    predicted: MemoryForecast,
    stages: Sequence[tuple[str, Operator]],
    metrics: dict[int, OperatorMetrics],
    outputs: Mapping[str, tuple[int, int]],
    peaks: QueryPeaks,
    spilled: int,
    format: str = "text",
) -> str:
    """What was predicted beside what was measured, per operator of the stages that ran."""
    expected: dict[tuple[str, tuple[str, ...]], list[OperatorForecast]] = {}
    for stage in predicted.stages:
        for item in stage.operators:
            expected.setdefault(_identity(item.operator), []).append(item)
    documents: list[dict[str, Any]] = []
    leaves = {stage.title: stage for stage in predicted.stages}
    for title, root in stages:
        operators = []
        for operator, depth in _tree(root, 0):
            found = metrics.get(id(operator))
            waiting = expected.get(_identity(operator))
            guess = waiting.pop(0) if waiting else None
            operators.append(
                {
                    "operator": type(operator).__name__,
                    "detail": operator.describe(),
                    "depth": depth,
                    "predicted_peak": None if guess is None else guess.peak,
                    "predicted_spill": None if guess is None else guess.spill,
                    "floor": None if guess is None else guess.floor,
                    "peak": None if found is None or not found.peak else found.peak,
                    "spilled": None if found is None else found.spilled_bytes,
                    "batches": None if found is None else found.batches,
                    "rows": None if found is None else found.rows,
                }
            )
        left, left_on_disk = outputs.get(title, (None, None))
        documents.append(
            {
                "stage": title,
                "predicted_output": leaves[title].output if title in leaves else None,
                "predicted_output_spill": leaves[title].output_spill if title in leaves else None,
                "output": left,
                "output_spilled": left_on_disk,
                "operators": operators,
            }
        )
    totals = {
        "memory_limit": predicted.limit,
        "weight_at_start": predicted.weight,
        "predicted_peak_rss": predicted.peak,
        "peak_rss": peaks.rss,
        "predicted_reserved": predicted.reserved,
        "reserved": peaks.reserved,
        "unattributed": peaks.unattributed,
        "predicted_spill": predicted.spill,
        "spilled": spilled,
    }
    if format == "json":
        return json.dumps({**totals, "stages": documents}, indent=2)
    lines = _aligned(
        [
            ["", "predicted", "measured"],
            ["resident", format_bytes(predicted.peak), f"{format_bytes(peaks.rss)} of {format_bytes(predicted.limit)}"],
            ["reserved", format_bytes(predicted.reserved), format_bytes(peaks.reserved)],
            ["unattributed", "", format_bytes(max(0, peaks.unattributed))],
            ["spilled", format_bytes(predicted.spill), format_bytes(spilled)],
        ]
    )
    head = ["", "floor", "predicted", "peak", "predicted spill", "spilled", "batches", "rows"]
    for document in documents:
        rows = [head]
        for item in document["operators"]:
            sizes = [_size(item[key]) for key in ("floor", "predicted_peak", "peak", "predicted_spill", "spilled")]
            counts = ["-" if item[key] is None else f"{item[key]:,}" for key in ("batches", "rows")]
            rows.append(["  " * item["depth"] + item["operator"], *sizes, *counts])
        if document["output"] is not None:
            keys = ("predicted_output", "output", "predicted_output_spill", "output_spilled")
            left_sizes: list[str] = [_size(document[key]) for key in keys]
            rows.append(["rows left for later stages", "", *left_sizes, "", ""])
        lines += ["", document["stage"], *_aligned(rows)]
    return "\n".join(lines)


def verdict_text(found: MemoryForecast, least: int | None) -> str:
    """One line: fits, fits by spilling so much, or needs so much."""
    match found.verdict:
        case "fits":
            return "fits"
        case "spills":
            return f"fits by spilling {format_bytes(found.spill)}"
    return "needs more than any limit" if least is None else f"needs a memory_limit of at least {_megabytes(least)}"


def verdict_line(found: MemoryForecast, least: int | None) -> str:
    """The verdict with the numbers that it rests on."""
    needed = "" if least is None or found.verdict == "refused" else f", runs from a limit of {_megabytes(least)}"
    return (
        f"{verdict_text(found, least)}: predicted peak {format_bytes(found.peak)} of {format_bytes(found.limit)}, "
        f"spill {format_bytes(found.spill)}{needed}"
    )


def forecast_document(found: MemoryForecast, least: int | None) -> dict[str, Any]:
    """What is predicted of the whole query, for programs."""
    return {
        "verdict": found.verdict,
        "text": verdict_text(found, least),
        "memory_limit": found.limit,
        "least_memory_limit": least,
        "weight_at_start": found.weight,
        "operators_share": found.capacity,
        "floor": found.floor,
        "predicted_peak_rss": found.peak,
        "predicted_reserved": found.reserved,
        "predicted_spill": found.spill,
        "threads": found.settings.threads,
        "batch_bytes": found.settings.batch_bytes,
        "partitions": found.settings.partitions,
    }


def _head(found: MemoryForecast, least: int | None) -> list[str]:
    settings = found.settings
    needed = "" if least is None else f"; runs from a limit of {_megabytes(least)}"
    return [
        f"verdict: {verdict_text(found, least)}",
        f"memory_limit {_megabytes(found.limit)}: {format_bytes(found.weight)} before the query, "
        f"operators share {format_bytes(found.capacity)}, the rest is a margin",
        f"predicted peak {format_bytes(found.peak)} resident, {format_bytes(found.reserved)} reserved, "
        f"spill {format_bytes(found.spill)} on disk{needed}",
        f"threads {settings.threads}, batches of {format_bytes(settings.batch_bytes)}, "
        f"{settings.partitions} partitions; floor {format_bytes(found.floor)}",
    ]


def _stage_lines(stage: StageForecast) -> list[str]:
    title = f"{stage.title}: {stage.tasks} task{'s' if stage.tasks != 1 else ''}, "
    title += f"batches of {format_bytes(stage.batch_bytes)}, floor {format_bytes(stage.floor)}"
    title += f", peak {format_bytes(stage.peak)}"
    if stage.held:
        title += f", {format_bytes(stage.held)} of earlier stages"
    if stage.output:
        title += f", leaves {format_bytes(stage.output)}"
    if stage.output_spill:
        title += f" ({format_bytes(stage.output_spill)} on disk)"
    rows = [["", "tasks", "floor", "ideal", "from", "spill", "why"]]
    for item in stage.operators:
        spill = format_bytes(item.spill) if item.spill else "" if item.spills else "cannot"
        ideal = "unknown" if item.ideal is None else format_bytes(item.ideal)
        name = "  " * item.depth + type(item.operator).__name__
        rows.append([name, str(item.tasks), format_bytes(item.floor), ideal, item.source, spill, item.why])
    return [title if stage.fits else f"{title}: does not fit", *_aligned(rows)]


def _alternative_row(item: Alternative, found: MemoryForecast) -> list[str]:
    other = item.outcome
    text = {"fits": "fits", "spills": f"spills {format_bytes(other.spill)}", "refused": "is refused"}[other.verdict]
    peak = "" if other.verdict == "refused" else f"peak {format_bytes(other.peak)}"
    return [f"{item.setting} = '{item.value}'", text, peak, f"floor {format_bytes(other.floor)}"]


def _document(found: MemoryForecast, least: int | None, others: Sequence[Alternative]) -> dict[str, Any]:
    return {
        **forecast_document(found, least),
        "stages": [
            {
                "stage": stage.title,
                "tasks": stage.tasks,
                "batch_bytes": stage.batch_bytes,
                "floor": stage.floor,
                "held": stage.held,
                "output": stage.output,
                "peak": stage.peak,
                "spill": stage.spill,
                "operators": [
                    {
                        "operator": type(item.operator).__name__,
                        "detail": item.operator.describe(),
                        "depth": item.depth,
                        "tasks": item.tasks,
                        "floor": item.floor,
                        "ideal": item.ideal,
                        "peak": item.peak,
                        "source": item.source,
                        "spills": item.spills,
                        "spill": item.spill,
                        "why": item.why,
                    }
                    for item in stage.operators
                ],
            }
            for stage in found.stages
        ],
        "settings": [
            {
                "setting": item.setting,
                "value": item.value,
                "verdict": item.outcome.verdict,
                "predicted_peak_rss": item.outcome.peak,
                "predicted_spill": item.outcome.spill,
                "floor": item.outcome.floor,
            }
            for item in others
        ],
    }


def _tree(operator: Operator, depth: int) -> Sequence[tuple[Operator, int]]:
    found = [(operator, depth)]
    for child in operator.inputs:
        found += _tree(child, depth + 1)
    return found


def _identity(operator: Operator) -> tuple[str, tuple[str, ...]]:
    """Keys of columns occur once in a plan, so this finds an operator again after the plan has been changed."""
    return type(operator).__name__, tuple(operator.schema.names)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the first and the last ones to the left, sizes to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [
        place > 0
        and all(not row[place] or row[place][0].isdigit() or row[place] in ("-", "unknown") for row in rows[1:])
        for place in range(len(widths))
    ]
    return [
        "  ".join(
            cell.rjust(size) if right else cell.ljust(size)
            for cell, size, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def _size(value: int | None) -> str:
    return "-" if value is None else format_bytes(value)


def _megabytes(size: int) -> str:
    """As `memory_limit` is written, rounded up."""
    return f"{-(-size // 1_000_000)}MB"
