"""JSON: one object per line, or one array of objects.

Columns and nested types come from the first rows (`sample_size`, at most 4 MiB of text). Lines are decoded one by one,
element from a bounded window of text. A later value of another type, or a broken line, is an error that names the
file, and what to do. Large files of lines are cut into byte ranges at line ends; any other file is one split.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.json as pajson

from sqlengine.errors import FormatError
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.formats.batches import bounded, empty_rows
from sqlengine.formats.byte_range import ByteRange, chunks
from sqlengine.types import canonical

_BLOCK = 1 << 20
_SAMPLE_BYTES = 4 << 20
_RANGE = 16 << 20
_LARGEST_OBJECT = 1 << 30
_Part = tuple[int, int | None]


@dataclass(frozen=True)
class JsonSource:
    """`layout`: auto, lines or array. `columns` gives names and types instead of the sample. `ignore_errors` leaves out
    broken lines and gives NULL for values of another type (slower: each line is decoded by itself)."""

    paths: tuple[str, ...]
    layout: str = "auto"
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    sample: int = 20480
    ignore_errors: bool = False

    def _is_array(self, path: str) -> bool:
        if self.layout != "auto":
            return self.layout == "array"
        with _text(path) as file:
            return bool(file.read(4096).lstrip("\ufeff \t\r\n").startswith("["))

    @cached_property
    def schema(self) -> pa.Schema:
        if self.columns:
            return pa.schema([pa.field(name, type_) for name, type_ in self.columns.items()])
        path = self.paths[0]
        rows = []
        size = 0
        for row, length in islice(self._measured(path), self.sample):
            rows.append(row)
            size += length
            if size > _SAMPLE_BYTES:
                break
        if not rows:
            return pa.schema([pa.field("json", pa.string())])
        return pa.schema([pa.field(f.name, canonical(f.type)) for f in _inferred(rows)])

    def describe(self) -> str:
        return f"json {self.paths[0]}" if len(self.paths) == 1 else f"json {len(self.paths)} files"

    def stats(self, columns: Sequence[str]) -> Stats:
        size = float(sum(_size(path) for path in self.paths))
        return Stats(size / 100, size, {}, "default")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        found: list[Split] = []
        for path in self.paths:
            for low, high in self._ranges(path):
                found.append(Split(len(found), path, (low, high), None, _size(path) if high is None else high - low))
        return found

    def _ranges(self, path: str) -> list[tuple[int, int | None]]:
        """A large file of lines in pieces that end with a line: no line break stands inside a JSON text."""
        size = os.path.getsize(path)
        if path.lower().endswith((".gz", ".zst")) or size < 2 * _RANGE or self._is_array(path):
            return [(0, None)]
        ends = [0]
        with open(path, "rb") as file:
            while ends[-1] + _RANGE < size:
                file.seek(ends[-1] + _RANGE)
                file.readline(_LARGEST_OBJECT)
                ends.append(file.tell())
        return list(zip([e for e in ends if e < size], [*(e for e in ends[1:] if e < size), size], strict=True))

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        path = split.path
        assert path is not None
        schema = pa.schema([self.schema.field(name) for name in columns])
        done = 0
        if columns and not self.ignore_errors and not self._is_array(path) and all(_is_plain(f.type) for f in schema):
            try:
                for parsed in _parsed(path, split.part, schema, min(_BLOCK, max(64 << 10, limits.batch_bytes))):
                    yield from bounded(parsed, limits)
                    done += parsed.num_rows
                return
            except (pa.ArrowException, OSError):
                pass  # the slower reader below takes it from here: it knows more forms, and the line of an error
        batch: list[dict[str, Any]] = []
        # Python objects weigh several times their Arrow form: small batches.
        size, most = 0, max(1024, limits.batch_bytes // 8)
        for row, length in islice(self._measured(path, split.part), done, None):
            batch.append(row)
            size += length
            if len(batch) >= min(8192, limits.batch_rows) or size >= most:
                yield self._batch(batch, schema, path, done, split.part[0])
                done += len(batch)
                batch, size = [], 0
        if batch:
            yield self._batch(batch, schema, path, done, split.part[0])

    def _batch(
        self, rows: list[dict[str, Any]], schema: pa.Schema, path: str, before: int, start: int
    ) -> pa.RecordBatch:
        if not len(schema):
            return empty_rows(len(rows))
        arrays = []
        for f in schema:
            values = [row.get(f.name) for row in rows]
            arrays.append(self._column(values, f, path, before, start))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _column(self, values: list[Any], column: pa.Field, path: str, before: int, start: int) -> pa.Array:
        try:
            return _array(values, column.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
        kept = []
        for number, value in enumerate(values):
            try:
                kept.append(_array([value], column.type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                if not self.ignore_errors:
                    row = _lines_before(path, start) + before + number + 1
                    raise FormatError(
                        f"{path}, row {row}, column {column.name!r}: {json.dumps(value)[:60]} does not "
                        f"fit the type {column.type} found in the first rows",
                        hint=_TYPES_HINT,
                    ) from None
                kept.append(pa.nulls(1, column.type))
        return pa.concat_arrays(kept)

    def _measured(self, path: str, part: _Part = (0, None)) -> Iterator[tuple[dict[str, Any], int]]:
        """The objects of a file, or of the bytes from one line's end to another's, with the length of their text."""
        try:
            yield from self._elements(path) if self._is_array(path) else self._lines(path, part)
        except UnicodeDecodeError as error:
            raise FormatError(f"{path} is not UTF-8 text: {error.reason}", hint="convert it to UTF-8") from None
        except (OSError, EOFError) as error:
            raise FormatError(f"cannot read {path}: {error}") from None

    def _lines(self, path: str, part: _Part) -> Iterator[tuple[dict[str, Any], int]]:
        with _text(path, part) as file:
            for number, line in enumerate(file, 1):
                text = line.lstrip("\ufeff").strip()
                if not text:
                    continue
                try:
                    value = json.loads(text)
                    if not isinstance(value, dict):
                        raise ValueError("it is not an object")
                except (ValueError, RecursionError) as error:
                    if self.ignore_errors:
                        continue
                    raise FormatError(
                        f"{path}, line {number + _lines_before(path, part[0])}: {error}",
                        hint="each line must be one JSON object; ignore_errors=true leaves out broken lines",
                    ) from None
                yield value, len(text)

    def _elements(self, path: str) -> Iterator[tuple[dict[str, Any], int]]:
        decoder = json.JSONDecoder()
        number = 0
        with _text(path) as file:
            text = file.read(_BLOCK).lstrip("\ufeff \t\r\n")[1:]
            at, ended = 0, False
            while True:
                while at < len(text) and text[at] in " \t\r\n,":
                    at += 1
                if at < len(text) and text[at] == "]":
                    return
                reason = "the array is not closed"
                if at < len(text):
                    try:
                        value, end = decoder.raw_decode(text, at)
                        if not isinstance(value, dict):
                            raise _failed_element(path, number, "it is not an object")
                        yield value, end - at
                        number += 1
                        at = end
                        continue
                    except (json.JSONDecodeError, RecursionError) as error:
                        # Perhaps only the end of the window: read on, twice as much each time.
                        reason = str(error)
                if ended or len(text) - at > _LARGEST_OBJECT:
                    raise _failed_element(path, number, reason)
                more = file.read(max(_BLOCK, len(text) - at))
                ended = not more
                text, at = text[at:] + more, 0

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 4 * _BLOCK + limits.batch_bytes


_TYPES_HINT = "give the type: read_json(path, columns={'name': 'VARCHAR', ...}), or use ignore_errors=true"


def _is_plain(type_: pa.DataType) -> bool:
    """Whether Arrow's own JSON reader gives the same values for the type, or an error."""
    t = pa.types
    if t.is_list(type_):
        return _is_plain(type_.value_type)
    if t.is_struct(type_):
        return all(_is_plain(f.type) for f in type_)
    return bool(t.is_int64(type_) or t.is_float64(type_) or t.is_boolean(type_) or t.is_string(type_))


