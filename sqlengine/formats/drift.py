"""Files of one table whose columns differ: which differences are harmless, and the error for the others."""

from __future__ import annotations

import pyarrow as pa

from sqlengine.errors import FormatError
from sqlengine.types import sql_name


def same_or_wider(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The type that holds every value of both without loss; None if there is none."""
    t = pa.types
    if a == b or t.is_null(b):
        return a
    if t.is_null(a):
        return b
    if t.is_integer(a) and t.is_integer(b):
        signed = [x for x in (a, b) if t.is_signed_integer(x)]
        if len(signed) != 1:
            return a if a.bit_width >= b.bit_width else b
        other = b if signed[0] is a else a
        bits = max(signed[0].bit_width, 2 * other.bit_width)
        return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)
    if t.is_floating(a) and t.is_floating(b):
        return a if a.bit_width >= b.bit_width else b
    for whole, real in ((a, b), (b, a)):
        if t.is_integer(whole) and t.is_float64(real) and whole.bit_width <= 32:
            return real
    if t.is_decimal(a) and t.is_decimal(b):
        scale = max(a.scale, b.scale)
        digits = max(a.precision - a.scale, b.precision - b.scale) + scale
        return pa.decimal128(digits, scale) if digits <= 38 else None
    if t.is_timestamp(a) and t.is_timestamp(b) and bool(a.tz) == bool(b.tz):
        order = ("s", "ms", "us", "ns")
        return a if order.index(a.unit) >= order.index(b.unit) else b
    return None


def drift_error(
    name: str, first: str, expected: pa.DataType, path: str, found: pa.DataType | None, where: str = ""
) -> FormatError:
    """The files disagree about column `name`; `found` None: the second file lacks it."""
    if found is None:
        return FormatError(
            f"column {name!r} of {first} is missing in {path}{where}",
            code="schema_drift",
            hint="union_by_name=true gives NULL where a file lacks a column",
        )
    return FormatError(
        f"column {name!r} is {sql_name(expected)} in {first} and {sql_name(found)} in {path}{where}",
        code="schema_drift",
        hint="union_by_name=true widens numbers; otherwise read the files separately and CAST the column",
    )
