"""Where rows come from and go to: one file per format, all behind the `Source` protocol of `base`."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any

from sqlengine.errors import FileError, NotSupportedError
from sqlengine.formats.base import Source
from sqlengine.formats.csv import CsvSource
from sqlengine.formats.parquet import ParquetSource

_BY_SUFFIX = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv"}


def open_source(paths: str | Sequence[str], format: str | None = None, options: dict[str, Any] | None = None) -> Source:
    """The rows of files: one path, a glob, or several of them. The format follows from the name unless given."""
    files = expand([paths] if isinstance(paths, str) else list(paths))
    kind = format or _BY_SUFFIX.get(os.path.splitext(files[0])[1].lower())
    given = dict(options or {})
    match kind:
        case "parquet":
            _no_more(given, "read_parquet")
            return ParquetSource(tuple(files))
        case "csv":
            source = CsvSource(
                tuple(files), str(given.pop("delim", given.pop("sep", ""))), given.pop("header", None),
                str(given.pop("nullstr", "")),
            )  # fmt: skip
            _no_more(given, "read_csv")
            return source
    raise NotSupportedError(f"no reader for {files[0]!r}: use read_parquet or read_csv")


def _no_more(options: dict[str, Any], reader: str) -> None:
    if options:
        raise NotSupportedError(f"{reader} does not support the option {next(iter(options))}")


def expand(patterns: Sequence[str]) -> list[str]:
    """The files that paths and globs stand for, sorted within each pattern; FileError if there is none."""
    files: list[str] = []
    for pattern in patterns:
        if any(c in pattern for c in "*?["):
            found = sorted(glob.glob(pattern, recursive=True))
            if not found:
                raise FileError(f"no file matches {pattern!r}", code="file_not_found")
            files += found
        elif not os.path.exists(pattern):
            near = sorted(glob.glob(os.path.join(glob.escape(os.path.dirname(pattern)) or ".", "*")))[:3]
            hint = f"there are {', '.join(os.path.basename(n) for n in near)}" if near else None
            raise FileError(f"file {pattern!r} does not exist", code="file_not_found", hint=hint)
        elif not os.access(pattern, os.R_OK):
            raise FileError(f"no permission to read {pattern!r}", code="file_permission")
        else:
            files.append(pattern)
    return files
