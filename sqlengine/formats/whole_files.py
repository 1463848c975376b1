"""`read_text` and `read_blob`: one row per file, with what it holds as one value.

A file is read only if its content is asked for; a file is a split.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sqlengine.errors import FileError, FormatError
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split

_LARGEST = (1 << 31) - 64


@dataclass(frozen=True)
class WholeFileSource:
    """`text`: the content as VARCHAR (it must be UTF-8), else as BLOB."""

    paths: tuple[str, ...]
    text: bool

    @cached_property
    def schema(self) -> pa.Schema:
        content = pa.string() if self.text else pa.binary()
        return pa.schema(
            [
                ("filename", pa.string()),
                ("content", content),
                ("size", pa.int64()),
                ("last_modified", pa.timestamp("us", "UTC")),
            ]
        )

    def describe(self) -> str:
        return (
            f"{'text' if self.text else 'blob'} {self.paths[0] if len(self.paths) == 1 else f'{len(self.paths)} files'}"
        )

    def stats(self, columns: Sequence[str]) -> Stats:
        count = len(self.paths)
        size = float(sum(_state(path).st_size for path in self.paths)) if "content" in columns else 0.0
        known = {"content": ColumnStats(width=size / max(1, count))} if "content" in columns else {}
        return Stats(float(count), size + 40.0 * count, known, "actual")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        return [Split(i, path, (), 1, _state(path).st_size) for i, path in enumerate(self.paths)]

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        path = split.path
        assert path is not None
        state = _state(path)
        values: dict[str, Any] = {
            "filename": path,
            "size": state.st_size,
            "last_modified": state.st_mtime_ns // 1000,
        }
        if "content" in columns:
            values["content"] = self._content(path, state.st_size)
        schema = pa.schema([self.schema.field(name) for name in columns] or [self.schema.field("size")])
        row = pa.RecordBatch.from_arrays([pa.array([values[f.name]], f.type) for f in schema], schema=schema)
        yield row.select(list(columns))

    def _content(self, path: str, size: int) -> str | bytes:
        if size > _LARGEST:
            raise FormatError(f"{path} is larger than 2 GiB: it does not fit one value")
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise FileError(f"cannot read {path!r}: {error.strerror}") from None
        if not self.text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{path} is not UTF-8 text: {error.reason} at byte {error.start}", code="encoding",
                hint="use read_blob, or convert it with: iconv -f latin1 -t utf-8",
            ) from None  # fmt: skip

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        # The bytes of a file and the value made of them.
        return 2 * max(_state(path).st_size for path in self.paths) if "content" in columns else 0


def _state(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise FileError(f"cannot read {path!r}: {error.strerror}", code="file_not_found") from None
