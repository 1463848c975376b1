"""Pages of a hundred megabytes, as writers make them of long texts: decompressed a little at a time and cut into pieces
that are pages of their own.

A page of texts that are all there (no NULL) is read forwards: a piece is about a megabyte, or one text. Going back
begins the page again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from sqlengine.kernels.parquet_pages import CorruptPage, SnappyReader, texts_at_front

_PIECE = 1 << 20


class HugePage:
    """The texts of one page: `rows` of them in `size` bytes after decompression, behind `skipped` other bytes."""

    def __init__(
        self, file: int, start: int, stored: int, codec: str | None, size: int, rows: int, skipped: int
    ) -> None:
        self._place = (file, start, stored, codec)
        self._size, self._rows, self._skipped = size, rows, skipped
        self._stream: Iterator[tuple[int, int, Any]] | None = None
        self._current: tuple[int, int, Any] | None = None

    def pieces(self, low: int, high: int) -> Iterator[tuple[int, int, Any]]:
        """First row, end and bytes of the pieces that hold the rows from `low` to `high` of the page."""
        if self._stream is None or (self._current is not None and self._current[0] > low):
            read = decompressed(*self._place)
            read(self._skipped)
            self._stream, self._current = _cut(read, self._size - self._skipped, self._rows), None
        while True:
            if self._current is None or self._current[1] <= low:
                self._current = next(self._stream, None)
                if self._current is None:
                    raise CorruptPage("it has too few values")
                continue
            yield self._current
            if self._current[1] >= high:
                return
            low = self._current[1]

    def front(self, size: int) -> Any:
        """The first bytes of the page."""
        return pa.py_buffer(decompressed(*self._place)(size))


def _cut(read: Callable[[int], Any], size: int, rows: int) -> Iterator[tuple[int, int, Any]]:
    """Pieces of `size` bytes of texts. (No method: a generator that knows its page would live in a cycle with it.)"""
    left, first, rest, wanted = size, 0, b"", _PIECE
    while first < rows:
        more = read(min(wanted, left))
        if not len(more):
            raise CorruptPage("it is shorter than its header says")
        left -= len(more)
        data = pa.py_buffer(rest + bytes(more)) if rest else pa.py_buffer(more)
        count, used, following = texts_at_front(data)
        count = min(count, rows - first)
        rest = data.slice(used).to_pybytes()
        wanted = max(_PIECE if count else 0, following - len(rest))
        del more
        if count:
            yield first, first + count, data.slice(0, used)
            first += count


def decompressed(file: int, start: int, stored: int, codec: str | None) -> Callable[[int], Any]:
    """A function that gives the next bytes of a page."""
    raw = _Stored(file, start, stored)
    if codec is None:
        return raw.read
    if codec == "snappy":
        return SnappyReader(raw.read).read
    stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec)
    return stream.read  # type: ignore[no-any-return]


class _Stored:
    """Bytes of a file from `start` on, `size` of them."""

    closed = False

    def __init__(self, file: int, start: int, size: int) -> None:
        self._file, self._at, self._end = file, start, start + size

    def read(self, size: int = -1) -> bytes:
        size = self._end - self._at if size < 0 else min(size, self._end - self._at)
        data = os.pread(self._file, size, self._at) if size else b""
        self._at += len(data)
        return data

    def close(self) -> None:
        pass
