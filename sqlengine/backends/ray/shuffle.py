"""Writing the output of a unit, and reading pieces of outputs: from files of this node, from other nodes, from objects.

Writing always makes one file below the keeper's folder: blocks by partition, complete under a name of its own before
anybody hears of it. Where the rows are to be objects, parts of the file become objects and the file goes.

Reading keeps two requests to other nodes in flight, each of about 4 MiB; files of this node are mapped. Small blocks
are joined to batches of a good size.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from sqlengine.backends.ray.cluster import Keeper
from sqlengine.backends.ray.outputs import (
    Lost,
    OutputIndex,
    Piece,
    each_block,
    partitions_per_object,
)
from sqlengine.runtime.memory import TaskMemory
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile, read_block
from sqlengine.settings import Settings

_REQUEST_BYTES = 4 << 20
_REQUESTS = 2
_MOST_KEYS = 256  # first keys of blocks in an index

_LOST = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.OwnerDiedError)


class OutputLost(Exception):
    """Raised by a reader; the driver runs again what is lost."""

    def __init__(self, lost: Lost) -> None:
        super().__init__(lost.why)
        self.lost = lost


class OutputWriter:
    """One unit's rows on their way into a file. `by`: of rows that come in order, the columns of that order."""

    def __init__(
        self,
        schema: pa.Schema,
        partitions: int,
        memory: TaskMemory,
        spill: SpillDirectory,
        settings: Settings,
        keys: tuple[str, ...] = (),
        by: Sequence[SortColumn] = (),
    ) -> None:
        self._schema = schema
        self._keys = keys
        self._by = tuple(by)
        self._spill = spill
        self._buffer: PartitionedBuffer | None = None
        self._file: SpillFile | None = None
        self._blocks: list[Block] = []
        self._firsts: list[pa.RecordBatch] = []
        self._numbers: list[int] = []
        if partitions > 1:
            reservation = memory.reservation("Exchange", 0, True)
            self._buffer = PartitionedBuffer(schema, partitions, reservation, spill, settings, "Exchange")

    def add(self, batch: pa.RecordBatch) -> None:
        if self._buffer is not None:
            self._buffer.add(batch, self._keys)
            return
        if self._file is None:
            self._file = self._spill.file("Exchange", self._schema)
        if self._by:
            self._firsts.append(_copied(batch.slice(0, 1).select([column.key for column in self._by])))
            self._numbers.append(len(self._blocks))
            if len(self._firsts) > _MOST_KEYS:  # every other one will do
                self._firsts, self._numbers = self._firsts[::2], self._numbers[::2]
        self._blocks.append(self._file.append(batch))

    def finish(self, path: Path) -> OutputIndex:
        """Everything is written and named `path` (of the spill directory's file system; not made if there is no
        row)."""
        if self._buffer is not None:
            self._buffer.finish()
            return OutputIndex.of(self._buffer.hand_over(path))
        if self._file is not None:
            self._file.hand_over(path)
        index = OutputIndex.of([self._blocks])
        if not self._firsts:
            return index
        return replace(index, first_keys=_joined(self._firsts), key_blocks=tuple(self._numbers))

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
        if self._file is not None:
            self._file.delete()


