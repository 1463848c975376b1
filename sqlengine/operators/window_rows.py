"""Window functions.

1. Rows are sorted by the partition's columns and the order (`SortedRuns`, spilling).
2. Pieces of whole partitions are taken from the sorted stream; for a piece the bounds of each row's partition, peers
   and frame are found once per frame, then each call is computed for all rows of the piece (`window_values`).

Held: what the sort holds, then a piece with its working copies. A partition that does not fit in memory is an error
that says so. Output is in the sorted order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.external_sort import order_text, sort_need, sorted_stream
from sqlengine.operators.whole_groups import bounded, whole_groups
from sqlengine.operators.window_values import Partitions, WindowSpec, window_values
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class WindowRows(Operator):
    """The input's columns plus one per call, all calls over the same partition and order."""

    partition_by: tuple[str, ...]
    order_by: tuple[SortColumn, ...]
    calls: tuple[WindowSpec, ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        by = (*(SortColumn(key) for key in self.partition_by), *self.order_by)
        rows = sorted_stream(self, by, inputs[0], task) if by else inputs[0]
        for piece in whole_groups(rows, self.partition_by, task.reservation(self), factor=4 + len(self.calls)):
            task.cancel.check()
            partitions = Partitions(piece, self.partition_by, self.order_by)
            values = {call.output: window_values(call, partitions) for call in self.calls}
            columns = [values[f.name].cast(f.type) if f.name in values else piece.column(f.name) for f in self.schema]
            result = pa.RecordBatch.from_arrays(columns, schema=self.schema)
            yield from bounded(result, task.settings.batch_rows, task.settings.batch_bytes)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return sort_need(inputs[0], settings)

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(inputs[0].rows, inputs[0].bytes + 8 * len(self.calls) * inputs[0].rows, inputs[0].columns)

    def needs(self) -> Sequence[Distribution]:
        return [Distribution("hash", self.partition_by) if self.partition_by else SINGLE]

    def describe(self) -> str:
        calls = ", ".join(call.name for call in self.calls)
        return f"{calls} by [{', '.join(self.partition_by)}] {order_text(self.order_by)}".rstrip()
