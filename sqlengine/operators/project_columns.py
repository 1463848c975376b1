"""Compute columns from each batch.

Streaming: one batch in, one or more out, order kept. Memory: two batches; when the computed columns are wider than a
batch may be, the input is cut into smaller pieces by the widening seen so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.evaluate import evaluate
from sqlengine.expr.nodes import ColumnRef, Expr
from sqlengine.expr.selectivity import with_bytes
from sqlengine.expr.statistics import Stats
from sqlengine.formats.batches import empty_rows
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ProjectColumns(Operator):
    columns: tuple[tuple[str, Expr], ...]
    coded: bool = False  # columns that are passed on may be dictionaries instead of what the schema says

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        passes_only = all(isinstance(e, ColumnRef) for _, e in self.columns)
        limit = task.settings.batch_bytes
        bytes_per_row = 0.0
        for batch in inputs[0]:
            if passes_only:
                arrays = [batch.column(e.key) for _, e in self.columns if isinstance(e, ColumnRef)]
                yield self._batch(arrays, batch.num_rows)
                continue
            rows = batch.num_rows
            step = rows if bytes_per_row * rows <= limit else max(1, int(limit / bytes_per_row))
            for start in range(0, rows, step):
                piece = batch if step >= rows else batch.slice(start, step)
                out = self._batch([evaluate(e, piece, task.settings) for _, e in self.columns], piece.num_rows)
                bytes_per_row = max(bytes_per_row * 0.9, out.nbytes / out.num_rows)
                yield out

    def _batch(self, arrays: list[pa.Array], rows: int) -> pa.RecordBatch:
        if not arrays:
            # A batch of no columns loses its row count when built from arrays; count(*) still needs it.
            return empty_rows(rows)
        if self.coded:
            return pa.RecordBatch.from_arrays(arrays, names=self.schema.names)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings)

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        kept = {
            key: inputs[0].columns[e.key]
            for key, e in self.columns
            if isinstance(e, ColumnRef) and e.key in inputs[0].columns
        }
        return with_bytes(Stats(inputs[0].rows, 0.0, kept, inputs[0].origin), self.schema)

    def describe(self) -> str:
        return ", ".join(key for key, _ in self.columns)
