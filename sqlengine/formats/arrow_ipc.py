"""Arrow IPC files and streams, read one record batch at a time.

The file format has an index: its record batches are the splits. A stream has none: one split. A record batch is as
large as its writer made it; it is cut to the limits of a batch after it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sqlengine.errors import FormatError
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.formats.batches import canonical_batches
from sqlengine.formats.drift import drift_error
from sqlengine.types import canonical_schema

_MAGIC = b"ARROW1"


@dataclass(frozen=True)
class ArrowSource:
    """Files of one schema (the first one's)."""

    paths: tuple[str, ...]

    @cached_property
    def _shapes(self) -> dict[str, tuple[bool, int]]:
        """Per path: whether it has an index, and its record batches (1 for a stream)."""
        shapes = {}
        for path in self.paths:
            with open(path, "rb") as file:
                indexed = file.read(len(_MAGIC)) == _MAGIC
            if not indexed:
                shapes[path] = (False, 1)
                continue
            with _opened(path, True) as reader:
                shapes[path] = (True, reader.num_record_batches)
        return shapes

    @cached_property
    def schema(self) -> pa.Schema:
        found: list[pa.Schema] = []
        for path in self.paths:
            with _opened(path, self._shapes[path][0]) as reader:
                found.append(canonical_schema(reader.schema))
        for path, other in zip(self.paths[1:], found[1:], strict=True):
            for field in found[0]:
                place = other.get_field_index(field.name)
                type_ = other.field(place).type if place >= 0 else None
                if type_ != field.type:
                    raise drift_error(field.name, self.paths[0], field.type, path, type_)
        return found[0]

    def describe(self) -> str:
        return f"arrow {self.paths[0]}" if len(self.paths) == 1 else f"arrow {len(self.paths)} files"

    def stats(self, columns: Sequence[str]) -> Stats:
        rows = 0.0
        width = 16.0 * max(1, len(columns))
        for path in self.paths:
            indexed, count = self._shapes[path]
            if indexed and count:
                with _opened(path, True) as reader:
                    rows += reader.get_batch(0).num_rows * count
            elif not indexed:
                rows += 10_000
        return Stats(rows, rows * width, {}, "sample")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        places = [(path, n) for path in self.paths for n in range(self._shapes[path][1])]
        return [Split(i, path, (number,)) for i, (path, number) in enumerate(places)]

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        path = split.path
        assert path is not None
        indexed = self._shapes[path][0]
        schema = pa.schema([self.schema.field(name) for name in columns])
        try:
            with _opened(path, indexed) as reader:
                for batch in [reader.get_batch(split.part[0])] if indexed else reader:
                    yield from canonical_batches(batch, schema, limits)
        except (pa.ArrowException, OSError) as error:
            raise _failed(path, error, split.part[0] if indexed else None) from None

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 2 * limits.batch_bytes


def _opened(path: str, indexed: bool) -> Any:
    try:
        return pa.ipc.open_file(pa.OSFile(path)) if indexed else pa.ipc.open_stream(pa.OSFile(path))
    except (pa.ArrowException, OSError) as error:
        raise _failed(path, error, None) from None


def _failed(path: str, error: Exception, number: int | None) -> FormatError:
    where = "" if number is None else f"record batch {number} of "
    return FormatError(
        f"cannot read {where}{path} as Arrow IPC: {str(error).splitlines()[0]}",
        hint="the file may be truncated or of another format; write it again",
    )
