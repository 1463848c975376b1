"""Constants of the SQL text: numbers, text, hexadecimal numbers, intervals."""

from __future__ import annotations

import decimal
import re

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Location, ParseError
from sqlengine.expr.nodes import Expr, Literal, literal
from sqlengine.expr.text_values import parse_interval
from sqlengine.types import INTERVAL

# How many of which function's unit one unit of an interval is: INTERVAL (x) QUARTER is three months times x.
INTERVAL_UNITS = {
    "year": "to_years", "month": "to_months", "day": "to_days", "hour": "to_hours", "minute": "to_minutes",
    "second": "to_seconds", "millisecond": "to_milliseconds", "microsecond": "to_microseconds", "week": "to_weeks",
    "quarter": "to_quarters", "decade": "to_decades", "century": "to_centuries", "millennium": "to_millennia",
}  # fmt: skip

_DECIMAL = re.compile(r"[+-]?\d*\.\d+")
_FRACTIONS = ("second", "sec", "millisecond", "ms", "msec")  # units that take fractions of a number


def text_or_number(node: exp.Literal) -> Expr:
    """`'a'`, `1`, `1.50` (a DECIMAL), `1e3` (a DOUBLE)."""
    text = str(node.this)
    return literal(text) if node.is_string else number(text)


def number(text: str) -> Literal:
    if "e" in text.lower():
        if text[-1] in "eE+-":
            raise ParseError(f"{text} is not a number", hint="such as 1e3")
        return literal(float(text))
    if "." in text:
        # The digits as written give the type; what 38 places cannot hold is a DOUBLE.
        before, _, after = text.partition(".")
        digits = len(before) + len(after)
        if digits > 38:
            return literal(float(text))
        return Literal(pa.decimal128(max(digits, 1), len(after)), decimal.Decimal(text))
    whole = int(text)
    return literal(whole) if abs(whole) < 10**38 else literal(float(text))


def negated(value: Literal) -> Literal:
    """The literal number with a minus sign, in the smallest type that holds it."""
    if pa.types.is_decimal(value.type) and value.type.scale:
        return Literal(value.type, -value.value)
    if isinstance(value.value, decimal.Decimal):
        return literal(-int(value.value))
    return literal(-value.value)


def interval(node: exp.Interval, location: Location | None) -> Literal | None:
    """INTERVAL 3 MONTH, INTERVAL '3' MONTH, INTERVAL '1 year 2 days'; None when the amount is no constant."""
    if not isinstance(node.this, exp.Literal):
        return None
    unit = node.args.get("unit")
    amount = node.this.name
    if unit is not None and not node.args.get("fraction_in_string") and not unit.name.lower().startswith(_FRACTIONS):
        # INTERVAL 1.5 DAY takes whole days; in one text, INTERVAL '1.5 days' is a day and twelve hours.
        amount = amount.partition(".")[0] or "0" if _DECIMAL.fullmatch(amount) else amount
    words = f"{amount} {unit.name}" if unit is not None else amount
    try:
        return Literal(INTERVAL, parse_interval(words))
    except (ValueError, OverflowError):
        raise BindError(
            f"cannot read the interval {words!r}", code="invalid_interval",
            hint="write INTERVAL '3' MONTH or INTERVAL '1 year 2 days'", location=location,
        ) from None  # fmt: skip


def interval_unit(node: exp.Interval, location: Location | None) -> str:
    """The function that makes an interval of the unit from a number."""
    unit = node.args.get("unit")
    name = unit.name.lower() if unit is not None else ""
    known = INTERVAL_UNITS.get(name) or INTERVAL_UNITS.get(name.removesuffix("s"))
    if known is None:
        raise BindError(
            f"{name!r} is not a unit of time", code="invalid_interval", hint="year, month, day, hour, minute, ...",
            location=location,
        )  # fmt: skip
    return known
