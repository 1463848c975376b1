"""Batches kept in order and read by number, in memory and then on disk: what is looked at again and again.

Held: batches while the reservation allows `spare` bytes more, which are left for whoever works with them; then a block
on disk for each.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.windows import places_of
from sqlengine.runtime.memory import Reservation, compact
from sqlengine.runtime.spill import Block, SpillDirectory, SpillFile


class PagedRows:
    """`firsts`: the number of the first row of each page, then that of all rows."""

    def __init__(
        self, schema: pa.Schema, reservation: Reservation, spill: SpillDirectory, owner: str, spare: int = 0
    ) -> None:
        self.schema = schema
        self.firsts = [0]
        self._spare = spare
        self._reservation = reservation
        self._spill = spill
        self._owner = owner
        self._pages: list[pa.RecordBatch | Block] = []
        self._held = 0
        self._file: SpillFile | None = None
        self.spilled_bytes = 0

    def add(self, page: pa.RecordBatch) -> None:
        page = compact(page)
        self.firsts.append(self.firsts[-1] + page.num_rows)
        size = page.nbytes + 1024
        if self._file is None and self._reservation.try_grow(size + self._spare):
            self._reservation.shrink(self._spare)
            self._held += size
            self._pages.append(page)
            return
        self._pages.append(self._written(page))

    def _written(self, page: pa.RecordBatch) -> Block:
        if self._file is None:
            self._file = self._spill.file(self._owner, self.schema)
        block = self._file.append(page)
        self.spilled_bytes += block.length
        return block

    def spill(self) -> int:
        """Write what is in memory, also while it is being read; bytes freed. Further pages go to disk at once."""
        for number, page in enumerate(self._pages):
            if not isinstance(page, Block):
                self._pages[number] = self._written(page)
        freed, self._held = self._held, 0
        self._reservation.shrink(freed)
        return freed

    @property
    def rows(self) -> int:
        return self.firsts[-1]

    def __len__(self) -> int:
        return len(self._pages)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self.read(number) for number in range(len(self._pages)))

    def read(self, number: int) -> pa.RecordBatch:
        page = self._pages[number]
        if isinstance(page, Block):
            assert self._file is not None
            return self._file.read(page)
        return page

    def take(self, key: str, positions: pa.Array) -> pa.Array:
        """A column of a few rows by their numbers (int64; NULL: NULL)."""
        pages, rows = places_of(positions, self.firsts)
        found = []
        for page, row in zip(pages.to_pylist(), rows.to_pylist(), strict=True):
            column = self.read(page).column(key) if row >= 0 else None
            found.append(pa.nulls(1, self.schema.field(key).type) if column is None else column.slice(row, 1))
        return pc.take(pa.concat_arrays(found), pa.arange(0, len(found)))

    def close(self) -> None:
        self._pages = []
        self._reservation.shrink(self._held)
        self._held = 0
        if self._file is not None:
            self._file.delete()
            self._file = None
