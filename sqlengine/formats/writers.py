"""Writing rows to files: streaming, bounded, and whole or not at all.

A file is written under a temporary name beside its target and renamed by `commit`; leaving the writer without a commit
removes it. `PARTITION_BY` writes a directory tree `column=value/data_0.parquet` with a bounded number of open files;
the tree too is made under a temporary name first.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import uuid
from collections import OrderedDict
from typing import Any, Protocol, Self
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import BindError, FileError, FormatError, NotSupportedError
from sqlengine.formats.parquet_rows import ParquetRows
from sqlengine.formats.text import csv_lines, json_lines
from sqlengine.settings import parse_bytes

_OPEN_FILES = 8
_CODECS = {
    "uncompressed": "none", "none": "none", "snappy": "snappy", "gzip": "gzip", "gz": "gzip", "zstd": "zstd",
    "zst": "zstd", "lz4": "lz4", "lz4_raw": "lz4", "brotli": "brotli",
}  # fmt: skip


class RowWriter(Protocol):
    """Encodes batches into one open file."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class _Options:
    """The options of a COPY; `finish` refuses those that nobody took."""

    def __init__(self, given: dict[str, Any], format: str) -> None:
        self._left = {name.lower(): value for name, value in given.items()}
        self._format = format

    def take(self, *names: str, default: Any = None) -> Any:
        found = default
        for name in names:
            if name in self._left:
                found = self._left.pop(name)
        return found

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default=default)
        if isinstance(value, str):
            return value.strip().lower() in ("true", "1", "on", "yes")
        return bool(value)

    def finish(self) -> None:
        for name in self._left:
            raise BindError(f"COPY to {self._format} has no option {name.upper()}", code="unknown_option")


class ArrowRows:
    """The Arrow IPC file format (or the stream format with STREAM true)."""

    def __init__(self, path: str, schema: pa.Schema, options: _Options, gathered: int) -> None:
        codec = _codec(options.take("compression", "codec", default="none"))
        stream = options.flag("stream", False)
        options.finish()
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        settings = pa.ipc.IpcWriteOptions(compression=None if codec == "none" else codec)
        self._writer = make(path, schema, options=settings)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _TextRows:
    """A text file, compressed if wanted."""

    def __init__(self, path: str, target: str, options: _Options) -> None:
        ending = {".gz": "gzip", ".zst": "zstd"}.get(os.path.splitext(target)[1].lower(), "none")
        codec = _codec(options.take("compression", "codec", default=ending))
        options.finish()
        if codec == "gzip":
            self._file: Any = gzip.open(path, "wb", compresslevel=6)  # noqa: SIM115 (closed by close)
        elif codec == "none":
            self._file = open(path, "wb")  # noqa: SIM115
        elif codec == "zstd":
            self._file = pa.CompressedOutputStream(pa.OSFile(path, "wb"), "zstd")
        else:
            raise NotSupportedError(f"text files cannot be compressed with {codec}: use gzip or zstd")

    def close(self) -> None:
        self._file.close()


class CsvRows(_TextRows):
    """NULL is written as NULLSTR (nothing unless given), an empty text as `""`."""

    def __init__(self, path: str, target: str, schema: pa.Schema, options: _Options) -> None:
        self._delimiter = str(
            options.take("delim", "delimiter", "sep", default="\t" if _bare(target).endswith(".tsv") else ",")
        )
        self._quote = str(options.take("quote", default='"'))
        self._escape = str(options.take("escape", default=self._quote))
        self._null = str(options.take("nullstr", "null", default=""))
        self._all = options.flag("force_quote", False)
        header = options.flag("header", True)
        super().__init__(path, target, options)
        if header:
            names = pa.record_batch([pa.array([name]) for name in schema.names], schema.names)
            self._emit(names)

    def _emit(self, batch: pa.RecordBatch) -> None:
        lines = csv_lines(batch, self._delimiter, self._quote, self._escape, self._null, self._all)
        self._file.write(lines)

    def write(self, batch: pa.RecordBatch) -> None:
        self._emit(batch)


