"""What a CSV file looks like: delimiter, header, column names and types, found from its first part."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from sqlengine.errors import BindError, FileError, FormatError
from sqlengine.formats.csv_quotes import open_line, unclosed_quote
from sqlengine.types import HUGEINT, canonical

_DELIMITERS = ",\t;|"
_SAMPLE_BYTES = 1 << 20
_SAMPLE_MOST = 4 << 20


@dataclass(frozen=True)
class Dialect:
    """How to cut the text into cells. `delimiter` '' and `header` None are found by `sniffed`. `skip` lines come before
    everything; `null_texts` are read as NULL, when quoted only with `quoted_nulls`."""

    delimiter: str = ""
    quote: str = '"'
    escape: str = '"'
    header: bool | None = None
    skip: int = 0
    null_texts: tuple[str, ...] = ("",)
    compression: str = ""
    date_format: str = ""
    timestamp_format: str = ""
    quoted_nulls: bool = False
    decimal_point: str = "."
    encoding: str = "utf-8"
    normalize_names: bool = False

    def parse_options(self, skip_broken: bool = False) -> Any:
        return pacsv.ParseOptions(
            delimiter=self.delimiter or ",",
            quote_char=self.quote or False,
            double_quote=self.escape == self.quote,
            escape_char=self.escape if self.escape not in ("", self.quote) else False,
            newlines_in_values=bool(self.quote),
            invalid_row_handler=(lambda row: "skip") if skip_broken else None,
        )

    def convert_options(self, types: Any = None, columns: list[str] | None = None) -> Any:
        formats = [f for f in (self.timestamp_format, self.date_format) if f]
        return pacsv.ConvertOptions(
            column_types=types,
            include_columns=columns,
            null_values=list(self.null_texts),
            strings_can_be_null=True,
            quoted_strings_can_be_null=self.quoted_nulls,
            true_values=["true", "True", "TRUE", "t", "1"],
            false_values=["false", "False", "FALSE", "f", "0"],
            timestamp_parsers=[*formats, pacsv.ISO8601] if formats else [],
            decimal_point=self.decimal_point,
        )


def open_bytes(path: str, compression: str = "", encoding: str = "utf-8") -> Any:
    """The bytes of a file as UTF-8, decompressed as its name or the option says."""
    raw = _decompressed(path, compression)
    return raw if encoding == "utf-8" else pa.transcoding_input_stream(pa.PythonFile(raw, "r"), encoding, "utf-8")


def _decompressed(path: str, compression: str) -> Any:
    kind = compression or {"gz": "gzip", "zst": "zstd"}.get(path.lower().rsplit(".", 1)[-1], "none")
    try:
        if kind in ("gzip", "gz"):
            return gzip.open(path, "rb")
        if kind in ("zstd", "zst"):
            return pa.CompressedInputStream(pa.OSFile(path), "zstd")
        if kind in ("none", "uncompressed", "auto"):
            return open(path, "rb")
    except PermissionError:
        raise FileError(f"no permission to read {path!r}", code="file_permission") from None
    raise BindError(f"read_csv: unknown compression {compression!r}", hint="gzip, zstd or none", code="bad_option")


def sniffed(path: str, given: Dialect, rows: int, all_text: bool) -> tuple[Dialect, pa.Schema]:
    """The dialect with nothing left open, and the columns: types from the first `rows` rows (-1: more) within
    4 MiB of the file."""
    text, whole = _sample(path, given, rows)
    if not text.strip():
        return replace(given, delimiter=given.delimiter or ",", header=False), pa.schema(
            [pa.field("column0", pa.string())]
        )
    dialect = given if given.delimiter else replace(given, delimiter=_delimiter(text, given))
    with_first = _parsed(path, text, dialect, dialect.skip, whole)
    first = [column[0].as_py() for column in _texts(path, text, dialect, whole).columns]
    rest = _parsed(path, text, dialect, dialect.skip + 1, whole) if with_first.num_rows > 1 else None
    if dialect.header is None:
        dialect = replace(dialect, header=_has_header(first, with_first, rest))
    if dialect.header:
        names = [str(name or "").strip() for name in first]
        names = _distinct_names([_normal(name) for name in names] if dialect.normalize_names else names)
        found = rest
    else:
        names = [f"column{i}" for i in range(len(first))]
        found = with_first
    types = [pa.string()] * len(names)
    if found is not None and not all_text:
        types = [_settled(column, dialect) for column in found.slice(0, rows if rows > 0 else None).columns]
        numeric = [i for i, type_ in enumerate(types) if pa.types.is_int64(type_) or pa.types.is_float64(type_)]
        for place, type_ in _not_numbers(path, text, dialect, whole, [found.schema.names[i] for i in numeric]):
            types[place] = type_
    return dialect, pa.schema([pa.field(name, type_) for name, type_ in zip(names, types, strict=True)])


def _sample(path: str, given: Dialect, rows: int) -> tuple[bytes, bool]:
    """Whole lines from the start of the file, `rows` of them below the header (-1: all), and whether that is all."""
    skip = given.skip
    with open_bytes(path, given.compression, given.encoding) as file:
        try:
            text = file.read(_SAMPLE_BYTES)
            while True:
                more = file.read(_SAMPLE_BYTES)
                lines = text.count(b"\n")
                # There must be a row below the header, however long it is.
                if not more or (lines > skip + 1 and (0 <= rows <= lines or len(text) >= _SAMPLE_MOST)):
                    break
                text += more
        except UnicodeError:
            raise FormatError(
                f"{path} is not {given.encoding} text", code="encoding", hint="give the right encoding => 'name'"
            ) from None
        except (OSError, EOFError) as error:
            raise FormatError(f"cannot read {path}: {error}", hint="is it compressed as its name says?") from None
    whole = not more
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in text[:4096]:
        raise FormatError(
            f"{path} is not UTF-8 text", code="encoding", hint="convert it with: iconv -f utf-16 -t utf-8"
        )
    text = text.removeprefix(b"\xef\xbb\xbf")
    if rows >= 0 and (end := _end_of_line(text, skip + 1 + rows)) < len(text):
        return text[:end], False
    return text if whole else text[: text.rfind(b"\n") + 1], whole


def _end_of_line(text: bytes, number: int) -> int:
    """Where line `number` (from 1) ends, or the end of the text."""
    at = 0
    for _ in range(number):
        at = text.find(b"\n", at) + 1
        if not at:
            return len(text)
    return at


def _delimiter(text: bytes, given: Dialect) -> str:
    """The candidate that cuts the first lines into the same number (the most) of cells, quoted text left out."""
    lines = text[: 64 << 10].decode("utf-8", "replace").splitlines()[given.skip :][:50]
    best, score = ",", (False, 0.0)
    for candidate in _DELIMITERS:
        counts = [_outside_quotes(line, candidate, given.quote) for line in lines if line]
        if counts and counts[0]:
            steady = sum(count == counts[0] for count in counts) / len(counts)
            if (steady > 0.9, steady * counts[0]) > score:
                best, score = candidate, (steady > 0.9, steady * counts[0])
    return best


def _outside_quotes(line: str, mark: str, quote: str) -> int:
    return sum(part.count(mark) for part in (line.split(quote) if quote else [line])[::2])


def _read(path: str, text: bytes, dialect: Dialect, skip: int, whole: bool, convert: Any) -> pa.Table:
    options = pacsv.ReadOptions(
        use_threads=False, block_size=max(1 << 20, len(text) + 1), skip_rows=skip, autogenerate_column_names=True
    )
    try:
        # A quoted cell may be cut off at the end of the sample: broken rows are reported when they are read.
        return pacsv.read_csv(pa.BufferReader(text), options, dialect.parse_options(skip_broken=True), convert)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        message = str(error).splitlines()[0]
        if whole and dialect.quote and (line := open_line(text, dialect.quote, dialect.delimiter)):
            raise unclosed_quote(path, line) from None
        raise FormatError(f"cannot read {path}: {message}", hint=DIALECT_HINT) from None


DIALECT_HINT = "check delim, quote and skip, or read everything as text with all_varchar=true"


def _parsed(path: str, text: bytes, dialect: Dialect, skip: int, whole: bool) -> pa.Table:
    table = _read(path, text, dialect, skip, whole, dialect.convert_options())
    for name in table.schema.names:
        if pa.types.is_binary(table.schema.field(name).type):
            raise FormatError(
                f"{path}, line {_undecodable(text)}, column {int(name[1:]) + 1}: the text is not UTF-8",
                code="encoding",
                hint="say what it is, such as read_csv(path, encoding => 'latin-1')",
            )
    return table


def _undecodable(text: bytes) -> int:
    """The first line (from 1) that is not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return text.count(b"\n", 0, error.start) + 1
    return 1


