"""Rows in order, in memory as long as the reservation allows, else as sorted runs on disk: the other container of rows.

1. Batches are held with their encoded keys until the reservation refuses. Then a thread of its own sorts the row
   numbers, lets go of the keys, and brings the rows together block by block, straight from the held batches, into a run
   on disk. Meanwhile more batches are held, as far as there is room: first in that of the keys.
2. `merged` opens as many runs as the reservation lets it, one block of each, and merges them with a tree of losers;
   rows are copied once, from the blocks to the output. With room for it, this is done one batch ahead of the reader.
3. When not all runs can be open at once, neighbours are merged to longer runs first.
4. With a limit, the last rows of the blocks on disk tell a key that as many rows come before: rows after it are dropped
   as they come.

Held while filling: the rows, their keys, and 20 bytes a row to sort; two blocks while a run is written. While merging:
a block of each open run with its keys, and the rows given out. A block is a hundredth of what a run holds in memory, at
most half a batch and with its keys two batches, or one row: with wide rows fewer runs are open, and two can be open
within ten batches. Worst case: two open runs must fit, so a row may take about a fifth of what the sort gets; a wider
one is a MemoryLimitError that says so. Source: Knuth, "The Art of Computer Programming" 3, section 5.4.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import MemoryLimitError
from sqlengine.kernels.gathering import RowSource, cut, gather_rows, locate
from sqlengine.kernels.sorting import SortKeys, merged_rows, sorted_rows
from sqlengine.runtime.background import Background, ahead
from sqlengine.runtime.memory import Reservation, compact
from sqlengine.runtime.row_bytes import row_bytes
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile
from sqlengine.settings import Settings, format_bytes

_SORT_BYTES, _NUMBER_BYTES = 16, 4  # an item per row while sorting, and its number
_MOST_OPEN = 128
_MERGE_BYTES = 32  # a place and the objects per row of an open block
_LEAST_BLOCK, _BLOCKS = 32 << 10, 100
_MANY_ROWS = 1 << 16  # from here on it is worth a thread to make them ahead of the reader
_GATHER_ROWS, _GATHER_BYTES = 4096, 128 << 10  # smaller batches are brought together before their keys are encoded


@dataclass(frozen=True)
class _Held:
    """A batch; `fixed` bytes per row, and what each row takes beside them (None: nothing)."""

    batch: pa.RecordBatch
    source: RowSource
    fixed: int
    varying: pa.Array | None


@dataclass
class _Filling:
    """Batches that are held, with their keys until they are sorted. In bytes what is reserved for them, the part of it
    that is free after sorting, and the largest row or block that is given out."""

    chunks: list[_Held] = field(default_factory=list)
    keys: list[SortKeys] = field(default_factory=list)
    cost: int = 0
    sorting: int = 0
    widest: int = 0


@dataclass(frozen=True)
class _Run:
    """Sorted rows on disk. `widest`: what its largest block takes with its keys; `ends`: with a limit, the columns of
    the order in the last row of each block."""

    file: SpillFile
    blocks: tuple[Block, ...]
    widest: int
    ends: tuple[pa.RecordBatch, ...]


class SortedRuns:
    """Filled with `add`, then read once with `merged`; rows with equal keys keep the order in which they came. With a
    `limit` only that many first rows are wanted. `make_room`: asked for bytes when there is nothing left to write here;
    gives how many it freed."""

    def __init__(
        self,
        schema: pa.Schema,
        by: Sequence[SortColumn],
        reservation: Reservation,
        spill: SpillDirectory,
        settings: Settings,
        owner: str,
        limit: int | None = None,
        make_room: Callable[[], int] | None = None,
    ) -> None:
        assert by, "an order has at least one column"
        self.schema = schema
        self._by = tuple(by)
        self._reservation = reservation
        self._spill = spill
        self._settings = settings
        self._owner = owner
        self._limit = limit
        self._make_room = make_room
        self._gather = min(_GATHER_BYTES, settings.batch_bytes)
        self._small: list[pa.RecordBatch] = []
        self._small_bytes = 0
        self._small_rows = 0
        self._filling = _Filling()
        self._held = 0  # bytes reserved
        self._block = self._most_block = max(_LEAST_BLOCK, settings.batch_bytes // 2)
        self._runs: list[_Run] = []
        self._bound: SortKeys | None = None  # `limit` rows on disk are not after it
        self._writing: Background[_Run] | None = None
        self._freed = threading.Condition()
        self._given_back = 0  # how often what is held became less
        self._stopped = False
        self.spilled_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if self._bound is not None:
            kept = sort_keys(batch, self._by).before(self._bound, 0)
            if not len(kept):
                return
            if len(kept) < batch.num_rows:
                batch = batch.take(kept)
        if batch.num_rows < _GATHER_ROWS and batch.nbytes < self._gather:
            size = batch.nbytes + 1024
            if self._reserve(size):
                self._small.append(compact(batch))
                self._small_bytes += size
                self._small_rows += batch.num_rows
                if self._small_bytes < self._gather and self._small_rows < _GATHER_ROWS:
                    return
                batch = self._joined_small()
            else:
                self._flush_small()
        else:
            self._flush_small()
        self._hold(batch)

    def _flush_small(self) -> None:
        if self._small:
            self._hold(self._joined_small())

    def _joined_small(self) -> pa.RecordBatch:
        small, self._small = self._small, []
        batch = small[0] if len(small) == 1 else pa.concat_batches(small)
        self._release(self._small_bytes)
        self._small_bytes = self._small_rows = 0
        return batch

    def _hold(self, batch: pa.RecordBatch) -> None:
        pieces = [batch]
        while pieces:
            piece = pieces.pop()
            before = self._given_back
            if self._try_hold(piece):
                continue
            if self._writing is not None:
                self._wait(before)
                pieces.append(piece)
            elif self._filling.chunks:
                self._write_run()
                pieces.append(piece)
            elif self._make_room is not None and self._make_room():
                pieces.append(piece)
            elif piece.num_rows > 1:
                half = piece.num_rows // 2
                pieces += [piece.slice(half), piece.slice(0, half)]
            else:
                self._too_wide(piece.nbytes)

    def _try_hold(self, batch: pa.RecordBatch) -> bool:
        filling = self._filling
        fixed, varying = row_bytes(batch)
        widest = fixed + (pc.max(varying).as_py() or 0 if varying is not None else 0)
        rows = batch.num_rows
        # One row that is given out or written, and its compressed form, beside what is held.
        widest = max(filling.widest, widest, self._most_block)
        sorting = self._key_bytes(batch) + _SORT_BYTES * rows
        cost = batch.nbytes + sorting + (_NUMBER_BYTES + (8 if varying is not None else 0)) * rows + 1024
        cost += 2 * (widest - filling.widest)
        if not self._reserve(cost):
            return False
        filling.widest = widest
        filling.cost += cost
        filling.sorting += sorting
        batch = compact(batch)
        filling.keys.append(sort_keys(batch, self._by))
        filling.chunks.append(_Held(batch, RowSource(batch), fixed, varying))
        return True

    def _key_bytes(self, batch: pa.RecordBatch) -> int:
        """About what the encoded keys of these rows take."""
        total = 0
        for by in self._by:
            column = batch.column(by.key)
            nested = pa.types.is_nested(column.type)
            total += column.nbytes * (4 if nested else 1) + (16 if nested else 10) * len(column)
        return total

    def _reserve(self, size: int) -> bool:
        if not self._reservation.try_grow(size):
            return False
        with self._freed:
            self._held += size
        return True

    def _reserve_or_make_room(self, size: int) -> bool:
        while not self._reserve(size):
            if self._make_room is None or not self._make_room():
                return False
        return True

    def _release(self, size: int) -> None:
        with self._freed:
            size = min(size, self._held)
            self._held -= size
            self._reservation.shrink(size)
            self._given_back += 1
            self._freed.notify_all()

    def _too_wide(self, size: int) -> None:
        raise MemoryLimitError(
            f"{self._owner} cannot order a row of {format_bytes(size)} in the memory that the limit leaves it",
            hint="raise memory_limit, or lower threads; ordering needs about five times the widest row",
        )

    def _order(self, filling: _Filling) -> pa.Array:
        """Row numbers in order; the keys are let go of."""
        order = sorted_rows(filling.keys, max(1, self._settings.threads))
        filling.keys = []
        # Part of the room stays free until the run is written: memory does not go from one use to another at once.
        free = filling.sorting // 2
        filling.cost -= free
        self._release(free)
        return order if self._limit is None else order.slice(0, self._limit)

    def _sorted(self, filling: _Filling, size: int) -> Iterator[pa.RecordBatch]:
        """What is held, in order, in pieces of about `size` bytes."""
        order = self._order(filling)
        firsts = [0]
        for held in filling.chunks:
            firsts.append(firsts[-1] + held.batch.num_rows)
        step = self._settings.batch_rows
        for start in range(0, len(order), step):
            which, rows = locate(order.slice(start, step), firsts)
            yield from self._pieces(filling.chunks, which, rows, size)

    def _pieces(self, chunks: Sequence[_Held], which: pa.Array, rows: pa.Array, size: int) -> Iterator[pa.RecordBatch]:
        """Rows of several batches as batches of about `size` bytes, at least a row each."""
        fixed = max(held.fixed for held in chunks)
        ends = [len(rows)]
        if any(held.varying is not None for held in chunks):
            ends = cut([_varying(held) for held in chunks], which, rows, fixed, self._settings.batch_rows, size)
        else:
            step = max(1, min(self._settings.batch_rows, size // max(1, fixed)))
            ends = [min(start + step, len(rows)) for start in range(0, len(rows), step)]
        sources = [held.source for held in chunks]
        low = 0
        for high in ends:
            here, there = which.slice(low, high - low), rows.slice(low, high - low)
            yield gather_rows(sources, self.schema, here, there)
            low = high

    def spill(self) -> int:
        """Write what is in memory to disk; bytes freed."""
        before = self._held
        self._flush_small()
        self._write_run()
        self._finish_run()
        return before - self._held

    def _write_run(self) -> None:
        """Start to write what is held; one run is written at a time."""
        self._finish_run()
        filling, self._filling = self._filling, _Filling()
        if filling.chunks:
            self._writing = Background(lambda: self._written(filling), f"sqlengine-{self._owner}")

    def _written(self, filling: _Filling) -> _Run:
        rows = sum(held.batch.num_rows for held in filling.chunks)
        size = sum(held.batch.nbytes for held in filling.chunks)
        keyed = sum(self._key_bytes(held.batch) for held in filling.chunks) + _MERGE_BYTES * rows
        most = 2 * self._settings.batch_bytes * size // max(1, size + keyed)
        self._block = max(1, min(self._block, most, max(_LEAST_BLOCK, filling.cost // _BLOCKS)))
        try:
            return self._run(self._sorted(filling, self._block))
        finally:
            filling.chunks.clear()
            self._release(filling.cost)

    def _wait(self, given_back: int) -> None:
        """Until something has been given back since, or the run is written."""
        with self._freed:
            while self._given_back == given_back and self._writing is not None and not self._writing.done:
                self._freed.wait(0.1)
        if self._writing is not None and self._writing.done:
            self._finish_run()

    def _finish_run(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            self._runs.append(writing.result())
            self._bound = self._found_bound()

    def _found_bound(self) -> SortKeys | None:
        """With a limit, the least known key that so many of the rows on disk are not after."""
        ends = [end for run in self._runs for end in run.ends]
        rows = [block.rows for run in self._runs for block in run.blocks]
        if self._limit is None or sum(rows) < self._limit:
            return None
        samples, before = pa.concat_batches(ends), 0
        for place in sort_keys(samples, self._by).order().to_pylist():
            before += rows[place]
            if before >= self._limit:
                return sort_keys(samples.slice(place, 1), self._by)
        return None

    def _run(self, batches: Iterator[pa.RecordBatch]) -> _Run:
        file = self._spill.file(self._owner, self.schema)
        keys = list(dict.fromkeys(by.key for by in self._by))
        try:
            blocks, ends = [], []
            widest = 0
            for batch in batches:
                if self._stopped:
                    break
                blocks.append(file.append(batch))
                if self._limit is not None:
                    ends.append(compact(batch.select(keys).slice(batch.num_rows - 1)))
                widest = max(widest, batch.nbytes + self._key_bytes(batch) + _MERGE_BYTES * batch.num_rows)
            file.finish()
        except BaseException:
            file.delete()
            raise
        self.spilled_bytes += file.bytes
        return _Run(file, tuple(blocks), widest, tuple(ends))

    def merged(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, as bounded batches."""
        self._flush_small()
        if not self._runs and self._writing is None:
            filling, self._filling = self._filling, _Filling()
            if filling.chunks:
                rows = sum(held.batch.num_rows for held in filling.chunks)
                yield from self._ahead(self._sorted(filling, self._settings.batch_bytes), rows)
            return
        self._write_run()
        self._finish_run()
        while True:
            count = self._openable()
            try:
                if count == len(self._runs):
                    rows = sum(run.file.rows for run in self._runs)
                    yield from self._ahead(self._first(self._merge(self._runs)), rows)
                    return
                group, rest = self._runs[:count], self._runs[count:]
                # The merged run takes the place of the oldest ones, so that equal keys stay in order.
                self._runs = [self._run(self._reblocked(self._first(self._merge(group)))), *rest]
                for run in group:
                    run.file.delete()
            finally:
                self._release(self._held)

    def _ahead(self, batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
        """The batches, if possible made ahead of the reader: one waits, another one is being made."""
        if rows < _MANY_ROWS or not self._reserve(2 * self._settings.batch_bytes):
            return batches
        return ahead(batches, f"sqlengine-{self._owner}")

    def _first(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if self._limit is None:
            yield from batches
            return
        left = self._limit
        for batch in batches:
            if batch.num_rows >= left:
                yield batch.slice(0, left)
                return
            left -= batch.num_rows
            yield batch

    def _openable(self) -> int:
        """How many of the first runs may be open at once; what they take is reserved."""
        widest = max(run.widest for run in self._runs)
        # What is given out, what is joined to it, and a block being read or written.
        if not self._reserve_or_make_room(2 * max(self._settings.batch_bytes, widest)):
            self._too_wide(widest)
        most = min(len(self._runs), self._settings.merge_fan_in or _MOST_OPEN)
        count = 0
        while count < most and (
            self._reserve(self._runs[count].widest)
            or (count < 2 and self._reserve_or_make_room(self._runs[count].widest))
        ):
            count += 1
        if count < min(2, most):
            self._too_wide(widest)
        return count

    def _merge(self, runs: Sequence[_Run]) -> Iterator[pa.RecordBatch]:
        cursors = [_Cursor(self, run) for run in runs]
        cursors = [cursor for cursor in cursors if cursor.held is not None]
        pending: list[pa.RecordBatch] = []
        size = rows = 0
        while cursors:
            blocks = [cursor.held for cursor in cursors if cursor.held is not None]
            keys = [cursor.keys for cursor in cursors if cursor.keys is not None]
            which, places, ends = merged_rows(keys, [cursor.start for cursor in cursors], self._settings.batch_rows)
            for piece in self._pieces(blocks, which, places, self._settings.batch_bytes):
                if pending and (
                    size + piece.nbytes > self._settings.batch_bytes
                    or rows + piece.num_rows > self._settings.batch_rows
                ):
                    yield pending[0] if len(pending) == 1 else pa.concat_batches(pending)
                    pending, size, rows = [], 0, 0
                pending.append(piece)
                size += piece.nbytes
                rows += piece.num_rows
            blocks.clear()
            keys.clear()
            for cursor, end in zip(cursors, ends, strict=True):
                cursor.go_to(end)
            cursors = [cursor for cursor in cursors if cursor.held is not None]
        if pending:
            yield pending[0] if len(pending) == 1 else pa.concat_batches(pending)

    def _reblocked(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            step = max(1, batch.num_rows * self._block // max(1, batch.nbytes))
            for start in range(0, batch.num_rows, step):
                yield batch.slice(start, step)

    def close(self) -> None:
        self._stopped = True
        if self._writing is not None:
            self._writing.wait()
            with contextlib.suppress(Exception):  # nobody wants the run any more
                self._finish_run()
        self._filling, self._small = _Filling(), []
        self._release(self._held)
        for run in self._runs:
            run.file.delete()
        self._runs = []


class _Cursor:
    """The current block of a run and how far it has been given out."""

    def __init__(self, runs: SortedRuns, run: _Run) -> None:
        self._runs = runs
        self._file = run.file
        self._blocks = iter(run.blocks)
        self.start = 0
        self.held: _Held | None = None
        self.keys: SortKeys | None = None
        self._next()

    def _next(self) -> None:
        self.held = self.keys = None  # before the next one is read
        self.start = 0
        block = next(self._blocks, None)
        if block is not None:
            batch = self._file.read(block)
            self.held = _Held(batch, RowSource(batch), *row_bytes(batch))
            self.keys = sort_keys(batch, self._runs._by)

    def go_to(self, row: int) -> None:
        self.start = row
        if self.held is not None and row == self.held.batch.num_rows:
            self._next()


def sort_keys(batch: pa.RecordBatch, by: Sequence[SortColumn]) -> SortKeys:
    """The keys of a batch's rows in the order `by` (not empty)."""
    return SortKeys([batch.column(c.key) for c in by], [c.descending for c in by], [c.nulls_first for c in by])


def _varying(held: _Held) -> pa.Array:
    return held.varying if held.varying is not None else pa.repeat(pa.scalar(0, pa.int64()), held.batch.num_rows)
