"""Parquet files, read row group by row group in bounded batches.

Rows per batch follow from the footer's bytes per row, because the reader decodes whole batches; buffers are not read ahead
and the reader's own threads are off: parallelism comes from splits, one reader per task.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlengine.errors import FormatError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.types import canonical_schema

# Decoded bytes per uncompressed byte in the file, where the footer says no more: dictionaries make text shrink.
_INFLATION = 2.0


@functools.lru_cache(maxsize=256)
def _footer(path: str) -> Any:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(
            f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}",
            hint="the file may be truncated or of another format; write it again",
        ) from None


@dataclass(frozen=True)
class ParquetSource:
    """Files of one schema, in the given order."""

    paths: tuple[str, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        first = canonical_schema(_footer(self.paths[0]).schema.to_arrow_schema())
        for path in self.paths[1:]:
            other = canonical_schema(_footer(path).schema.to_arrow_schema())
            for field in first:
                if field.name not in other.names or other.field(field.name).type != field.type:
                    found = other.field(field.name).type if field.name in other.names else "missing"
                    raise FormatError(
                        f"column {field.name!r} is {field.type} in {self.paths[0]} and {found} in {path}",
                        code="schema_drift",
                        hint="read the files separately and CAST the column",
                    )
        return first

    def describe(self) -> str:
        return f"parquet {self.paths[0]}" if len(self.paths) == 1 else f"parquet {len(self.paths)} files"

    def stats(self, columns: Sequence[str]) -> Stats:
        rows = 0
        size = 0.0
        facts: dict[str, ColumnStats] = {}
        for path in self.paths:
            footer = _footer(path)
            rows += footer.num_rows
            places = self._places(path)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                for name in columns:
                    for place in places[name]:
                        chunk = group.column(place)
                        size += self._decoded(chunk, name)
                        if len(places[name]) == 1:
                            facts[name] = _merged(facts.get(name), chunk)
        known = {
            name: ColumnStats(_distinct(fact, rows), fact.min, fact.max, fact.null_fraction / max(1, rows), size / max(1, rows))
            for name, fact in facts.items()
        }
        return Stats(float(rows), size, known, "footer")

    def _places(self, path: str) -> dict[str, list[int]]:
        """Positions of the leaf columns below each top-level column."""
        footer = _footer(path)
        places: dict[str, list[int]] = {name: [] for name in self.schema.names}
        for place in range(footer.num_columns):
            places.setdefault(footer.schema.column(place).path.split(".")[0], []).append(place)
        return places

    def _decoded(self, chunk: Any, name: str) -> float:
        type_ = self.schema.field(name).type
        try:
            return float(type_.bit_width) / 8 * chunk.num_values
        except ValueError:
            return chunk.total_uncompressed_size * _INFLATION + 4 * chunk.num_values

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        found = []
        for path in self.paths:
            footer = _footer(path)
            places = self._places(path)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                if any(not _may_match(group, places.get(bound.column, []), bound) for bound in bounds):
                    continue
                size = sum(self._decoded(group.column(place), name) for name in columns for place in places[name])
                found.append(Split(len(found), path, (number,), group.num_rows, int(size)))
        return found

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        rows = split.rows or 1
        width = max(1.0, (split.bytes or 0) / rows)
        batch_rows = max(1, min(limits.batch_rows, int(limits.batch_bytes / width)))
        assert split.path is not None
        schema = pa.schema([self.schema.field(name) for name in columns])
        try:
            with pq.ParquetFile(split.path, metadata=_footer(split.path), pre_buffer=False, memory_map=False) as file:
                for raw in file.iter_batches(batch_rows, list(split.part), list(columns), use_threads=False):
                    yield self._canonical(raw, schema)
        except (pa.ArrowInvalid, OSError) as error:
            raise FormatError(
                f"cannot read row group {split.part[0]} of {split.path}: {str(error).splitlines()[0]}",
                hint="the file may be corrupt; write it again",
            ) from None

    def _canonical(self, raw: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        if not len(schema):
            return raw
        arrays = []
        for field in schema:
            array = raw.column(field.name)
            arrays.append(array if array.type == field.type else array.cast(field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        # The reader holds one compressed and one decoded page per column.
        largest = 0
        for path in self.paths[:16]:
            footer = _footer(path)
            places = self._places(path)
            for number in range(min(footer.num_row_groups, 4)):
                group = footer.row_group(number)
                size = sum(group.column(p).total_compressed_size for name in columns for p in places[name])
                largest = max(largest, size)
        return min(largest, 8 << 20)


def _may_match(group: Any, places: list[int], bound: Bounds) -> bool:
    if len(places) != 1:
        return True
    stats = group.column(places[0]).statistics
    if stats is None or not stats.has_min_max:
        return True
    low, high = stats.min, stats.max
    try:
        if bound.values is not None:
            return any(low <= value <= high for value in bound.values)
        if bound.low is not None and (high < bound.low or (bound.low_open and high == bound.low)):
            return False
        return not (bound.high is not None and (low > bound.high or (bound.high_open and low == bound.high)))
    except TypeError:
        return True  # the value is of another kind than the statistics: nothing can be said


def _merged(old: ColumnStats | None, chunk: Any) -> ColumnStats:
    stats = chunk.statistics
    low = high = None
    nulls = 0.0
    if stats is not None:
        if stats.has_min_max:
            low, high = stats.min, stats.max
        nulls = float(stats.null_count or 0)
    if old is None:
        return ColumnStats(None, low, high, nulls)
    low = old.min if low is None else low if old.min is None else min(low, old.min)
    high = old.max if high is None else high if old.max is None else max(high, old.max)
    return ColumnStats(None, low, high, old.null_fraction + nulls)


def _distinct(fact: ColumnStats, rows: int) -> float | None:
    """Whole numbers and dates cannot have more values than their range."""
    try:
        span = fact.max - fact.min
        return float(min(rows, getattr(span, "days", span) + 1))
    except TypeError:
        return None