def _texts(path: str, text: bytes, dialect: Dialect, whole: bool) -> pa.Table:
    lines = text.split(b"\n", dialect.skip + 4)
    start = b"\n".join(lines[: dialect.skip + 1]) + b"\n"
    names = pacsv.ConvertOptions(check_utf8=False, null_values=[], strings_can_be_null=False)
    wide = _read(path, start, dialect, dialect.skip, True, names)
    as_text = pacsv.ConvertOptions(column_types=dict.fromkeys(wide.schema.names, pa.string()), null_values=[])
    found = _read(path, start, dialect, dialect.skip, True, as_text)
    return found if found.num_rows else _read(path, text, dialect, dialect.skip, whole, as_text)


def _not_numbers(
    path: str, text: bytes, dialect: Dialect, whole: bool, names: list[str]
) -> Iterator[tuple[int, pa.DataType]]:
    """Places and better types of the columns among `names` that would lose something as BIGINT or DOUBLE: leading
    zeros, a plus sign, or the digits of large whole numbers."""
    if not names:
        return
    as_text = dialect.convert_options(dict.fromkeys(names, pa.string()), names)
    cells = _read(path, text, dialect, dialect.skip + int(bool(dialect.header)), whole, as_text)
    for name in names:
        column = cells.column(name)
        if pc.any(pc.match_substring_regex(column, r"^\s*([+]|-?0[0-9])")).as_py():
            yield int(name[1:]), pa.string()
        elif (
            pc.all(pc.match_substring_regex(column, r"^\s*-?[0-9]{1,38}\s*$")).as_py()
            and (pc.max(pc.utf8_length(column)).as_py() or 0) > 18
        ):
            whole_numbers = column.cast(HUGEINT)
            try:
                whole_numbers.cast(pa.int64())
            except pa.ArrowInvalid:
                yield int(name[1:]), HUGEINT


