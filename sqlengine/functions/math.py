"""Numeric functions: rounding, roots and powers, logarithms, trigonometry, whole-number theory, random numbers."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import is_number
from sqlengine.expr.nodes import Call, Expr, Literal
from sqlengine.expr.overloads import BOOL, DOUBLE, INT, TEXT, Types, by_row, constant, each_value, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.arithmetic import checked, float_remainder, out_of_range
from sqlengine.functions.moves import column
from sqlengine.kernels import decimals
from sqlengine.settings import Settings
from sqlengine.types import HUGEINT


def _number(args: Sequence[Expr]) -> Types:
    if len(args) != 1 or not (is_number(args[0].type) or pa.types.is_null(args[0].type)):
        raise NoMatch("it takes one number")
    type_ = args[0].type if is_number(args[0].type) else pa.int32()
    return (type_,), type_


def _domain(call: Call, value: Any, wrong: Any, why: str, settings: Settings) -> None:
    """Without IEEE 754's infinities and NaN an error names the first value for which the function is not defined."""
    if settings.ieee_floating_point_ops:
        return
    if pc.any(wrong).as_py():
        bad = value.filter(pc.fill_null(wrong, False))[0].as_py() if isinstance(value, pa.Array) else value.as_py()
        raise DataError(f"{call.name}({bad}): {why}", code="out_of_domain",
                        hint="TRY(...) gives NULL instead of an error", location=call.location)  # fmt: skip


def _double(
    name: str,
    function: Callable[[Any], Any],
    doc: str,
    aliases: tuple[str, ...] = (),
    wrong: Callable[[Any], Any] | None = None,
    why: str = "",
) -> None:
    @scalar(name, takes(DOUBLE, gives=DOUBLE), doc, category="math", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        if wrong is not None:
            _domain(call, args[0], wrong(args[0]), why, settings)
        return function(args[0])


def _not_positive(x: Any) -> Any:
    return pc.less_equal(x, 0.0)


def _outside_one(x: Any) -> Any:
    return pc.greater(pc.abs(x), 1.0)


_LOG = "a logarithm needs a number greater than 0"
_double("sqrt", pc.sqrt, "Square root.", (), lambda x: pc.less(x, 0.0), "a root needs a number from 0")
_double("exp", pc.exp, "e to the power.")
_double("ln", pc.ln, "Natural logarithm.", (), _not_positive, _LOG)
_double("log2", pc.log2, "Logarithm to base 2.", (), _not_positive, _LOG)
_double("log10", pc.log10, "Logarithm to base 10.", (), _not_positive, _LOG)
for _name in ("sin", "cos", "tan"):
    _double(_name, getattr(pc, _name), f"{_name} of radians.", (), pc.is_inf, "it needs a finite number")
_double("asin", pc.asin, "Arc sine.", (), _outside_one, "it needs a number from -1 to 1")
_double("acos", pc.acos, "Arc cosine.", (), _outside_one, "it needs a number from -1 to 1")
_double("atan", pc.atan, "Arc tangent.")
_double(
    "cot", lambda x: pc.divide(1.0, pc.tan(x)), "Cotangent.", (), lambda x: pc.equal(x, 0.0), "it is not defined at 0"
)
_double("degrees", lambda x: pc.multiply(x, 180 / math.pi), "Degrees of radians.")
_double("radians", lambda x: pc.multiply(x, math.pi / 180), "Radians of degrees.")


def _safely(function: Callable[..., float]) -> Callable[..., float]:
    """Python's function with infinities and NaN where it raises."""

    def run(*values: float) -> float:
        if any(v != v for v in values):
            return math.nan
        try:
            return function(*values)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return run


def _cbrt(x: float) -> float:
    if not math.isfinite(x):
        return x
    root = round(abs(x) ** (1 / 3), 12)
    return math.copysign(root if root**3 == abs(x) else abs(x) ** (1 / 3), x)


def _atanh(x: float) -> float:
    return math.copysign(math.inf, x) if abs(x) == 1 else math.atanh(x)


def _gamma(x: float) -> float:
    return math.inf if x == 0 else math.gamma(x)


def _lgamma(x: float) -> float:
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x)


def _even(x: float) -> float:
    if not math.isfinite(x):
        return x
    up = math.ceil(abs(x))
    return math.copysign(up + up % 2, x)


for _name, _python, _doc in (
    ("cbrt", _cbrt, "Cube root."), ("sinh", math.sinh, "Hyperbolic sine."), ("cosh", math.cosh, "Hyperbolic cosine."),
    ("tanh", math.tanh, "Hyperbolic tangent."), ("asinh", math.asinh, "Inverse hyperbolic sine."),
    ("acosh", math.acosh, "Inverse hyperbolic cosine."), ("atanh", _atanh, "Inverse hyperbolic tangent."),
    ("gamma", _gamma, "Gamma function."), ("lgamma", _lgamma, "Logarithm of the gamma function."),
    ("even", _even, "The next even number away from 0."),
):  # fmt: skip
    each_value(_name, (DOUBLE,), DOUBLE, _safely(_python), _doc, "math")


