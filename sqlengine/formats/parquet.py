"""Parquet files, row group by row group, in windows of rows that make bounded batches.

1. Row groups that cannot hold a row within the bounds are left out by their statistics. Small neighbouring ones make
   one split; a huge one is streamed.
2. Of a window of rows the columns that the tests ask for are decoded first, each for the rows that are left. Where a
   test looks at one column that the file holds as codes of a dictionary, it is asked about the dictionary.
3. The other columns are decoded for the rows that passed; if there is none, they are not even read.

Rows per window follow from the footer's bytes per row. The footer does not say how long a text is that the file holds
once and the column a million times: when texts turn out too large, the window is made smaller and begun again.
Parallelism comes from splits, one reader per task. Footers are kept per process, never pickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import FileError, FormatError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, RowTest, Split
from sqlengine.formats.batches import bounded, decoded_size, empty_rows, plain
from sqlengine.formats.drift import drift_error, same_or_wider
from sqlengine.formats.parquet_chunks import ArrowColumns, ColumnReader, OwnColumn, can_decode, form_of, lists_of
from sqlengine.formats.parquet_footer import Layout, ValueRange, layout_of, merged
from sqlengine.kernels.parquet_pages import CorruptPage, TooManyBytes
from sqlengine.kernels.selection import coded_mask, kept_rows

_SMALL_SPLIT_BYTES = 1 << 20
# Of so many batches' bytes the pages may be that are kept from one window to the next, in any case.
_KEPT_BATCHES = 6
# The words of a dictionary that is given out with its codes may take this share of a batch.
_WORDS_SHARE = 4
_MOST_TEXT = (1 << 31) - (1 << 16)
ROW_NUMBER = "file_row_number"


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
        layouts = [layout_of(path) for path in self.paths]
        rows = sum(layout.rows for layout in layouts)
        known = {}
        for name in columns:
            fact, size, codes = ValueRange(), 0.0, 0.0
            for layout in layouts:
                own, own_size, own_codes = layout.total(name)
                fact = merged(fact, own)
                size, codes = size + own_size, max(codes, own_codes)
            known[name] = ColumnStats(
                _distinct(fact, rows, codes), fact.low, fact.high, fact.nulls / max(1, rows), size / max(1, rows)
            )
        total = sum((c.width or 0.0) * rows for c in known.values())
        return Stats(float(rows), total, known, "footer")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        found: list[Split] = []
        for path in self.paths:
            layout = layout_of(path)
            first = 0
            for number, rows in enumerate(layout.groups):
                start = first
                first += rows
                if not rows or any(not self._may_match(layout, number, bound) for bound in bounds):
                    continue
                size = int(sum(layout.size(number, name) for name in columns))
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

    def _may_match(self, layout: Layout, group: int, bound: Bounds) -> bool:
        places = layout.places.get(bound.column, [])
        if not places:
            return not bound.not_null or bound.column == ROW_NUMBER  # a column that this file lacks is NULL
        if len(places) != 1:
            return True
        chunk = layout.chunk(group, places[0])
        low, high, nulls = chunk.low, chunk.high, chunk.nulls
        if nulls == chunk.values:
            return not bound.not_null
        if low is None or high is None or (not bound.not_null and nulls != 0):
            return True
        floating = pa.types.is_floating(self.schema.field(bound.column).type)
        try:
            if bound.members is not None and not bound.members.any_between(low, high):
                return False
            if bound.values is not None:
                return any(low <= value <= high for value in bound.values) or (
                    floating and any(value != value for value in bound.values)
                )
            # NaN is not in the statistics, and greater than every number: without an upper bound it may be there.
            unbounded = floating and bound.high is None
            if bound.low is not None and not unbounded and (high < bound.low or (bound.low_open and high == bound.low)):
                return False
            return not (bound.high is not None and (low > bound.high or (bound.high_open and low == bound.high)))
        except (TypeError, pa.ArrowException):
            return True  # the value is of another kind than the statistics: nothing can be said

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        return self.read_selected(split, columns, (), bounds, limits)

    def read_selected(
        self,
        split: Split,
        columns: Sequence[str],
        tests: Sequence[RowTest],
        bounds: Sequence[Bounds],
        limits: ReadLimits,
    ) -> Iterator[pa.RecordBatch]:
        path = split.path
        assert path is not None
        start, groups = split.part
        layout = layout_of(path)
        names = list(dict.fromkeys([*(name for test in tests for name in test.columns), *columns]))
        if not names:
            for low in range(0, split.rows or 0, limits.batch_rows):
                yield empty_rows(min(limits.batch_rows, (split.rows or 0) - low))
            return
        schema = pa.schema([self.schema.field(name) for name in names])
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise FileError(f"cannot read {path!r}: {error.strerror}") from None
        try:
            for group in groups:
                reader = _GroupReader(file, layout, group, start, schema, limits.keep)
                try:
                    yield from reader.batches(columns, tests, limits)
                finally:
                    reader.close()
                start += layout.groups[group]
        finally:
            os.close(file)

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        """The largest row group that reading may hold, by the footers of some files."""
        largest = 0
        for path in self.paths[:16]:
            layout = layout_of(path)
            for group in range(min(len(layout.groups), 4)):
                held = _held(layout, group, columns)
                most = max(held, default=0)
                width = sum(layout.size(group, name) for name in columns)
                if layout.groups[group] <= limits.batch_rows and width <= limits.batch_bytes:
                    largest = max(largest, most)  # one window: a column after the other
                else:
                    largest = max(largest, min(sum(held), 2 * limits.batch_bytes + _spare(most, limits)))
        return largest


def _spare(held: int, limits: ReadLimits) -> int:
    """Bytes of pages that may be kept between windows, where reading one column holds so many."""
    return max(held, _KEPT_BATCHES * limits.batch_bytes)


def _held(layout: Layout, group: int, columns: Sequence[str]) -> list[int]:
    """Bytes that reading each column of a row group holds, beside what it gives out."""
    found = []
    for name in columns:
        for chunk in layout.chunks(group, layout.places.get(name, [])):
            if chunk.size > 64 * chunk.values:  # long texts: a page of them may be large, a huge one is read in pieces
                text = chunk.size // max(1, chunk.values)
                found.append(min(chunk.stored + chunk.size, (8 << 20) + 3 * text))
            else:
                found.append(min(chunk.stored, 1 << 20) + 3 * min(chunk.size, 1 << 20))
    return found


class _GroupReader:
    """The rows of one row group."""

    def __init__(
        self, file: int, layout: Layout, group: int, start: int, schema: pa.Schema, keep: Callable[[int], bool]
    ) -> None:
        self._file, self._layout, self._group, self._start, self._schema = file, layout, group, start, schema
        self._keep = keep
        self._kept: dict[str, int] = {}  # bytes that each reader holds
        self._rows = layout.groups[group]
        self._readers: dict[str, ColumnReader] = {}
        self._window = self._rows
        self._limit = _MOST_TEXT
        self._spare = self._asked = 0
        self._coded: frozenset[str] = frozenset()
        self._most_words = 0

    def batches(self, columns: Sequence[str], tests: Sequence[RowTest], limits: ReadLimits) -> Iterator[pa.RecordBatch]:
        names = self._schema.names
        width = sum(self._layout.size(self._group, name) for name in names) / max(1, self._rows)
        window = max(1, min(limits.batch_rows, int(limits.batch_bytes / max(width, 1.0))))
        # Windows of one size: no small rest.
        window = -(-self._rows // -(-self._rows // window)) if self._rows else 1
        self._coded, self._most_words = limits.coded, limits.batch_bytes // _WORDS_SHARE
        self._spare = _spare(max(_held(self._layout, self._group, names), default=0), limits)
        low = 0
        while low < self._rows:
            high = min(self._rows, low + window)
            self._window, self._limit = window, min(_MOST_TEXT, 2 * limits.batch_bytes if window > 1 else _MOST_TEXT)
            try:
                found = self._selected(low, high, columns, tests)
            except TooManyBytes:
                if window == 1:
                    raise FormatError(
                        f"a value in row {self._start + low + 1} of {self._layout.path} is larger than 2 GiB"
                    ) from None
                window = max(1, window // 4)
                continue
            low = high
            if high == self._rows:
                self.close()
            if isinstance(found, int):
                for at in range(0, found, limits.batch_rows):
                    yield empty_rows(min(limits.batch_rows, found - at))
            elif len(found[0]):
                yield from bounded(pa.RecordBatch.from_arrays(found, names=list(columns)), limits)

    def _selected(self, low: int, high: int, columns: Sequence[str], tests: Sequence[RowTest]) -> list[pa.Array] | int:
        """The columns' values in the rows of the window that pass; without columns, the number of these rows."""
        rows: pa.Array | None = None
        known: dict[str, pa.Array] = {}
        for place, test in enumerate(tests):
            for name in test.columns:
                if name not in known:
                    known[name] = self._read(name, low, high, rows, True)
            mask = self._mask(test, known)
            kept = mask.true_count
            if kept == len(mask):
                continue
            if not kept:
                return [pa.nulls(0, self._schema.field(name).type) for name in columns] if columns else 0
            positions = kept_rows(mask)
            if rows is not None:
                rows = pc.take(rows, positions, boundscheck=False)
            else:
                rows = positions if not low else pc.add(positions, pa.scalar(low, pa.int32()))
            later = {*columns, *(name for after in tests[place + 1 :] for name in after.columns)}
            known = {
                name: pc.take(array, positions, boundscheck=False) for name, array in known.items() if name in later
            }
        if not columns:
            return high - low if rows is None else len(rows)
        return [
            self._given(name, known[name] if name in known else self._read(name, low, high, rows, name in self._coded))
            for name in columns
        ]

    def _given(self, name: str, array: pa.Array) -> pa.Array:
        """Codes stay codes where they are welcome and the words are few."""
        if name in self._coded and pa.types.is_dictionary(array.type):
            words = array.dictionary
            if 2 * len(words) <= len(array) and words.nbytes <= self._most_words:
                return array
        return self._plain(name, array)

    def _plain(self, name: str, array: pa.Array) -> pa.Array:
        if decoded_size(array) > self._limit:
            raise TooManyBytes
        return plain(array, self._schema.field(name).type)

    def _mask(self, test: RowTest, known: dict[str, pa.Array]) -> pa.Array:
        if len(test.columns) == 1:
            name = test.columns[0]
            array = known[name]
            if pa.types.is_dictionary(array.type) and 2 * len(array.dictionary) < len(array):
                type_ = self._schema.field(name).type
                values = plain(array.dictionary, type_)
                if array.null_count:
                    values = pa.concat_arrays([values, pa.nulls(1, type_)])
                try:
                    found = test.mask(pa.RecordBatch.from_arrays([values], names=[name]))
                except Exception:
                    pass  # a value that no row here has may be to blame: ask about the rows
                else:
                    null = bool(array.null_count and found[-1].as_py())
                    return coded_mask(array.indices, found, null)
        arrays = [self._plain(name, known[name]) for name in test.columns]
        for name, array in zip(test.columns, arrays, strict=True):
            known[name] = array
        return test.mask(pa.RecordBatch.from_arrays(arrays, names=list(test.columns)))

    def _read(self, name: str, low: int, high: int, rows: pa.Array | None, coded: bool) -> pa.Array:
        if name not in self._layout.fields:
            count = high - low if rows is None else len(rows)
            if name != ROW_NUMBER:
                return pa.nulls(count, self._schema.field(name).type)
            if rows is None:
                return pa.arange(self._start + low, self._start + high)
            return pc.add(rows.cast(pa.int64()), self._start)
        try:
            reader = self._readers.get(name) or self._open(name)
            found = reader.read(low, high, rows, coded, self._limit)
        except CorruptPage as error:
            raise self._failed(name, f"a page is corrupt: {error}") from None
        except (pa.ArrowException, OSError) as error:
            raise self._failed(name, str(error).splitlines()[0]) from None
        if isinstance(reader, OwnColumn):
            if self._window >= self._rows:
                self._readers.pop(name, None)  # read once: its bytes are not needed any more
            else:
                self._rest(name, reader)
        return found

    def _rest(self, name: str, reader: OwnColumn) -> None:
        """Keep what the next window needs again, if there is room for it."""
        self._kept[name] = reader.nbytes
        if not self._ask():
            reader.rest()
            self._kept[name] = reader.nbytes
            self._ask()

    def _ask(self) -> bool:
        beyond = max(0, sum(self._kept.values()) - self._spare)
        if not self._keep(beyond - self._asked):
            return False
        self._asked = beyond
        return True

    def close(self) -> None:
        """Let go of everything."""
        self._readers.clear()
        self._kept.clear()
        self._keep(-self._asked)
        self._asked = 0

    def _open(self, name: str) -> ColumnReader:
        layout = self._layout
        form = form_of(layout, name)
        if form is not None:
            chunk = layout.chunk(self._group, layout.places[name][0])
            if can_decode(chunk):
                leaf = layout.leaves[layout.places[name][0]]
                own = OwnColumn(
                    self._file, chunk, layout.fields[name], form, leaf.max_definition_level == 1, self._rows
                )
                if own.supported:
                    self._readers[name] = own
                    return own
        lists = lists_of(layout, self._group, name, self._file)
        if lists is not None:
            self._readers[name] = lists
            return lists
        others = [n for n in self._schema.names if n in layout.fields and not self._is_own(n)]
        together = ArrowColumns(layout, self._group, others if name in others else [name], self._window)
        for other in others if name in others else [name]:
            self._readers[other] = together.column(other)
        return self._readers[name]

    def _is_own(self, name: str) -> bool:
        layout, group = self._layout, self._group
        if form_of(layout, name) is not None:
            return can_decode(layout.chunk(group, layout.places[name][0]))
        return lists_of(layout, group, name, self._file) is not None

    def _failed(self, name: str, reason: str) -> FormatError:
        return FormatError(
            f"cannot read row group {self._group} of {self._layout.path}, column {name!r}: {reason}",
            hint="the file may be corrupt; write it again, or leave out the column that fails",
        )


def _fields(path: str) -> dict[str, pa.DataType]:
    return layout_of(path).fields


def _distinct(fact: ValueRange, rows: int, codes: float) -> float | None:
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
