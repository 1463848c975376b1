"""What paths stand for: files, globs, directories, Hive partitions; and the columns that come from a file's place."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from sqlengine.errors import BindError, FileError, NotSupportedError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Source, Split

_NULL = "__HIVE_DEFAULT_PARTITION__"


def expand(patterns: Sequence[str], suffixes: Sequence[str] = ()) -> list[str]:
    """The files that paths, globs (`*`, `?`, `[..]`, `**`) and directories stand for, sorted within each pattern.

    A directory gives the files below it that end in one of `suffixes` (any file if none is given); hidden files and
    those that begin with `_` are left out. FileError if a file is missing or unreadable, or a pattern matches nothing.
    """
    files: list[str] = []
    for given in patterns:
        pattern = os.path.expanduser(os.fspath(given))
        if "://" in pattern:
            raise NotSupportedError(f"reading {given!r}: only local files can be read", hint="download it first")
        if os.path.isdir(pattern):
            found = sorted(_below(pattern, suffixes))
            if not found:
                kind = " or ".join(suffixes) or "file"
                raise FileError(f"the directory {given!r} holds no {kind} file", code="file_not_found")
            files += found
        elif os.path.exists(pattern):
            files.append(pattern)
        elif any(c in pattern for c in "*?["):
            found = sorted(f for f in glob.glob(pattern, recursive=True) if os.path.isfile(f))
            if not found:
                raise FileError(f"no file matches {given!r}", code="file_not_found", hint=_near(pattern))
            files += found
        else:
            raise FileError(f"file {given!r} does not exist", code="file_not_found", hint=_near(pattern))
    if not files:
        raise FileError("the list of files is empty", code="file_not_found")
    for path in files:
        if not os.access(path, os.R_OK):
            raise FileError(f"no permission to read {path!r}", code="file_permission")
    return files


def _below(directory: str, suffixes: Sequence[str]) -> Iterator[str]:
    for folder, folders, names in os.walk(directory):
        folders[:] = [f for f in folders if not f.startswith((".", "_"))]
        for name in names:
            if not name.startswith((".", "_")) and (not suffixes or name.lower().endswith(tuple(suffixes))):
                yield os.path.join(folder, name)


def _near(pattern: str) -> str | None:
    folder = os.path.dirname(pattern)
    if folder and not os.path.isdir(folder):
        return f"there is no directory {folder!r}"
    near = sorted(os.path.basename(n) for n in glob.glob(os.path.join(glob.escape(folder), "*")) if os.path.isfile(n))
    return f"there are {', '.join(near[:4])}{', ...' if len(near) > 4 else ''}" if near else None


def hive_values(path: str) -> dict[str, str | None]:
    """`/x/year=2024/country=DE/f.parquet` -> year and country as text."""
    found: dict[str, str | None] = {}
    for part in os.path.dirname(path).split(os.sep):
        name, sign, value = part.partition("=")
        if sign and name:
            found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


@dataclass(frozen=True)
class PlacedSource:
    """Another source's rows with columns from each file's path: Hive partition values and `filename`.

    `values` gives them per path, already as Python values of the types in `added`; a path column hides the same column
    in the file. Files whose values lie outside the bounds are never opened.
    """

    inner: Source
    added: pa.Schema
    values: Mapping[str, Mapping[str, Any]]

    @cached_property
    def schema(self) -> pa.Schema:
        kept = [field for field in self.inner.schema if field.name not in self.added.names]
        return pa.schema([*kept, *self.added])

    def describe(self) -> str:
        return self.inner.describe()

    def stats(self, columns: Sequence[str]) -> Stats:
        found = self.inner.stats(self._inside(columns))
        known = dict(found.columns)
        for name in columns:
            if name in self.added.names:
                present = [v[name] for v in self.values.values() if v[name] is not None]
                share = 1 - len(present) / max(1, len(self.values))
                known[name] = ColumnStats(
                    float(len(set(present))), min(present, default=None), max(present, default=None), share, 8.0
                )
        return replace(
            found, columns=known, bytes=found.bytes + 8.0 * found.rows * (len(columns) - len(self._inside(columns)))
        )

    def _inside(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if name not in self.added.names]

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        inside = [bound for bound in bounds if bound.column not in self.added.names]
        outside = [bound for bound in bounds if bound.column in self.added.names]
        found = self.inner.splits(self._inside(columns), inside)
        kept = [s for s in found if s.path is None or all(_within(self.values[s.path][b.column], b) for b in outside)]
        return [replace(split, index=i) for i, split in enumerate(kept)]

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        inside = self._inside(columns)
        bounds = [bound for bound in bounds if bound.column not in self.added.names]
        assert split.path is not None
        values = self.values[split.path]
        schema = pa.schema([self.schema.field(name) for name in columns])
        scalars = {f.name: pa.scalar(values[f.name], f.type) for f in self.added if f.name in columns}
        for batch in self.inner.read(split, inside, bounds, limits):
            arrays = [
                pa.repeat(scalars[name], batch.num_rows) if name in scalars else batch.column(name) for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else batch

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return self.inner.read_floor(self._inside(columns), limits)


def place(
    inner: Source, paths: Sequence[str], hive: bool | None, filename: bool, types: Mapping[str, pa.DataType]
) -> Source:
    """`inner` with the columns that `hive` (None: if every path has the same keys) and `filename` ask for. A partition
    column is BIGINT or DATE when all its values are, else VARCHAR; `types` overrides."""
    parts = {path: hive_values(path) for path in paths}
    keys = list(parts[paths[0]])
    same = all(list(found) == keys for found in parts.values())
    if hive and not same:
        odd = next(path for path in paths if list(parts[path]) != keys)
        raise BindError(f"hive partitions differ: {paths[0]!r} has {keys}, {odd!r} has {list(parts[odd])}")
    if hive is False or not same:
        keys = []
    if not keys and not filename:
        return inner
    fields = []
    values: dict[str, dict[str, Any]] = {path: {} for path in paths}
    for key in sorted(keys):
        texts = [parts[path][key] for path in paths]
        type_, found = _typed(texts, types.get(key))
        fields.append(pa.field(key, type_))
        for path, value in zip(paths, found, strict=True):
            values[path][key] = value
    if filename:
        fields.append(pa.field("filename", pa.string()))
        for path in paths:
            values[path]["filename"] = path
    return PlacedSource(inner, pa.schema(fields), values)


def _typed(texts: list[str | None], wanted: pa.DataType | None) -> tuple[pa.DataType, list[Any]]:
    if wanted is not None:
        return wanted, pa.array(texts, pa.string()).cast(wanted).to_pylist()
    for type_, read in ((pa.int64(), int), (pa.date32(), date.fromisoformat)):
        try:
            found = [None if text is None else read(text) for text in texts]
            # 007 or +7 are texts: as numbers they would not come back as they were.
            if all(text is None or str(value) == text for text, value in zip(texts, found, strict=True)):
                return type_, list(pa.array(found, type_).to_pylist())
        except (ValueError, pa.ArrowInvalid, OverflowError):
            continue
    return pa.string(), list(texts)


def _within(value: Any, bound: Bounds) -> bool:
    """Whether rows whose column is `value` can lie within the bound."""
    if value is None:
        return not bound.not_null
    try:
        if bound.values is not None:
            return value in bound.values
        if bound.low is not None and (value < bound.low or (bound.low_open and value == bound.low)):
            return False
        return not (bound.high is not None and (value > bound.high or (bound.high_open and value == bound.high)))
    except TypeError:
        return True
