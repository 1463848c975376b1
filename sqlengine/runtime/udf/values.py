"""Arrow arrays to Python values and back, fast for the common types.

Fixed-width numbers without NULLs are read through a `memoryview` of their buffer, which is several times faster than
`to_pylist`; everything else goes through Arrow's own conversion.
"""

from __future__ import annotations

import array
import ctypes
import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sqlengine.errors import UDFError
from sqlengine.types import sql_name

_FORMATS: dict[pa.DataType, Any] = {
    pa.int8(): "b", pa.int16(): "h", pa.int32(): "i", pa.int64(): "q", pa.uint8(): "B", pa.uint16(): "H",
    pa.uint32(): "I", pa.uint64(): "Q", pa.float32(): "f", pa.float64(): "d",
}  # fmt: skip


_LARGE = 256 << 10
_as_utf8 = ctypes.pythonapi.PyUnicode_AsUTF8AndSize
_as_utf8.argtypes = (ctypes.py_object, ctypes.POINTER(ctypes.c_ssize_t))
_as_utf8.restype = ctypes.c_void_p  # raises for what UTF-8 cannot say


def to_values(column: pa.Array) -> Sequence[Any]:
    """The values to go through once: numbers become Python's one by one."""
    format_ = number_format(column.type)
    if format_ is not None and not column.null_count and len(column):
        width = column.type.bit_width // 8
        start = column.offset * width
        view: Any = memoryview(column.buffers()[1])[start : start + len(column) * width].cast(format_)
        return view  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    return values


def to_python(column: pa.Array) -> list[Any]:
    """The values as a list; NULL is None."""
    values = to_values(column)
    return values.tolist() if isinstance(values, memoryview) else values  # type: ignore[return-value]


def number_format(type_: pa.DataType) -> Any:
    """The letter of `array` and `memoryview` for a type of plain numbers."""
    return _FORMATS.get(type_)


def from_numbers(values: array.array[Any], type_: pa.DataType) -> pa.Array:
    """Over the same memory."""
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)])


def from_python(values: Sequence[Any], type_: pa.DataType, function: str) -> pa.Array:
    """Values that a function returned as an array of its declared type. A large text or blob by itself is not
    copied."""
    if len(values) == 1 and (whole := _uncopied(values[0], type_)) is not None:
        return whole
    if type_ == pa.binary():  # Arrow never lets go of a memoryview
        values = [bytes(v) if isinstance(v, memoryview) else v for v in values]
    try:
        return pa.array(values, type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError, ValueError):
        for number, value in enumerate(values):
            try:
                pa.array([value], type_)
            except Exception:
                raise WrongValue(number, f"returned {short(value)}, which is not {sql_name(type_)}") from None
        raise UDFError(f"{function}() returned values that are not {sql_name(type_)}", code="udf_type") from None


def _uncopied(value: Any, type_: pa.DataType) -> pa.Array | None:
    """An array of one value over the value's own memory."""
    if type_ == pa.string() and isinstance(value, str) and len(value) >= _LARGE:
        size = ctypes.c_ssize_t()
        start = _as_utf8(value, ctypes.byref(size))  # of ASCII the text itself, else a copy that the text keeps
        data = pa.foreign_buffer(start, size.value, base=value)
    elif type_ == pa.binary() and isinstance(value, bytes | bytearray) and len(value) >= _LARGE:
        data = pa.py_buffer(value)
    else:
        return None
    if data.size >= 1 << 31:
        return None
    offsets = pa.py_buffer(struct.pack("=ii", 0, data.size))
    return pa.Array.from_buffers(type_, 1, [None, offsets, data])


class WrongValue(Exception):
    """A returned value that does not have the declared type: which row, and what is wrong."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class RowFailed(Exception):
    """Raised by a vectorised function that knows which row it failed at: the error, and the values of the rows before
    it."""

    def __init__(self, row: int, error: Exception, before: pa.Array) -> None:
        super().__init__(str(error))
        self.row = row
        self.error = error
        self.before = before


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
    if isinstance(value, memoryview):
        return value.nbytes + 8
    if isinstance(value, list | tuple):
        return 8 + sum(map(size_of, value))
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return 8
