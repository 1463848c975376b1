"""Footers of Parquet files, read once per state of the file (time of change and size) and kept with what was worked out
from them: columns, their places, ranges of their values, sizes.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlengine.errors import FileError, FormatError
from sqlengine.types import canonical

# Decoded bytes per uncompressed byte in the file, where the footer says no more: dictionaries make text shrink.
_INFLATION = 2.0
_AS_THEY_ARE = {"PLAIN", "RLE", "BIT_PACKED"}  # the latter two are of levels


@dataclass(frozen=True)
class ChunkFacts:
    """What the footer says of one column in one row group. `low`, `high`, `nulls`: None where unknown; `plain`: values
    are written as they are, so `size` is what they take in memory too."""

    low: Any
    high: Any
    nulls: int | None
    values: int
    stored: int
    size: int
    start: int
    codec: str
    dictionary: bool
    plain: bool = False


@dataclass(frozen=True)
class ValueRange:
    """Of a column: smallest and largest value (None: unknown), number of NULLs, and whether there is nothing else."""

    low: Any = None
    high: Any = None
    nulls: float = 0.0
    empty: bool = True


class Layout:
    """One file's footer and what follows from it."""

    def __init__(self, path: str, footer: Any) -> None:
        self.path = path
        self.footer = footer
        self.rows: int = footer.num_rows
        self.groups: list[int] = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        try:
            self.arrow = footer.schema.to_arrow_schema()
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{path} has a schema that cannot be read: {str(error).splitlines()[0]}") from None
        self.fields = self._fields()
        self.places = self._places()
        self._chunks: dict[int, dict[int, ChunkFacts]] = {}
        self._totals: dict[str, tuple[ValueRange, float, float]] = {}

    def _fields(self) -> dict[str, pa.DataType]:
        """Column names and engine types."""
        found = {field.name: canonical(field.type) for field in self.arrow}
        if len(found) != len(self.arrow):
            double = next(name for name in self.arrow.names if self.arrow.names.count(name) > 1)
            raise FormatError(
                f"{self.path} has two columns named {double!r}", hint="write the file again with other names"
            )
        for place in range(self.footer.num_columns):
            column = self.footer.schema.column(place)
            if column.physical_type == "INT96" and column.path in found:
                found[column.path] = pa.timestamp("us")
        return found

    def _places(self) -> dict[str, list[int]]:
        """Positions of the leaf columns below each top-level column."""
        places: dict[str, list[int]] = {}
        for place in range(self.footer.num_columns):
            path = self.footer.schema.column(place).path
            places.setdefault(path if path in self.fields else path.split(".")[0], []).append(place)
        return places

    @cached_property
    def leaves(self) -> list[Any]:
        """The schema of each leaf column."""
        return [self.footer.schema.column(place) for place in range(self.footer.num_columns)]

    def chunk(self, group: int, place: int) -> ChunkFacts:
        return self.chunks(group, [place])[0]

    def chunks(self, group: int, places: list[int]) -> list[ChunkFacts]:
        """Facts of some columns of a row group."""
        known = self._chunks.setdefault(group, {})
        row_group = None
        for place in places:
            if place not in known:
                row_group = row_group or self.footer.row_group(group)
                known[place] = _facts(row_group.column(place))
        return [known[place] for place in places]

    def size(self, group: int, name: str) -> float:
        """Estimated bytes of a column of a row group in Arrow form."""
        type_ = self.fields.get(name)
        if type_ is None:
            return 0.0
        if is_fixed(type_):
            return float(type_.bit_width / 8 * self.groups[group])
        chunks = self.chunks(group, self.places.get(name, []))
        return sum(chunk.size * (1.0 if chunk.plain else _INFLATION) + 4 * chunk.values for chunk in chunks)

    def total(self, name: str) -> tuple[ValueRange, float, float]:
        """Of a column: its range, its bytes in Arrow form (estimated), and the most values that the dictionary of a row
        group can have."""
        found = self._totals.get(name)
        if found is None:
            own = self.places.get(name, [])
            facts, codes = ValueRange(), 0.0
            if len(own) == 1:
                for group in range(len(self.groups)):
                    chunk = self.chunk(group, own[0])
                    new = ValueRange(chunk.low, chunk.high, float(chunk.nulls or 0), chunk.nulls == chunk.values)
                    facts = merged(facts, new)
                    codes = max(codes, _most_codes(chunk))
            else:
                facts, codes = ValueRange(empty=not own), 0.0
            size = sum(self.size(group, name) for group in range(len(self.groups)))
            found = self._totals[name] = (facts, size, codes)
        return found


def layout_of(path: str) -> Layout:
    """The file's layout, read again when the file has changed."""
    try:
        state = os.stat(path)
        return _layout(path, state.st_mtime_ns, state.st_size)
    except FileNotFoundError:
        raise FileError(f"file {path!r} does not exist", code="file_not_found") from None
    except PermissionError:
        raise FileError(f"no permission to read {path!r}", code="file_permission") from None


@functools.lru_cache(maxsize=256)
def _layout(path: str, changed: int, size: int) -> Layout:
    try:
        footer = pq.read_metadata(path)
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = "it is empty" if size == 0 else str(error).splitlines()[0]
        raise FormatError(
            f"{path} is not a readable Parquet file: {reason}",
            hint="the file may be truncated or of another format; write it again",
        ) from None
    return Layout(path, footer)


def is_fixed(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_primitive(type_) or t.is_decimal(type_) or t.is_boolean(type_))


def _facts(column: Any) -> ChunkFacts:
    low, high, nulls = _range(column)
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    return ChunkFacts(
        low,
        high,
        nulls,
        column.num_values,
        column.total_compressed_size,
        column.total_uncompressed_size,
        start,
        column.compression,
        column.has_dictionary_page,
        set(column.encodings) <= _AS_THEY_ARE,
    )


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


def merged(a: ValueRange, b: ValueRange) -> ValueRange:
    """The facts of two pieces; what is unknown of one with values is unknown of both."""
    nulls = a.nulls + b.nulls
    if a.empty or b.empty:
        return replace(b if a.empty else a, nulls=nulls)
    if a.low is None or b.low is None:
        return ValueRange(None, None, nulls, False)
    try:
        return ValueRange(min(a.low, b.low), max(a.high, b.high), nulls, False)
    except TypeError:
        return ValueRange(None, None, nulls, False)


def _most_codes(chunk: ChunkFacts) -> float:
    """Distinct values that a column chunk can have, from the bits that its dictionary codes take: a code of b bits
    needs b / 8 bytes a value. Infinite without a dictionary or with one that hardly repeats."""
    if not chunk.values:
        return 0.0
    bits = 8.0 * chunk.size / chunk.values
    most = float(2.0 ** min(bits, 40.0))
    return most if chunk.dictionary and most < chunk.values / 4 else math.inf
