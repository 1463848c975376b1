"""Where rows come from and go to: one file per format, all behind the `Source` protocol of `base`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.formats.arrow_ipc import ArrowSource
from sqlengine.formats.base import Source
from sqlengine.formats.csv import csv_source
from sqlengine.formats.file_facts import file_names, parquet_file_metadata, parquet_metadata, parquet_schema
from sqlengine.formats.json import JsonSource
from sqlengine.formats.options import ReaderOptions
from sqlengine.formats.parquet import ParquetSource
from sqlengine.formats.paths import expand, place
from sqlengine.formats.whole_files import WholeFileSource


@dataclass(frozen=True)
class Format:
    """How files of a format are known (`suffixes`) and opened. `names`: the source takes names of files as they are
    given, also of none."""

    suffixes: tuple[str, ...]
    open: Callable[[tuple[str, ...], ReaderOptions], Source]
    names: bool = False


def _parquet(paths: tuple[str, ...], options: ReaderOptions) -> Source:
    return ParquetSource(paths, options.flag("union_by_name"), options.flag("file_row_number"))


def _json(paths: tuple[str, ...], options: ReaderOptions) -> Source:
    layouts = {"auto": "auto", "array": "array", "newline_delimited": "lines", "nd": "lines", "lines": "lines"}
    layout = str(options.take("format", default="auto")).lower()
    if layout not in layouts:
        raise BindError(f"read_json: format must be one of {', '.join(layouts)}, not {layout!r}", code="bad_option")
    return JsonSource(
        paths,
        layouts[layout],
        options.types("columns"),
        options.number("sample_size", default=20480, low=1),
        options.flag("ignore_errors"),
    )


FORMATS: dict[str, Format] = {
    "parquet": Format((".parquet", ".pq", ".parq"), _parquet),
    "csv": Format((".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst"), csv_source),
    "json": Format((".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".json.zst", ".jsonl.zst"), _json),
    "arrow": Format((".arrow", ".arrows", ".feather", ".ipc"), lambda paths, options: ArrowSource(paths)),
    "text": Format((), lambda paths, options: WholeFileSource(paths, True)),
    "blob": Format((), lambda paths, options: WholeFileSource(paths, False)),
    "glob": Format((), lambda paths, options: file_names(paths), names=True),
    "parquet_schema": Format((".parquet", ".pq", ".parq"), lambda paths, options: parquet_schema(paths)),
    "parquet_metadata": Format((".parquet", ".pq", ".parq"), lambda paths, options: parquet_metadata(paths)),
    "parquet_file_metadata": Format((".parquet", ".pq", ".parq"), lambda paths, options: parquet_file_metadata(paths)),
}

_LINES = {"format": "newline_delimited"}
# The table functions that read files: format, and options that their names imply.
READERS: dict[str, tuple[str, dict[str, Any]]] = {
    "read_parquet": ("parquet", {}),
    "parquet_scan": ("parquet", {}),
    "read_csv": ("csv", {}),
    "read_csv_auto": ("csv", {}),
    "read_json": ("json", {}),
    "read_json_auto": ("json", {}),
    "read_ndjson": ("json", _LINES),
    "read_ndjson_auto": ("json", _LINES),
    "read_arrow": ("arrow", {}),
    "read_ipc": ("arrow", {}),
    "read_feather": ("arrow", {}),
    "read_text": ("text", {}),
    "read_blob": ("blob", {}),
    "glob": ("glob", {}),
    "parquet_schema": ("parquet_schema", {}),
    "parquet_metadata": ("parquet_metadata", {}),
    "parquet_file_metadata": ("parquet_file_metadata", {}),
}


def reader_call(name: str, args: Sequence[Any], options: dict[str, Any]) -> tuple[list[str], str, dict[str, Any]]:
    """What a call of a table function among `READERS` asks `open_source` for; `args` are its positional arguments."""
    format, implied = READERS[name]
    if len(args) != 1:
        raise BindError(f"{name} takes one path or list of paths, not {len(args)} arguments", code="bad_argument")
    paths = list(args[0]) if isinstance(args[0], list | tuple) else [args[0]]
    if not all(isinstance(path, str) for path in paths):
        raise BindError(f"{name}: a path must be a text, not {args[0]!r}", code="bad_argument")
    return paths, format, {**implied, **options}


def open_source(paths: str | Sequence[str], format: str | None = None, options: dict[str, Any] | None = None) -> Source:
    """The rows of files: a path, a glob, a directory, or several of them. The format follows from the names unless
    given.

    Every reader takes `hive_partitioning` (found from the paths unless set), `hive_types` and `filename`; the others
    are the format's own. Raises FileError (missing, no permission, no match), FormatError (not what it should be),
    BindError (an option the reader lacks).
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if format is not None and format not in FORMATS:
        raise NotSupportedError(f"there is no format {format!r}", hint=f"one of {', '.join(FORMATS)}")
    known = [s for f in FORMATS.values() for s in f.suffixes]
    if format is not None and FORMATS[format].names:
        return FORMATS[format].open(tuple(map(str, given)), ReaderOptions(format, options or {}))
    files = expand(given, FORMATS[format].suffixes if format else known)
    kind = format or format_of(files[0])
    if kind is None:
        raise NotSupportedError(
            f"the format of {files[0]!r} cannot be told from its name",
            hint="use read_parquet, read_csv, read_json or read_arrow",
        )
    reader = ReaderOptions(kind if "_" in kind else f"read_{kind}", options or {})
    hive = reader.flag("hive_partitioning", default=None)
    hive_types = reader.types("hive_types")
    filename = reader.flag("filename") and kind not in ("text", "blob")
    source = FORMATS[kind].open(tuple(files), reader)
    reader.finish()
    return place(source, files, hive, filename, hive_types)


def format_of(path: str) -> str | None:
    """The format that a file's name says."""
    lower = path.lower()
    return next((name for name, f in FORMATS.items() if f.suffixes and lower.endswith(f.suffixes)), None)
