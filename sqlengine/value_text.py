"""Values as people read them: every Arrow type as one line of text, with SQL's spelling.

NULL is told apart from an empty text by whoever asks. Text comes from the same casts as SQL's `CAST(x AS VARCHAR)`, so
that
what is shown is what SQL would say.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sqlengine.expr.cast import cast_array
from sqlengine.types import HUGEINT

_BLOB_SHOWN = 64


def python_values(column: pa.Array) -> list[Any]:
    """Values as Python has them: HUGEINT as int, dates and times beyond Python's (years 1 to 9999) as text."""
    try:
        values = list(column.to_pylist())
        return [None if value is None else int(value) for value in values] if column.type == HUGEINT else values
    except (OverflowError, ValueError):
        return [_python_value(column, row) for row in range(len(column))]


def _python_value(column: pa.Array, row: int) -> Any:
    try:
        return column[row].as_py()
    except (OverflowError, ValueError):
        return column_texts(column.slice(row, 1))[0]


def column_texts(column: pa.Array) -> list[str | None]:
    """The values of a column; None is NULL."""
    type_ = column.type
    if pa.types.is_string(type_):
        return list(column.to_pylist())
    if pa.types.is_binary(type_):
        return [None if value is None else _blob(value) for value in column.to_pylist()]
    if pa.types.is_null(type_):
        return [None] * len(column)
    return list(cast_array(column, pa.string(), False).to_pylist())


def _blob(value: bytes) -> str:
    text = "".join(chr(b) if 32 <= b < 127 and b not in b"\\'\"" else f"\\x{b:02X}" for b in value[:_BLOB_SHOWN])
    return text if len(value) <= _BLOB_SHOWN else f"{text}... ({len(value)} bytes)"


def row_texts(batch: pa.RecordBatch) -> list[tuple[str | None, ...]]:
    """The rows of a batch as texts."""
    if not batch.num_columns:
        return [()] * batch.num_rows
    return list(zip(*(column_texts(column) for column in batch.columns), strict=True))


def one_line(text: str) -> str:
    """Control characters, which would move the cursor or break the line, as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _ESCAPES.get(c) or repr(c)[1:-1] for c in text)


_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\xa0": "\xa0", "\u3000": "\u3000"}


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def padded(text: str, size: int, right: bool) -> str:
    space = " " * max(0, size - width(text))
    return space + text if right else text + space


def is_right(type_: pa.DataType) -> bool:
    """Numbers stand at the right."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def cut(text: str, size: int) -> str:
    """At most `size` columns of a text; an ellipsis says that there was more."""
    if width(text) <= size:
        return text
    kept, taken = [], 0
    for c in text:
        step = width(c)
        if taken + step > size - 1:
            break
        kept.append(c)
        taken += step
    return "".join(kept) + "…"


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Of each column of a table of texts."""
    return [max(map(width, column)) for column in zip(*rows, strict=True)]
