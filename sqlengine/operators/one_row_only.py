"""The value of an uncorrelated scalar subquery: exactly one row.

Streaming, one task. The input's single row; a row of NULLs if there is none; an error if there are several. Memory:
one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.errors import DataError
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class OneRow(Operator):
    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        row = None
        for batch in inputs[0]:
            if row is not None or batch.num_rows > 1:
                raise DataError(
                    "a subquery used as a value returned more than one row",
                    code="more_than_one_row",
                    hint="add LIMIT 1, or an aggregate such as max(), to the subquery",
                )
            row = batch
        if row is None:
            row = pa.RecordBatch.from_arrays([pa.nulls(1, f.type) for f in self.schema], schema=self.schema)
        yield row

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=1)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return replace(inputs[0], rows=1.0, bytes=64.0)
