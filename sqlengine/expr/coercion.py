"""Which types values take when they meet: common types, implicit casts, DuckDB's rules for decimals.

Order of numbers: BOOLEAN < integers by width < DECIMAL < FLOAT < DOUBLE. NULL goes with anything; a text literal takes
the type of the other side.
"""

from __future__ import annotations

import pyarrow as pa

from sqlengine.errors import DataError, NotSupportedError
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
    if t.is_map(a) and t.is_map(b):
        key, item = common_type(a.key_type, b.key_type), common_type(a.item_type, b.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    return None


def _common_number(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    t = pa.types
    if t.is_floating(a) or t.is_floating(b):
        # FLOAT wins over whole numbers and decimals of any width, as in DuckDB.
        return pa.float64() if pa.float64() in (a, b) else pa.float32()
    if t.is_decimal(a) or t.is_decimal(b):
        x, y = as_decimal(a), as_decimal(b)
        scale = max(x.scale, y.scale)
        return pa.decimal128(min(38, max(x.precision - x.scale, y.precision - y.scale) + scale), scale)
    if t.is_signed_integer(a) == t.is_signed_integer(b):
        return a if a.bit_width >= b.bit_width else b
    signed, unsigned = (a, b) if t.is_signed_integer(a) else (b, a)
    wanted = max(signed.bit_width, 2 * unsigned.bit_width)
    return pa.decimal128(38, 0) if wanted > 64 else next(i for i in _INTEGERS if i.bit_width == wanted)


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
    """The common type of several expressions; literals of text and whole numbers yield to whatever the others are."""
    strong = [e for e in exprs if not is_text_literal(e)]
    if not strong:
        return exprs[0].type if exprs else None
    firm = [e for e in strong if not is_integer_literal(e)] or strong
    result: pa.DataType | None = firm[0].type
    for expr in firm[1:]:
        result = None if result is None else common_type(result, expr.type)
    for expr in strong:
        if result is not None and not (is_integer_literal(expr) and fits(expr, result)):
            result = common_type(result, expr.type)
    if result is not None and pa.types.is_null(result) and any(is_text_literal(e) for e in exprs):
        return pa.string()
    return result


def is_text_literal(expr: Expr) -> bool:
    return isinstance(expr, Literal) and expr.type == pa.string() and expr.value is not None


def is_integer_literal(expr: Expr) -> bool:
    return isinstance(expr, Literal) and pa.types.is_integer(expr.type) and expr.value is not None


def fits(expr: Expr, type_: pa.DataType) -> bool:
    """Whether a literal whole number is a value of the integer type."""
    if not pa.types.is_integer(type_) or not isinstance(expr, Literal):
        return False
    bits = type_.bit_width
    low, high = (0, 2**bits) if pa.types.is_unsigned_integer(type_) else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return bool(low <= expr.value < high)


def can_cast_implicitly(a: pa.DataType, b: pa.DataType) -> bool:
    """Whether a value of type `a` may stand where `b` is wanted without a CAST."""
    return bool(a == b or pa.types.is_null(a) or common_type(a, b) == b or pa.types.is_string(b))


def cast_to(expr: Expr, type_: pa.DataType) -> Expr:
    """The expression in another type; a literal is converted at once where that does not fail or depend on settings."""
    if expr.type == type_:
        return expr
    if isinstance(expr, Literal):
        if expr.value is None:
            return Literal(type_, None)
        folded = _folded(expr, type_)
        if folded is not None:
            return folded
    return Cast(type_, expr)


def _folded(expr: Literal, type_: pa.DataType) -> Literal | None:
    t = pa.types
    if any(t.is_timestamp(x) and (x.tz or x.unit == "ns") for x in (expr.type, type_)) or type_ == pa.time64("ns"):
        return None
    if any(t.is_nested(x) for x in (expr.type, type_)):
        return None
    from sqlengine.expr.cast import cast_array

    try:
        value = cast_array(pa.array([expr.value], expr.type), type_, False)
        if type_ == pa.time64("us") and value.cast(pa.int64())[0].as_py() == 86_400_000_000:
            return None  # 24:00:00, which Python does not have
        return Literal(type_, value[0].as_py())
    except (DataError, NotSupportedError):
        return None  # the cast reports it when it runs, with its place
    except (ValueError, OverflowError):
        return None  # a date or time that Python does not have
