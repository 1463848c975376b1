"""POSITIONAL JOIN: row i of the left beside row i of the right; the shorter side is filled with NULLs.

Streaming, one task. Memory: one batch of each side and one out.
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
class PositionalJoin(Operator):
    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        streams = [iter(stream) for stream in inputs]
        heads: list[pa.RecordBatch | None] = [next(stream, None) for stream in streams]
        while any(head is not None for head in heads):
            rows = min(head.num_rows for head in heads if head is not None)
            columns: list[pa.Array] = []
            for side, head in enumerate(heads):
                if head is None:
                    columns += [pa.nulls(rows, field.type) for field in self.inputs[side].schema]
                    continue
                columns += head.slice(0, rows).columns
                heads[side] = head.slice(rows) if head.num_rows > rows else next(streams[side], None)
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=3)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE, SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        rows = max(s.rows for s in inputs)
        return Stats(rows, sum(s.bytes for s in inputs))
