"""Quotes of CSV text that are opened and never closed: parsers take the end of the file for the end of such a cell, and
rows would be lost without a word."""

from __future__ import annotations

import io
from typing import Any

from sqlengine.errors import FormatError


class QuoteWatch(io.RawIOBase):
    """A stream of CSV text that knows at its end whether a quoted cell was still open: the number of quotes is odd and
    the last one stands where a cell begins."""

    def __init__(self, raw: Any, quote: str, delimiter: str) -> None:
        self._raw = raw
        self._quote = quote.encode()
        self._starts = b"\n\r" + delimiter.encode()
        self._count = self._lines = self._line = 0
        self._opens = False
        self._last = b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._raw.read(size)
        if count := data.count(self._quote):
            self._count += count
            place = data.rfind(self._quote)
            self._opens = (data[place - 1 : place] if place else self._last) in self._starts
            self._line = self._lines + data.count(b"\n", 0, place) + 1
        self._lines += data.count(b"\n")
        self._last = data[-1:] or self._last
        return data

    def open_line(self) -> int:
        """The line (from 1) of the quote that is not closed; 0 if there is none."""
        return self._line if self._count % 2 and self._opens else 0


def open_line(text: bytes, quote: str, delimiter: str) -> int:
    """The same of a whole text."""
    watch = QuoteWatch(io.BytesIO(text), quote, delimiter)
    watch.read()
    return watch.open_line()


def unclosed_quote(path: str, line: int) -> FormatError:
    return FormatError(
        f"{path}, line {line}: a quote is opened and not closed",
        code="unclosed_quote",
        hint="close it, or give quote => '' if quotes mean nothing in this file",
    )
