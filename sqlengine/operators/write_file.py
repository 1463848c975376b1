"""COPY ... TO: write the rows to a file, or to a directory per value of the partition columns.

Streaming; needs all rows in one task, in order. The target appears only when everything is written (see
`formats.writers`): after an error, a cancellation or a full disk there is no half file. Gives one row: the count.

Memory: the batch being encoded and what a Parquet writer gathers for a row group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.formats.parquet_rows import ENCODING, KEPT
from sqlengine.formats.writers import open_writer
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

# What a Parquet writer holds beside the rows.
_WRITER = 128 << 10


@dataclass(frozen=True)
class WriteFile(Operator):
    """`names`: the columns' names in the file, in the order of the input's schema. `options` as COPY has them."""

    names: tuple[str, ...]
    path: str
    format: str
    options: tuple[tuple[str, Any], ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        schema = pa.schema(
            [pa.field(name, field.type) for name, field in zip(self.names, self.inputs[0].schema, strict=True)]
        )
        gathered = 4 * task.settings.batch_bytes
        reservation = task.reservation(self)
        extra = 0
        reservation.grow(max(0, reservation.floor - reservation.size))
        with open_writer(self.path, schema, self.format, dict(self.options), gathered) as writer:
            for batch in inputs[0]:
                rows = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
                if rows.nbytes <= gathered:
                    writer.write(rows)
                    continue
                # Rows larger than a row group should be: what encoding takes is more than the floor has for it.
                own, kept = (ENCODING, KEPT) if self.format == "parquet" else (1.0, 0.0)
                reservation.grow(max(0, int(own * rows.nbytes) - extra))
                extra = max(extra, int(own * rows.nbytes))
                writer.write(rows)
                reservation.shrink(extra - int(kept * rows.nbytes))
                extra = int(kept * rows.nbytes)
            task.cancel.check()
            writer.commit()
        yield pa.RecordBatch.from_arrays([pa.array([writer.rows], pa.int64())], schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 8 * settings.batch_bytes
        if self.format == "parquet":
            floor = int(4 * ENCODING * settings.batch_bytes) + _WRITER
        return MemoryNeed(floor, floor, False, "rows gathered and encoded for a row group")

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return SINGLE

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(1.0, 8.0, {}, "actual")

    def describe(self) -> str:
        return f"{self.format} {self.path}"
