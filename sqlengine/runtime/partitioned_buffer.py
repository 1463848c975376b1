"""Rows held by partition, in memory as long as the reservation allows, else on disk: one of the two containers of rows.

1. A batch is scattered to its partitions by the hash of its key columns; with one partition it is kept as it is.
2. Small pieces are gathered: a partition's open pieces become one block when they reach a good size. Blocks that stay
   small are merged with blocks of their own size, so that a row is copied a logarithmic number of times.
3. When the reservation refuses to grow, the largest partitions are written to one spill file until half of the memory
   is free. What stays is gathered, since open pieces of one batch pin each other.

Held: pieces and blocks of each partition, counted by the bytes they show plus what each object costs. Reading gives
the rows in the order in which they came, those on disk first. Worst case: every row is written and read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from sqlengine.kernels.hashing import hash_columns
from sqlengine.kernels.partitioning import partition
from sqlengine.runtime.memory import Reservation, compact
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile
from sqlengine.settings import Settings

_PIECES = 64  # open pieces of a partition that are gathered at once, even if they are tiny
_BATCH_BYTES = 1 << 20  # where the settings leave it to the engine


class PartitionedBuffer:
    """Filled by one thread (`add`, `finish`), then read by partition, again and again unless `consume`d.

    Partitions do not share state, so that several threads may each read, consume or spill one of them.
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
        self._batch_rows = settings.batch_rows
        self._batch_bytes = settings.batch_bytes or _BATCH_BYTES
        self._owner = owner
        self._level = level
        self._blocks: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]
        self._open: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]  # pieces, younger than the blocks
        self._open_bytes = [0] * partitions
        self._held = [0] * partitions
        self._rows = [0] * partitions
        self._bytes = [0] * partitions
        self._written: list[list[Block]] = [[] for _ in range(partitions)]
        self._file: SpillFile | None = None
        self._target = max(4096, self._batch_bytes // max(1, min(partitions, 16)))
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
        # A slice of the scattered batch shares its buffers with the other partitions' slices: it counts by what it
        # shows and is copied together with its neighbours as soon as there are enough of them.
        cost = _cost(batch)
        if not self._reservation.try_grow(cost):
            self.spill(0.5 if self.partitions > 1 else 0.0)
            if not self._reservation.try_grow(cost):
                self.spill_partition(number)  # older rows go first
                self._written[number] += self._write([batch])
                self._count(number, batch)
                return
        self._open[number].append(batch)
        self._held[number] += cost
        self._count(number, batch)
        self._open_bytes[number] += batch.nbytes
        if len(self._open[number]) >= _PIECES or self._open_bytes[number] >= self._target:
            self._gather(number)

    def _count(self, number: int, batch: pa.RecordBatch) -> None:
        self._rows[number] += batch.num_rows
        self._bytes[number] += batch.nbytes

    def _gather(self, number: int) -> None:
        """Copy a partition's open pieces into one block, and small blocks into one with their neighbours."""
        pieces = self._open[number]
        if not pieces:
            return
        self._open[number] = []
        self._open_bytes[number] = 0
        blocks = self._blocks[number]
        if not self.schema.names:
            blocks += pieces  # nothing to copy, and rows alone cannot be concatenated for less
            return
        before = sum(map(_cost, pieces))
        merged = _merged(pieces)
        while blocks and blocks[-1].nbytes <= 2 * merged.nbytes and blocks[-1].nbytes + merged.nbytes <= self._target:
            before += _cost(blocks[-1])
            merged = _merged([blocks.pop(), merged])
        blocks.append(merged)
        # One object costs less than many did.
        self._release(number, before - _cost(merged))

    def _release(self, number: int, size: int) -> None:
        size = max(0, min(size, self._held[number]))
        self._held[number] -= size
        self._reservation.shrink(size)

    def _write(self, batches: Sequence[pa.RecordBatch]) -> list[Block]:
        """Write rows as blocks of about half a batch's bytes."""
        if self._file is None:
            self._file = self._spill.file(self._owner, self.schema)
        written: list[Block] = []
        group: list[pa.RecordBatch] = []
        size = 0
        for position, batch in enumerate(batches):
            group.append(batch)
            size += batch.nbytes
            if size < self._batch_bytes // 2 and position + 1 < len(batches):
                continue
            for piece in self._bounded(group[0] if len(group) == 1 else pa.concat_batches(group)):
                block = self._file.append(piece)
                written.append(block)
                self.spilled_bytes += block.length
            group, size = [], 0
        return written

    def spill(self, keep: float = 0.0) -> int:
        """Write partitions to disk, the largest first, until at most `keep` of the held bytes remain; bytes freed."""
        held = sum(self._held)
        target = held * keep
        freed = 0
        for number in sorted(range(self.partitions), key=lambda n: -self._held[n]):
            if held - freed <= target:
                break
            freed += self.spill_partition(number)
        if keep:
            # Otherwise their small pieces would keep alive the batches of which the large ones have just been written.
            for number in range(self.partitions):
                self._gather(number)
        return freed

    def spill_partition(self, number: int) -> int:
        """Write one partition to disk; bytes freed. After a SpillError the partition is as it was."""
        size = self._held[number]
        if not self._blocks[number] and not self._open[number]:
            return 0  # nothing there, or a consuming reader has it
        self._written[number] += self._write(self._blocks[number] + self._open[number])
        self._blocks[number] = []
        self._open[number] = []
        self._open_bytes[number] = 0
        self._release(number, size)
        return size

    def hand_over(self, path: Path) -> list[list[Block]]:
        """Write what is in memory, give the file to somebody else as `path` (on the same file system; not made when
        there is no row), and the blocks of each partition. The buffer is empty then."""
        for number in range(self.partitions):
            self.spill_partition(number)
        if self._file is not None:
            self._file.hand_over(path)
            self._file = None
        written, self._written = self._written, [[] for _ in range(self.partitions)]
        return written

    def finish(self) -> None:
        """No more rows will come."""
        for number in range(self.partitions):
            self._gather(number)

    def settle(self) -> None:
        """From now on somebody may spill the partitions who needs the memory."""
        self._reservation.settle()

    def rows(self, number: int) -> int:
        return self._rows[number]

    def bytes(self, number: int) -> int:
        """Of the rows of a partition in memory form."""
        return self._bytes[number]

    def held(self, number: int) -> int:
        """Bytes of a partition that are in memory now."""
        return self._held[number]

    def in_memory(self, number: int) -> bool:
        return not self._written[number]

    @property
    def total_rows(self) -> int:
        return sum(self._rows)

    @property
    def total_bytes(self) -> int:
        return sum(self._bytes)

    @property
    def spill_files(self) -> int:
        return 0 if self._file is None else 1

    def read(self, number: int, consume: bool = False) -> Iterator[pa.RecordBatch]:
        """The rows of a partition as bounded batches; `consume` frees their memory on the way."""
        # What a reader sees is what was there when it began: rows may be added or spilled meanwhile.
        written = list(self._written[number])
        if consume:
            blocks = self._blocks[number] + self._open[number]
            self._blocks[number], self._open[number] = [], []
            self._open_bytes[number] = 0
        else:
            blocks = self._blocks[number] + self._open[number]
        for block in written:
            assert self._file is not None
            yield from self._bounded(self._file.read(block))
        blocks.reverse()
        small: list[pa.RecordBatch] = []
        freed = 0
        while blocks:
            small.append(blocks.pop())
            freed += _cost(small[-1])
            if blocks and self.schema.names and self._joins(small, blocks[-1]):
                continue
            batch = small[0] if len(small) == 1 else pa.concat_batches(small)
            small = []
            yield from self._bounded(batch)
            del batch
            if consume:
                self._release(number, freed)
            freed = 0
        if consume:
            self.drop(number)

    def _joins(self, small: list[pa.RecordBatch], more: pa.RecordBatch) -> bool:
        """Whether small blocks make one better batch together."""
        rows: int = sum(batch.num_rows for batch in small) + more.num_rows
        size: int = sum(batch.nbytes for batch in small) + more.nbytes
        return rows <= self._batch_rows and size <= self._batch_bytes // 2

    def _bounded(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        rows = batch.num_rows
        if rows <= self._batch_rows and batch.nbytes <= 2 * self._batch_bytes:
            yield batch
            return
        step = max(1, min(self._batch_rows, int(rows * self._batch_bytes / max(1, batch.nbytes))))
        for start in range(0, rows, step):
            yield batch.slice(start, step)

    def drop(self, number: int) -> None:
        """Forget a partition and free its memory."""
        self._blocks[number] = []
        self._open[number] = []
        self._open_bytes[number] = 0
        self._release(number, self._held[number])
        self._written[number] = []

    def close(self) -> None:
        for number in range(self.partitions):
            self.drop(number)
        if self._file is not None:
            self._file.delete()
            self._file = None


def _cost(batch: pa.RecordBatch) -> int:
    """Bytes that holding a batch takes: what it shows, and the objects and padding of its columns."""
    return int(batch.nbytes) + 256 + 128 * int(batch.num_columns)


def _merged(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return compact(batches[0]) if len(batches) == 1 else pa.concat_batches(batches)
