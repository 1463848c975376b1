"""Operators on dates, times and intervals: what the arithmetic operators mean when not both sides are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import is_number
from sqlengine.expr.evaluate import one, repeat
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import Types
from sqlengine.kernels import intervals
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL

_STAMP, _DATE, _TIME, _INT = pa.timestamp("us"), pa.date32(), pa.time64("us"), pa.int64()
_DAY = 86_400_000_000


def infer(name: str, args: Sequence[Expr]) -> Types | None:
    """Types of an operator call where a date, time or interval takes part; None when none of these rules fits."""
    t = pa.types
    types = [arg.type for arg in args]
    if name == "negate":
        return ((INTERVAL,), INTERVAL) if types == [INTERVAL] else None
    if len(types) != 2:
        return None
    a, b = types
    # NULL beside a date or interval: DuckDB takes it for an interval.
    if t.is_null(a) and (t.is_temporal(b)):
        a = INTERVAL
    if t.is_null(b) and (t.is_temporal(a)):
        b = INTERVAL
    stamps = [t.is_timestamp(x) or t.is_date(x) for x in (a, b)]
    if name in ("add", "subtract") and (a, b) == (INTERVAL, INTERVAL):
        return (a, b), INTERVAL
    if name == "multiply":
        if a == INTERVAL and is_number(b):
            return (a, b if t.is_integer(b) else pa.float64()), INTERVAL
        if b == INTERVAL and is_number(a):
            return (a if t.is_integer(a) else pa.float64(), b), INTERVAL
        return None
    if name == "divide":
        return ((a, pa.float64()), INTERVAL) if a == INTERVAL and is_number(b) else None
    if name == "add" and not (stamps[0] or t.is_time(a)):
        if stamps[1] or t.is_time(b):
            swapped = _shifted(name, b, a)
            return None if swapped is None else ((swapped[0][1], swapped[0][0]), swapped[1])
        return None
    return _shifted(name, a, b)


def _shifted(name: str, a: pa.DataType, b: pa.DataType) -> Types | None:
    t = pa.types
    if t.is_date(a) and t.is_integer(b) and b.bit_width <= 32:
        return (a, pa.int32()), a
    if t.is_date(a) and t.is_date(b) and name == "subtract":
        return (a, b), _INT
    if (t.is_date(a) or t.is_timestamp(a)) and (t.is_date(b) or t.is_timestamp(b)) and name == "subtract":
        zone = "UTC" if getattr(a, "tz", None) or getattr(b, "tz", None) else None
        both = pa.timestamp("us", zone)
        return (both, both), INTERVAL
    if t.is_date(a) and t.is_time(b) and name == "add":
        return (a, _TIME), _STAMP
    if t.is_time(a) and t.is_date(b) and name == "add":
        return (_TIME, b), _STAMP
    if b == INTERVAL and (t.is_date(a) or t.is_timestamp(a)):
        stamp = _STAMP if t.is_date(a) or not a.tz else pa.timestamp("us", "UTC")
        stamp = a if a == pa.timestamp("ns") else stamp
        return (stamp, b), stamp
    if b == INTERVAL and t.is_time(a):
        return (_TIME, b), _TIME
    return None


def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    """The value of a call that `infer` typed."""
    t = pa.types
    try:
        if call.name == "negate":
            return scaled(args[0], -1)
        a, b = (column(arg, rows) if arg.type == INTERVAL else arg for arg in args)
        if call.name in ("multiply", "divide"):
            return _multiplied(*((a, b) if a.type == INTERVAL else (b, a)), call.name == "divide")
        sign = -1 if call.name == "subtract" else 1
        if sign == 1 and (a.type == INTERVAL or t.is_integer(a.type) or t.is_time(a.type)) and b.type != INTERVAL:
            a, b = b, a
        if a.type == INTERVAL:
            second = intervals.split(b)
            parts = [_plus(x, y, sign) for x, y in zip(intervals.split(a), second, strict=True)]
            return intervals.make(*parts)
        if t.is_date(a.type) and t.is_integer(b.type):
            return _plus(a.cast(pa.int32()), b, sign).cast(_DATE)
        if t.is_date(a.type) and t.is_date(b.type):
            return pc.subtract(a.cast(pa.int32()).cast(_INT), b.cast(pa.int32()).cast(_INT))
        if t.is_date(a.type) and t.is_time(b.type):
            return pc.add_checked(a.cast(_STAMP).cast(_INT), b.cast(_INT)).cast(_STAMP)
        if t.is_timestamp(a.type) and t.is_timestamp(b.type):
            return of_micros(column(pc.subtract_checked(a.cast(_INT), b.cast(_INT)), rows))
        return moved(a, b, sign, rows, settings)
    except pa.ArrowInvalid:
        raise DataError(
            f"{call.name} of dates or intervals is out of range", code="out_of_range", location=call.location
        ) from None


def column(value: Any, rows: int) -> pa.Array:
    return repeat(value, value.type, rows) if isinstance(value, pa.Scalar) else value


def _plus(a: Any, b: Any, sign: int) -> Any:
    return pc.add_checked(a, b) if sign > 0 else pc.subtract_checked(a, b)


def moved(when: Any, by: pa.Array, sign: int, rows: int, settings: Settings) -> pa.Array:
    """Timestamps (or times) moved by intervals: months by the calendar (clipped to a month), days, then the clock."""
    type_ = when.type
    months, days, nanos = intervals.split(by)
    when = column(when, rows)
    if pa.types.is_time(type_):
        micros = _plus(when.cast(_INT), pc.divide(nanos, 1000), sign)
        whole = pc.floor(pc.divide(micros.cast(pa.float64()), float(_DAY))).cast(_INT)
        return pc.subtract(micros, pc.multiply(whole, _DAY)).cast(type_)
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        numbers = when.cast(_INT)
        coarse = pc.floor_temporal(when, unit="microsecond").cast(_STAMP)
        rest = pc.add(pc.subtract(numbers, coarse.cast(pa.timestamp("ns")).cast(_INT)), 0)
        there = moved(coarse, by, sign, rows, settings).cast(_INT)
        return pc.add_checked(pc.multiply_checked(there, 1000), rest).cast(type_)
    zone = settings.timezone if type_.tz else None
    if zone not in (None, "UTC"):
        # Months and days count on the calendar of the session's zone; the clock part is exact.
        local = pc.local_timestamp(when.cast(pa.timestamp("us", zone))).cast(_INT)
        local = _calendar(local, months, days, sign).cast(_STAMP)
        utc = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest").cast(_INT)
    else:
        utc = _calendar(when.cast(_INT), months, days, sign)
    return _plus(utc, pc.divide(nanos, 1000), sign).cast(type_)


def _calendar(stamps: pa.Array, months: pa.Array, days: pa.Array, sign: int) -> pa.Array:
    if pc.any(pc.not_equal(months, 0)).as_py():
        stamps = intervals.add_months(stamps, months if sign > 0 else pc.negate(months), _DAY)
    return _plus(stamps, pc.multiply_checked(days.cast(_INT), _DAY), sign)


def of_micros(micros: pa.Array) -> pa.Array:
    """Intervals of whole days and a clock part (both of one sign)."""
    days = pc.divide(micros, _DAY)
    clock = pc.multiply_checked(pc.subtract(micros, pc.multiply(days, _DAY)), 1000)
    none = pc.multiply(days, 0).cast(pa.int32())
    return intervals.make(none, days.cast(pa.int32()), clock)


def scaled(by: Any, factor: int) -> Any:
    constant = isinstance(by, pa.Scalar)
    parts = intervals.split(one(by) if constant else by)
    result = intervals.make(*(pc.multiply_checked(p, pa.scalar(factor, p.type)) for p in parts))
    return result[0] if constant else result


def _multiplied(by: pa.Array, factor: Any, inverse: bool) -> pa.Array:
    months, days, nanos = intervals.split(by)
    if pa.types.is_integer(factor.type):
        factor = factor.cast(_INT)
        parts = [pc.multiply_checked(p.cast(_INT), factor).cast(p.type) for p in (months, days, nanos)]
        return intervals.make(*parts)
    if inverse:
        factor = pc.if_else(pc.equal(factor, 0.0), pa.scalar(None, pa.float64()), factor)
    change = pc.divide if inverse else pc.multiply
    # What is left of a month goes to days (30 of them), what is left of a day to the clock.
    m = change(months.cast(pa.float64()), factor)
    d = pc.add(change(days.cast(pa.float64()), factor), pc.multiply(pc.subtract(m, pc.trunc(m)), 30.0))
    d = pc.round(d, 9)
    n = pc.add(change(nanos.cast(pa.float64()), factor), pc.multiply(pc.subtract(d, pc.trunc(d)), float(_DAY * 1000)))
    micros = pc.round(pc.divide(n, 1000.0)).cast(_INT)
    return intervals.make(pc.trunc(m).cast(pa.int32()), pc.trunc(d).cast(pa.int32()), pc.multiply_checked(micros, 1000))


def as_micros(by: Any) -> Any:
    """Intervals as one number to compare by: 30 days a month, 24 hours a day."""
    constant = isinstance(by, pa.Scalar)
    months, days, nanos = intervals.split(one(by) if constant else by)
    all_days = pc.add(pc.multiply(months.cast(_INT), 30), days.cast(_INT))
    micros = pc.add(pc.multiply(all_days, _DAY), pc.divide(nanos, 1000))
    return micros[0] if constant else micros
