"""A part of a file as a file of its own: what a split of a text file reads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

_BLOCK = 1 << 20


class ByteRange(io.RawIOBase):
    """Bytes `low` to `high` of an open file, which it closes with itself."""

    def __init__(self, file: Any, low: int, high: int) -> None:
        self._file = file
        self._left = high - low
        file.seek(low)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def chunks(file: Any, size: int) -> Iterator[bytes]:
    """The next `size` bytes of a file, a block at a time."""
    while size and (chunk := file.read(min(_BLOCK, size))):
        size -= len(chunk)
        yield chunk