class JsonRows(_TextRows):
    """One object per line, or with `array` one array of objects."""

    def __init__(self, path: str, target: str, schema: pa.Schema, options: _Options, array: bool) -> None:
        self._array = options.flag("array", array)
        self._first = True
        super().__init__(path, target, options)
        if self._array:
            self._file.write(b"[")

    def write(self, batch: pa.RecordBatch) -> None:
        if self._array:
            text = json_lines(batch, b",\n\t", b"")
            self._file.write(text[1:] if self._first else text)
        else:
            self._file.write(json_lines(batch))
        self._first = False

    def close(self) -> None:
        if self._array and not self._file.closed:
            self._file.write(b"\n]\n")
        super().close()


def _row_writer(
    path: str, target: str, schema: pa.Schema, format: str, given: dict[str, Any], gathered: int
) -> RowWriter:
    options = _Options(given, format)
    match format:
        case "parquet":
            codec = _codec(options.take("compression", "codec", default="snappy"))
            level = options.take("compression_level")
            rows = int(options.take("row_group_size", default=122880))
            size = min(parse_bytes(options.take("row_group_size_bytes", default=gathered)), gathered)
            options.finish()
            return ParquetRows(path, schema, codec, None if level is None else int(level), rows, size)
        case "arrow" | "ipc" | "feather":
            return ArrowRows(path, schema, options, gathered)
        case "csv":
            return CsvRows(path, target, schema, options)
        case "json":
            return JsonRows(path, target, schema, options, array=False)
        case "jsonl" | "ndjson":
            return JsonRows(path, target, schema, options, array=False)
    raise NotSupportedError(f"no writer for the format {format!r}: use parquet, csv, json, jsonl or arrow")


class FileWriter:
    """A context manager over one target. `write` batches, then `commit`; `rows` counts them.

    Raises FileError when the target cannot be written; the temporary file is removed on any way out but `commit`.
    """

    def __init__(self, path: str, schema: pa.Schema, format: str, options: dict[str, Any], gathered: int) -> None:
        self.rows = 0
        self._path = path
        self._temporary = _temporary(path)
        self._committed = False
        self._schema = schema
        try:
            self._inner: RowWriter = _row_writer(self._temporary, path, schema, format, options, gathered)
        except OSError as error:
            raise _failed(path, error) from None
        except pa.ArrowNotImplementedError as error:
            self._remove()
            raise FormatError(f"{format} cannot hold the columns of {path}: {error}", hint="CAST the column") from None

    def write(self, batch: pa.RecordBatch) -> None:
        try:
            self._inner.write(batch)
        except OSError as error:
            raise _failed(self._path, error) from None
        self.rows += batch.num_rows

    def commit(self) -> None:
        try:
            self._inner.close()
            os.replace(self._temporary, self._path)
        except OSError as error:
            raise _failed(self._path, error) from None
        self._committed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._committed:
            # The file is thrown away; the error that led here is the one to show.
            with contextlib.suppress(Exception):
                self._inner.close()
            self._remove()

    def _remove(self) -> None:
        if os.path.exists(self._temporary):
            os.remove(self._temporary)


