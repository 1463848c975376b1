"""CSV files, parsed in blocks of bounded size.

Dialect and types come from the first part of the first file (`csv_dialect`). A later value of another type, a row of
another length or text that is not UTF-8 is an error with line, column and what to do; `ignore_errors` leaves such rows
out.

Splits: a large uncompressed file without any quote character is cut into byte ranges at line ends, read in parallel;
any other file is one split, because a line break may lie inside quotes.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from sqlengine.errors import BindError, DataError, FileError, FormatError
from sqlengine.expr.cast import cast_array
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.formats.batches import bounded, empty_rows
from sqlengine.formats.byte_range import ByteRange, chunks
from sqlengine.formats.csv_dialect import DIALECT_HINT, Dialect, open_bytes, sniffed
from sqlengine.formats.csv_quotes import QuoteWatch, unclosed_quote
from sqlengine.formats.drift import drift_error
from sqlengine.formats.options import ReaderOptions
from sqlengine.types import sql_name

_BLOCK = 1 << 20
_RANGE = 16 << 20
_LARGEST_ROW = 1 << 30


@dataclass(frozen=True)
class CsvSource:
    """`columns` names all columns and their types; `types` only overrides some. `sample`: rows to find types from."""

    paths: tuple[str, ...]
    given: Dialect = field(default_factory=Dialect)
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    all_text: bool = False
    sample: int = 20480
    ignore_errors: bool = False
    union_by_name: bool = False
    parallel: bool = True

    @cached_property
    def _found(self) -> tuple[Dialect, dict[str, pa.Schema]]:
        dialect, first = sniffed(self.paths[0], self.given, self.sample, self.all_text)
        schemas = {self.paths[0]: first}
        for path in self.paths[1:]:
            schemas[path] = sniffed(path, dialect, self.sample, self.all_text)[1]
        return dialect, schemas

    @property
    def _dialect(self) -> Dialect:
        return self._found[0]

    @cached_property
    def schema(self) -> pa.Schema:
        dialect, schemas = self._found
        first = schemas[self.paths[0]]
        if self.columns:
            if len(self.columns) != len(first):
                raise FormatError(
                    f"{self.paths[0]} has {len(first)} columns, the option columns names {len(self.columns)}"
                )
            return pa.schema([pa.field(name, type_) for name, type_ in self.columns.items()])
        for name in self.types:
            if name not in first.names:
                raise BindError(
                    f"read_csv: types names {name!r}, which is no column", hint=f"there are {', '.join(first.names)}"
                )
        fields = {f.name: f.type for f in first}
        for path, other in schemas.items():
            for f in other:
                if self.union_by_name and f.name not in fields:
                    fields[f.name] = f.type
            for name in fields:
                if dialect.header and not self.union_by_name and name not in other.names:
                    raise drift_error(name, self.paths[0], fields[name], path, None)
            if not dialect.header and len(other) != len(first):
                raise FormatError(
                    f"{self.paths[0]} has {len(first)} columns, {path} has {len(other)}", code="schema_drift"
                )
        return pa.schema([pa.field(name, self.types.get(name, type_)) for name, type_ in fields.items()])

    def describe(self) -> str:
        return f"csv {self.paths[0]}" if len(self.paths) == 1 else f"csv {len(self.paths)} files"

    def stats(self, columns: Sequence[str]) -> Stats:
        size = sum(_size(path) for path in self.paths)
        rows = size / max(8.0, 8.0 * len(self.schema))
        share = len(columns) / max(1, len(self.schema))
        return Stats(rows, size * share, {}, "sample")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        found: list[Split] = []
        for path in self.paths:
            for low, high in self._ranges(path):
                found.append(Split(len(found), path, (low, high), None, _size(path) if high is None else high - low))
        return found

    def _ranges(self, path: str) -> list[tuple[int, int | None]]:
        dialect = self._dialect
        size = os.path.getsize(path)
        packed = dialect.compression not in ("", "none") or path.lower().endswith((".gz", ".zst"))
        plain = dialect.encoding == "utf-8" and dialect.escape in ("", dialect.quote)
        if packed or size < 2 * _RANGE or not plain or not self.parallel:
            return [(0, None)]
        ends = [0]
        with open(path, "rb") as file:
            at = 0
            while chunk := file.read(_BLOCK):
                if dialect.quote and dialect.quote.encode() in chunk:
                    return [(0, None)]
                at += len(chunk)
                if at - ends[-1] >= _RANGE and at < size:
                    at += len(file.readline())  # quotes in it, if any, are noticed by the parser
                    ends.append(at)
        ends = [end for end in ends if end < size]
        return list(zip(ends, [*ends[1:], size], strict=True))

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        assert split.path is not None
        block = max(64 << 10, min(_BLOCK, limits.batch_bytes))
        done = 0
        while True:
            try:
                for batch in self._blocks(split, columns, block, done):
                    done += batch.num_rows
                    yield from bounded(batch, limits)
                return
            except _RowTooLong:
                # Begin again with larger blocks, behind the rows given out already.
                block *= 4
                if block > _LARGEST_ROW:
                    raise FormatError(
                        f"{split.path}: a row is longer than 1 GiB",
                        hint="is a closing quote missing? see the option quote",
                    ) from None

    def _blocks(self, split: Split, columns: Sequence[str], block: int, done: int) -> Iterator[pa.RecordBatch]:
        dialect, schemas = self._found
        path = split.path
        assert path is not None
        low, high = split.part
        own = schemas[path].names if not self.columns else list(self.columns)
        if not dialect.header:
            own = self.schema.names
        wanted = [name for name in columns if name in own] or own[:1]
        skip = (dialect.skip + int(bool(dialect.header))) if low == 0 else 0
        text = self.ignore_errors
        types = {
            name: pa.string() if text else _readable(self.schema.field(name).type)
            for name in wanted
            if name in self.schema.names
        }
        if dialect.date_format:
            types = {n: pa.timestamp("s") if pa.types.is_date(t) else t for n, t in types.items()}
        schema = pa.schema([self.schema.field(name) for name in columns])
        rows = 0
        try:
            if os.path.getsize(path) == 0:
                return
            with open_bytes(path, dialect.compression, dialect.encoding) as raw:
                stream = raw if high is None else io.BufferedReader(ByteRange(raw, low, high))
                watch = None
                if high is None and dialect.quote and dialect.escape == dialect.quote:
                    stream = watch = QuoteWatch(raw, dialect.quote, dialect.delimiter)
                reader = pacsv.open_csv(
                    stream,
                    pacsv.ReadOptions(use_threads=False, block_size=block, skip_rows=skip, column_names=own),
                    dialect.parse_options(skip_broken=self.ignore_errors),
                    dialect.convert_options(types, wanted),
                )
                for batch in reader:
                    rows += batch.num_rows
                    new = batch.slice(max(0, batch.num_rows - (rows - done)))
                    if new.num_rows:
                        yield self._converted(new, schema) if columns else empty_rows(new.num_rows)
                if watch is not None and (line := watch.open_line()):
                    raise unclosed_quote(path, line)
        except (pa.ArrowException, UnicodeDecodeError, OSError, EOFError) as error:
            if isinstance(error, UnicodeDecodeError) and dialect.encoding != "utf-8":
                raise FormatError(
                    f"{path} is not {dialect.encoding} text",
                    code="encoding",
                    hint="give the right encoding => 'name'",
                ) from None
            message = str(error)
            if "straddling object" in message:
                raise _RowTooLong from None
            if "Empty CSV file" in message:
                return
            raise self._failed(path, message, low, skip, wanted) from None

    def _converted(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        """The batch in the source's types. With `ignore_errors` all cells came as text: rows that do not fit go."""
        arrays = []
        good: Any = None
        for f in schema:
            place = batch.schema.get_field_index(f.name)
            if place < 0:
                arrays.append(pa.nulls(batch.num_rows, f.type))
                continue
            cells = batch.column(place)
            array = cells
            if cells.type != f.type:
                array = cast_array(cells, f.type, True) if self.ignore_errors else cells.cast(f.type)
                if self.ignore_errors:
                    fits = pc.or_(pc.is_null(cells), pc.is_valid(array))
                    good = fits if good is None else pc.and_(good, fits)
            arrays.append(array)
        found = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return found if good is None else found.filter(good)

    def _failed(self, path: str, message: str, low: int, skip: int, wanted: list[str]) -> DataError | FileError:
        """Arrow's message with the line in the file and the column's name."""
        first = message.splitlines()[0]
        row = re.search(r"Row #(\d+)", first)
        line = ""
        if row:
            number = int(row[1])
            if low:
                with open(path, "rb") as file:
                    number += sum(chunk.count(b"\n") for chunk in chunks(file, low))
            line = f", line {number}"
        value = re.search(r"CSV conversion error to ([^:]+): (invalid value|invalid UTF8)(.*)", first)
        if value is None:
            wrong = re.search(r"Expected (\d+) columns, got (\d+): ?(.*)", message, re.DOTALL)
            if wrong:
                start = wrong[3].splitlines()[0][:80] if wrong[3] else ""
                return FormatError(
                    f"{path}{line}: {wrong[2]} cells instead of {wrong[1]}: {start}",
                    code="ragged_row",
                    hint="check delim and quote, or leave such rows out with ignore_errors=true",
                )
            return FormatError(f"cannot read {path}{line}: {first}", hint=DIALECT_HINT)
        place = re.search(r"In CSV column #(\d+)", first)
        own = list(self.columns) or (self._found[1][path].names if self._dialect.header else self.schema.names)
        name = own[int(place[1])] if place and int(place[1]) < len(own) else wanted[0]
        if "UTF8" in value[2]:
            return FormatError(
                f"{path}{line}, column {name!r}: the text is not UTF-8",
                code="encoding",
                hint="say what it is, such as read_csv(path, encoding => 'latin-1')",
            )
        kind = sql_name(self.schema.field(name).type)
        return FormatError(
            f"{path}{line}, column {name!r}: {value[3].strip()} is not a {kind}",
            code="type_change",
            hint=f"read the column as text with types={{'{name}': 'VARCHAR'}}, raise sample_size, or "
            "use ignore_errors=true",
        )

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 4 * max(64 << 10, min(_BLOCK, limits.batch_bytes))


