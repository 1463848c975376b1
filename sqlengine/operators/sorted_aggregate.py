"""GROUP BY for calls that need all values of a group: ordered, distinct and holistic aggregates, mixed with any others.

1. Rows are sorted by the keys (`SortedRuns`, spilling), so that groups come one after the other.
2. Pieces of whole groups are taken from the sorted stream; each call orders, filters and folds the piece by itself
   (`ordered_values`), so calls with different orders need no further pass over the input.

Held: what the sort holds, then a piece with its working copies. A group that does not fit in memory is an error that
says so (its value, an array or a text of everything, is usually as large). Output is in the order of the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.statistics import Stats
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.external_sort import sort_need, sorted_stream
from sqlengine.operators.ordered_values import group_values
from sqlengine.operators.whole_groups import bounded, whole_groups
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class SortedAggregate(Operator):
    """One row per value of `keys` with a column per call; without keys exactly one row."""

    keys: tuple[str, ...]
    calls: tuple[AggregateSpec, ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        source = self.inputs[0].schema
        by = tuple(SortColumn(key) for key in self.keys)
        rows = sorted_stream(self, by, inputs[0], task) if by else inputs[0]
        seen = False
        for piece in whole_groups(rows, self.keys, task.reservation(self), factor=4):
            task.cancel.check()
            seen = True
            result = self._aggregated(piece, by)
            yield from bounded(result, task.settings.batch_rows, task.settings.batch_bytes)
        if not seen and not by:
            yield self._aggregated(_no_rows(source), by)

    def _aggregated(self, piece: pa.RecordBatch, by: tuple[SortColumn, ...]) -> pa.RecordBatch:
        if by:
            starts = sort_keys(piece, by).starts()
            count = len(starts)
            groups = _numbers(starts, piece.num_rows)
            keys = [piece.column(key).take(starts) for key in self.keys]
        else:
            count = 1
            groups = pa.repeat(pa.scalar(0, pa.int32()), piece.num_rows)
            keys = []
        values = [group_values(call, piece, groups, count) for call in self.calls]
        named = dict(zip([*self.keys, *(call.output for call in self.calls)], [*keys, *values], strict=True))
        columns = [named[f.name] if named[f.name].type == f.type else named[f.name].cast(f.type) for f in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return sort_need(inputs[0], settings)

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        if not self.keys:
            return Stats(1.0, 64.0)
        rows = min(inputs[0].rows, max(1.0, inputs[0].rows ** 0.5))
        return Stats(rows, inputs[0].bytes)

    def needs(self) -> Sequence[Distribution]:
        return [Distribution("hash", self.keys) if self.keys else SINGLE]

    def describe(self) -> str:
        calls = ", ".join(f"{c.name}({', '.join(c.args)})" for c in self.calls)
        return f"by [{', '.join(self.keys)}] {calls}".rstrip()


def _numbers(starts: pa.Array, rows: int) -> pa.Array:
    """int32 number of the group of each row, from the rows at which groups start."""
    marks = pc.is_in(pa.array(range(rows), pa.int32()), value_set=starts)
    return pc.subtract(pc.cumulative_sum(pc.cast(marks, pa.int32())), pa.scalar(1, pa.int32()))


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