def _copied(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A copy that pins nothing of a larger batch."""
    columns = [pa.concat_arrays([column, column.slice(0, 0)]) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(list(batches)) if len(batches) > 1 else batches[0]


def as_objects(path: Path, index: OutputIndex, objects: int) -> tuple[OutputIndex, Iterator[pa.Buffer | None]]:
    """The index for a file's blocks in `objects` objects, and their contents one after the other; the file is removed
    at the end."""
    per_object = partitions_per_object(index.partitions, objects)
    moved = array("q")
    sources: list[array[int]] = []
    for first in range(0, index.partitions, per_object):
        blocks = index.blocks(first, min(index.partitions, first + per_object) - 1)
        at = 0
        for block in each_block(blocks):
            moved.extend((at, block.length, block.rows, block.bytes))
            at += block.length
        sources.append(blocks)

    def contents() -> Iterator[pa.Buffer | None]:
        try:
            for number in range(objects):
                blocks = sources[number] if number < len(sources) else array("q")
                if not len(blocks):
                    yield None
                    continue
                with open(path, "rb") as file:
                    sink = pa.BufferOutputStream()
                    for block in each_block(blocks):
                        sink.write(os.pread(file.fileno(), block.length, block.offset))
                yield sink.getvalue()
        finally:
            path.unlink(missing_ok=True)

    return replace(index, numbers=moved), contents()


class PieceReader:
    """Reads pieces on `node`, whose keeper's folder is `folder`."""

    def __init__(self, node: str, folder: str, keepers: Mapping[str, Keeper], settings: Settings) -> None:
        self._node = node
        self._folder = folder
        self._keepers = keepers
        self._settings = settings
        self.local_bytes = 0
        self.remote_bytes = 0

    def read(
        self, pieces: Sequence[Piece], schema: pa.Schema, keep: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of the pieces in their order (of each block what `keep` leaves), as batches of a good size. Raises
        OutputLost."""
        small: list[pa.RecordBatch] = []
        rows = size = 0
        good = self._settings.batch_bytes // 2
        for data, _ in self._blocks(pieces):
            batch = read_block(data, schema)
            if keep is not None:
                batch = keep(batch)
                if not batch.num_rows:
                    continue
            if small and (size + batch.nbytes > 2 * good or rows + batch.num_rows > self._settings.batch_rows):
                yield _joined(small)
                small, rows, size = [], 0, 0
            small.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if size >= good or not schema.names:
                yield _joined(small) if schema.names else batch
                small, rows, size = [], 0, 0
        if small:
            yield _joined(small)

    def kept(self, pieces: Sequence[Piece]) -> Iterator[pa.Buffer]:
        """The blocks of pieces of one file of this node, which stays readable whatever happens to its name. Raises
        OutputLost at once."""
        if not pieces:
            return iter(())
        first = pieces[0]
        assert first.file is not None
        try:
            file = os.open(os.path.join(self._folder, first.file), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _lost(first, str(error)) from None

        def blocks() -> Iterator[pa.Buffer]:
            try:
                for piece in pieces:
                    for block in each_block(piece.blocks):
                        yield pa.py_buffer(os.pread(file, block.length, block.offset))
            finally:
                os.close(file)

        return blocks()

    def raw(self, piece: Piece) -> Iterator[pa.Buffer]:
        """The blocks of a piece as they are stored."""
        for data, _ in self._blocks([piece]):
            yield data

    def _blocks(self, pieces: Sequence[Piece]) -> Iterator[tuple[pa.Buffer, Block]]:
        waiting: deque[tuple[Piece, list[Block], Any]] = deque()
        for piece, blocks in _requests(pieces):
            waiting.append((piece, blocks, self._ask(piece, blocks)))
            if len(waiting) > _REQUESTS:
                yield from self._answer(*waiting.popleft())
        while waiting:
            yield from self._answer(*waiting.popleft())

    def _ask(self, piece: Piece, blocks: list[Block]) -> Any:
        """Start what takes time: a request to another node."""
        if piece.file is None or piece.node == self._node:
            return None
        keeper = self._keepers.get(piece.node)
        if keeper is None:
            raise _lost(piece, "its node is gone")
        return keeper.handle.read.remote(piece.file, [(block.offset, block.length) for block in blocks])

    def _answer(self, piece: Piece, blocks: list[Block], asked: Any) -> Iterator[tuple[pa.Buffer, Block]]:
        size = sum(block.length for block in blocks)
        if piece.file is None:
            data, base = self._object(piece), 0
            self.local_bytes += size
        elif asked is None:
            data, base = self._mapped(piece), 0
            self.local_bytes += size
        else:
            data, base = self._received(piece, asked), None
            self.remote_bytes += size
        at = 0
        for block in blocks:
            start = block.offset if base is not None else at
            if start + block.length > data.size:
                raise _lost(piece, "its file is shorter than what was written")
            yield data.slice(start, block.length), block
            at += block.length

    def _object(self, piece: Piece) -> pa.Buffer:
        try:
            return ray.get(piece.object)
        except _LOST as error:
            raise _lost(piece, str(error)) from None

    def _received(self, piece: Piece, asked: Any) -> pa.Buffer:
        try:
            return pa.py_buffer(ray.get(asked))
        except (*_LOST, ray.exceptions.RayTaskError) as error:
            raise _lost(piece, str(error)) from None

    def _mapped(self, piece: Piece) -> pa.Buffer:
        assert piece.file is not None
        try:
            with pa.memory_map(os.path.join(self._folder, piece.file)) as file:
                return file.read_buffer()
        except OSError as error:
            raise _lost(piece, str(error)) from None


def _requests(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, list[Block]]]:
    """Pieces cut into requests of about 4 MiB."""
    for piece in pieces:
        blocks: list[Block] = []
        size = 0
        for block in each_block(piece.blocks):
            if blocks and size + block.length > _REQUEST_BYTES:
                yield piece, blocks
                blocks, size = [], 0
            blocks.append(block)
            size += block.length
        if blocks:
            yield piece, blocks


def _lost(piece: Piece, why: str) -> OutputLost:
    return OutputLost(Lost(piece.stage, piece.unit, piece.attempt, piece.node, why))
