"""What a finished stage leaves for the next: partitions of rows, written by several tasks, on this machine.

Every task writes a `PartitionedBuffer` of its own; reading a partition chains them. The memory belongs to the stage,
not to a task, so the pool may push a finished stage to disk when a task would otherwise wait for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pyarrow as pa

from sqlengine.runtime.memory import MemoryPool, Reservation
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings


class Shuffle:
    """Rows of one schema in `partitions` partitions. Bytes are those of the rows in memory form."""

    def __init__(
        self,
        schema: pa.Schema,
        partitions: int,
        pool: MemoryPool,
        spill: SpillDirectory,
        settings: Settings,
        owner: str,
    ) -> None:
        self.schema = schema
        self.partitions = partitions
        self._pool = pool
        self._spill = spill
        self._settings = settings
        self._owner = owner
        # No floor: what does not fit is written to disk at once.
        self._memory = pool.admit(owner, 0)
        self._lock = threading.Lock()
        self._buffers: list[PartitionedBuffer] = []
        self._readers = [0] * partitions
        self._closed = False
        self._give_up: Callable[[], int] | None = None

    def reservation(self, name: str) -> Reservation:
        """For what else is kept as long as the rows are."""
        return self._memory.reservation(name, 0, False)

    def writer(self) -> ShuffleWriter:
        """For one task."""
        buffer = PartitionedBuffer(
            self.schema,
            self.partitions,
            self._memory.reservation(self._owner, 0, True),
            self._spill,
            self._settings,
            self._owner,
        )
        with self._lock:
            self._buffers.append(buffer)
        return ShuffleWriter(buffer)

    def finish(self, give_up: Callable[[], int] | None = None) -> None:
        """All writers are done; from now on the pool may evict: the rows, then what `give_up` frees."""
        self._give_up = give_up
        for buffer in self._buffers:
            buffer.settle()
        self._pool.register_evictable(self, self.spill)

    def spill(self, wanted: int) -> int:
        """Push to disk what is in memory of the partitions that nobody reads now, the last ones first, until so many
        bytes are freed; how many. Any thread may call it once the shuffle is finished."""
        freed = 0
        with self._lock:
            if self._closed:
                return 0
            for number in reversed(range(self.partitions)):
                if freed < wanted and not self._readers[number]:
                    freed += sum(buffer.spill_partition(number) for buffer in self._buffers)
        return freed or (self._give_up() if self._give_up is not None else 0)

    def rows(self, partition: int) -> int:
        return sum(buffer.rows(partition) for buffer in self._buffers)

    def bytes(self, partition: int) -> int:
        return sum(buffer.bytes(partition) for buffer in self._buffers)

    @property
    def total_rows(self) -> int:
        return sum(buffer.total_rows for buffer in self._buffers)

    @property
    def total_bytes(self) -> int:
        return sum(buffer.total_bytes for buffer in self._buffers)

    @property
    def spilled_bytes(self) -> int:
        return sum(buffer.spilled_bytes for buffer in self._buffers)

    @property
    def spill_files(self) -> int:
        return sum(buffer.spill_files for buffer in self._buffers)

    def read(self, partition: int, consume: bool = False) -> Iterator[pa.RecordBatch]:
        with self._lock:
            self._readers[partition] += 1
        try:
            for buffer in self._buffers:
                yield from buffer.read(partition, consume)
        finally:
            with self._lock:
                self._readers[partition] -= 1

    def close(self) -> None:
        self._pool.forget(self)
        with self._lock:  # an eviction in progress ends first
            self._closed = True
            for buffer in self._buffers:
                buffer.close()
        self._memory.close()


class ShuffleWriter:
    """One task's way into a shuffle."""

    def __init__(self, buffer: PartitionedBuffer) -> None:
        self._buffer = buffer

    def add(self, batch: pa.RecordBatch, keys: tuple[str, ...]) -> None:
        self._buffer.add(batch, keys)

    def finish(self) -> None:
        self._buffer.finish()
