"""The contract of every physical operator.

An operator is immutable, picklable data. `run` is a generator over record batches: it gets its inputs as streams, so
the same code is fed by a local child, a shuffle reader, a worker of a cluster, or three hand-made batches in a test.
The generator's local variables are the only run-time state. Closing the generator stops everything below it.

The law of a stream (`Batches`): every batch has the operator's schema exactly, at least one row, and at most
`settings.batch_rows` rows and about `settings.batch_bytes` bytes (one row may exceed that).

Operators refer to input columns by key only (`pa.RecordBatch.column(key)`); where SQL has an expression as a grouping,
join or sort key, lowering puts a `ProjectColumns` below. Expressions remain in FilterRows, ProjectColumns and join
residuals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class MemoryNeed:
    """What an operator needs. `floor` (bytes) is a promise: with it the operator finishes any input, spilling if it
    must; it follows from settings and file metadata, never from row estimates. `ideal` is an estimate of what it would
    use if it could (None: unknown). `spills`: whether the difference goes to disk. `why`: one phrase for EXPLAIN
    MEMORY."""

    floor: int
    ideal: int | None
    spills: bool
    why: str

    @classmethod
    def streaming(cls, settings: Settings, batches: int = 2, why: str = "batches in flight") -> MemoryNeed:
        floor = batches * settings.batch_bytes
        return cls(floor, floor, False, why)


@dataclass(frozen=True)
class Distribution:
    """How rows are spread over the tasks of a stage. `kind`: any, single (all rows in one task), hash (rows with equal
    `keys` in one task), shared (every task sees all rows: a build side)."""

    kind: str
    keys: tuple[str, ...] = ()


ANY = Distribution("any")
SINGLE = Distribution("single")
SHARED = Distribution("shared")


@dataclass(frozen=True)
class Operator(ABC):
    """Base of all operators: `inputs` and `schema` (keys and types of what it yields)."""

    inputs: tuple[Operator, ...]
    schema: pa.Schema

    @abstractmethod
    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        """Yield the output. Reserves through `task.reservation(self)` whatever it holds beyond its floor."""

    @abstractmethod
    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        """Floor and ideal for one task, given the estimates of the inputs."""

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        """Estimate of the output."""
        return inputs[0]

    def needs(self) -> Sequence[Distribution]:
        """Per input, how its rows must be spread for the answer to be right."""
        return [ANY for _ in self.inputs]

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        """How the output is spread, given how the inputs are."""
        return inputs[0] if inputs else ANY

    def describe(self) -> str:
        """The parameters for EXPLAIN, without the operator's name."""
        return ""

    def children(self) -> tuple[Operator, ...]:
        return self.inputs

    def with_children(self, children: tuple[Operator, ...]) -> Self:
        return replace(self, inputs=children)
