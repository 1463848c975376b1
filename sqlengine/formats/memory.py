"""Rows in memory: Arrow tables and anything that exports the Arrow stream protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.types import canonical_schema


@dataclass(frozen=True, eq=False)
class MemorySource:
    """A table; its memory belongs to whoever made it."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def describe(self) -> str:
        return f"memory {self.table.num_rows} rows"

    def stats(self, columns: Sequence[str]) -> Stats:
        return Stats(float(self.table.num_rows), float(self.table.select(list(columns)).nbytes), {}, "actual")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        size = 1 << 20
        rows = self.table.num_rows
        return [Split(i, None, (start,), min(size, rows - start)) for i, start in enumerate(range(0, rows, size))]

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        part = self.table.slice(split.part[0], split.rows)
        if not columns:
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * part.num_rows, pa.struct([])))
            return
        part = part.select(list(columns))
        width = max(1.0, part.nbytes / max(1, part.num_rows))
        yield from part.to_batches(max(1, min(limits.batch_rows, int(limits.batch_bytes / width))))

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 0


def memory_source(value: Any) -> MemorySource:
    """A source over a pyarrow table or batch, a list or dict of rows, or anything with `__arrow_c_stream__`."""
    if isinstance(value, pa.RecordBatch):
        table = pa.Table.from_batches([value])
    elif isinstance(value, pa.Table):
        table = value
    elif isinstance(value, dict):
        table = pa.table(value)
    elif isinstance(value, list):
        table = pa.Table.from_pylist(value)
    elif hasattr(value, "__arrow_c_stream__"):
        table = pa.RecordBatchReader.from_stream(value).read_all()
    else:
        raise InterfaceError(
            f"cannot read rows from a {type(value).__name__}",
            hint="register a pyarrow table, a dict of columns, a list of dicts, or an object with __arrow_c_stream__",
        )
    schema = canonical_schema(table.schema)
    return MemorySource(table if table.schema == schema else table.cast(schema))


def is_rows(value: Any) -> bool:
    """Whether `memory_source` takes the value."""
    if isinstance(value, pa.RecordBatch | pa.Table) or hasattr(value, "__arrow_c_stream__"):
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
