"""ASOF JOIN: each left row with the nearest right row.

1. Both sides are sorted by the equality keys and then by the compared column, in the direction in which the nearest
   match of a left row is the last right row passed: ascending for `>=` and `>`, descending for `<=` and `<`. Of right
   rows that are equal in both only the first stays.
2. The sides are merged: per left batch the right rows that can still match are found by binary search in a window of
   the sorted right side that moves forward.

NULL in a key or a compared column never matches. Held: what the two sorts hold, a left batch, and the right rows
between the first and the last match of a left batch. Output is in the sorted order of the left side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.statistics import Stats
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.external_sort import sort_need
from sqlengine.operators.whole_groups import joined, without_repeats
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import SortedRuns
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class AsofJoin(Operator):
    """`comparison` (ge, gt, le, lt) stands between `left_by` and `right_by`; `outer` keeps left rows without a
    match."""

    left_keys: tuple[str, ...]
    right_keys: tuple[str, ...]
    left_by: str
    right_by: str
    comparison: str
    outer: bool

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        down = self.comparison in ("le", "lt")
        reservation = task.reservation(self)
        # What the right side needs to be merged: the left one shall not take it.
        kept = sort_need(Stats(0, 0), task.settings).floor
        kept = kept if reservation.try_grow(kept) else 0
        right = self._runs(1, self.right_keys, self.right_by, down, task)
        left = self._runs(0, self.left_keys, self.left_by, down, task, right.spill)
        try:
            for batch in inputs[1]:
                task.cancel.check()
                valid = _all_valid(batch, (*self.right_keys, self.right_by))
                batch = batch.filter(valid)
                if batch.num_rows:
                    right.add(batch)
            for batch in inputs[0]:
                task.cancel.check()
                left.add(batch)
            sought = (*(SortColumn(key) for key in self.right_keys), SortColumn(self.right_by, descending=down))
            ordered = left.merged()
            first = next(ordered, None)  # before the right side opens its runs, which may go to disk for it
            if first is None:
                return
            reservation.shrink(kept)
            kept = 0
            yield from self._merged(chain([first], ordered), without_repeats(right.merged(), sought), down, task)
        finally:
            metrics = task.metrics(self)
            for side in (left, right):
                metrics.spilled_bytes += side.spilled_bytes
                side.close()
            reservation.shrink(kept)

    def _runs(
        self,
        side: int,
        keys: tuple[str, ...],
        by: str,
        down: bool,
        task: Task,
        make_room: Callable[[], int] | None = None,
    ) -> SortedRuns:
        order = (*(SortColumn(key) for key in keys), SortColumn(by, descending=down))
        return SortedRuns(
            self.inputs[side].schema, order, task.reservation(self), task.spill, task.settings, "AsofJoin",
            make_room=make_room,
        )  # fmt: skip

    def _merged(self, left: Batches, right: Batches, down: bool, task: Task) -> Batches:
        window = _Window(right, (*self.right_keys, self.right_by), down, len(self.right_keys))
        after = self.comparison in ("ge", "le")
        for whole in left:
            for start in range(0, whole.num_rows, task.settings.batch_rows):
                task.cancel.check()
                batch = whole.slice(start, task.settings.batch_rows)
                columns = [batch.column(key) for key in (*self.left_keys, self.left_by)]
                columns = [c if c.type == t else c.cast(t) for c, t in zip(columns, window.types(self), strict=True)]
                matches, rows = window.match(columns, after)
                valid = _all_valid(batch, (*self.left_keys, self.left_by))
                matches = pc.if_else(valid, matches, pa.scalar(None, pa.int64()))
                if not self.outer:
                    keep = matches.is_valid()
                    batch, matches = batch.filter(keep), matches.filter(keep)
                if batch.num_rows:
                    yield self._output(batch, rows, matches)

    def _output(self, batch: pa.RecordBatch, rows: pa.RecordBatch | None, matches: pa.Array) -> pa.RecordBatch:
        columns = []
        for field in self.schema:
            if field.name in batch.schema.names:
                columns.append(batch.column(field.name))
            elif rows is None:
                columns.append(pa.nulls(batch.num_rows, field.type))
            else:
                columns.append(rows.column(field.name).take(matches))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        sides = [sort_need(stats, settings) for stats in inputs]
        ideal = sum(need.ideal or need.floor for need in sides)
        return MemoryNeed(sum(need.floor for need in sides), ideal, True, "rows of both sides to sort, twice")

    def needs(self) -> Sequence[Distribution]:
        if not self.left_keys:
            return [SINGLE, SINGLE]
        return [Distribution("hash", self.left_keys), Distribution("hash", self.right_keys)]

    def describe(self) -> str:
        return f"{self.left_by} {self.comparison} {self.right_by} by [{', '.join(self.left_keys)}]"


class _Window:
    """The part of the sorted right side that left rows may still match: from the last match on."""

    def __init__(self, stream: Iterator[pa.RecordBatch], keys: tuple[str, ...], down: bool, equal: int) -> None:
        self._stream = stream
        self._keys = keys
        self._flags = [False] * equal + [down]
        self._equal = equal
        self._rows: pa.RecordBatch | None = None
        self._ended = False

    def types(self, join: AsofJoin) -> list[pa.DataType]:
        return [join.inputs[1].schema.field(key).type for key in self._keys]

    def _encode(self, columns: list[pa.Array], flags: list[bool]) -> SortKeys:
        return SortKeys(columns, flags, [False] * len(flags))

    def match(self, columns: list[pa.Array], after: bool) -> tuple[pa.Array, pa.RecordBatch | None]:
        """int64 row of the nearest match of each left row (sorted columns), or null; rows of the batch returned."""
        wanted = self._encode(columns, self._flags)
        n = wanted.length
        while not self._ended:
            if self._rows is not None and self._found().compare(self._rows.num_rows - 1, wanted, n - 1) > 0:
                break
            batch = next(self._stream, None)
            if batch is None:
                self._ended = True
            else:
                self._rows = batch if self._rows is None else joined([self._rows, batch])
        rows = self._rows
        if rows is None:
            return pa.nulls(n, pa.int64()), None
        zeros = pa.repeat(pa.scalar(0, pa.int64()), n)
        ends = pa.repeat(pa.scalar(rows.num_rows, pa.int64()), n)
        found = self._found()
        places = pc.subtract(found.search(wanted, zeros, ends, after), 1)
        matches = pc.if_else(pc.greater_equal(places, 0), places, pa.scalar(None, pa.int64()))
        if self._equal:
            # The row before must have the same equality keys: it must not be before the first of them.
            flags = self._flags[: self._equal]
            heads = self._encode([rows.column(key) for key in self._keys[: self._equal]], flags)
            first = heads.search(self._encode(columns[: self._equal], flags), zeros, ends, False)
            matches = pc.if_else(pc.less(places, first), pa.scalar(None, pa.int64()), matches)
        # Later left rows match at or after what the last row of this batch matches.
        keep = max(0, places[n - 1].as_py())
        self._rows = rows.slice(keep)
        return matches, rows

    def _found(self) -> SortKeys:
        assert self._rows is not None
        return self._encode([self._rows.column(key) for key in self._keys], self._flags)


def _all_valid(batch: pa.RecordBatch, keys: tuple[str, ...]) -> pa.Array:
    valid = batch.column(keys[0]).is_valid()
    for key in keys[1:]:
        valid = pc.and_(valid, batch.column(key).is_valid())
    return valid
