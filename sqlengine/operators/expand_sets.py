"""Repeat each row once per grouping set, with the keys outside the set NULL and the number of the set as a column.

Streaming: one batch in, one batch out per set. Memory: two batches (the repeated batches share the columns they keep).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ExpandSets(Operator):
    """`sets` hold positions in `keys`; `number` is the key of the int64 column that says which set a row is for."""

    keys: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    number: str

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        for batch in inputs[0]:
            rows = batch.num_rows
            for number, chosen in enumerate(self.sets):
                kept = {self.keys[position] for position in chosen}
                columns = [
                    pa.nulls(rows, field.type) if field.name in self.keys and field.name not in kept else column
                    for field, column in zip(batch.schema, batch.columns, strict=True)
                ]
                columns.append(pa.repeat(pa.scalar(number, pa.int64()), rows))
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings)

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        times = len(self.sets)
        return replace(inputs[0], rows=inputs[0].rows * times, bytes=inputs[0].bytes * times)

    def describe(self) -> str:
        return f"{len(self.sets)} sets"