def _has_header(first: list[Any], with_first: pa.Table, rest: pa.Table | None) -> bool:
    """The first row names the columns when every cell of it is filled, and one does not fit the type of the rest or all
    columns are text."""
    if any(cell is None or not str(cell).strip() for cell in first):
        return False
    if rest is None:
        return all(pa.types.is_string(type_) for type_ in with_first.schema.types)
    if rest.num_columns != with_first.num_columns:
        return True
    pairs = list(zip(with_first.schema.types, rest.schema.types, strict=True))
    if any(pa.types.is_string(a) and not pa.types.is_string(b) and not pa.types.is_null(b) for a, b in pairs):
        return True
    return all(pa.types.is_string(b) or pa.types.is_null(b) for _, b in pairs)


def _settled(column: pa.ChunkedArray, dialect: Dialect) -> pa.DataType:
    """A column without a value in the sample may hold anything: text. With a date format, midnights are dates."""
    type_ = column.type
    if pa.types.is_null(type_):
        return pa.string()
    if pa.types.is_timestamp(type_):
        if dialect.date_format and column.cast(pa.date32(), safe=False).cast(type_).equals(column):
            return pa.date32()
        return pa.timestamp("us", type_.tz)
    return canonical(type_)


def _normal(name: str) -> str:
    """A name that needs no quotes: lower case, everything but letters, digits and _ made _."""
    text = re.sub(r"\W+", "_", name.lower()).strip("_") or "_"
    return f"_{text}" if text[0].isdigit() else text


def _distinct_names(names: list[str]) -> list[str]:
    """`a, , a` -> `a, column1, a_1`."""
    found: list[str] = []
    seen: set[str] = set()
    for place, name in enumerate(names):
        base = candidate = name or f"column{place}"
        count = 0
        while candidate.lower() in seen:
            count += 1
            candidate = f"{base}_{count}"
        seen.add(candidate.lower())
        found.append(candidate)
    return found
