"""CAST and TRY_CAST of whole arrays, with DuckDB's meaning where Arrow's differs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.types import sql_name


def cast_array(array: pa.Array, type_: pa.DataType, safe: bool) -> pa.Array:
    """Values in another type. A value that does not fit is a DataError, or NULL with `safe`."""
    if array.type == type_:
        return array
    try:
        return _cast(array, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
        if safe:
            return _one_by_one(array, type_)
        raise _failure(array, type_, error) from None


def _cast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    t = pa.types
    source = array.type
    if t.is_floating(source) and t.is_integer(type_):
        # SQL rounds (half to even), Arrow refuses fractions.
        return pc.round(array, round_mode="half_to_even").cast(type_)
    if t.is_decimal(source) and t.is_integer(type_):
        return pc.round(array, round_mode="half_towards_infinity").cast(type_)
    if t.is_decimal(source) and t.is_decimal(type_) and type_.scale < source.scale:
        return pc.round(array, type_.scale, round_mode="half_towards_infinity").cast(type_)
    if t.is_floating(source) and t.is_decimal(type_):
        return pc.round(array, type_.scale, round_mode="half_towards_infinity").cast(type_, safe=False)
    if t.is_boolean(source) and t.is_decimal(type_):
        return array.cast(pa.int8()).cast(pa.decimal128(3, 0)).cast(type_)
    if t.is_integer(source) and t.is_decimal(type_):
        return array.cast(pa.decimal128(max(20, type_.precision), 0)).cast(type_)
    if t.is_string(source):
        return _from_text(array, type_)
    if t.is_string(type_):
        return _to_text(array)
    if t.is_timestamp(source) and t.is_date(type_):
        return pc.floor_temporal(array, unit="day").cast(type_)
    return array.cast(type_)


def _from_text(array: pa.Array, type_: pa.DataType) -> pa.Array:
    t = pa.types
    trimmed = pc.utf8_trim_whitespace(array)
    if t.is_integer(type_):
        try:
            return trimmed.cast(type_)
        except pa.ArrowInvalid:
            return _cast(trimmed.cast(pa.float64()), type_)
    if t.is_boolean(type_):
        return pc.utf8_lower(trimmed).cast(type_)
    if t.is_binary(type_):
        return array.cast(type_)
    return trimmed.cast(type_)


def _to_text(array: pa.Array) -> pa.Array:
    t = pa.types
    if t.is_floating(array.type):
        text = array.cast(pa.string())
        plain = pc.invert(pc.match_substring_regex(text, "[.einf]|nan"))
        return pc.if_else(plain, pc.binary_join_element_wise(text, ".0", ""), text)
    if t.is_timestamp(array.type):
        text = pc.strftime(array, "%Y-%m-%d %H:%M:%S")
        return _trimmed_fraction(text)
    if t.is_nested(array.type):
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.string())
    return array.cast(pa.string())


def _trimmed_fraction(text: pa.Array) -> pa.Array:
    """`12:00:00.500000` as `12:00:00.5`, `12:00:00.000000` as `12:00:00`."""
    shorter = pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1")
    return pc.replace_substring_regex(shorter, r"\.$", "")


def _one_by_one(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Halve until the values that do not fit stand alone; those become NULL."""
    if len(array) == 0:
        return pa.nulls(0, type_)
    try:
        return _cast(array, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        if len(array) == 1:
            return pa.nulls(1, type_)
    middle = len(array) // 2
    return pa.concat_arrays([_one_by_one(array[:middle], type_), _one_by_one(array[middle:], type_)])


def _failure(array: pa.Array, type_: pa.DataType, error: Exception) -> DataError:
    bad = next((value for value in array if value.is_valid and _fails(value, type_)), None)
    shown = f" {str(bad.as_py())[:40]!r}" if bad is not None else ""
    return DataError(
        f"cannot cast {sql_name(array.type)}{shown} to {sql_name(type_)}",
        code="invalid_cast",
        hint="TRY_CAST gives NULL instead of an error",
    )


def _fails(value: pa.Scalar, type_: pa.DataType) -> bool:
    try:
        _cast(pa.array([value.as_py()], value.type), type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        return True
    return False
