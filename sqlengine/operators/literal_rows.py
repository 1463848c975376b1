"""Rows written in the statement: VALUES, and the single row without columns that `SELECT 1` reads.

Source operator, one task. Memory: one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.evaluate import evaluate
from sqlengine.expr.nodes import Expr
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


def rows_without_columns(count: int) -> pa.RecordBatch:
    """A batch that has rows but no columns."""
    return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))


@dataclass(frozen=True)
class LiteralRows(Operator):
    rows: tuple[tuple[Expr, ...], ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        one = rows_without_columns(1)
        size = task.settings.batch_rows
        for start in range(0, len(self.rows), size):
            part = self.rows[start : start + size]
            if not self.schema.names:
                yield rows_without_columns(len(part))
                continue
            columns = []
            for position, field in enumerate(self.schema):
                pieces = [evaluate(row[position], one, task.settings) for row in part]
                columns.append(pa.concat_arrays(pieces).cast(field.type))
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=1)

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return SINGLE

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(len(self.rows), len(self.rows) * 16.0 * max(1, len(self.schema)), {}, "actual")

    def describe(self) -> str:
        return f"{len(self.rows)} rows"
