"""The seams between stages: `Exchange` says that rows change tasks here, `StageInput` reads what a finished stage left.

Distribution adds nothing else to a plan. An Exchange never runs as an operator: the backend cuts the plan there and
runs what is below as a stage of its own. Kinds of `to`: `single` (gathered into one task, in order, while both run),
`hash` (partitioned by keys, finished before the reader starts), `shared` (held for all tasks of the reader).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from sqlengine.errors import InternalError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.key_set import KeySet
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class Exchange(Operator):
    to: Distribution
    partitions: int = 1
    summarize: tuple[str, ...] = ()  # columns whose range the next stage wants to know (join keys)

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        raise InternalError("an exchange is cut by the backend, not run")

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        match self.to.kind:
            case "single":
                return MemoryNeed.streaming(settings, 2, "queue of gathered batches")
            case _:
                floor = 3 * settings.batch_bytes
                return MemoryNeed(floor, floor + int(inputs[0].bytes), True, "rows held for the next stage")

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return self.to

    def describe(self) -> str:
        match self.to.kind:
            case "hash":
                return f"hash of {', '.join(self.to.keys)} into {self.partitions}"
            case kind:
                return kind


@dataclass(frozen=True)
class KeyRange:
    """What a finished stage knows of a column: smallest and largest value (None: no value at all), all values if few,
    and a set that others can be tested against where that would drop some."""

    low: Any
    high: Any
    values: frozenset[Any] | None = None
    members: KeySet | None = None


@dataclass(frozen=True)
class StageInput(Operator):
    """The output of stage `stage`, whose size is known by now. With `keep` it will be read again by somebody else."""

    stage: int
    given: Distribution
    partitions: int
    rows: int
    bytes: int
    keep: bool = False
    summary: Mapping[str, KeyRange] = field(default_factory=dict, compare=False)
    columns: Mapping[str, ColumnStats] = field(default_factory=dict, compare=False)
    origin: str = "actual"  # of rows and bytes: a forecast has only estimates

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        return task.stage_input(self)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=2)

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return self.given

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(self.rows, self.bytes, self.columns, self.origin)

    def describe(self) -> str:
        return f"stage {self.stage}, {self.rows} rows"


@dataclass(frozen=True)
class HeldPlan(Operator):
    """`inputs` = (definition, body): the body reads the rows of the definition, held once under `name`, through
    `HeldInput`s."""

    name: str

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        """Inside one task (the step of a recursion); elsewhere the backend cuts here and runs the definition as a
        stage."""
        held = PartitionedBuffer(
            self.inputs[0].schema, 1, task.reservation(self), task.spill, task.settings, "HeldPlan"
        )
        try:
            for batch in inputs[0]:
                held.add(batch)
            held.finish()
            task.tables[self.name] = held
            yield from inputs[1]
        finally:
            held.close()

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed(4 * settings.batch_bytes, int(inputs[0].bytes), True, "rows of a shared subplan")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return inputs[1]

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return inputs[1]

    def describe(self) -> str:
        return self.name


@dataclass(frozen=True)
class HeldInput(Operator):
    """One reading of a `HeldPlan` or of the working table of a recursion; column `sources[i]` of the held rows comes
    under the i-th key of this schema."""

    name: str
    sources: tuple[str, ...]
    known: Stats | None = field(default=None, compare=False)  # the held rows, once there are any

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        for batch in task.stage_input(self):
            if not self.sources:
                yield batch.select([])
            else:
                yield pa.RecordBatch.from_arrays([batch.column(key) for key in self.sources], schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=2)

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        if self.known is None:
            return Stats(10_000, 1 << 20)
        facts = self.known.columns
        columns = {key: facts[s] for key, s in zip(self.schema.names, self.sources, strict=False) if s in facts}
        return replace(self.known, columns=columns)

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return SINGLE

    def describe(self) -> str:
        return self.name
