"""CSV files, parsed in blocks of bounded size.

Types come from the first block of each column's values. A later value of another type is an error that names the file and
says what to do. One split per file: a quoted line break makes byte ranges unsafe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from sqlengine.errors import FormatError
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.types import canonical_schema

_BLOCK = 1 << 20
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class CsvSource:
    """`delimiter` '' and `header` None are found by looking at the first file; `null_text` is read as NULL, as is nothing."""

    paths: tuple[str, ...]
    delimiter: str = ""
    header: bool | None = None
    null_text: str = ""

    @cached_property
    def _dialect(self) -> tuple[str, bool]:
        with open(self.paths[0], "rb") as file:
            lines = [line.decode("utf-8", "replace").rstrip("\r\n") for line in file.read(64 << 10).splitlines()[:50]]
        delimiter = self.delimiter
        if not delimiter:
            counts = {d: [line.count(d) for line in lines] for d in _DELIMITERS}
            steady = [d for d in _DELIMITERS if counts[d] and counts[d][0] and len(set(counts[d])) == 1]
            present = [d for d in _DELIMITERS if counts[d] and counts[d][0]]
            delimiter = (steady or present or [","])[0]
        header = self.header
        if header is None:
            first = lines[0].split(delimiter) if lines else []
            header = bool(first) and not any(_is_number(cell) or not cell.strip() for cell in first)
        return delimiter, header

    def _open(self, path: str, block: int, columns: Sequence[str] | None, schema: pa.Schema | None) -> Any:
        delimiter, header = self._dialect
        names = None if schema is None else schema.names
        try:
            return pacsv.open_csv(
                path,
                read_options=pacsv.ReadOptions(
                    use_threads=False,
                    block_size=block,
                    autogenerate_column_names=not header and names is None,
                    column_names=names,
                    skip_rows=1 if header and names is not None else 0,
                ),
                parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    column_types=None if schema is None else schema,
                    include_columns=None if columns is None else list(columns),
                    null_values=["", self.null_text],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            raise _failed(path, error) from None

    @cached_property
    def schema(self) -> pa.Schema:
        with self._open(self.paths[0], _BLOCK, None, None) as reader:
            found = canonical_schema(reader.schema)
        fields = []
        for field in found:
            # A column without a value in the first block may hold anything; names f0, f1 become DuckDB's column0, column1.
            type_ = pa.string() if pa.types.is_null(field.type) else field.type
            if pa.types.is_timestamp(type_):
                type_ = pa.timestamp("us", type_.tz)
            fields.append(pa.field(field.name if self._dialect[1] else f"column{field.name[1:]}", type_))
        return pa.schema(fields)

    def describe(self) -> str:
        return f"csv {self.paths[0]}" if len(self.paths) == 1 else f"csv {len(self.paths)} files"

    def stats(self, columns: Sequence[str]) -> Stats:
        size = sum(os.path.getsize(path) for path in self.paths)
        return Stats(size / 50, float(size), {}, "default")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        return [Split(i, path, (), None, os.path.getsize(path)) for i, path in enumerate(self.paths)]

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        assert split.path is not None
        wanted = list(columns) or self.schema.names[:1]
        block = max(64 << 10, min(_BLOCK, limits.batch_bytes))
        with self._open(split.path, block, wanted, self.schema) as reader:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except (pa.ArrowInvalid, OSError) as error:
                    raise _failed(split.path, error) from None
                if not columns:
                    yield pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, pa.struct([])))
                    continue
                for start in range(0, batch.num_rows, limits.batch_rows):
                    yield batch.slice(start, limits.batch_rows)

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 4 * max(64 << 10, min(_BLOCK, limits.batch_bytes))


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"'))
    except ValueError:
        return False
    return True


def _failed(path: str, error: Exception) -> FormatError:
    return FormatError(
        f"cannot read {path}: {str(error).splitlines()[0]}",
        hint="check the delimiter and the row it names, or read the column as text in a corrected file",
    )


def csv_source(paths: tuple[str, ...], options: Any) -> CsvSource:
    return CsvSource(
        paths, str(options.take("delim", "sep", "delimiter", default="")), options.flag("header", default=None),
        str(options.take("nullstr", "null", default="")),
    )  # fmt: skip
