"""Rows that a session keeps: a table made by SQL, or a result held for the user.

Written once, in order, by one thread (`add`, `finish`), then read by any number of threads. Rows are gathered into
chunks of
about a megabyte. A chunk is in memory as long as the pool allows, else it is a block of a spill file; when a task
would have to
wait for memory, the pool pushes all chunks to disk. Held: the chunks and the rows being gathered, all reserved. Worst
case:
every row is written to disk once. Memory and file are given back when nobody refers to the store any more.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import SpillError
from sqlengine.runtime.memory import MemoryPool, TaskMemory, compact
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile

_TARGET = 1 << 20
_OBJECTS = 256


@dataclass
class StoredChunk:
    """Rows in memory (`batch`) or on disk (`block`); `bytes` in memory form."""

    rows: int
    bytes: int
    batch: pa.RecordBatch | None
    block: Block | None = None


@dataclass
class _Holdings:
    """What must be given back at the end: kept apart from the store, so that its finalizer does not keep it alive."""

    pool: MemoryPool
    memory: TaskMemory
    key: object
    file: SpillFile | None = None

    def release(self) -> None:
        self.pool.forget(self.key)
        self.memory.close()
        if self.file is not None:
            self.file.delete()


@dataclass
class ColumnFacts:
    """Of one column: NULLs, bytes, smallest and largest value as far as they compare."""

    nulls: int = 0
    bytes: int = 0
    least: pa.Scalar | None = None
    greatest: pa.Scalar | None = None

    def add(self, column: pa.Array) -> None:
        self.nulls += column.null_count
        self.bytes += column.nbytes
        if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type) or column.null_count == len(column):
            return
        with contextlib.suppress(pa.ArrowNotImplementedError):
            found = pc.min_max(column)
            low, high = found["min"], found["max"]
            if low.is_valid and (self.least is None or _less(low, self.least)):
                self.least = low
            if high.is_valid and (self.greatest is None or _less(self.greatest, high)):
                self.greatest = high


def _less(a: pa.Scalar, b: pa.Scalar) -> bool:
    return bool(pc.less(a, b).as_py())


@dataclass
class RowStore:
    """`schema` has the columns by position ("0", "1", ...): names belong to whoever keeps the store."""

    schema: pa.Schema
    pool: MemoryPool
    spill_directory: SpillDirectory
    owner: str
    chunks: list[StoredChunk] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    largest: int = 0

    def __post_init__(self) -> None:
        self.facts = [ColumnFacts() for _ in self.schema]
        memory = self.pool.admit(self.owner, 0)
        self._holdings = _Holdings(self.pool, memory, object())
        self._reservation = memory.reservation(self.owner, 0, True)
        self._open: list[pa.RecordBatch] = []
        self._open_bytes = 0
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, self._holdings.release)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; the batch's columns are those of the schema, whatever their names."""
        if not batch.num_rows:
            return
        batch = compact(pa.RecordBatch.from_arrays(batch.columns, schema=self.schema))
        for facts, column in zip(self.facts, batch.columns, strict=True):
            facts.add(column)
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        cost = int(batch.nbytes) + _OBJECTS
        if not self._reservation.try_grow(cost):
            self.spill()
            if not self._reservation.try_grow(cost):
                self._gather()
                self.spill()
                self._append(batch, self._write(batch))
                return
        self._open.append(batch)
        self._open_bytes += cost
        if self._open_bytes >= _TARGET:
            self._gather()

    def _gather(self) -> None:
        """The open rows as one chunk."""
        if not self._open:
            return
        batch = self._open[0] if len(self._open) == 1 else pa.concat_batches(self._open)
        self._reservation.shrink(max(0, self._open_bytes - int(batch.nbytes) - _OBJECTS))
        self._open, self._open_bytes = [], 0
        self._append(batch, None)

    def _append(self, batch: pa.RecordBatch, block: Block | None) -> None:
        size = int(batch.nbytes)
        self.largest = max(self.largest, size)
        self.chunks.append(StoredChunk(batch.num_rows, size, batch if block is None else None, block))

    def _write(self, batch: pa.RecordBatch) -> Block:
        holdings = self._holdings
        if holdings.file is None:
            holdings.file = self.spill_directory.file(self.owner, self.schema)
        return holdings.file.append(batch)

    def finish(self) -> None:
        """No more rows will come; from now on the pool may push the rows to disk."""
        self._gather()
        self._reservation.settle()
        self.pool.register_evictable(self._holdings.key, partial(_evict, weakref.ref(self)))

    def spill(self, wanted: int | None = None) -> int:
        """Write to disk what is in memory, or the last rows of it until `wanted` bytes are freed; how many. Readers
        that have a chunk keep it."""
        freed = 0
        with self._lock:
            for chunk in self.chunks if wanted is None else reversed(self.chunks):
                batch = chunk.batch
                if batch is not None and (wanted is None or freed < wanted):
                    chunk.block = self._write(batch)
                    chunk.batch = None
                    self._reservation.shrink(chunk.bytes + _OBJECTS)
                    freed += chunk.bytes
        return freed

    def read(self, number: int, columns: list[str]) -> pa.RecordBatch:
        """The columns (by position names) of a chunk."""
        chunk = self.chunks[number]
        batch = chunk.batch  # taken once: an eviction may come between
        if batch is not None:
            return batch.select(columns)
        file, block = self._holdings.file, chunk.block
        if file is None or block is None:
            raise SpillError(f"the rows of {self.owner} are gone", code="spill_failed")
        return file.read(block, columns)

    @property
    def in_memory(self) -> bool:
        return all(chunk.batch is not None for chunk in self.chunks)

    def close(self) -> None:
        self._finalizer()


def _evict(store: weakref.ref[RowStore], wanted: int) -> int:
    found = store()
    return 0 if found is None else found.spill(wanted)
