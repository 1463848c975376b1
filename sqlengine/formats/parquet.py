"""Parquet files, read row group by row group in bounded batches.

Rows per batch follow from the footer's bytes per row, because the reader decodes whole batches; buffers are not read
ahead and the reader's own threads are off: parallelism comes from splits, one reader per task. Small neighbouring row
groups make one split; a huge one is streamed. Footers are kept per process, never pickled.

Text that repeats is decoded as dictionary codes, and a batch of it is cut by its real size before the values are made:
the footer does not say how long a value is that the file holds once and the column a million times.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlengine.errors import FileError, FormatError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.formats.batches import bounded, empty_rows, longest, plain
from sqlengine.formats.drift import drift_error, same_or_wider
from sqlengine.types import canonical

# Decoded bytes per uncompressed byte in the file, where the footer says no more: dictionaries make text shrink.
_INFLATION = 2.0
# Fewer bytes per value than this in the file: the text repeats.
_REPEATS = 6.0
_SMALL_SPLIT_BYTES = 1 << 20
ROW_NUMBER = "file_row_number"


def footer_of(path: str) -> Any:
    """The file's metadata, read again when the file has changed."""
    return _footer(path, *_state(path))


def _state(path: str) -> tuple[int, int]:
    """When the file was changed last, and its size."""
    try:
        state = os.stat(path)
        return state.st_mtime_ns, state.st_size
    except FileNotFoundError:
        raise FileError(f"file {path!r} does not exist", code="file_not_found") from None
    except PermissionError:
        raise FileError(f"no permission to read {path!r}", code="file_permission") from None


@functools.lru_cache(maxsize=256)
def _footer(path: str, changed: int, size: int) -> Any:
    try:
        return pq.read_metadata(path)
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError) as error:
        reason = "it is empty" if size == 0 else str(error).splitlines()[0]
        raise FormatError(
            f"{path} is not a readable Parquet file: {reason}",
            hint="the file may be truncated or of another format; write it again",
        ) from None


