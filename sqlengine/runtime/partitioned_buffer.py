"""Rows held by partition, in memory as long as the reservation allows, else on disk: one of the two containers of rows.

1. A batch is scattered to its partitions by the hash of its key columns; with one partition it is kept as it is.
2. Small pieces are gathered: a partition's open pieces become one block when they reach a good size.
3. When the reservation refuses to grow, the largest partitions are written to one spill file and their memory is freed.

Held: blocks of each partition (counted by the bytes they pin). Reading gives the blocks in the order in which they came,
those on disk first. Worst case: every row is written and read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from sqlengine.kernels.hashing import hash_columns
from sqlengine.kernels.partitioning import partition
from sqlengine.runtime.memory import Reservation, compact, pinned_bytes
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile
from sqlengine.settings import Settings


class PartitionedBuffer:
    """Filled by one thread (`add`, `finish`), then read by partition, again and again unless `consume`d.

    `level` picks independent hash bits, so that a partition can be split further by another buffer.
    """

    def __init__(
        self,
        schema: pa.Schema,
        partitions: int,
        reservation: Reservation,
        spill: SpillDirectory,
        settings: Settings,
        owner: str,
        level: int = 0,
    ) -> None:
        self.schema = schema
        self.partitions = partitions
        self._reservation = reservation
        self._spill = spill
        self._settings = settings
        self._owner = owner
        self._level = level
        self._blocks: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]
        self._held = [0] * partitions
        self._rows = [0] * partitions
        self._bytes = [0] * partitions
        self._written: list[list[Block]] = [[] for _ in range(partitions)]
        self._file: SpillFile | None = None
        self._target = max(4096, settings.batch_bytes // max(1, min(partitions, 16)))
        self.spilled_bytes = 0

    def add(self, batch: pa.RecordBatch, keys: Sequence[str] = (), hashes: pa.Array | None = None) -> None:
        """Take the rows of a batch, to the partitions by `hashes` (or the hash of the columns `keys`)."""
        if self.partitions == 1:
            self._keep(0, compact(batch))
            return
        if hashes is None:
            hashes = hash_columns([batch.column(key) for key in keys])
        order, offsets = partition(hashes, self.partitions, self._level)
        scattered = batch.take(order)
        for number in range(self.partitions):
            start, end = offsets[number], offsets[number + 1]
            if end > start:
                self._keep(number, scattered.slice(start, end - start))

    def _keep(self, number: int, batch: pa.RecordBatch) -> None:
        # A slice of the scattered batch shares its buffers with the other partitions' slices: it counts by what it shows
        # and is copied together with its neighbours as soon as there are enough of them.
        size = max(64, batch.nbytes)
        if not self._reservation.try_grow(size):
            self.spill()
            if not self._reservation.try_grow(size):
                self._write(number, compact(batch))
                return
        self._blocks[number].append(batch)
        self._held[number] += size
        self._rows[number] += batch.num_rows
        self._bytes[number] += batch.nbytes
        if self.partitions > 1:
            self._gather(number)

    def _gather(self, number: int) -> None:
        """Copy the small pieces at the end of a partition's list into one block when they are worth it."""
        blocks = self._blocks[number]
        small = 0
        size = 0
        while small < len(blocks) and blocks[-1 - small].nbytes < self._target // 2:
            size += blocks[-1 - small].nbytes
            small += 1
        if small >= 64 or (small > 1 and size >= self._target):
            merged = _merged(blocks[-small:])
            blocks[-small:] = [merged]

    def _write(self, number: int, batch: pa.RecordBatch) -> None:
        if self._file is None:
            self._file = self._spill.file(self._owner, self.schema)
        limit = self._settings.batch_bytes
        rows = batch.num_rows
        step = rows if batch.nbytes <= 2 * limit else max(1, rows * limit // max(1, batch.nbytes))
        for start in range(0, rows, step):
            piece = batch if step >= rows else batch.slice(start, step)
            block = self._file.append(piece)
            self._written[number].append(block)
            self._rows[number] += piece.num_rows
            self._bytes[number] += block.bytes
            self.spilled_bytes += block.length

    def spill(self, keep: float = 0.0) -> int:
        """Write partitions to disk, the largest first, until at most `keep` of the held bytes remain; bytes freed."""
        target = sum(self._held) * keep
        freed = 0
        for number in sorted(range(self.partitions), key=lambda n: -self._held[n]):
            if sum(self._held) <= target:
                break
            freed += self._spill_one(number)
        return freed

    def _spill_one(self, number: int) -> int:
        size = self._held[number]
        if not size:
            return 0
        blocks, self._blocks[number] = self._blocks[number], []
        self._rows[number] -= sum(batch.num_rows for batch in blocks)
        self._bytes[number] -= sum(batch.nbytes for batch in blocks)
        self._held[number] = 0
        group: list[pa.RecordBatch] = []
        held = 0
        blocks.reverse()
        while blocks:
            batch = blocks.pop()
            group.append(batch)
            held += batch.nbytes
            if held >= self._settings.batch_bytes // 2 or not blocks:
                self._write(number, _merged(group))
                group, held = [], 0
        self._reservation.shrink(size)
        return size

    def finish(self) -> None:
        """No more rows will come."""
        for number in range(self.partitions):
            if len(self._blocks[number]) > 1 and self.partitions > 1:
                self._blocks[number] = _regrouped(self._blocks[number], self._settings.batch_bytes)

    def rows(self, number: int) -> int:
        return self._rows[number]

    def bytes(self, number: int) -> int:
        """Of the rows of a partition in memory form."""
        return self._bytes[number]

    def in_memory(self, number: int) -> bool:
        return not self._written[number]

    @property
    def total_rows(self) -> int:
        return sum(self._rows)

    @property
    def total_bytes(self) -> int:
        return sum(self._bytes)

    def read(self, number: int, consume: bool = False) -> Iterator[pa.RecordBatch]:
        """The rows of a partition as bounded batches; `consume` frees their memory on the way."""
        for block in self._written[number]:
            assert self._file is not None
            yield self._file.read(block)
        if not consume:
            for batch in list(self._blocks[number]):
                yield from self._bounded(batch)
            return
        blocks = self._blocks[number]
        blocks.reverse()
        while blocks:
            batch = blocks.pop()
            yield from self._bounded(batch)
            size = min(self._held[number], max(64, batch.nbytes))
            self._held[number] -= size
            self._reservation.shrink(size)
        self.drop(number)

    def _bounded(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        limit_rows, limit_bytes = self._settings.batch_rows, 2 * self._settings.batch_bytes
        rows = batch.num_rows
        if rows <= limit_rows and batch.nbytes <= limit_bytes:
            yield batch
            return
        step = max(1, min(limit_rows, int(rows * self._settings.batch_bytes / max(1, batch.nbytes))))
        for start in range(0, rows, step):
            yield batch.slice(start, step)

    def drop(self, number: int) -> None:
        """Forget a partition and free its memory."""
        self._blocks[number] = []
        self._reservation.shrink(self._held[number])
        self._held[number] = 0
        self._written[number] = []

    def close(self) -> None:
        for number in range(self.partitions):
            self.drop(number)
        if self._file is not None:
            self._file.delete()
            self._file = None


def _merged(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        batch = batches[0]
        return batch if pinned_bytes(batch) <= 1.25 * batch.nbytes + 4096 else compact(batch)
    return pa.concat_batches(batches)


def _regrouped(batches: list[pa.RecordBatch], size: int) -> list[pa.RecordBatch]:
    result: list[pa.RecordBatch] = []
    group: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        if group and held + batch.nbytes > size:
            result.append(_merged(group))
            group, held = [], 0
        group.append(batch)
        held += batch.nbytes
    if group:
        result.append(_merged(group))
    return result
