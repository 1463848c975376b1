"""Arrow arrays to Python values and back, fast for the common types.

Fixed-width numbers without NULLs are read through a `memoryview` of their buffer, which is several times faster than
`to_pylist`; everything else goes through Arrow's own conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sqlengine.errors import UDFError
from sqlengine.types import sql_name

_FORMATS: dict[pa.DataType, Any] = {
    pa.int8(): "b", pa.int16(): "h", pa.int32(): "i", pa.int64(): "q", pa.uint8(): "B", pa.uint16(): "H",
    pa.uint32(): "I", pa.uint64(): "Q", pa.float32(): "f", pa.float64(): "d",
}  # fmt: skip


def to_python(array: pa.Array) -> list[Any]:
    """The values as a list; NULL is None."""
    format_ = _FORMATS.get(array.type)
    if format_ is not None and not array.null_count and len(array):
        width = array.type.bit_width // 8
        data = memoryview(array.buffers()[1])
        start = array.offset * width
        values: list[Any] = data[start : start + len(array) * width].cast(format_).tolist()
        return values
    values = array.to_pylist()
    return values


def from_python(values: Sequence[Any], type_: pa.DataType, function: str) -> pa.Array:
    """Values that a function returned as an array of its declared type."""
    try:
        return pa.array(values, type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError, ValueError):
        for number, value in enumerate(values):
            try:
                pa.array([value], type_)
            except Exception:
                raise WrongValue(number, f"returned {short(value)}, which is not {sql_name(type_)}") from None
        raise UDFError(f"{function}() returned values that are not {sql_name(type_)}", code="udf_type") from None


class WrongValue(Exception):
    """A returned value that does not have the declared type: which row, and what is wrong."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def short(value: Any, most: int = 60) -> str:
    """`repr` of a value, cut; of large ones only their length, so that an error never holds a megabyte."""
    if isinstance(value, str | bytes | bytearray) and len(value) > most:
        return f"{value[: most // 2]!r}… ({len(value)} {'bytes' if not isinstance(value, str) else 'characters'})"
    text = repr(value)
    return text if len(text) <= most else text[:most] + "…"


def is_wide(type_: pa.DataType) -> bool:
    """Whether values differ in size, so that what was made has to be watched row by row."""
    try:
        return type_.bit_width is None
    except ValueError:
        return True


def size_of(value: Any) -> int:
    """About how many bytes a value takes in Arrow."""
    if isinstance(value, str | bytes | bytearray):
        return len(value) + 8
    if isinstance(value, list | tuple):
        return 8 + sum(map(size_of, value))
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return 8
