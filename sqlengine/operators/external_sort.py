"""ORDER BY, and ORDER BY with LIMIT.

`ExternalSort` keeps all rows in `SortedRuns`. `TopK` keeps the best rows seen: batches are gathered and cut back to the first
`limit` rows in order whenever twice as many are held; rows after the last kept one never enter. When the rows to keep do
not fit the reservation, it goes on as an external sort of what it has and of the rest, and stops after `limit` rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import SortedRuns
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ExternalSort(Operator):
    by: tuple[SortColumn, ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        yield from sorted_stream(self, self.by, inputs[0], task)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return sort_need(inputs[0], settings)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def describe(self) -> str:
        return order_text(self.by)


@dataclass(frozen=True)
class TopK(Operator):
    """The first `limit` rows in order."""

    by: tuple[SortColumn, ...]
    limit: int

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        held: list[pa.RecordBatch] = []
        rows = size = 0
        stream = iter(inputs[0])
        try:
            for batch in stream:
                need = 3 * batch.nbytes + 24 * batch.num_rows
                if not reservation.try_grow(need):
                    rest = _chain(held, batch, stream)
                    reservation.shrink(size)
                    size = 0
                    yield from _first(sorted_stream(self, self.by, rest, task), self.limit)
                    return
                size += need
                held.append(batch)
                rows += batch.num_rows
                if rows > 2 * self.limit + task.settings.batch_rows:
                    held = [self._best(held)]
                    rows = held[0].num_rows
                    kept = 3 * held[0].nbytes + 24 * rows
                    reservation.shrink(size - kept)
                    size = kept
            if held and self.limit:
                best = self._best(held)
                step = max(
                    1, min(task.settings.batch_rows, best.num_rows * task.settings.batch_bytes // max(1, best.nbytes))
                )
                for start in range(0, best.num_rows, step):
                    yield best.slice(start, step)
        finally:
            reservation.shrink(size)

    def _best(self, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
        whole = pa.concat_batches(batches) if len(batches) > 1 else batches[0]
        keys = SortKeys(
            [whole.column(c.key) for c in self.by], [c.descending for c in self.by], [c.nulls_first for c in self.by]
        )
        return whole.take(keys.order().slice(0, self.limit))

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return sort_need(self.stats(inputs), settings)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        rows = min(float(self.limit), inputs[0].rows)
        return replace(inputs[0], rows=rows, bytes=inputs[0].bytes * rows / max(1.0, inputs[0].rows))

    def describe(self) -> str:
        return f"{self.limit} by {order_text(self.by)}"


def sorted_stream(
    operator: Operator, by: tuple[SortColumn, ...], stream: Iterator[pa.RecordBatch], task: Task
) -> Batches:
    """The rows of a stream in order, held under the operator's reservation."""
    schema = operator.inputs[0].schema
    runs = SortedRuns(schema, by, task.reservation(operator), task.spill, task.settings, type(operator).__name__)
    try:
        for batch in stream:
            runs.add(batch)
        yield from runs.merged()
    finally:
        metrics = task.metrics(operator)
        metrics.spilled_bytes += runs.spilled_bytes
        runs.close()


def sort_need(stats: Stats, settings: Settings) -> MemoryNeed:
    """What an operator needs that sorts rows of this estimate."""
    return MemoryNeed(
        10 * settings.batch_bytes, 10 * settings.batch_bytes + int(3 * stats.bytes), True, "rows to sort, twice"
    )


def order_text(by: tuple[SortColumn, ...]) -> str:
    return ", ".join(f"{c.key}{' desc' if c.descending else ''}" for c in by)


def _chain(
    held: list[pa.RecordBatch], batch: pa.RecordBatch, rest: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    held.reverse()
    while held:
        yield held.pop()
    yield batch
    yield from rest


def _first(stream: Batches, left: int) -> Batches:
    for batch in stream:
        if batch.num_rows >= left:
            if left:
                yield batch.slice(0, left)
            return
        left -= batch.num_rows
        yield batch