@dataclass(frozen=True)
class ParquetSource:
    """Files in the given order. The first one's columns count, unless `union_by_name`: then all, NULL where a file
    lacks one. `row_number` adds the int64 column `file_row_number`, from 0 in each file."""

    paths: tuple[str, ...]
    union_by_name: bool = False
    row_number: bool = False

    @cached_property
    def schema(self) -> pa.Schema:
        fields = dict(_fields(self.paths[0]))
        for path in self.paths[1:]:
            other = _fields(path)
            for name, type_ in other.items() if self.union_by_name else fields.items():
                if name not in fields:
                    fields[name] = type_
                elif name not in other:
                    raise drift_error(name, self.paths[0], fields[name], path, None)
                elif fields[name] != other[name]:
                    wider = same_or_wider(fields[name], other[name])
                    if wider is None or (wider != fields[name] and not self.union_by_name):
                        raise drift_error(name, self.paths[0], fields[name], path, other[name])
                    fields[name] = wider
        if self.row_number:
            fields[ROW_NUMBER] = pa.int64()
        return pa.schema([pa.field(name, type_) for name, type_ in fields.items()])

    def describe(self) -> str:
        return f"parquet {self.paths[0]}" if len(self.paths) == 1 else f"parquet {len(self.paths)} files"

    def stats(self, columns: Sequence[str]) -> Stats:
        files = [(path, footer_of(path)) for path in self.paths]
        rows = sum(footer.num_rows for _, footer in files)
        known = {}
        for name in columns:
            fact, size, codes = None, 0.0, 0.0
            for path, _ in files:
                own, own_size, own_codes = _column_facts(path, *_state(path), name, self.schema.field(name).type)
                fact = own if fact is None else _merged(fact, own)
                size, codes = size + own_size, max(codes, own_codes)
            fact = fact or _Ends()
            known[name] = ColumnStats(
                _distinct(fact, rows, codes), fact.low, fact.high, fact.nulls / max(1, rows), size / max(1, rows)
            )
        total = sum((c.width or 0.0) * rows for c in known.values())
        return Stats(float(rows), total, known, "footer")

    def _size(self, group: Any, name: str, places: dict[str, list[int]]) -> float:
        """Estimated bytes of a column of a row group in Arrow form."""
        return _chunk_size(group, self.schema.field(name).type, places.get(name, []))

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        found: list[Split] = []
        for path in self.paths:
            footer = footer_of(path)
            places = _places(footer)
            first = 0
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                rows, start = group.num_rows, first
                first += rows
                if not rows or any(not self._may_match(group, places.get(b.column, []), b) for b in bounds):
                    continue
                size = int(sum(self._size(group, name, places) for name in columns))
                last = found[-1] if found else None
                joins = (
                    last is not None and last.path == path and last.part[1][-1] == number - 1 and not self.row_number
                )
                if last is not None and joins and (last.bytes or 0) + size <= _SMALL_SPLIT_BYTES:
                    numbers = (*last.part[1], number)
                    together = Split(
                        last.index, path, (last.part[0], numbers), (last.rows or 0) + rows, (last.bytes or 0) + size
                    )
                    # One reader call decodes all its row groups with one batch size.
                    found[-1] = together if (last.rows or 0) + rows <= 65536 else last
                    if found[-1] is together:
                        continue
                found.append(Split(len(found), path, (start, (number,)), rows, size))
        return found

    def _may_match(self, group: Any, places: list[int], bound: Bounds) -> bool:
        if not places:
            return not bound.not_null or bound.column == ROW_NUMBER  # a column that this file lacks is NULL
        if len(places) != 1:
            return True
        low, high, nulls = _range(group.column(places[0]))
        if nulls == group.num_rows:
            return not bound.not_null
        if low is None or high is None or (not bound.not_null and nulls != 0):
            return True
        floating = pa.types.is_floating(self.schema.field(bound.column).type)
        try:
            if bound.values is not None:
                return any(low <= value <= high for value in bound.values) or (
                    floating and any(value != value for value in bound.values)
                )
            # NaN is not in the statistics, and greater than every number: without an upper bound it may be there.
            unbounded = floating and bound.high is None
            if bound.low is not None and not unbounded and (high < bound.low or (bound.low_open and high == bound.low)):
                return False
            return not (bound.high is not None and (low > bound.high or (bound.high_open and low == bound.high)))
        except TypeError:
            return True  # the value is of another kind than the statistics: nothing can be said

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        path = split.path
        assert path is not None
        rows = split.rows or 1
        start, groups = split.part
        width = max(1.0, (split.bytes or 0) / rows)
        batch_rows = max(1, min(limits.batch_rows, int(limits.batch_bytes / width)))
        footer = footer_of(path)
        own = _fields(path)
        wanted = [name for name in columns if name in own and name != ROW_NUMBER]
        schema = pa.schema([self.schema.field(name) for name in columns])
        if not wanted:
            for low in range(0, rows, limits.batch_rows):
                count = min(limits.batch_rows, rows - low)
                yield _dressed(empty_rows(count), schema, start + low) if columns else empty_rows(count)
            return
        try:
            with pq.ParquetFile(
                path,
                metadata=footer,
                pre_buffer=False,
                memory_map=False,
                read_dictionary=_as_codes(path, footer, groups, wanted, 2 * limits.batch_bytes // batch_rows),
                page_checksum_verification=True,
                coerce_int96_timestamp_unit="us",
            ) as file:
                for raw in file.iter_batches(batch_rows, list(groups), wanted, use_threads=False):
                    for piece in bounded(raw, limits):
                        yield _dressed(piece, schema, start)
                        start += piece.num_rows
        except (pa.ArrowException, OSError) as error:
            where = f"row group {groups[0]}" if len(groups) == 1 else f"row groups {groups[0]} to {groups[-1]}"
            raise FormatError(
                f"cannot read {where} of {path} (columns {', '.join(wanted)}): {str(error).splitlines()[0]}",
                hint="the file may be corrupt; write it again, or leave out the column that fails",
            ) from None

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        # The reader holds one compressed and one decoded page and one dictionary per column; a chunk bounds them.
        largest = 0
        for path in self.paths[:16]:
            footer = footer_of(path)
            places = _places(footer)
            for number in range(min(footer.num_row_groups, 4)):
                group = footer.row_group(number)
                size = sum(
                    min(group.column(p).total_uncompressed_size, 2 << 20)
                    for name in columns
                    for p in places.get(name, [])
                )
                largest = max(largest, size)
        return min(largest, 8 << 20)


def _fields(path: str) -> dict[str, pa.DataType]:
    """Column names and engine types of a file."""
    footer = footer_of(path)
    try:
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} has a schema that cannot be read: {str(error).splitlines()[0]}") from None
    found = {field.name: canonical(field.type) for field in schema}
    if len(found) != len(schema):
        double = next(name for name in schema.names if schema.names.count(name) > 1)
        raise FormatError(f"{path} has two columns named {double!r}", hint="write the file again with other names")
    for place in range(footer.num_columns):
        column = footer.schema.column(place)
        if column.physical_type == "INT96" and column.path in found:
            found[column.path] = pa.timestamp("us")
    return found


def _places(footer: Any) -> dict[str, list[int]]:
    """Positions of the leaf columns below each top-level column."""
    places: dict[str, list[int]] = {}
    names = set(footer.schema.to_arrow_schema().names)
    for place in range(footer.num_columns):
        path = footer.schema.column(place).path
        places.setdefault(path if path in names else path.split(".")[0], []).append(place)
    return places


def _is_fixed(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_primitive(type_) or t.is_decimal(type_) or t.is_boolean(type_))


