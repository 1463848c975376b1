"""ORDER BY, and ORDER BY with LIMIT.

`ExternalSort` keeps all rows in `SortedRuns`. `TopK`:
1. Batches are gathered and cut back to the first `limit` rows in order whenever enough more than that are held.
2. From then on the last row kept is a threshold: of each batch only rows before it are looked at further.
3. When the rows to keep do not fit the reservation, it goes on as an external sort of what it has and of the rest, in
   which runs are cut to `limit` rows as well.

Held by TopK: up to twice `limit` rows with their keys, and a sorted copy while they are cut back. Worst case: rows come
in descending order, then every batch enters; the cut is made once per `limit` rows, so the time stays that of a sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.kernels.gathering import RowSource, gather_rows, locate
from sqlengine.kernels.sorting import SortKeys, sorted_rows
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.whole_groups import bounded
from sqlengine.runtime.memory import compact
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import SortedRuns, sort_keys
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_KEY_BYTES = 30  # of a key of which nothing is known


@dataclass(frozen=True)
class ExternalSort(Operator):
    by: tuple[SortColumn, ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        yield from sorted_stream(self, self.by, inputs[0], task)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return sort_need(inputs[0], settings, self.by)

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
        if not self.limit:
            return
        reservation = task.reservation(self)
        held: list[pa.RecordBatch] = []
        rows = size = 0
        threshold: SortKeys | None = None
        most = 2 * self.limit + task.settings.batch_rows
        stream = iter(inputs[0])
        try:
            for batch in stream:
                if threshold is not None:
                    kept = sort_keys(batch, self.by).before(threshold, 0)
                    if not len(kept):
                        continue
                    if len(kept) < batch.num_rows:
                        batch = batch.take(kept)
                need = _cost(batch)
                if not reservation.try_grow(need):
                    if rows > self.limit:
                        held = [self._best(held)]
                        rows = held[0].num_rows
                        reservation.shrink(max(0, size - _cost(held[0])))
                        size = min(size, _cost(held[0]))
                        threshold = sort_keys(held[0].slice(rows - 1), self.by)
                    if not reservation.try_grow(need):
                        rest = _chain(held, batch, stream)
                        reservation.shrink(size)
                        size = 0
                        yield from sorted_stream(self, self.by, rest, task, self.limit)
                        return
                size += need
                held.append(compact(batch))
                rows += batch.num_rows
                if rows > most:
                    held = [self._best(held)]
                    rows = held[0].num_rows
                    reservation.shrink(max(0, size - _cost(held[0])))
                    size = min(size, _cost(held[0]))
                    threshold = sort_keys(held[0].slice(rows - 1), self.by)
            if held:
                yield from bounded(self._best(held), task.settings.batch_rows, task.settings.batch_bytes)
        finally:
            reservation.shrink(size)

    def _best(self, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
        """The first `limit` rows in order, straight from the batches."""
        order = sorted_rows([sort_keys(batch, self.by) for batch in batches], 1).slice(0, self.limit)
        firsts = [0, *accumulate(batch.num_rows for batch in batches)]
        which, rows = locate(order, firsts)
        return gather_rows([RowSource(batch) for batch in batches], batches[0].schema, which, rows)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        rows = min(inputs[0].rows, 2.0 * self.limit + settings.batch_rows)
        held = rows * (3 * inputs[0].bytes / max(1.0, inputs[0].rows) + 40)  # as `_cost` says
        return MemoryNeed(10 * settings.batch_bytes, int(held), True, "twice the rows to keep, and a copy in order")

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        rows = min(float(self.limit), inputs[0].rows)
        return replace(inputs[0], rows=rows, bytes=inputs[0].bytes * rows / max(1.0, inputs[0].rows))

    def describe(self) -> str:
        return f"{self.limit} by {order_text(self.by)}"


def sorted_stream(
    operator: Operator,
    by: tuple[SortColumn, ...],
    stream: Iterator[pa.RecordBatch],
    task: Task,
    limit: int | None = None,
    schema: pa.Schema | None = None,
) -> Batches:
    """The rows of a stream in order (the first `limit` of them), held under the operator's reservation. `schema`:
    theirs, where it is not that of the operator's input."""
    runs = SortedRuns(
        schema or operator.inputs[0].schema,
        by,
        task.reservation(operator),
        task.spill,
        task.settings,
        type(operator).__name__,
        limit,
    )
    try:
        for batch in stream:
            task.cancel.check()
            runs.add(batch)
        yield from runs.merged()
    finally:
        metrics = task.metrics(operator)
        metrics.spilled_bytes += runs.spilled_bytes
        runs.close()


def sort_need(stats: Stats, settings: Settings, by: tuple[SortColumn, ...] = ()) -> MemoryNeed:
    """What an operator needs that sorts rows of this estimate, as `SortedRuns` counts them: with their keys."""
    known = [stats.columns.get(column.key) for column in by]
    keys = sum(_KEY_BYTES if facts is None or facts.width is None else 10 + facts.width for facts in known)
    held = stats.bytes + stats.rows * (28 + keys)
    return MemoryNeed(10 * settings.batch_bytes, 2 * settings.batch_bytes + int(held), True, "rows to sort, twice")


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


def _cost(batch: pa.RecordBatch) -> int:
    """What a batch takes with its keys, its place in the order, and a copy of its rows in order."""
    return int(3 * batch.nbytes + 40 * batch.num_rows) + 1024
