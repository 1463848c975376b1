"""Rows that the session holds itself (`runtime.row_store`), as a source: a snapshot that later inserts do not change.

Splits are runs of chunks. A table that was filled by several INSERTs reads one store after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.formats.batches import canonical_batches, empty_rows
from sqlengine.runtime.row_store import RowStore

_SPLIT_BYTES = 16 << 20
_SPLIT_ROWS = 1 << 20


@dataclass(frozen=True, eq=False)
class StoredSource:
    """`schema` names the columns; the stores have them by position."""

    stores: tuple[RowStore, ...]
    schema: pa.Schema

    @property
    def rows(self) -> int:
        return sum(store.rows for store in self.stores)

    def describe(self) -> str:
        return f"stored {self.rows} rows"

    def stats(self, columns: Sequence[str]) -> Stats:
        rows = self.rows
        known = {}
        size = 0.0
        for name in columns:
            number = self.schema.get_field_index(name)
            facts = [store.facts[number] for store in self.stores]
            width = sum(f.bytes for f in facts)
            size += width
            lows = [f.least for f in facts if f.least is not None]
            highs = [f.greatest for f in facts if f.greatest is not None]
            least = pc.min(pa.array([s.as_py() for s in lows], lows[0].type)).as_py() if lows else None
            greatest = pc.max(pa.array([s.as_py() for s in highs], highs[0].type)).as_py() if highs else None
            share = sum(f.nulls for f in facts) / max(1, rows)
            known[name] = ColumnStats(None, least, greatest, share, width / max(1, rows))
        return Stats(float(rows), size, known, "actual")

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        found: list[Split] = []
        for place, store in enumerate(self.stores):
            start, rows, size = 0, 0, 0
            last = len(store.chunks) - 1
            for number, chunk in enumerate(store.chunks):
                rows += chunk.rows
                size += chunk.bytes
                if rows >= _SPLIT_ROWS or size >= _SPLIT_BYTES or number == last:
                    found.append(Split(len(found), None, (place, start, number + 1), rows, size))
                    start, rows, size = number + 1, 0, 0
        return found

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        place, start, end = split.part
        store = self.stores[place]
        schema = pa.schema([self.schema.field(name) for name in columns])
        wanted = [str(self.schema.get_field_index(name)) for name in columns]
        for number in range(start, end):
            if not wanted:
                yield from canonical_batches(empty_rows(store.chunks[number].rows), schema, limits)
                continue
            batch = store.read(number, wanted)
            yield from canonical_batches(pa.RecordBatch.from_arrays(batch.columns, schema=schema), schema, limits)

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        """A chunk as it comes from disk, encoded and decoded."""
        return 2 * max((store.largest for store in self.stores), default=0)


def store_schema(types: Sequence[pa.DataType]) -> pa.Schema:
    """The schema of a store: columns by position."""
    return pa.schema([pa.field(str(number), type_) for number, type_ in enumerate(types)])