class PartitionedWriter:
    """Rows spread over `column=value` directories. At most `_OPEN_FILES` files are open; one that was closed is not
    opened again: later rows of its partition go to `data_1`, `data_2`, ..."""

    def __init__(
        self,
        path: str,
        schema: pa.Schema,
        format: str,
        options: dict[str, Any],
        gathered: int,
        by: list[str],
        replace: bool,
    ) -> None:
        for name in by:
            if name not in schema.names:
                raise BindError(f"PARTITION_BY: there is no column {name!r}", code="column_not_found")
        self._rest = [name for name in schema.names if name not in by]
        if not self._rest:
            raise BindError("PARTITION_BY must leave at least one column for the files")
        if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)) and not replace:
            raise FileError(
                f"{path!r} exists and is not empty", code="file_exists", hint="add OVERWRITE true to replace it"
            )
        self.rows = 0
        self._path, self._format, self._options, self._by = path, format, options, by
        self._gathered = max(gathered // _OPEN_FILES, 64 << 10)
        self._inner_schema = pa.schema([schema.field(name) for name in self._rest])
        self._open: OrderedDict[str, RowWriter] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._committed = False
        self._temporary = _temporary(path)
        try:
            os.makedirs(self._temporary)
        except OSError as error:
            raise _failed(path, error) from None

    def write(self, batch: pa.RecordBatch) -> None:
        keys = [batch.column(name).cast(pa.string()) for name in self._by]
        named = [pc.binary_join_element_wise(pa.scalar(f"{quote(n)}="), _directory(k), "")
                 for n, k in zip(self._by, keys, strict=True)]  # fmt: skip
        places = pc.binary_join_element_wise(*named, "/") if len(named) > 1 else named[0]
        coded = places.dictionary_encode()
        rest = batch.select(self._rest)
        try:
            for number, directory in enumerate(coded.dictionary.to_pylist()):
                mask = pc.equal(coded.indices, number)
                self._writer(directory).write(rest.filter(mask))
        except OSError as error:
            raise _failed(self._path, error) from None
        self.rows += batch.num_rows

    def _writer(self, directory: str) -> RowWriter:
        found = self._open.get(directory)
        if found is None:
            while len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            number = self._numbers.get(directory, 0)
            self._numbers[directory] = number + 1
            os.makedirs(os.path.join(self._temporary, directory), exist_ok=True)
            suffix = {"ndjson": "jsonl", "ipc": "arrow"}.get(self._format, self._format)
            path = os.path.join(self._temporary, directory, f"data_{number}.{suffix}")
            found = _row_writer(path, path, self._inner_schema, self._format, dict(self._options), self._gathered)
            self._open[directory] = found
        self._open.move_to_end(directory)
        return found

    def _close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def commit(self) -> None:
        old = None
        try:
            self._close()
            if os.path.exists(self._path):
                old = _temporary(self._path)
                os.rename(self._path, old)
            os.rename(self._temporary, self._path)
        except OSError as error:
            if old is not None and not os.path.exists(self._path):
                os.rename(old, self._path)
            raise _failed(self._path, error) from None
        self._committed = True
        if old is not None:
            shutil.rmtree(old) if os.path.isdir(old) else os.remove(old)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._committed:
            with contextlib.suppress(Exception):
                self._close()
            shutil.rmtree(self._temporary, ignore_errors=True)


def open_writer(
    path: str, schema: pa.Schema, format: str, options: dict[str, Any], gathered: int = 64 << 20
) -> FileWriter | PartitionedWriter:
    """A writer of rows of `schema`. `options` are those of COPY (names in any case); `gathered`: most bytes of rows
    that are held before they are encoded. Raises BindError for an option the format lacks, FileError for a bad
    target."""
    left = {name.lower(): value for name, value in options.items()}
    left.pop("format", None)
    by = left.pop("partition_by", None)
    overwrite = bool(left.pop("overwrite", False)) | bool(left.pop("overwrite_or_ignore", False))
    kind = format.lower()
    if by is None:
        if os.path.isdir(path):
            raise FileError(
                f"{path!r} is a directory", code="file_exists", hint="name a file, or add PARTITION_BY (column)"
            )
        return FileWriter(path, schema, kind, left, gathered)
    names = [by] if isinstance(by, str) else [str(name) for name in by]
    return PartitionedWriter(path, schema, kind, left, gathered, names, overwrite)


def _directory(values: pa.Array) -> pa.Array:
    """Partition values as directory names (percent-escaped; NULL as Hive writes it)."""
    coded = values.dictionary_encode()
    names = pa.array(
        [quote(str(v), safe=" ") if v is not None else None for v in coded.dictionary.to_pylist()], pa.string()
    )
    return pc.fill_null(names.take(coded.indices), "__HIVE_DEFAULT_PARTITION__")


def _temporary(path: str) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.tmp")


def _bare(target: str) -> str:
    lower = target.lower()
    return os.path.splitext(lower)[0] if lower.endswith((".gz", ".zst")) else lower


def _codec(name: Any) -> str:
    found = _CODECS.get(str(name).lower())
    if found is None:
        raise BindError(f"unknown compression {name!r}", hint=f"one of {', '.join(sorted(_CODECS))}", code="bad_option")
    return found


def _failed(path: str, error: OSError) -> FileError:
    folder = os.path.dirname(path) or "."
    reason = error.strerror or str(error).splitlines()[0]
    if not os.path.isdir(folder):
        reason = f"there is no directory {folder!r}"
    code = "file_permission" if isinstance(error, PermissionError) else "file_error"
    return FileError(
        f"cannot write {path!r}: {reason}", code=code, hint="is the directory there, writable and not full?"
    )
