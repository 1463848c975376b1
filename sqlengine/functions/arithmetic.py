"""Arithmetic operators of numbers, and the operators `+ - * /` as such (dates and intervals go to `moves`).

Decimal arithmetic follows DuckDB: sums take one more digit at the larger scale, products add digits and scales (18
digits stay 18 while both sides have at most 18; past 38 the result is checked). `/` is DOUBLE with infinities (like
`//` without them when ieee_floating_point_ops is off); `//` and `%` by zero are errors, or NULL with SET
error_on_division_by_zero = false. Overflow is an error.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import as_decimal, common_of, fits, is_integer_literal, is_number, is_text_literal
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import Types, by_row
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions import bits, lists, moves
from sqlengine.functions.moments import finite_only
from sqlengine.kernels import decimals
from sqlengine.settings import Settings
from sqlengine.types import HUGEINT, sql_name

_move = finite_only(moves.run)
_SHOWN = {"divide": "/", "add": "+", "subtract": "-", "multiply": "*", "int_divide": "//", "modulo": "%"}


def numbers(args: Sequence[Expr]) -> tuple[pa.DataType, pa.DataType]:
    """The types of two numbers; a NULL or a literal whole number takes the type of the other side where it fits."""
    if len(args) != 2:
        raise NoMatch("this operator takes two arguments")
    a, b = (arg.type for arg in args)
    if pa.types.is_null(a) and pa.types.is_null(b):
        return pa.int32(), pa.int32()
    a, b = (b if pa.types.is_null(a) else a), (a if pa.types.is_null(b) else b)
    if any(is_text_literal(arg) for arg in args) or not (is_number(a) and is_number(b)):
        raise NoMatch("cast the arguments to types that fit")
    if is_integer_literal(args[0]) and not is_integer_literal(args[1]) and fits(args[0], b):
        a = b
    elif is_integer_literal(args[1]) and not is_integer_literal(args[0]) and fits(args[1], a):
        b = a
    return a, b


def _in_decimals(a: pa.DataType, b: pa.DataType) -> bool:
    t = pa.types
    return bool((t.is_decimal(a) or t.is_decimal(b)) and not (t.is_floating(a) or t.is_floating(b)))


def _common(args: Sequence[Expr]) -> pa.DataType:
    numbers(args)
    type_ = common_of(list(args))
    if type_ is None or pa.types.is_null(type_):
        return pa.int32()
    return type_


def _additive(name: str) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) == 1:
            return _one_number(args)
        moved = moves.infer(name, args)
        if moved is not None:
            return moved
        if name == "add" and any(pa.types.is_list(arg.type) for arg in args):
            return lists.same_lists(args)
        a, b = numbers(args)
        if _in_decimals(a, b):
            x, y = as_decimal(a), as_decimal(b)
            scale = max(x.scale, y.scale)
            digits = max(x.precision - x.scale, y.precision - y.scale) + scale + 1
            return (x, y), pa.decimal128(min(38, digits), scale)
        type_ = _common(args)
        return (type_, type_), type_

    return infer


def _product(args: Sequence[Expr]) -> Types:
    moved = moves.infer("multiply", args)
    if moved is not None:
        return moved
    a, b = numbers(args)
    if not _in_decimals(a, b):
        type_ = _common(args)
        return (type_, type_), type_
    x, y = as_decimal(a), as_decimal(b)
    scale, digits = x.scale + y.scale, x.precision + y.precision
    if scale > 38:
        raise NoMatch(
            f"the product needs {scale} digits after the point, at most 38 are possible: cast one side to DOUBLE"
        )
    if digits > 18 and max(x.precision, y.precision) <= 18 and scale < 18:
        digits = 18
    return (x, y), pa.decimal128(min(38, digits), scale)


def _quotient(args: Sequence[Expr]) -> Types:
    moved = moves.infer("divide", args)
    if moved is not None:
        return moved
    a, b = numbers(args)
    single = pa.float32() in (a, b) and pa.float64() not in (a, b)
    type_ = pa.float32() if single else pa.float64()
    return (type_, type_), type_


def _whole_quotient(args: Sequence[Expr]) -> Types:
    type_ = _common(args)
    if pa.types.is_decimal(type_) and type_ != HUGEINT:
        type_ = pa.float64()
    return (type_, type_), type_


def _same_type(args: Sequence[Expr]) -> Types:
    type_ = _common(args)
    return (type_, type_), type_


def _one_number(args: Sequence[Expr]) -> Types:
    if len(args) != 1 or not (is_number(args[0].type) or pa.types.is_null(args[0].type)):
        raise NoMatch("it takes one number")
    type_ = args[0].type if is_number(args[0].type) else pa.int32()
    return (type_,), type_


def out_of_range(call: Call, shown: str = "") -> DataError:
    what = f"{call.name}({', '.join(sql_name(a.type) for a in call.args)}){shown}"
    return DataError(
        f"the result of {what} is out of the range of {sql_name(call.type)}",
        code="out_of_range",
        hint="cast an argument to a wider type, such as DOUBLE or HUGEINT",
        location=call.location,
    )


def checked(function: Callable[..., Any], call: Call, *args: Any) -> Any:
    """A kernel's result; an overflow becomes a DataError that names the operation (and for decimals the values)."""
    try:
        return function(*args)
    except decimals.OutOfRange as error:
        values = [
            a[error.row] if not isinstance(a, pa.Scalar) else a for a in args if isinstance(a, pa.Array | pa.Scalar)
        ]
        raise out_of_range(call, " of " + " and ".join(str(v.as_py())[:40] for v in values)) from None
    except pa.ArrowInvalid:
        raise out_of_range(call) from None


