"""Rows in memory: Arrow tables and anything that exports the Arrow stream protocol.

Nothing is copied up front: splits are ranges of rows, and columns of other layouts (views, dictionaries, large
strings) get their canonical type batch by batch while they are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError, NotSupportedError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.formats.batches import canonical_batches
from sqlengine.types import canonical_schema

_SPLIT_ROWS = 1 << 20


@dataclass(frozen=True, eq=False)
class MemorySource:
    """A table; its memory belongs to whoever made it."""

    table: pa.Table

    @cached_property
    def schema(self) -> pa.Schema:
        found = canonical_schema(self.table.schema)
        for field in found:
            if pa.types.is_union(field.type) or pa.types.is_decimal256(field.type):
                raise NotSupportedError(
                    f"column {field.name!r} has the type {field.type}, which the engine does not read",
                    hint="cast the column before it is registered",
                )
        return found

    def describe(self) -> str:
        return f"memory {self.table.num_rows} rows"

    def stats(self, columns: Sequence[str]) -> Stats:
        rows = max(1, self.table.num_rows)
        known = {}
        size = 0.0
        for name in columns:
            column = self.table.column(name)
            size += column.nbytes
            nulls = column.null_count / rows
            known[name] = ColumnStats(null_fraction=nulls, width=column.nbytes / rows)
        return Stats(float(self.table.num_rows), size, known, "actual")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        rows = self.table.num_rows
        width = math.ceil(self.table.select(list(columns)).nbytes / rows) if rows and columns else 0
        starts = range(0, rows, _SPLIT_ROWS)
        sizes = [min(_SPLIT_ROWS, rows - start) for start in starts]
        return [Split(i, None, (s,), n, n * width) for i, (s, n) in enumerate(zip(starts, sizes, strict=True))]

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([self.schema.field(name) for name in columns])
        part = self.table.slice(split.part[0], split.rows)
        if columns:
            part = part.select(list(columns))
        for batch in part.to_batches():
            yield from canonical_batches(batch, schema, limits)

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 0


def memory_source(value: Any) -> MemorySource:
    """A source over a pyarrow table, batch or reader, a dict of columns, a list of dicts, or
    anything with `__arrow_c_stream__` (Polars, pandas, DuckDB, ...). A stream that can be read once is read once, now.

    Raises InterfaceError for anything else, and for columns of one name."""
    if isinstance(value, pa.RecordBatch):
        table = pa.Table.from_batches([value])
    elif isinstance(value, pa.Table):
        table = value
    elif isinstance(value, dict):
        table = pa.table(value)
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        names = list(dict.fromkeys(name for row in value for name in row))
        table = pa.table({name: pa.array([row.get(name) for row in value]) for name in names})
    elif hasattr(value, "__arrow_c_stream__"):
        table = pa.RecordBatchReader.from_stream(value).read_all()
    elif type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
        table = pa.Table.from_pandas(value, preserve_index=False)
    else:
        raise InterfaceError(
            f"cannot read rows from a {type(value).__name__}",
            hint="register a pyarrow table, a dict of columns, a list of dicts, or an object with __arrow_c_stream__",
        )
    if len(set(table.column_names)) != len(table.column_names):
        double = next(name for name in table.column_names if table.column_names.count(name) > 1)
        raise InterfaceError(f"there are two columns named {double!r}", hint="rename one of them")
    return MemorySource(table)


def is_rows(value: Any) -> bool:
    """Whether `memory_source` takes the value."""
    if isinstance(value, pa.RecordBatch | pa.Table) or hasattr(value, "__arrow_c_stream__"):
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