class _RowTooLong(Exception):
    """A row does not fit into two blocks."""


def _readable(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_nested(type_):
        raise BindError(f"read_csv cannot give the type {sql_name(type_)}", hint="read it as VARCHAR and CAST it")
    return type_


def _size(path: str) -> int:
    return os.path.getsize(path) * (4 if path.lower().endswith((".gz", ".zst")) else 1)


def csv_source(paths: tuple[str, ...], options: ReaderOptions) -> CsvSource:
    """The source that the named arguments of `read_csv` describe."""
    quote = _mark(options, '"', "quote")
    nulls = options.take("nullstr", "null", default="")
    dialect = Dialect(
        delimiter=_mark(options, "", "delim", "sep", "delimiter"),
        quote=quote,
        escape=_mark(options, quote, "escape"),
        header=options.flag("header", default=None),
        skip=options.number("skip", default=0),
        null_texts=tuple(dict.fromkeys(["", *([nulls] if isinstance(nulls, str) else map(str, nulls))])),
        compression=str(options.take("compression", default="")).lower().replace("auto", ""),
        date_format=str(options.take("dateformat", "date_format", default="")),
        timestamp_format=str(options.take("timestampformat", "timestamp_format", default="")),
        quoted_nulls=options.flag("allow_quoted_nulls"),
        decimal_point=_mark(options, ".", "decimal_separator"),
        encoding=_encoding(options),
        normalize_names=options.flag("normalize_names"),
    )
    options.flag("auto_detect", default=True)
    names = options.take("names", default=[])
    types: dict[str, pa.DataType] = options.types("types", "dtypes", "column_types")
    source = CsvSource(
        paths,
        dialect,
        options.types("columns"),
        types,
        options.flag("all_varchar"),
        options.number("sample_size", default=20480, low=-1),
        options.flag("ignore_errors"),
        options.flag("union_by_name"),
        options.flag("parallel", default=True),
    )
    if names:
        found = source.schema
        if len(names) > len(found):
            raise BindError(f"read_csv: names has {len(names)} entries, the file {len(found)} columns")
        renamed = [*map(str, names), *found.names[len(names) :]]
        source = replace(source, columns=dict(zip(renamed, found.types, strict=True)))
    return source


def _encoding(options: ReaderOptions) -> str:
    name = str(options.take("encoding", default="utf-8"))
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise BindError(
            f"read_csv: there is no encoding {name!r}", code="bad_option", hint="such as utf-8, latin-1, utf-16"
        ) from None


def _mark(options: ReaderOptions, default: str, *names: str) -> str:
    found = str(options.take(*names, default=default)).replace("\\t", "\t")
    if len(found) > 1:
        raise BindError(f"read_csv: {names[0]} must be one character, not {found!r}", code="bad_option")
    return found
