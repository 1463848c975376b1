"""Columns of lists of fixed-width values, read a few rows at a time however large their pages are.

Writers put all lists of a row group into one page, which may be a hundred megabytes; Arrow's reader holds it twice. The
levels at its front (run-length coded, so small) tell how long each list is; the values behind them are decompressed as
far as the rows go that are wanted.

Held: the levels of one page, a small page whole, of a large one what its decompression needs. Reading goes forwards;
going back begins the column again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.formats.parquet_footer import ChunkFacts
from sqlengine.formats.parquet_huge import decompressed
from sqlengine.kernels.parquet_pages import CorruptPage, ListReader, PageDecoder, TooManyBytes

_WHOLE = 4 << 20  # pages up to this size are decompressed in one piece
_DATA_V2 = 3


class ListColumn:
    """A column chunk of lists, `pages` its headers. `form`: of the values, as a `PageDecoder` takes it."""

    def __init__(
        self,
        file: int,
        chunk: ChunkFacts,
        codec: str | None,
        type_: pa.DataType,
        form: tuple[int, int, int],
        nullable: tuple[bool, bool],
        pages: Sequence[tuple[Any, ...]],
    ) -> None:
        self._file, self._chunk, self._codec, self._type, self._form = file, chunk, codec, type_, form
        self._nullable = nullable
        self._pages = pages
        self._decoder = PageDecoder(*form, False)
        self._begin()

    def _begin(self) -> None:
        self._levels = ListReader(*self._nullable)
        self._values: Callable[[int], Any] = lambda n: b""
        self._page = -1
        self._next = 0

    def _advance(self) -> bool:
        """Load the next page; false at the end."""
        self._page += 1
        if self._page >= len(self._pages):
            return False
        kind, start, stored, size, values, _, _, defined, repeated, packed, _ = self._pages[self._page]
        start += self._chunk.start
        if kind == _DATA_V2:
            levels = self._read(None, start, repeated + defined, repeated + defined)
            repetition, definition = _bytes(levels, repeated), _bytes(levels, defined)
            codec = self._codec if packed else None
            self._values = self._read(
                codec, start + repeated + defined, stored - repeated - defined, size - repeated - defined
            )
        else:
            self._values = self._read(self._codec, start, stored, size)
            repetition = _bytes(self._values, int.from_bytes(_bytes(self._values, 4).to_pybytes(), "little"))
            definition = _bytes(self._values, int.from_bytes(_bytes(self._values, 4).to_pybytes(), "little"))
        self._levels.load(repetition, definition, values)
        return True

    def _read(self, codec: str | None, start: int, stored: int, size: int) -> Callable[[int], Any]:
        """What gives the next bytes of so many that stand in the file, compressed or not."""
        if size > _WHOLE:
            return decompressed(self._file, start, stored, codec)
        whole = pa.py_buffer(os.pread(self._file, stored, start))
        if codec is not None and size:
            whole = pa.Codec(codec).decompress(whole, size)
        at = 0

        def read(n: int) -> pa.Buffer:
            nonlocal at
            at += n
            return whole.slice(at - n, n) if at <= whole.size else pa.py_buffer(b"")

        return read

    def _take(self, count: int, limit: int) -> tuple[Any, list[Any]]:
        """The next rows: what the levels say of them, and the bytes of their values."""
        levels = self._levels
        levels.begin()
        levels.mark()
        page, parts = self._page, []
        while True:
            stored, done = levels.rows(count)
            if levels.item_count * self._form[2] > limit:
                if self._page == page:
                    levels.back()
                else:
                    self._begin()
                raise TooManyBytes
            if stored:
                parts.append(_bytes(self._values, stored * self._form[1]))
            if done or not self._advance():
                break
        if levels.taken < count:
            raise CorruptPage("it has too few values")
        self._next += count
        return levels, parts

    def read(self, low: int, high: int, rows: pa.Array | None, coded: bool, limit: int) -> pa.Array:
        if low < self._next:
            self._begin()
        while self._next < low:
            self._take(min(low - self._next, 1024), 1 << 62)
        levels, parts = self._take(high - low, limit)
        items = levels.item_count
        data = parts[0] if len(parts) == 1 else pa.py_buffer(b"".join(parts))
        offsets, lists, present = levels.finish()
        stored = data.size // self._form[1]
        decoder = self._decoder
        decoder.load(None, data, stored, False)
        decoder.begin(stored, False, limit, 0)
        decoder.append(0, stored)
        values = pa.Array.from_buffers(self._type.value_type, stored, decoder.finish())
        if present is not None:
            there = pa.Array.from_buffers(pa.bool_(), items, [None, present])
            values = pc.replace_with_mask(pa.nulls(items, values.type), there, values)
        found = pa.Array.from_buffers(self._type, high - low, [lists, offsets], children=[values])
        return found if rows is None else pc.take(found, pc.subtract(rows, low))


def _bytes(read: Callable[[int], Any], size: int) -> pa.Buffer:
    """Exactly so many bytes."""
    found = pa.py_buffer(read(size)) if size else pa.py_buffer(b"")
    while found.size < size:
        more = read(size - found.size)
        if not len(more):
            raise CorruptPage("it is shorter than its header says")
        found = pa.py_buffer(found.to_pybytes() + bytes(more))
    return found
