"""Operators: arithmetic, comparison, logic, NULL handling, IN.

Decimal arithmetic follows DuckDB: sums take one more digit at the larger scale, products add digits and scales; past 38
digits a product is refused. `/` is always DOUBLE (NULL for division by zero of whole numbers), `//` and `%` of whole numbers
give NULL for a zero divisor. Overflow of whole numbers is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import as_decimal, common_of, common_type, is_number, is_text_literal
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL, sql_name

Types = tuple[Sequence[pa.DataType], pa.DataType]


def _no_match() -> NoMatch:
    return NoMatch("cast the arguments to types that fit")


def _pair(args: Sequence[Expr]) -> tuple[pa.DataType, pa.DataType]:
    if len(args) != 2:
        raise NoMatch("this operator takes two arguments")
    a, b = args[0].type, args[1].type
    if is_text_literal(args[0]) and not is_text_literal(args[1]):
        a = b
    elif is_text_literal(args[1]) and not is_text_literal(args[0]):
        b = a
    if pa.types.is_null(a) and pa.types.is_null(b):
        a = b = pa.int32()
    return (b if pa.types.is_null(a) else a), (a if pa.types.is_null(b) else b)


def _additive(sign: int) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        t = pa.types
        if len(args) == 1 and is_number(args[0].type):
            return (args[0].type,), args[0].type
        a, b = _pair(args)
        if is_number(a) and is_number(b):
            if (t.is_decimal(a) or t.is_decimal(b)) and not (t.is_floating(a) or t.is_floating(b)):
                x, y = as_decimal(a), as_decimal(b)
                scale = max(x.scale, y.scale)
                digits = max(x.precision - x.scale, y.precision - y.scale) + scale + 1
                type_ = pa.decimal128(min(38, digits), scale)
                return (type_, type_), type_
            type_ = common_type(a, b)
            assert type_ is not None
            return (type_, type_), type_
        if t.is_date(a) and t.is_integer(b):
            return (a, pa.int32()), a
        if sign > 0 and t.is_integer(a) and t.is_date(b):
            return (pa.int32(), b), b
        if t.is_date(a) and t.is_date(b) and sign < 0:
            return (a, b), pa.int64()
        if (t.is_date(a) or t.is_timestamp(a)) and b == INTERVAL:
            return (a, b), a if t.is_timestamp(a) else pa.timestamp("us")
        if sign > 0 and a == INTERVAL and (t.is_date(b) or t.is_timestamp(b)):
            return (a, b), b if t.is_timestamp(b) else pa.timestamp("us")
        raise _no_match()

    return infer


def _times(args: Sequence[Expr]) -> Types:
    t = pa.types
    a, b = _pair(args)
    if not (is_number(a) and is_number(b)):
        raise _no_match()
    if (t.is_decimal(a) or t.is_decimal(b)) and not (t.is_floating(a) or t.is_floating(b)):
        x, y = as_decimal(a), as_decimal(b)
        scale = x.scale + y.scale
        if scale > 38:
            raise NoMatch("the product has more than 38 digits after the point: cast one side to DOUBLE")
        digits = x.precision + y.precision
        return (x, y), pa.decimal128(min(38, digits), scale)
    type_ = common_type(a, b)
    assert type_ is not None
    return (type_, type_), type_


def _double_pair(args: Sequence[Expr]) -> Types:
    a, b = _pair(args)
    if not (is_number(a) and is_number(b)):
        raise _no_match()
    return (pa.float64(), pa.float64()), pa.float64()


def _whole_pair(args: Sequence[Expr]) -> Types:
    a, b = _pair(args)
    type_ = common_type(a, b) if is_number(a) and is_number(b) else None
    if type_ is None:
        raise _no_match()
    return (type_, type_), type_


def _checked(function: Callable[..., Any], call: Call, *args: Any) -> Any:
    try:
        return function(*args)
    except pa.ArrowInvalid:
        raise DataError(
            f"{call.name} is out of the range of {sql_name(call.type)}",
            code="out_of_range",
            hint="cast an argument to a wider type, such as DOUBLE or HUGEINT",
            location=call.location,
        ) from None


@scalar("add", _additive(1), "Sum; dates and timestamps move by intervals and days.", category="operator")
def _add(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    t = pa.types
    if len(args) == 1:
        return args[0]
    a, b = args
    if t.is_integer(a.type) or a.type == INTERVAL:
        if t.is_date(b.type) or t.is_timestamp(b.type):
            a, b = b, a
    if t.is_date(a.type) and t.is_integer(b.type):
        return pc.add(pc.cast(a, pa.int32()), b).cast(pa.date32())
    if b.type == INTERVAL:
        return _move(a, b, call.type, 1, rows)
    return _sum(pc.add_checked, call, a, b)


@scalar("subtract", _additive(-1), "Difference; of dates in days.", category="operator")
def _subtract(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    t = pa.types
    if len(args) == 1:
        return _checked(pc.negate_checked, call, args[0])
    a, b = args
    if t.is_date(a.type):
        if t.is_integer(b.type):
            return pc.subtract(pc.cast(a, pa.int32()), b).cast(pa.date32())
        if t.is_date(b.type):
            return pc.cast(pc.subtract(pc.cast(a, pa.int32()), pc.cast(b, pa.int32())), pa.int64())
    if b.type == INTERVAL:
        return _move(a, b, call.type, -1, rows)
    return _sum(pc.subtract_checked, call, a, b)


def _sum(function: Callable[..., Any], call: Call, a: Any, b: Any) -> Any:
    if pa.types.is_decimal(call.type):
        # Arrow types the sum with one digit more than its arguments have; the type is the call's already.
        if call.type.precision == 38:
            return _checked(
                lambda: function(
                    pc.cast(a, pa.decimal256(39, call.type.scale)), pc.cast(b, pa.decimal256(39, call.type.scale))
                ).cast(call.type),
                call,
            )
        return function(a, b).cast(call.type)
    return _checked(function, call, a, b)


def _move(when: Any, interval: Any, type_: pa.DataType, sign: int, rows: int) -> Any:
    """Dates and timestamps moved by intervals: months by the calendar (clipped to the month's end), then days and time."""
    stamps = pc.cast(when, type_)
    if isinstance(interval, pa.Scalar):
        if not interval.is_valid:
            return pa.scalar(None, type_)
        months, days, nanos = interval.as_py()
        parts = (months * sign, (days * 86_400_000_000 + nanos // 1000) * sign)
        moved = _add_months(stamps, parts[0])
        return pc.add(moved, pa.scalar(parts[1], pa.duration("us"))).cast(type_)
    stamps = stamps if isinstance(stamps, pa.Array) else pa.repeat(stamps, rows)
    pieces = [_move(stamps[i : i + 1], interval[i], type_, sign, 1) for i in range(rows)]
    arrays = [piece if isinstance(piece, pa.Array) else pa.nulls(1, type_) for piece in pieces]
    return pa.concat_arrays(arrays) if arrays else pa.nulls(0, type_)


def _add_months(stamps: Any, months: int) -> Any:
    if months == 0:
        return stamps
    start = pc.floor_temporal(stamps, unit="month")
    within = pc.subtract(stamps, start)
    index = pc.add(pc.add(pc.multiply(pc.year(stamps), 12), pc.subtract(pc.month(stamps), 1)), months)
    year, month = pc.divide(index, 12), pc.subtract(index, pc.multiply(pc.divide(index, 12), 12))
    text = pc.binary_join_element_wise(
        pc.utf8_lpad(pc.cast(year, pa.string()), 4, "0"),
        pc.utf8_lpad(pc.cast(pc.add(month, 1), pa.string()), 2, "0"),
        "01",
        "-",
    )
    first = pc.cast(pc.cast(text, pa.date32()), stamps.type)
    # The day of the month at most the last one of the new month; the time of day stays.
    following = pc.floor_temporal(pc.add(first, pa.scalar(40 * 86_400_000_000, pa.duration("us"))), unit="month")
    length = pc.cast(pc.subtract(following, first), pa.int64())
    day_us = 86_400_000_000
    offset = pc.cast(within, pa.int64())
    day, clock = (
        pc.multiply(pc.divide(offset, day_us), day_us),
        pc.subtract(offset, pc.multiply(pc.divide(offset, day_us), day_us)),
    )
    day = pc.min_element_wise(day, pc.subtract(length, day_us))
    return pc.add(first, pc.cast(pc.add(day, clock), pa.duration("us")))


@scalar("multiply", _times, "Product.", category="operator")
def _multiply(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    if pa.types.is_decimal(call.type):
        if a.type.precision + b.type.precision + 1 <= 38:
            return pc.multiply(a, b).cast(call.type)
        wide = [pc.cast(x, pa.decimal256(x.type.precision, x.type.scale)) for x in args]
        return _checked(lambda: pc.multiply(*wide).cast(call.type), call)
    return _checked(pc.multiply_checked, call, a, b)


@scalar("divide", _double_pair, "Quotient as DOUBLE; dividing by zero gives NULL.", category="operator")
def _divide(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    zero = pc.equal(b, 0.0)
    return pc.if_else(zero, pa.scalar(None, pa.float64()), pc.divide(a, pc.if_else(zero, 1.0, b)))


@scalar("int_divide", _whole_pair, "Quotient without its fraction; dividing by zero gives NULL.", category="operator")
def _int_divide(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    safe = pc.if_else(pc.equal(b, pa.scalar(0, pa.int32()).cast(b.type)), pa.scalar(None, b.type), b)
    result = _checked(pc.divide_checked, call, a, safe)
    return pc.trunc(result) if pa.types.is_floating(call.type) else result


@scalar(
    "modulo",
    _whole_pair,
    "Remainder with the sign of the dividend; NULL for a zero divisor.",
    category="operator",
    aliases=("mod",),
)
def _modulo(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    safe = pc.if_else(pc.equal(b, pa.scalar(0, pa.int32()).cast(b.type)), pa.scalar(None, b.type), b)
    if pa.types.is_floating(call.type):
        return pc.subtract(a, pc.multiply(pc.trunc(pc.divide(a, safe)), safe))
    if pa.types.is_decimal(call.type):
        quotient = pc.trunc(pc.divide(pc.cast(a, pa.float64()), pc.cast(safe, pa.float64())))
        return pc.subtract(a, pc.multiply(pc.cast(quotient, pa.decimal128(18, 0)), safe)).cast(call.type)
    return pc.subtract(a, pc.multiply(pc.divide(a, safe), safe))


def _one_number(args: Sequence[Expr]) -> Types:
    if len(args) != 1 or not (is_number(args[0].type) or pa.types.is_null(args[0].type)):
        raise _no_match()
    type_ = args[0].type if is_number(args[0].type) else pa.int32()
    return (type_,), type_


@scalar("negate", _one_number, "The number with the other sign.", category="operator")
def _negate(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _checked(pc.negate_checked if pa.types.is_integer(args[0].type) else pc.negate, call, args[0])


def _comparable(args: Sequence[Expr]) -> Types:
    a, b = _pair(args)
    type_ = common_type(a, b)
    if type_ is None and pa.types.is_string(a) != pa.types.is_string(b):
        type_ = b if pa.types.is_string(a) else a
    if type_ is None:
        raise NoMatch(f"cannot compare {sql_name(a)} with {sql_name(b)}: cast one of them")
    return (type_, type_), pa.bool_()


_NAN_FIRST = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}


def _compare(name: str) -> None:
    function = _NAN_FIRST[name]

    @scalar(name, _comparable, "Comparison; NULL if either side is NULL.", category="operator")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        a, b = args
        if pa.types.is_floating(a.type):
            return _compare_floats(name, a, b)
        if pa.types.is_nested(a.type):
            return _compare_nested(name, a, b, rows)
        return function(a, b)


def _compare_floats(name: str, a: Any, b: Any) -> Any:
    """NaN is equal to itself and greater than all else."""
    plain = _NAN_FIRST[name](a, b)
    x, y = pc.is_nan(a), pc.is_nan(b)
    odd = pc.or_(x, y)
    both, one = pc.and_(x, y), pc.and_(x, pc.invert(y))
    value = {
        "eq": both, "ne": pc.invert(both), "lt": pc.and_(y, pc.invert(x)), "le": y, "gt": one, "ge": x,
    }[name]  # fmt: skip
    return pc.if_else(odd, value, plain)


def _compare_nested(name: str, a: Any, b: Any, rows: int) -> Any:
    import operator

    function = getattr(operator, name)
    left = a.to_pylist() if isinstance(a, pa.Array) else [a.as_py()] * rows
    right = b.to_pylist() if isinstance(b, pa.Array) else [b.as_py()] * rows
    return pa.array(
        [None if x is None or y is None else function(x, y) for x, y in zip(left, right, strict=True)], pa.bool_()
    )


for _name in _NAN_FIRST:
    _compare(_name)


def _distinct(a: Any, b: Any) -> Any:
    same = _compare_floats("eq", a, b) if pa.types.is_floating(a.type) else pc.equal(a, b)
    return pc.or_(pc.fill_null(pc.invert(same), False), pc.xor(pc.is_null(a), pc.is_null(b)))


@scalar("is_distinct", _comparable, "Different, with NULL equal to NULL.", category="operator", strict=False)
def _is_distinct(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _distinct(*args)


@scalar("is_not_distinct", _comparable, "Equal, with NULL equal to NULL.", category="operator", strict=False)
def _is_not_distinct(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.invert(_distinct(*args))


def _booleans(args: Sequence[Expr]) -> Types:
    return [pa.bool_()] * len(args), pa.bool_()


@scalar("and", _booleans, "Logical and of three values.", category="operator", strict=False)
def _and(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.and_kleene(*args)


@scalar("or", _booleans, "Logical or of three values.", category="operator", strict=False)
def _or(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.or_kleene(*args)


@scalar("not", _booleans, "Logical negation; NULL stays NULL.", category="operator")
def _not(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.invert(args[0])


def _anything(args: Sequence[Expr]) -> Types:
    return [arg.type for arg in args], pa.bool_()


@scalar("is_null", _anything, "Whether the value is NULL.", category="operator", strict=False)
def _is_null(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.is_null(args[0])


@scalar("is_not_null", _anything, "Whether the value is not NULL.", category="operator", strict=False)
def _is_not_null(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.is_valid(args[0])


@scalar("is_true", _booleans, "Whether the value is true (not NULL).", category="operator", strict=False)
def _is_true(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.fill_null(args[0], False)


@scalar("is_false", _booleans, "Whether the value is false (not NULL).", category="operator", strict=False)
def _is_false(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.fill_null(pc.invert(args[0]), False)


def _same(args: Sequence[Expr]) -> Types:
    type_ = common_of(list(args))
    if type_ is None:
        raise NoMatch("all arguments need one common type")
    return [type_] * len(args), type_


def _among(args: Sequence[Expr]) -> Types:
    types, _ = _same(args)
    return types, pa.bool_()


@scalar("in", _among, "Whether the first argument equals one of the others.", category="operator", strict=False)
def _in(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value, *items = args
    if all(isinstance(item, pa.Scalar) for item in items) and isinstance(value, pa.Array):
        known = [item.as_py() for item in items if item.is_valid]
        found = pc.is_in(value, value_set=pa.array(known, value.type), skip_nulls=True)
        unknown = len(known) < len(items)
        missing = pa.scalar(None, pa.bool_())
        return pc.if_else(pc.is_null(value), missing, pc.if_else(found, True, missing) if unknown else found)
    result: Any = pa.scalar(False)
    for item in items:
        result = pc.or_kleene(result, pc.equal(value, item))
    return result


@scalar(
    "coalesce", _same, "The first argument that is not NULL.", category="conditional", strict=False, aliases=("ifnull",)
)
def _coalesce(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.coalesce(*args)


@scalar("nullif", _same, "The first argument, or NULL if it equals the second.", category="conditional", strict=False)
def _nullif(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.if_else(pc.fill_null(pc.equal(*args), False), pa.scalar(None, call.type), args[0])


@scalar("greatest", _same, "The greatest argument that is not NULL.", category="conditional", strict=False)
def _greatest(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.max_element_wise(*args)


@scalar("least", _same, "The least argument that is not NULL.", category="conditional", strict=False)
def _least(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.min_element_wise(*args)