def _as_codes(path: str, footer: Any, groups: Sequence[int], names: Sequence[str], most: int) -> list[str]:
    """Text columns to decode as dictionary codes: those that repeat, and those whose dictionary holds a text over
    `most` bytes, which the column may hold any number of times without the footer saying so."""
    schema = footer.schema.to_arrow_schema()
    places = _places(footer)
    group = footer.row_group(groups[0])
    codes: list[str] = []
    unsure: list[str] = []
    for name in names:
        kind = canonical(schema.field(name).type)
        if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
            continue
        chunk = group.column(places[name][0])
        if chunk.has_dictionary_page:
            repeats = chunk.total_uncompressed_size < _REPEATS * chunk.num_values + 1024
            (codes if repeats else unsure).append(name)
    unsure = [name for name in unsure if group.column(places[name][0]).total_uncompressed_size > most]
    if unsure:
        # The first row comes with the whole dictionary of its row group.
        with pq.ParquetFile(path, metadata=footer, pre_buffer=False, read_dictionary=unsure) as file:
            for first in file.iter_batches(1, list(groups[:1]), unsure, use_threads=False):
                codes += [name for name in unsure if longest(first.column(name)) > most]
                break
    return codes


def _dressed(raw: pa.RecordBatch, schema: pa.Schema, start: int) -> pa.RecordBatch:
    """The batch with exactly the columns of `schema`; `start`: number of its first row in the file."""
    arrays = []
    for field in schema:
        place = raw.schema.get_field_index(field.name)
        if place < 0:
            missing = field.name != ROW_NUMBER
            arrays.append(pa.nulls(raw.num_rows, field.type) if missing else pa.arange(start, start + raw.num_rows))
            continue
        arrays.append(plain(raw.column(place), field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _range(chunk: Any) -> tuple[Any, Any, int | None]:
    """Smallest and largest value of a column chunk and its number of NULLs; None where unknown."""
    stats = chunk.statistics
    if stats is None:
        return None, None, None
    nulls = stats.null_count if stats.has_null_count else None
    try:
        if stats.has_min_max:
            return stats.min, stats.max, nulls
    except (ValueError, OverflowError, pa.ArrowException, ImportError):
        pass  # a value that Python cannot hold, such as a timestamp with nanoseconds
    return None, None, nulls


@dataclass(frozen=True)
class _Ends:
    """Of a column: smallest and largest value (None: unknown), number of NULLs, and whether there is nothing else."""

    low: Any = None
    high: Any = None
    nulls: float = 0.0
    empty: bool = True


def _merged(a: _Ends, b: _Ends) -> _Ends:
    """The facts of two pieces; what is unknown of one with values is unknown of both."""
    nulls = a.nulls + b.nulls
    if a.empty or b.empty:
        return replace(b if a.empty else a, nulls=nulls)
    if a.low is None or b.low is None:
        return _Ends(None, None, nulls, False)
    try:
        return _Ends(min(a.low, b.low), max(a.high, b.high), nulls, False)
    except TypeError:
        return _Ends(None, None, nulls, False)


@functools.lru_cache(maxsize=4096)
def _column_facts(path: str, changed: int, size: int, name: str, type_: pa.DataType) -> tuple[_Ends, float, float]:
    """Of a column of a file: ends, bytes in Arrow form, most values that the dictionary of a row group can have."""
    footer = footer_of(path)
    places = _places(footer).get(name, [])
    ends, total, codes = _Ends(), 0.0, 0.0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        total += _chunk_size(group, type_, places)
        if len(places) == 1:
            chunk = group.column(places[0])
            low, high, nulls = _range(chunk)
            ends = _merged(ends, _Ends(low, high, float(nulls or 0), nulls == chunk.num_values))
            codes = max(codes, _most_codes(chunk))
    return ends, total, codes


def _chunk_size(group: Any, type_: pa.DataType, places: Sequence[int]) -> float:
    if _is_fixed(type_):
        return float(type_.bit_width / 8 * group.num_rows)
    chunks = [group.column(place) for place in places]
    return float(sum(chunk.total_uncompressed_size * _INFLATION + 4 * chunk.num_values for chunk in chunks))


def _distinct(fact: _Ends, rows: int, codes: float) -> float | None:
    """Whole numbers, decimals and dates cannot have more values than their range; a column whose row groups have small
    dictionaries is taken to have the same values in all of them."""
    most = min(float(rows), codes)
    if isinstance(fact.low, float | str | bytes):
        return most
    try:
        span = fact.high - fact.low
        if isinstance(span, Decimal):
            span = int(span.scaleb(-int(span.as_tuple().exponent)))
        return float(min(most, getattr(span, "days", span) + 1))
    except (TypeError, ValueError):
        return most if codes < rows else None


def _most_codes(chunk: Any) -> float:
    """Distinct values that a column chunk can have, from the bits that its dictionary codes take: a code of b bits
    needs b / 8 bytes a value. Infinite without a dictionary or with one that hardly repeats."""
    if not chunk.num_values:
        return 0.0
    bits = 8.0 * chunk.total_uncompressed_size / chunk.num_values
    most = float(2.0 ** min(bits, 40.0))
    return most if chunk.has_dictionary_page and most < chunk.num_values / 4 else math.inf