def _arithmetic(name: str, infer: Callable[[Sequence[Expr]], Types], doc: str) -> None:
    plain = {"add": pc.add_checked, "subtract": pc.subtract_checked, "multiply": pc.multiply_checked}[name]
    loose = {"add": pc.add, "subtract": pc.subtract, "multiply": pc.multiply}[name]
    exact = {"add": decimals.add, "subtract": decimals.subtract, "multiply": decimals.multiply}[name]

    @scalar(name, infer, doc, category="operator")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        if len(args) == 1:
            return args[0] if name == "add" else _minus(call, args[0])
        if pa.types.is_list(call.type):
            return lists.joined_lists(args, rows, call.type)
        if not all(is_number(arg.type) for arg in args):
            return _move(call, args, rows, settings)
        if pa.types.is_decimal(call.type):
            return checked(exact, call, *args, call.type)
        if pa.types.is_floating(call.type):
            return loose(*args)
        return checked(plain, call, *args)


_arithmetic("add", _additive("add"), "Sum; dates and timestamps move by days and intervals.")
_arithmetic("subtract", _additive("subtract"), "Difference; of dates in days, of timestamps an interval.")
_arithmetic("multiply", _product, "Product; of an interval and a number an interval.")


@scalar("divide", _quotient, "Quotient as DOUBLE.", category="operator")
def _divide(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    if not is_number(a.type):
        return _move(call, args, rows, settings)
    if not settings.ieee_floating_point_ops:
        b = _divisor(call, a, b, settings)
    return pc.divide(a, b)


def _divisor(call: Call, a: Any, b: Any, settings: Settings) -> Any:
    """The divisor with NULL for zero, or an error when rows with a dividend have one."""
    if pa.types.is_decimal(b.type):
        zero = pc.equal(b, pa.scalar(decimal.Decimal(0), b.type))
    else:
        zero = pc.equal(b, pa.scalar(0, b.type))
    if isinstance(zero, pa.Scalar) and not zero.as_py():
        return b
    if isinstance(zero, pa.Scalar):
        bad = pc.any(pc.is_valid(a)) if isinstance(a, pa.Array) else pc.is_valid(a)
    else:
        bad = pc.any(pc.and_(zero, pc.is_valid(a)))
    if not bad.as_py() and not (isinstance(zero, pa.Array) and pc.any(zero).as_py()):
        return b if isinstance(zero, pa.Array) else pa.scalar(None, b.type)
    if bad.as_py() and settings.error_on_division_by_zero:
        raise DataError(
            f"division by zero in {_SHOWN.get(call.name, call.name)}", code="division_by_zero",
            hint="use NULLIF(divisor, 0), TRY(...), or SET error_on_division_by_zero = false", location=call.location,
        )  # fmt: skip
    return pc.if_else(zero, pa.scalar(None, b.type), b)


def _exact_types(args: Sequence[Expr]) -> Types:
    """The quotient has room for every digit of the dividend by the smallest divisor."""
    if len(args) not in (2, 3):
        raise NoMatch("it takes two decimals, and the digits after the point")
    a, b = (as_decimal(t) for t in numbers(args[:2]))
    if len(args) == 3:
        scale = getattr(args[2], "value", None)
        if not isinstance(scale, int) or not 0 <= scale <= 38:
            raise NoMatch("the digits after the point are a constant from 0 to 38")
    else:
        scale = a.scale + b.precision + 1
    digits = a.precision - a.scale + b.scale + scale
    if digits > 38:
        raise NoMatch(f"the quotient needs {digits} digits, at most 38 are possible")
    return (a, b, pa.int32())[: len(args)], pa.decimal128(digits, scale)


@scalar("decimal_division", _exact_types, "Quotient of decimals as a decimal.", category="math")
def _decimal_division(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    unit = decimal.Decimal(1).scaleb(-call.type.scale)

    def one(a: decimal.Decimal, b: decimal.Decimal, scale: int = 0) -> decimal.Decimal:
        if not b:
            raise DataError("division by zero in decimal_division", code="division_by_zero", location=call.location)
        return (a / b).quantize(unit, decimal.ROUND_DOWN)

    with decimal.localcontext(decimal.Context(prec=76)):
        return by_row(one, args, rows, call.type)


@scalar("int_divide", _whole_quotient, "Quotient of whole numbers without its fraction.", category="operator")
def _int_divide(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    b = _divisor(call, a, b, settings)
    if isinstance(b, pa.Scalar) and not b.is_valid:
        return b
    if pa.types.is_decimal(call.type):
        return checked(decimals.int_divide, call, a, b, call.type)
    return checked(pc.divide_checked if pa.types.is_integer(call.type) else pc.divide, call, a, b)


@scalar("modulo", _same_type, "Remainder with the sign of the dividend.", category="operator", aliases=("mod",))
def _modulo(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    if pa.types.is_floating(call.type):
        return float_remainder(a, b if settings.ieee_floating_point_ops else _divisor(call, a, b, settings))
    b = _divisor(call, a, b, settings)
    if isinstance(b, pa.Scalar) and not b.is_valid:
        return b
    if pa.types.is_decimal(call.type):
        return checked(decimals.modulo, call, a, b, call.type)
    if pa.types.is_signed_integer(call.type):  # the smallest number by -1 overflows as a quotient, the remainder is 0
        b = pc.if_else(pc.equal(b, pa.scalar(-1, b.type)), pa.scalar(1, b.type), b)
    return pc.subtract(a, pc.multiply(pc.divide(a, b), b))


def float_remainder(a: Any, b: Any) -> Any:
    """C's fmod; a finite number by infinity is itself. Quotients beyond 2^50 are taken apart row by row."""
    if a.type == pa.float32():
        return pc.cast(float_remainder(pc.cast(a, pa.float64()), pc.cast(b, pa.float64())), a.type)
    quotient = pc.divide(a, b)
    part = pc.subtract(a, pc.multiply(pc.trunc(quotient), b))
    far = pc.and_(pc.is_finite(a), pc.and_(pc.is_finite(b), pc.not_equal(b, 0.0)))
    large = pc.fill_null(pc.and_(far, pc.greater(pc.abs(quotient), 2.0**50)), False)
    result = pc.if_else(pc.and_(pc.is_inf(b), pc.is_finite(a)), a, part)
    if not (large.as_py() if isinstance(large, pa.Scalar) else pc.any(large).as_py()):
        return result
    rows = len(large) if isinstance(large, pa.Array) else 1
    exact = by_row(math.fmod, [pc.if_else(large, x, 1.0) for x in (a, b)], rows, a.type)
    return pc.if_else(large, exact, result)


def _minus(call: Call, value: Any) -> Any:
    if pa.types.is_decimal(value.type):
        return decimals.negate(value)
    return (
        checked(pc.negate_checked, call, value)
        if pa.types.is_signed_integer(value.type)
        else (
            pc.negate(value)
            if pa.types.is_floating(value.type)
            else checked(pc.subtract_checked, call, pa.scalar(0, value.type), value)
        )
    )


def _negatable(args: Sequence[Expr]) -> Types:
    moved = moves.infer("negate", args)
    return moved if moved is not None else _one_number(args)


@scalar("negate", _negatable, "The number with the other sign.", category="operator")
def _negate(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not is_number(args[0].type):
        return _move(call, args, rows, settings)
    return _minus(call, args[0])


def _whole(args: Sequence[Expr]) -> Types:
    if args and pa.types.is_string(args[0].type) and not any(is_text_literal(a) for a in args):
        return _bit_strings(args)
    type_ = _common(args) if len(args) == 2 else _one_number(args)[1]
    if not pa.types.is_integer(type_):
        raise NoMatch("it takes whole numbers")
    return [type_] * len(args), type_


def _bit_strings(args: Sequence[Expr]) -> Types:
    """Bit strings travel as texts."""
    if len(args) == 2 and pa.types.is_integer(args[1].type):
        return (pa.string(), pa.int32()), pa.string()
    if not all(pa.types.is_string(arg.type) for arg in args):
        raise NoMatch("it takes whole numbers, or bits")
    return [pa.string()] * len(args), pa.string()


for _name, _function, _doc, _aliases in (
    ("bit_and", pc.bit_wise_and, "Bits set in both.", ("bitwise_and",)),
    ("bit_or", pc.bit_wise_or, "Bits set in either.", ("bitwise_or",)),
    ("xor", pc.bit_wise_xor, "Bits set in one of both.", ("bitwise_xor",)),
    ("bit_not", pc.bit_wise_not, "Bits turned over.", ("bitwise_not",)),
):

    def _bits(call: Call, args: list[Any], rows: int, settings: Settings, function: Any = _function) -> Any:
        if pa.types.is_string(call.type):
            return bits.turned(args[0]) if len(args) == 1 else bits.both(call.name, args[0], args[1], rows)
        return function(*args)

    scalar(_name, _whole, _doc, category="operator", aliases=_aliases)(_bits)


@scalar("shift_right", _whole, "Bits moved down.", category="operator")
def _shift_right(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    if pa.types.is_string(call.type):
        return bits.shifted(a, b, False, rows)
    wide = pc.greater_equal(b, pa.scalar(call.type.bit_width, b.type))
    return pc.if_else(wide, pa.scalar(0, a.type), pc.shift_right(a, pc.if_else(wide, pa.scalar(0, b.type), b)))


@scalar("shift_left", _whole, "Bits moved up; an error when bits are lost.", category="operator")
def _shift_left(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    if pa.types.is_string(call.type):
        return bits.shifted(a, b, True, rows)
    try:
        result = pc.shift_left_checked(a, b)
    except pa.ArrowInvalid:
        raise out_of_range(call) from None
    if pc.any(pc.or_(pc.less(a, pa.scalar(0, a.type)), pc.not_equal(pc.shift_right(result, b), a))).as_py():
        raise out_of_range(call)
    return result
