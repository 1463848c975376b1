"""UNION ALL: the rows of the first input, then those of the second, and so on.

Streaming. Memory: one batch. Column i of the output is column i of each input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ConcatStreams(Operator):
    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        for number, stream in enumerate(inputs):
            for batch in stream:
                # Whatever order tag the input set counts only within this input.
                task.position = (number, task.position)
                if self.schema.names:
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
                else:
                    yield batch

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=1)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE for _ in self.inputs]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(sum(s.rows for s in inputs), sum(s.bytes for s in inputs), {}, inputs[0].origin)
