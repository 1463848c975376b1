"""CAST and TRY_CAST of whole arrays, with DuckDB's meaning where Arrow's differs.

Numbers round halves to even from DOUBLE and away from zero from DECIMAL; text is trimmed; text forms are DuckDB's.
Values that Arrow's own conversion refuses (`0x1F`, `2020-1-5`, `1e3` as INTEGER) take a slower path row by row.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.expr.far_times import UNITS, around_infinity, is_endless, numbers_of
from sqlengine.expr.text_forms import to_text
from sqlengine.expr.text_values import from_text
from sqlengine.kernels import decimals
from sqlengine.types import INTERVAL, sql_name

_MISFITS = (pa.ArrowInvalid, OverflowError, decimals.OutOfRange, ValueError)


def cast_array(array: pa.Array, type_: pa.DataType, safe: bool, timezone: str = "UTC") -> pa.Array:
    """Values in another type. A value that does not fit is a DataError, or NULL with `safe`."""
    if array.type == type_:
        return array
    try:
        return _cast(array, type_, timezone)
    except pa.ArrowNotImplementedError:
        raise NotSupportedError(f"cast of {sql_name(array.type)} to {sql_name(type_)}") from None
    except _MISFITS:
        if safe:
            return _one_by_one(array, type_, timezone)
        raise _failure(array, type_, timezone) from None


def _cast(array: pa.Array, type_: pa.DataType, timezone: str) -> pa.Array:
    t = pa.types
    source = array.type
    if source == type_:
        return array
    if t.is_null(source):
        return pa.nulls(len(array), type_)
    if t.is_string(source):
        return from_text(array, type_, timezone, _cast)
    if t.is_string(type_):
        return to_text(array, timezone)
    if t.is_decimal128(source) or t.is_decimal128(type_):
        return _decimal(array, type_)
    if t.is_floating(source) and t.is_integer(type_):
        # SQL rounds (half to even), Arrow refuses fractions.
        return pc.round(array, round_mode="half_to_even").cast(type_)
    if t.is_floating(source) and t.is_boolean(type_):
        return pc.not_equal(array, pa.scalar(0, source))
    if t.is_float64(source) and t.is_float32(type_):
        small = array.cast(type_)
        if pc.any(pc.and_(pc.is_inf(small), pc.is_finite(array))).as_py():
            raise OverflowError
        return small
    if array.null_count == len(array):
        return pa.nulls(len(array), type_)
    if is_endless(source) and is_endless(type_):
        return around_infinity(array, type_, lambda finite: _temporal(finite, type_, timezone))
    if t.is_temporal(source) or t.is_temporal(type_):
        return _temporal(array, type_, timezone)
    if t.is_nested(source) or t.is_nested(type_):
        return _nested(array, type_, timezone)
    if t.is_integer(source) and t.is_binary(type_):
        raise pa.ArrowNotImplementedError
    if t.is_integer(source) and t.is_floating(type_):
        return array.cast(type_, safe=False)  # the nearest: Arrow refuses whole numbers that are not exact there
    return array.cast(type_)


def _decimal(array: pa.Array, type_: pa.DataType) -> pa.Array:
    t = pa.types
    source = array.type
    if t.is_decimal128(source):
        if t.is_decimal128(type_):
            return decimals.rescale(array, type_)
        if type_ == pa.uint64():
            return decimals.rescale(array, pa.decimal128(38, 0)).cast(type_)
        if t.is_integer(type_):
            return decimals.to_int(array, type_)
        if t.is_floating(type_):
            return decimals.to_double(array).cast(type_)
        if t.is_boolean(type_):
            return pc.not_equal(decimals.to_double(array), 0.0)
        return array.cast(type_)
    if t.is_boolean(source):
        array = array.cast(pa.int8())
        source = array.type
    if t.is_integer(source):
        return decimals.from_int(array, type_)
    if t.is_floating(source):
        return decimals.from_double(array, type_)
    return array.cast(type_)


def _temporal(array: pa.Array, type_: pa.DataType, timezone: str) -> pa.Array:
    t = pa.types
    source = array.type
    if t.is_timestamp(source) and source.tz:
        if t.is_timestamp(type_) and type_.tz:
            return array.cast(type_, safe=False)
        # TIMESTAMPTZ becomes the clock time of the session's time zone.
        local = pc.local_timestamp(array.cast(pa.timestamp(source.unit, timezone)))
        return _temporal(local, type_, timezone) if local.type != type_ else local
    if t.is_timestamp(type_) and type_.tz:
        naive = array if t.is_timestamp(source) else _temporal(array, pa.timestamp("us"), timezone)
        placed = pc.assume_timezone(naive, timezone, ambiguous="earliest", nonexistent="latest")
        return placed.cast(type_, safe=False)
    if t.is_timestamp(source):
        if t.is_date(type_):
            per_day = UNITS[source.unit]
            numbers = numbers_of(array)
            days = pc.divide(numbers, per_day)
            before = pc.less(numbers, pc.multiply(days, per_day))
            return pc.subtract(days, before.cast(pa.int8())).cast(pa.int32()).cast(type_)
        if t.is_time(type_):
            day = pc.subtract(array, pc.floor_temporal(array, unit="day"))
            return day.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(type_)
        if t.is_timestamp(type_):
            units = ("s", "ms", "us", "ns")
            if units.index(type_.unit) < units.index(source.unit):
                # Fractions round half up.
                half = (
                    {"s": 10**9, "ms": 10**6, "us": 10**3}[type_.unit]
                    // {"ms": 10**6, "us": 10**3, "ns": 1}[source.unit]
                    // 2
                )
                raised = pc.add(array.cast(pa.int64()), half).cast(source)
                unit = {"s": "second", "ms": "millisecond", "us": "microsecond"}[type_.unit]
                return pc.floor_temporal(raised, unit=unit).cast(type_)
            return array.cast(type_)
    if t.is_date(source) and t.is_timestamp(type_):
        return array.cast(type_)
    if t.is_time(source) and t.is_time(type_):
        return array.cast(type_, safe=False)
    raise pa.ArrowNotImplementedError


def _nested(array: pa.Array, type_: pa.DataType, timezone: str) -> pa.Array:
    t = pa.types
    source = array.type
    if (t.is_list(source) or t.is_fixed_size_list(source)) and (t.is_list(type_) or t.is_fixed_size_list(type_)):
        if t.is_fixed_size_list(source) or t.is_fixed_size_list(type_):
            return array.cast(type_)
        values = _cast(array.values, type_.value_type, timezone)
        mask = array.is_null() if array.null_count else None
        return pa.ListArray.from_arrays(array.offsets, values, type=type_, mask=mask)
    if t.is_struct(source) and t.is_struct(type_) and source.num_fields == type_.num_fields:
        named = {f.name.lower(): i for i, f in enumerate(source)}
        by_name = all(f.name.lower() in named for f in type_)
        order = [named[f.name.lower()] for f in type_] if by_name else list(range(type_.num_fields))
        children = [_cast(pc.struct_field(array, i), f.type, timezone) for i, f in zip(order, type_, strict=True)]
        mask = array.is_null() if array.null_count else None
        return pa.StructArray.from_arrays(children, fields=list(type_), mask=mask)
    if t.is_map(source) and t.is_map(type_):
        keys, items = _cast(array.keys, type_.key_type, timezone), _cast(array.items, type_.item_type, timezone)
        offsets = array.offsets
        if array.null_count:
            offsets = pc.if_else(
                pa.concat_arrays([array.is_null(), pa.array([False])]), pa.scalar(None, pa.int32()), offsets
            )
        return pa.MapArray.from_arrays(offsets, keys, items, type=type_)
    raise pa.ArrowNotImplementedError


def _one_by_one(array: pa.Array, type_: pa.DataType, timezone: str) -> pa.Array:
    """Halve until the values that do not fit stand alone; those become NULL."""
    if len(array) == 0:
        return pa.nulls(0, type_)
    try:
        return _cast(array, type_, timezone)
    except _MISFITS:
        if len(array) == 1:
            return _nested_or_null(array, type_, timezone)
    middle = len(array) // 2
    halves = [_one_by_one(array[:middle], type_, timezone), _one_by_one(array[middle:], type_, timezone)]
    return pa.concat_arrays(halves)


def _nested_or_null(array: pa.Array, type_: pa.DataType, timezone: str) -> pa.Array:
    """NULL for a value that does not fit; in the text of a list or struct for the parts that do not."""
    if pa.types.is_string(array.type) and pa.types.is_nested(type_):
        try:
            return from_text(array, type_, timezone, lambda part, inner, zone: cast_array(part, inner, True, zone))
        except _MISFITS:
            pass
    return pa.nulls(1, type_)


def _failure(array: pa.Array, type_: pa.DataType, timezone: str) -> DataError:
    while len(array) > 1:  # the first value that fails, by halving
        middle = len(array) // 2
        try:
            _cast(array[:middle], type_, timezone)
            array = array[middle:]
        except _MISFITS:
            array = array[:middle]
    bad = array[0] if array.type == INTERVAL else to_text(array, timezone)[0].as_py()
    shown = f"{str(bad)[:40]}{'…' if len(str(bad)) > 40 else ''}"
    return DataError(
        f"cannot cast {sql_name(array.type)} {shown!r} to {sql_name(type_)}",
        code="invalid_cast",
        hint="TRY_CAST gives NULL instead of an error",
    )