def _parsed(path: str, part: _Part, schema: pa.Schema, block: int) -> Iterator[pa.RecordBatch]:
    """Lines parsed by Arrow, a block at a time."""
    options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reading = pajson.ReadOptions(use_threads=False, block_size=block)
    with _bytes(path, part) as file, pajson.open_json(file, reading, options) as reader:
        for batch in reader:
            if batch.num_rows:
                # The parser does not look whether text is UTF-8.
                batch.validate(full=True)
                yield batch.select(schema.names)


def _failed_element(path: str, number: int, reason: str) -> FormatError:
    return FormatError(f"{path}, element {number + 1} of the array: {reason}", hint="write the file again")


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_string(type_):
        # Another kind of value in a text column is its JSON text.
        texts = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
        return pa.array(texts, type_)
    if pa.types.is_temporal(type_) or pa.types.is_decimal(type_):
        return pa.array([None if v is None else str(v) for v in values], pa.string()).cast(type_)
    if pa.types.is_integer(type_) and any(isinstance(v, bool) for v in values):
        raise TypeError("a boolean among numbers")
    return pa.array(values, type_)


def _inferred(rows: list[dict[str, Any]]) -> list[pa.Field]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [pa.field(name, _type_of([row[name] for row in rows if name in row])) for name in names]


def _type_of(values: list[Any]) -> pa.DataType:
    """One type for JSON values: BIGINT, DOUBLE, BOOLEAN, DATE, TIMESTAMP, lists and structs; VARCHAR for a mixture."""
    present = [v for v in values if v is not None]
    kinds = {type(v) for v in present}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64() if all(-(2**63) <= v < 2**63 for v in present) else pa.float64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    if kinds == {list}:
        return pa.list_(_type_of([item for v in present for item in v]))
    if kinds == {dict} and any(present):
        return pa.struct(_inferred(present))
    if kinds == {str}:
        for type_, shape in ((pa.date32(), (10,)), (pa.timestamp("us"), tuple(range(19, 27)))):
            if all(len(v) in shape and v[4:5] == "-" for v in present):
                try:
                    pa.array(present, pa.string()).cast(type_)
                except pa.ArrowInvalid:
                    continue
                return type_
    return pa.string()


def _bytes(path: str, part: _Part = (0, None)) -> Any:
    if part[1] is not None:
        return io.BufferedReader(ByteRange(open(path, "rb"), part[0], part[1]))
    if path.lower().endswith(".gz"):
        return gzip.open(path)
    if path.lower().endswith(".zst"):
        return pa.CompressedInputStream(pa.OSFile(path), "zstd")
    return open(path, "rb")


def _lines_before(path: str, end: int) -> int:
    with open(path, "rb") as file:
        return sum(chunk.count(b"\n") for chunk in chunks(file, end))


def _text(path: str, part: _Part = (0, None)) -> Any:
    raw = _bytes(path, part)
    return io.TextIOWrapper(
        raw if isinstance(raw, io.BufferedIOBase) else io.BufferedReader(raw), encoding="utf-8", newline="\n"
    )


def _size(path: str) -> int:
    return os.path.getsize(path) * (5 if path.lower().endswith((".gz", ".zst")) else 1)
