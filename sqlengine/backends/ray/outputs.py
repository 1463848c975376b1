"""What a unit of a stage leaves for later stages, and which part of it a reader wants.

An output is one file (or a few objects) of blocks, each a batch of rows that can be read by itself. Its index says
where the blocks of each partition lie: arrays of numbers, so that the driver's memory grows with blocks, not with
objects.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sqlengine.runtime.spill import Block

_PER_BLOCK = 4  # numbers in the index: offset, length, rows, bytes


@dataclass(frozen=True)
class OutputIndex:
    """Where the blocks of each partition are. `numbers`: four for each block, partition after partition; `starts`: the
    first block of each partition, and the end. `first_keys`: of an output in order, the keys of the first row of some
    blocks (those numbered in `key_blocks`)."""

    numbers: array[int]
    starts: array[int]
    first_keys: pa.RecordBatch | None = None
    key_blocks: tuple[int, ...] = ()

    @classmethod
    def of(cls, partitions: list[list[Block]]) -> OutputIndex:
        numbers, starts = array("q"), array("q", [0])
        for blocks in partitions:
            for block in blocks:
                numbers.extend((block.offset, block.length, block.rows, block.bytes))
            starts.append(len(numbers) // _PER_BLOCK)
        return cls(numbers, starts)

    @property
    def partitions(self) -> int:
        return len(self.starts) - 1

    def blocks(self, first: int, last: int) -> array[int]:
        """The numbers of the blocks of partitions `first` to `last` (which is included)."""
        return self.numbers[self.starts[first] * _PER_BLOCK : self.starts[last + 1] * _PER_BLOCK]

    def part(self, start: int, end: int) -> array[int]:
        """The numbers of blocks `start` to `end` (which is not included)."""
        return self.numbers[start * _PER_BLOCK : end * _PER_BLOCK]

    def bytes(self, partition: int) -> int:
        """Of the rows of a partition in memory form."""
        return sum(self.numbers[self.starts[partition] * _PER_BLOCK + 3 : self.starts[partition + 1] * _PER_BLOCK : 4])

    @property
    def total_rows(self) -> int:
        return sum(self.numbers[2::_PER_BLOCK])

    @property
    def total_bytes(self) -> int:
        return sum(self.numbers[3::_PER_BLOCK])

    @property
    def stored_bytes(self) -> int:
        """As they lie in the file or the objects."""
        return sum(self.numbers[1::_PER_BLOCK])


def each_block(numbers: array[int]) -> Iterator[Block]:
    for at in range(0, len(numbers), _PER_BLOCK):
        yield Block(numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3])


@dataclass(frozen=True)
class Piece:
    """What a reader wants of one output: blocks of a file on a node, or of an object."""

    stage: int
    unit: int
    attempt: int
    node: str
    file: str | None
    object: Any = field(compare=False)
    blocks: array[int] = field(compare=False)


@dataclass(frozen=True)
class UnitOutput:
    """What one run of a unit left on `node`: a `file` below the keeper's folder, or `objects`, each with the same
    number of partitions (the last one may have fewer)."""

    stage: int
    unit: int
    attempt: int
    node: str
    index: OutputIndex
    file: str | None = None
    objects: tuple[Any, ...] = field(default=(), compare=False)

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """The blocks of a range of partitions; nothing if they are empty."""
        if self.file is not None or not self.objects:
            yield from self._piece(self.index.blocks(first, last), None)
            return
        per_object = partitions_per_object(self.index.partitions, len(self.objects))
        for number in range(first // per_object, last // per_object + 1):
            low, high = max(first, number * per_object), min(last, (number + 1) * per_object - 1)
            yield from self._piece(self.index.blocks(low, high), self.objects[number])

    def part(self, start: int, end: int) -> Iterator[Piece]:
        """Some blocks of an output with one partition."""
        yield from self._piece(self.index.part(start, end), self.objects[0] if self.objects else None)

    def _piece(self, blocks: array[int], held: Any) -> Iterator[Piece]:
        if len(blocks):
            yield Piece(self.stage, self.unit, self.attempt, self.node, self.file, held, blocks)


def partitions_per_object(partitions: int, objects: int) -> int:
    return -(-partitions // objects)


@dataclass(frozen=True)
class Lost:
    """An output that a reader could not read: its node or its file is gone."""

    stage: int
    unit: int
    attempt: int
    node: str
    why: str
