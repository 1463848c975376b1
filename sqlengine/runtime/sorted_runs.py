"""Rows in order, in memory as long as the reservation allows, else as sorted runs on disk: the other container of rows.

1. Batches are gathered until the reservation refuses, then sorted by their encoded keys and written as a run of blocks.
2. `merged` reads all runs at once, one block each: the smallest of the blocks' last keys bounds what is complete; the rows
   up to it are taken from every block, sorted together (stable by run) and given out.
3. With more runs than may be open, groups of them are merged to longer runs first.

Held while filling: the rows, and room for their keys and a sorted copy (three times the rows). While merging: one block per
run with its keys, and the rows given out. Source: Knuth, "The Art of Computer Programming" 3, section 5.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from sqlengine.kernels.sorting import SortKeys
from sqlengine.runtime.memory import Reservation, compact
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile
from sqlengine.settings import Settings


class SortedRuns:
    """Filled with `add`, then read once with `merged`; rows with equal keys keep the order in which they came."""

    def __init__(
        self,
        schema: pa.Schema,
        by: Sequence[SortColumn],
        reservation: Reservation,
        spill: SpillDirectory,
        settings: Settings,
        owner: str,
    ) -> None:
        assert by, "an order has at least one column"
        self.schema = schema
        self._by = tuple(by)
        self._reservation = reservation
        self._spill = spill
        self._settings = settings
        self._owner = owner
        self._batches: list[pa.RecordBatch] = []
        self._held = 0
        self._rows = 0
        self._runs: list[tuple[SpillFile, list[Block]]] = []
        self.spilled_bytes = 0
        # A run's block: with the most runs open at once, all blocks together stay within the floor.
        self._fan_in = settings.merge_fan_in or 16
        self._block = max(32 << 10, settings.batch_bytes // 4)

    def add(self, batch: pa.RecordBatch) -> None:
        batch = compact(batch)
        # The rows, their sorted copy and keys, and two items of 16 bytes per row while sorting.
        size = 3 * batch.nbytes + 40 * batch.num_rows
        if not self._reservation.try_grow(size):
            self._write_run()
            self._reservation.grow(size)
        self._held += size
        self._batches.append(batch)
        self._rows += batch.num_rows

    def keys(self, batch: pa.RecordBatch) -> SortKeys:
        return SortKeys(
            [batch.column(c.key) for c in self._by],
            [c.descending for c in self._by],
            [c.nulls_first for c in self._by],
        )

    def _sorted(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of some batches in order, in bounded pieces."""
        whole = pa.concat_batches(batches) if len(batches) > 1 else batches[0]
        order = self.keys(whole).order()
        step = self._step(whole, self._settings.batch_bytes)
        for start in range(0, whole.num_rows, step):
            yield whole.take(order.slice(start, step))

    def _step(self, batch: pa.RecordBatch, size: int) -> int:
        width = max(1.0, batch.nbytes / max(1, batch.num_rows))
        return max(1, min(self._settings.batch_rows, int(size / width)))

    def _write_run(self) -> None:
        if not self._batches:
            return
        batches, self._batches = self._batches, []
        whole = pa.concat_batches(batches) if len(batches) > 1 else batches[0]
        batches.clear()
        order = self.keys(whole).order()
        step = self._step(whole, self._block)
        self._runs.append(self._run(whole.take(order.slice(start, step)) for start in range(0, whole.num_rows, step)))
        self._reservation.shrink(self._held)
        self._held = self._rows = 0

    def _run(self, batches: Iterator[pa.RecordBatch]) -> tuple[SpillFile, list[Block]]:
        file = self._spill.file(self._owner, self.schema)
        try:
            blocks = [file.append(batch) for batch in batches]
            file.finish()
        except BaseException:
            file.delete()
            raise
        self.spilled_bytes += file.bytes
        return file, blocks

    def merged(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, as bounded batches."""
        if not self._runs:
            if self._batches:
                batches, self._batches = self._batches, []
                yield from self._sorted(batches)
            return
        self._write_run()
        while len(self._runs) > self._fan_in:
            group, self._runs = self._runs[: self._fan_in], self._runs[self._fan_in :]
            # The merged run takes the place of the oldest ones, so that equal keys stay in order.
            self._runs.insert(0, self._run(_reblocked(self._merge(group), self)))
            for file, _ in group:
                file.delete()
        yield from self._merge(self._runs)

    def _merge(self, runs: list[tuple[SpillFile, list[Block]]]) -> Iterator[pa.RecordBatch]:
        cursors = [_Cursor(self, file, blocks) for file, blocks in runs]
        cursors = [cursor for cursor in cursors if cursor.batch is not None]
        while cursors:
            # The run whose current block ends first: rows up to there are complete in all runs. Rows of later runs that
            # equal its last one wait, because its next block may have more of them and they came earlier.
            number = 0
            for i, other in enumerate(cursors):
                if other.compare_ends(cursors[number]) < 0:
                    number = i
            keys, last = cursors[number].keys, cursors[number].keys.length - 1
            pieces = [cursor.take_until(keys, last, i <= number) for i, cursor in enumerate(cursors)]
            pieces = [piece for piece in pieces if piece is not None]
            yield from self._sorted(pieces)
            cursors = [cursor for cursor in cursors if cursor.batch is not None]

    def close(self) -> None:
        self._batches = []
        self._reservation.shrink(self._held)
        self._held = 0
        for file, _ in self._runs:
            file.delete()
        self._runs = []


class _Cursor:
    """The current block of a run and how far it has been given out."""

    def __init__(self, runs: SortedRuns, file: SpillFile, blocks: list[Block]) -> None:
        self._runs = runs
        self._file = file
        self._blocks = iter(blocks)
        self._start = 0
        self.batch: pa.RecordBatch | None = None
        self.keys: SortKeys
        self._next()

    def _next(self) -> None:
        block = next(self._blocks, None)
        self.batch = None if block is None else self._file.read(block)
        self._start = 0
        if self.batch is not None:
            self.keys = self._runs.keys(self.batch)

    def compare_ends(self, other: _Cursor) -> int:
        """Which of two current blocks ends first: negative for this one."""
        return self.keys.compare(self.keys.length - 1, other.keys, other.keys.length - 1)

    def take_until(self, keys: SortKeys, row: int, equal: bool) -> pa.RecordBatch | None:
        """The rows not given out yet whose keys are before that row's (with `equal` also those equal to it); goes on to the
        next block when this one is used up."""
        assert self.batch is not None
        end = self.keys.upper_bound(keys, row) if equal else self.keys.lower_bound(keys, row)
        piece = self.batch.slice(self._start, end - self._start) if end > self._start else None
        self._start = max(self._start, end)
        if self._start == self.batch.num_rows:
            self._next()
        return piece


def _reblocked(batches: Iterator[pa.RecordBatch], runs: SortedRuns) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        step = runs._step(batch, runs._block)
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)
