"""INTERSECT and EXCEPT by counting: how often each distinct row occurs on either side.

1. Rows of the left count in one state, rows of the right in another, in one aggregation keyed by all columns.
2. A row is given out as often as the kind says: both sides (INTERSECT: once, ALL: the smaller count), or left without
   right (EXCEPT: once if the right has none, ALL: the difference).

This is `HashAggregate` over both sides with a side column, so it spills as that does. Held: as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.statistics import Stats
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_LEFT, _RIGHT = "left rows", "right rows"


@dataclass(frozen=True)
class HashSetOperation(Operator):
    """`kind` intersect or except; NULLs are equal; `all` keeps multiplicities."""

    kind: str
    all: bool

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        counting = self._counting()
        task.declare(counting, task.reservation(self).floor, True)
        for batch in counting.run([self._both(inputs)], task):
            left, right = batch.column(_LEFT), batch.column(_RIGHT)
            rows = pa.RecordBatch.from_arrays(batch.columns[: len(self.schema)], schema=self.schema)
            if self.kind == "intersect":
                times = pc.min_element_wise(left, right)
            else:
                times = pc.max_element_wise(pc.subtract(left, right), 0)
                if not self.all:
                    times = pc.if_else(pc.equal(right, 0), times, 0)
            if not self.all:
                times = pc.min_element_wise(times, 1)
            for number in range(1, (pc.max(times).as_py() or 0) + 1):
                kept = rows.filter(pc.greater_equal(times, number))
                if kept.num_rows:
                    yield kept

    def _counting(self) -> HashAggregate:
        calls = tuple(
            AggregateSpec("count", output, (output,), (pa.int32(),), pa.int64()) for output in (_LEFT, _RIGHT)
        )
        fields = [*self.schema, *(pa.field(call.output, pa.int64()) for call in calls)]
        return HashAggregate((), pa.schema(fields), tuple(self.schema.names), calls, "single")

    def _both(self, inputs: Sequence[Batches]) -> Batches:
        schema = pa.schema([*self.schema, pa.field(_LEFT, pa.int32()), pa.field(_RIGHT, pa.int32())])
        for side, stream in enumerate(inputs):
            for batch in stream:
                here = pa.repeat(pa.scalar(1, pa.int32()), batch.num_rows)
                none = pa.nulls(batch.num_rows, pa.int32())
                counts = [here, none] if side == 0 else [none, here]
                yield pa.RecordBatch.from_arrays([*batch.columns, *counts], schema=schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 6 * settings.batch_bytes
        return MemoryNeed(
            floor, 2 * settings.batch_bytes + int(inputs[0].bytes + inputs[1].bytes), True, "a table of distinct rows"
        )

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE, SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(inputs[0].rows, inputs[0].bytes)

    def describe(self) -> str:
        return f"{self.kind}{' all' if self.all else ''}"