@scalar("log", takes(DOUBLE, DOUBLE, gives=DOUBLE, least=1), "Logarithm to base 10, or to the base that comes first.",
        category="math")  # fmt: skip
def _log(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    for arg in args:
        _domain(call, arg, _not_positive(arg), _LOG, settings)
    if len(args) == 1:
        return pc.log10(args[0])
    _domain(call, args[0], pc.equal(args[0], 1.0), "the base cannot be 1", settings)
    return pc.divide(pc.log10(args[1]), pc.log10(args[0]))


def _two_doubles(name: str, function: Callable[[Any, Any], Any], doc: str, aliases: tuple[str, ...] = ()) -> None:
    @scalar(name, takes(DOUBLE, DOUBLE, gives=DOUBLE), doc, category="math", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return function(args[0], args[1])


_two_doubles("power", pc.power, "The first to the power of the second.", ("pow",))
_two_doubles("atan2", pc.atan2, "The angle of the point (second, first).")
_two_doubles("fdiv", lambda a, b: pc.floor(pc.divide(a, b)), "The quotient rounded down.")


def _fmod_types(args: Sequence[Expr]) -> Types:
    if len(args) == 2 and all(a.type == pa.float32() for a in args):
        return (pa.float32(), pa.float32()), pa.float32()
    return takes(DOUBLE, DOUBLE, gives=DOUBLE)(args)


@scalar("fmod", _fmod_types, "Remainder with the sign of the divisor.", category="math")
def _fmod(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    a, b = args
    rest = float_remainder(a, b)
    zero = pa.scalar(0, call.type)
    other = pc.and_(pc.not_equal(rest, zero), pc.not_equal(pc.less(rest, zero), pc.less(b, zero)))
    return pc.if_else(other, pc.add(rest, b), rest)


each_value("nextafter", (DOUBLE, DOUBLE), DOUBLE, math.nextafter, "The next DOUBLE in a direction.", "math")


@scalar("abs", _number, "Without its sign.", category="math")
def _abs(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value = args[0]
    if pa.types.is_decimal(value.type):
        return decimals.absolute(column(value, rows))
    return checked(pc.abs_checked, call, value) if pa.types.is_integer(value.type) else pc.abs(value)


@scalar("sign", lambda args: (_number(args)[0], pa.int8()), "-1, 0 or 1.", category="math")
def _sign(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value = args[0]
    if pa.types.is_decimal(value.type):
        value = decimals.to_double(column(value, rows))
    signs = pc.sign(value)
    return pc.cast(pc.if_else(pc.is_nan(signs), 0.0, signs) if pa.types.is_floating(signs.type) else signs, pa.int8())


@scalar("isnan", takes(DOUBLE, gives=BOOL), "Whether a DOUBLE is NaN.", category="math")
def _isnan(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.is_nan(args[0])


@scalar("signbit", takes(DOUBLE, gives=BOOL), "Whether the sign of a DOUBLE is minus, also of -0.0.", category="math")
def _signbit(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.less(pc.if_else(pc.equal(args[0], 0.0), pc.divide(1.0, args[0]), args[0]), 0.0)


# rounding


def _whole_types(args: Sequence[Expr]) -> Types:
    types, type_ = _number(args)
    if pa.types.is_decimal(type_):
        return types, pa.decimal128(type_.precision, 0)
    return types, type_


_MODES = {"floor": "down", "ceil": "up", "trunc": "towards_zero"}


def _decimal_whole(array: pa.Array, mode: str, type_: pa.DataType) -> pa.Array:
    """Decimals without their fraction."""
    if array.type.precision < 38:  # room for a digit before the point
        array = decimals.rescale(array, pa.decimal128(array.type.precision + 1, array.type.scale))
    whole = pc.round(array, 0, round_mode=mode)
    return decimals.rescale(whole, type_)


def _rounding(name: str, function: Callable[[Any], Any], aliases: tuple[str, ...] = ()) -> None:
    mode = _MODES[name]

    def infer(args: Sequence[Expr]) -> Types:
        if name == "trunc" and len(args) == 2:
            return _round_types(args)
        return _whole_types(args)

    @scalar(name, infer, f"To a whole number ({mode.replace('_', ' ')}).", category="math", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        if len(args) == 2:
            return _rounded(call, args, rows, mode)
        value = args[0]
        if pa.types.is_decimal(value.type):
            return _decimal_whole(column(value, rows), mode, call.type)
        return value if pa.types.is_integer(value.type) else function(value)


_rounding("floor", pc.floor)
_rounding("ceil", pc.ceil, ("ceiling",))
_rounding("trunc", pc.trunc)


def _round_types(args: Sequence[Expr]) -> Types:
    if not 1 <= len(args) <= 2 or not (is_number(args[0].type) or pa.types.is_null(args[0].type)):
        raise NoMatch("it takes a number and how many digits to keep")
    if len(args) == 1:
        return _whole_types(args)
    type_ = _number(args[:1])[1]
    if pa.types.is_decimal(type_) and isinstance(args[1], Literal) and isinstance(args[1].value, int):
        digits = args[1].value
        result = type_ if digits >= type_.scale else pa.decimal128(type_.precision, max(0, digits))
        return (type_, pa.int32()), result
    return (type_, pa.int32()), type_


def _rounded(call: Call, args: list[Any], rows: int, mode: str) -> Any:
    value, digits = args[0], 0 if len(args) == 1 else constant(args[1])
    if digits is None:
        return by_row(lambda x, n: _round_one(x, n, mode), args, rows, call.type)
    if pa.types.is_decimal(value.type):
        array = column(value, rows)
        if digits >= value.type.scale:
            return array
        if mode == "half_towards_infinity" and digits >= 0:
            return checked(decimals.rescale, call, array, call.type)  # rescale rounds halves away from zero
        return checked(decimals.rescale, call, pc.round(array, digits, round_mode=mode), call.type)
    if pa.types.is_integer(value.type):
        digits = max(digits, -18)  # beyond that no digit is left
        return (
            value if digits >= 0 else checked(functools.partial(pc.round, ndigits=digits, round_mode=mode), call, value)
        )
    return pc.round(value, digits, round_mode=mode)


def _round_one(value: Any, digits: int, mode: str) -> Any:
    digits = max(digits, -18) if isinstance(value, int) else digits
    return pc.round(pa.array([value]), digits, round_mode=mode)[0].as_py()


@scalar("round", _round_types, "Rounded to so many digits after the point, halves away from zero.", category="math")
def _round(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _rounded(call, args, rows, "half_towards_infinity")


@scalar("round_even", _round_types, "Rounded to so many digits, halves to even.", category="math",
        aliases=("roundbankers",))  # fmt: skip
def _round_even(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _rounded(call, args, rows, "half_to_even")


# whole numbers


def _factorial(n: int) -> int:
    if n < 0 or n > 33:
        raise DataError(f"factorial({n}) is out of the range of HUGEINT", code="out_of_range")
    return math.factorial(n)


each_value("factorial", (pa.int32(),), HUGEINT, _factorial, "The product of 1 to n.", "math")


def _binomial(n: int, k: int) -> int:
    if n < 0 or k < 0:
        raise DataError(f"binom({n}, {k}): a number is negative", code="out_of_range")
    return math.comb(n, k) if k <= n else 0


each_value("binom", (pa.int32(), pa.int32()), HUGEINT, _binomial, "How many ways there are to choose k of n.", "math")


def _pair_of_whole(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes two whole numbers")
    wide = any(a.type == HUGEINT for a in args)
    if any(not (pa.types.is_integer(a.type) or pa.types.is_null(a.type) or a.type == HUGEINT) for a in args):
        raise NoMatch("it takes two whole numbers")
    type_ = HUGEINT if wide else INT
    return (type_, type_), type_


def _theory(name: str, function: Callable[[int, int], int], doc: str, alias: str) -> None:
    @scalar(name, _pair_of_whole, doc, category="math", aliases=(alias,))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        try:
            return by_row(lambda a, b: function(int(a), int(b)), args, rows, call.type)
        except (OverflowError, pa.ArrowInvalid):
            raise out_of_range(call) from None


_theory("gcd", math.gcd, "Greatest common divisor.", "greatest_common_divisor")
_theory("lcm", math.lcm, "Least common multiple.", "least_common_multiple")


def _one_whole(args: Sequence[Expr]) -> Types:
    if len(args) == 1 and pa.types.is_string(args[0].type):
        return (TEXT,), pa.int64()
    types, type_ = _number(args)
    if not (pa.types.is_integer(type_) or type_ == HUGEINT):
        raise NoMatch("it takes a whole number")
    return types, pa.int8()


@scalar("bit_count", _one_whole, "How many bits are set.", category="math")
def _bit_count(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if args[0].type == TEXT:
        return pc.cast(pc.count_substring(args[0], "1"), INT)
    size = 2 ** args[0].type.bit_width
    return by_row(lambda n: (int(n) % size).bit_count(), args, rows, pa.int8())


@scalar("pi", lambda args: ([], DOUBLE), "The number pi.", category="math")
def _pi(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pa.scalar(math.pi)


def _no_arguments(gives: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if args:
            raise NoMatch("it takes no arguments")
        return [], gives

    return infer


@scalar("random", _no_arguments(DOUBLE), "A random number from 0 to 1 for each row.", category="math", volatile=True)
def _random(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.random(rows, initializer=_seeds[0].getrandbits(63) if _seeds else "system")


_seeds: list[random.Random] = []  # what setseed left: where the next seeds come from


@scalar("setseed", takes(DOUBLE, gives=pa.int32()), "Makes the numbers of random() that follow repeatable.",
        category="math", volatile=True)  # fmt: skip
def _setseed(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    for value in column(args[0], rows).drop_null().to_pylist():
        if not -1 <= value <= 1:
            raise DataError("setseed takes a number from -1 to 1", code="out_of_range", location=call.location)
        _seeds[:] = [random.Random(value)]
    return pa.nulls(rows, pa.int32())
