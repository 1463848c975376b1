"""Splitting rows in order into ranges of their keys: where each range begins, and which blocks it takes.

Each unit of the stage below left its rows in order, with the keys of the first row of (some of) its blocks. All these
keys together are a sample with known distances, so that ranges of about equal size follow without another pass.
Rows with equal keys are never in two ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from sqlengine.backends.ray.outputs import Piece, UnitOutput
from sqlengine.kernels.gathering import RowSource, gather_rows, locate
from sqlengine.kernels.sorting import sorted_rows
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys


def range_bounds(
    outputs: Sequence[UnitOutput], by: Sequence[SortColumn], schema: pa.Schema, ranges: int
) -> pa.RecordBatch:
    """The first keys of the ranges after the first: at most `ranges` - 1 rows, in order, no two alike."""
    keyed = pa.schema([schema.field(column.key) for column in by])
    samples = [o.index.first_keys for o in outputs if o.index.first_keys is not None]
    if not samples or ranges < 2:
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in keyed], schema=keyed)
    order = sorted_rows([sort_keys(sample, by) for sample in samples], 1)
    firsts = [0]
    for sample in samples:
        firsts.append(firsts[-1] + sample.num_rows)
    total = firsts[-1]
    # The blocks stand for about the same number of rows each.
    picked = sorted({total * number // ranges for number in range(1, ranges)} - {0})
    which, rows = locate(order.take(pa.array(picked, pa.int64())), firsts)
    found = gather_rows([RowSource(sample) for sample in samples], samples[0].schema, which, rows)
    keys = sort_keys(found, by)
    distinct = [row for row in range(found.num_rows) if row == 0 or keys.compare(row - 1, keys, row) < 0]
    return found.take(pa.array(distinct, pa.int64()))


def range_parts(bounds: pa.RecordBatch, by: Sequence[SortColumn]) -> Callable[[UnitOutput, int], list[Piece]]:
    """A function from an output and the number of a range to the blocks that can have rows of it."""
    limits = sort_keys(bounds, by) if bounds.num_rows else None

    def parts(output: UnitOutput, number: int) -> list[Piece]:
        blocks = len(output.index.numbers) // 4
        sample = output.index.first_keys
        if not blocks or limits is None or sample is None:
            return list(output.part(0, blocks))
        keys = sort_keys(sample, by)
        starts = output.index.key_blocks
        # The block before the first one that begins at or after the bound may reach beyond it.
        low = max(0, keys.lower_bound(limits, number - 1) - 1) if number else 0
        high = keys.lower_bound(limits, number) if number < bounds.num_rows else len(starts)
        end = starts[high] if high < len(starts) else blocks
        return list(output.part(starts[low], end)) if starts[low] < end else []

    return parts
