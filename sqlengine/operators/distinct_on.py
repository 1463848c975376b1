"""DISTINCT ON: the first row of each group.

Rows are sorted by the group's columns, then by the order; the first of each run of equal groups is kept. The sort is
stable, so without an order it is the first row of the input. Held: what the sort holds; the output streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlengine.expr.statistics import Stats
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.external_sort import order_text, sort_need, sorted_stream
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class DistinctOn(Operator):
    """One row per value of the columns `on` (NULLs are one value): the first in the order `order_by`."""

    on: tuple[str, ...]
    order_by: tuple[SortColumn, ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        groups = tuple(SortColumn(key) for key in self.on)
        if not groups:
            return
        last: SortKeys | None = None
        for batch in sorted_stream(self, (*groups, *self.order_by), inputs[0], task):
            keys = sort_keys(batch, groups)
            starts = keys.starts()
            if last is not None and keys.compare(0, last, 0) == 0:
                starts = starts.slice(1)
            last = sort_keys(batch.slice(batch.num_rows - 1), groups)
            if len(starts):
                yield batch.take(starts)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return sort_need(inputs[0], settings, (*(SortColumn(key) for key in self.on), *self.order_by))

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]  # sorted once and written once at most; an exchange would write every row before that

    def describe(self) -> str:
        return f"[{', '.join(self.on)}] {order_text(self.order_by)}".rstrip()
