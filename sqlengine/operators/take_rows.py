"""LIMIT and OFFSET: skip some rows, give some, then stop the input.

Streaming, order kept. Memory: one batch. Needs all rows in one task: which rows come first is a matter of order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class TakeRows(Operator):
    """`count` None gives all rows after the offset; with `percent` rows are held (spillable) to count them first."""

    count: int | None
    offset: int = 0
    percent: float | None = None

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        if self.percent is not None:
            yield from self._share(inputs[0], self.percent, task)
            return
        yield from _cut(inputs[0], self.offset, self.count)

    def _share(self, stream: Batches, percent: float, task: Task) -> Batches:
        reservation = task.reservation(self)
        held = PartitionedBuffer(self.schema, 1, reservation, task.spill, task.settings, "TakeRows")
        try:
            for batch in stream:
                held.add(batch)
            held.finish()
            count = math.floor(held.rows(0) * percent / 100)
            yield from _cut(held.read(0), self.offset, count)
        finally:
            held.close()

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        if self.percent is not None:
            return MemoryNeed(4 * settings.batch_bytes, int(inputs[0].bytes), True, "rows held to count them")
        return MemoryNeed.streaming(settings, batches=1)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        rows = max(0.0, inputs[0].rows - self.offset)
        if self.count is not None:
            rows = min(rows, self.count)
        share = rows / inputs[0].rows if inputs[0].rows else 0.0
        return replace(inputs[0], rows=rows, bytes=inputs[0].bytes * share)

    def describe(self) -> str:
        return f"{self.count if self.percent is None else f'{self.percent}%'} offset {self.offset}"


def _cut(stream: Batches, skip: int, left: int | None) -> Batches:
    if left == 0:
        return
    for batch in stream:
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        batch, skip = batch.slice(skip), 0
        if left is not None:
            batch = batch.slice(0, left)
            left -= batch.num_rows
        yield batch
        if left == 0:
            return
