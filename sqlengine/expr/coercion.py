"""Which types values take when they meet: common types, implicit casts, DuckDB's rules for decimals.

Order of numbers: BOOLEAN < integers by width < DECIMAL < FLOAT < DOUBLE. NULL goes with anything; a text literal takes the
type of the other side.
"""

from __future__ import annotations

import pyarrow as pa

from sqlengine.expr.nodes import Cast, Expr, Literal

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_DIGITS = {1: 3, 2: 5, 4: 10, 8: 19}


def is_number(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_integer(type_) or t.is_floating(type_) or t.is_decimal(type_))


def as_decimal(type_: pa.DataType) -> pa.DataType:
    """The decimal type that holds every value of an integer or decimal type."""
    if pa.types.is_decimal(type_):
        return type_
    if type_ == pa.uint64():
        return pa.decimal128(20, 0)
    return pa.decimal128(_DIGITS[type_.bit_width // 8], 0)


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The type both can be compared or combined in; None if there is none."""
    t = pa.types
    if a == b:
        return a
    if t.is_null(a):
        return b
    if t.is_null(b):
        return a
    if is_number(a) and is_number(b):
        return _common_number(a, b)
    if t.is_boolean(a) and is_number(b):
        return b
    if t.is_boolean(b) and is_number(a):
        return a
    if t.is_temporal(a) and t.is_temporal(b):
        return _common_time(a, b)
    if t.is_list(a) and t.is_list(b):
        inner = common_type(a.value_type, b.value_type)
        return None if inner is None else pa.list_(inner)
    if t.is_struct(a) and t.is_struct(b) and [f.name for f in a] == [f.name for f in b]:
        inners = [common_type(f.type, g.type) for f, g in zip(a, b, strict=True)]
        if all(inner is not None for inner in inners):
            return pa.struct([pa.field(f.name, inner) for f, inner in zip(a, inners, strict=True)])
    return None


def _common_number(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    t = pa.types
    if t.is_floating(a) or t.is_floating(b):
        return pa.float32() if {a, b} == {pa.float32()} or not (pa.float64() in (a, b) or _wide(a) or _wide(b)) else pa.float64()
    if t.is_decimal(a) or t.is_decimal(b):
        x, y = as_decimal(a), as_decimal(b)
        scale = max(x.scale, y.scale)
        return pa.decimal128(min(38, max(x.precision - x.scale, y.precision - y.scale) + scale), scale)
    if t.is_signed_integer(a) == t.is_signed_integer(b):
        return a if a.bit_width >= b.bit_width else b
    signed, unsigned = (a, b) if t.is_signed_integer(a) else (b, a)
    wanted = max(signed.bit_width, 2 * unsigned.bit_width)
    return pa.decimal128(38, 0) if wanted > 64 else next(i for i in _INTEGERS if i.bit_width == wanted)


def _wide(type_: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(type_) or (pa.types.is_integer(type_) and type_.bit_width > 32))


def _common_time(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    t = pa.types
    dates = t.is_date(a) or t.is_date(b)
    stamps = [x for x in (a, b) if t.is_timestamp(x)]
    if dates and stamps:
        return stamps[0] if stamps[0].unit != "s" else pa.timestamp("us", stamps[0].tz)
    if len(stamps) == 2:
        units = ["s", "ms", "us", "ns"]
        return pa.timestamp(max((a.unit, b.unit), key=units.index), a.tz or b.tz)
    if t.is_time(a) and t.is_time(b):
        return pa.time64("us")
    return None


def common_of(exprs: list[Expr]) -> pa.DataType | None:
    """The common type of several expressions; text literals yield to whatever the others are."""
    types = [e.type for e in exprs if not is_text_literal(e)]
    if not types:
        return exprs[0].type if exprs else None
    result: pa.DataType | None = types[0]
    for type_ in types[1:]:
        if result is None:
            return None
        result = common_type(result, type_)
    if result is not None and pa.types.is_null(result) and any(is_text_literal(e) for e in exprs):
        return pa.string()
    return result


def is_text_literal(expr: Expr) -> bool:
    return isinstance(expr, Literal) and expr.type == pa.string() and expr.value is not None


def can_cast_implicitly(a: pa.DataType, b: pa.DataType) -> bool:
    """Whether a value of type `a` may stand where `b` is wanted without a CAST."""
    return a == b or pa.types.is_null(a) or common_type(a, b) == b or pa.types.is_string(b)


def cast_to(expr: Expr, type_: pa.DataType) -> Expr:
    """The expression in another type; literals are converted at once when that is exact."""
    if expr.type == type_:
        return expr
    if isinstance(expr, Literal) and expr.value is None:
        return Literal(type_, None)
    if isinstance(expr, Literal) and pa.types.is_integer(expr.type) and pa.types.is_integer(type_):
        try:
            pa.scalar(expr.value, type_)
        except (pa.ArrowInvalid, OverflowError):
            return Cast(type_, expr)
        return Literal(type_, expr.value)
    return Cast(type_, expr)
