"""Parts of dates, times and intervals, and where the units of time that they lie in begin.

A TIMESTAMPTZ has the parts that a clock in the session's time zone shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.evaluate import one
from sqlengine.expr.far_times import infinite
from sqlengine.expr.nodes import Call, Expr, Literal
from sqlengine.expr.overloads import BOOL, DOUBLE, INT, TEXT, Types, constant
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.moments import of_moments
from sqlengine.functions.moves import column
from sqlengine.kernels import intervals
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL

STAMP, DATE, TIME = pa.timestamp("us"), pa.date32(), pa.time64("us")
DAY = 86_400_000_000
_MICROS = {"hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000, "millisecond": 1_000, "microsecond": 1}
# Other spellings of the units, singular; a final s is cut first.
_SPELLINGS = {
    "y": "year", "yr": "year", "mon": "month", "d": "day", "h": "hour", "hr": "hour", "m": "minute", "min": "minute",
    "s": "second", "sec": "second", "ms": "millisecond", "msec": "millisecond", "us": "microsecond",
    "usec": "microsecond", "w": "week", "weekofyear": "week", "dayofweek": "dow", "weekday": "dow", "dayofyear": "doy",
    "decade": "decade", "dec": "decade", "century": "century", "centurie": "century", "cent": "century", "c": "century",
    "millennia": "millennium", "millenium": "millennium", "mil": "millennium", "quarter": "quarter",
}  # fmt: skip


def unit_name(name: str) -> str:
    """The canonical name of a unit of time or of a date part."""
    low = name.strip().lower()
    for word in (low, low.removesuffix("s")):
        if word in _SPELLINGS:
            return _SPELLINGS[word]
        if word in PARTS or word in ("epoch", "julian"):
            return word
    return low


def _days(value: Any) -> Any:
    """Days since 1970 of dates and timestamps."""
    return (
        pc.cast(pc.cast(value, pa.date32()), pa.int32()) if pa.types.is_date(value.type) else _floor(_ticks(value), DAY)
    )


def _ticks(value: Any) -> Any:
    """Microseconds since 1970, or since midnight."""
    return pc.cast(pc.cast(value, STAMP) if pa.types.is_date(value.type) else value, INT)


def _floor(number: Any, by: int) -> Any:
    """Whole division that rounds down."""
    quotient = pc.divide(number, by)
    down = pc.and_(pc.less(number, 0), pc.not_equal(pc.multiply(quotient, by), number))
    return pc.subtract(quotient, pc.cast(down, pa.int8()))


def _modulo(number: Any, by: int) -> Any:
    return pc.subtract(number, pc.multiply(_floor(number, by), by))


def _cut(number: Any, by: int) -> Any:
    return pc.divide(pc.cast(number, INT), by)


def _clock(value: Any, unit: int, within: int) -> Any:
    """How many units of a clock, within the next bigger one (both in microseconds)."""
    if pa.types.is_date(value.type):
        return pc.multiply(pc.cast(pc.cast(value, pa.int32()), INT), 0)
    return pc.divide(_modulo(_ticks(value), within), unit)


def _age_of(value: Any, years: int) -> Any:
    """The number of a century or millennium: 2000 is in the 20th; -1 is the last before Christ."""
    year = pc.cast(pc.year(value), INT)
    after = pc.add(pc.divide(pc.subtract(year, 1), years), 1)
    return pc.if_else(pc.greater(year, 0), after, pc.subtract(pc.divide(year, years), 1))


PARTS: dict[str, Callable[[Any], Any]] = {
    "year": pc.year, "month": pc.month, "day": pc.day, "quarter": pc.quarter, "week": pc.iso_week,
    "isoyear": pc.iso_year, "doy": pc.day_of_year, "dow": lambda x: pc.day_of_week(x, week_start=7),
    "isodow": lambda x: pc.day_of_week(x, count_from_zero=False),
    "yearweek": lambda x: pc.add(pc.multiply(pc.iso_year(x), 100), pc.iso_week(x)),
    "decade": lambda x: _cut(pc.year(x), 10),
    "century": lambda x: _age_of(x, 100), "millennium": lambda x: _age_of(x, 1000),
    "era": lambda x: pc.if_else(pc.greater(pc.year(x), 0), 1, 0),
    "hour": lambda x: _clock(x, 3_600_000_000, DAY), "minute": lambda x: _clock(x, 60_000_000, 3_600_000_000),
    "second": lambda x: _clock(x, 1_000_000, 60_000_000), "millisecond": lambda x: _clock(x, 1_000, 60_000_000),
    "microsecond": lambda x: _clock(x, 1, 60_000_000),
    "nanosecond": lambda x: pc.multiply(_clock(x, 1, 60_000_000), 1000),
    "timezone": lambda x: pc.multiply(_days(x), 0), "timezone_hour": lambda x: pc.multiply(_days(x), 0),
    "timezone_minute": lambda x: pc.multiply(_days(x), 0),
}  # fmt: skip
_CLOCK_PARTS = frozenset({"hour", "minute", "second", "millisecond", "microsecond", "nanosecond", "epoch",
                          "timezone", "timezone_hour", "timezone_minute"})  # fmt: skip


def local(value: Any, settings: Settings) -> Any:
    """A TIMESTAMPTZ as the clock time of the session's zone; everything else as it is."""
    if pa.types.is_timestamp(value.type) and value.type.tz:
        return pc.local_timestamp(pc.cast(value, pa.timestamp("us", settings.timezone)))
    if pa.types.is_timestamp(value.type) and value.type.unit != "us":
        return pc.cast(pc.floor_temporal(value, unit="microsecond") if value.type.unit == "ns" else value, STAMP)
    return value


def _offset(value: Any, settings: Settings) -> Any:
    """The offset of the session's zone from UTC, in microseconds, for TIMESTAMPTZ values."""
    return pc.subtract(_ticks(local(value, settings)), pc.cast(pc.cast(value, pa.timestamp("us", "UTC")), INT))


def _epoch(value: Any) -> Any:
    if pa.types.is_date(value.type):
        return pc.multiply(pc.cast(pc.cast(value, pa.int32()), DOUBLE), 86400.0)
    return pc.divide(pc.cast(_ticks(value), DOUBLE, safe=False), 1e6)


def _julian(value: Any) -> Any:
    days = pc.divide(pc.cast(_ticks(value), DOUBLE, safe=False), float(DAY))
    # A day begins at midnight here: 2440588 is the number of 1970-01-01.
    return pc.add(days, 2440588.0)


def _of_interval(name: str, value: Any) -> Any:
    months, days, nanos = intervals.split(one(value) if isinstance(value, pa.Scalar) else value)
    months, micros = pc.cast(months, INT), pc.divide(nanos, 1000)
    years = pc.divide(months, 12)
    rest = pc.subtract(months, pc.multiply(years, 12))
    match name:
        case "year" | "decade" | "century" | "millennium":
            result = pc.divide(years, {"year": 1, "decade": 10, "century": 100, "millennium": 1000}[name])
        case "month":
            result = rest
        case "quarter":
            result = pc.add(pc.divide(rest, 3), 1)
        case "day":
            result = pc.cast(days, INT)
        case "hour":
            result = pc.divide(micros, 3_600_000_000)
        case "minute" | "second" | "millisecond" | "microsecond":
            within = 3_600_000_000 if name == "minute" else 60_000_000
            left = pc.subtract(micros, pc.multiply(pc.divide(micros, within), within))
            result = pc.divide(left, _MICROS[name])
        case "nanosecond":
            result = pc.subtract(nanos, pc.multiply(pc.divide(nanos, 60_000_000_000), 60_000_000_000))
        case "epoch":
            # A year has 365.25 days, what is left of months 30 days each.
            seconds = pc.add(pc.multiply(years, 31557600), pc.multiply(rest, 2592000))
            seconds = pc.add(seconds, pc.multiply(pc.cast(days, INT), 86400))
            result = pc.add(pc.cast(seconds, DOUBLE), pc.divide(pc.cast(micros, DOUBLE), 1e6))
        case _:
            raise DataError(f"an interval has no {name}", code="invalid_date_part")
    return result[0] if isinstance(value, pa.Scalar) else result


def part_of(name: str, value: Any, settings: Settings) -> Any:
    """A part, by its canonical name, of a date, timestamp, time or interval."""
    if value.type == INTERVAL:
        return _of_interval(name, value)
    zoned = pa.types.is_timestamp(value.type) and value.type.tz
    if zoned and name in ("timezone", "timezone_hour", "timezone_minute"):
        seconds = pc.divide(_offset(value, settings), 1_000_000)
        if name == "timezone":
            return seconds
        hours = pc.divide(seconds, 3600)
        return hours if name == "timezone_hour" else pc.divide(pc.subtract(seconds, pc.multiply(hours, 3600)), 60)
    if name == "epoch":
        return _epoch(pc.cast(value, pa.timestamp("us", "UTC")) if zoned else local(value, settings))
    value = local(value, settings)
    if name == "julian":
        return _julian(value)
    if pa.types.is_time(value.type) and name not in _CLOCK_PARTS:
        raise DataError(f"a time has no {name}", code="invalid_date_part")
    return pc.cast(PARTS[name](value), INT)


def moment_type(arg: Expr, *more: str) -> pa.DataType:
    """The type of an argument that is a date or timestamp (`time` or `interval` where `more` says so)."""
    t, type_ = pa.types, arg.type
    if t.is_date(type_) or t.is_timestamp(type_) or (t.is_time(type_) and "time" in more):
        return type_
    if type_ == INTERVAL and "interval" in more:
        return type_
    if t.is_null(type_) or (isinstance(arg, Literal) and t.is_string(type_)):
        return STAMP
    raise NoMatch("it takes a date or a timestamp: cast the argument")


def _part_type(name: str) -> pa.DataType:
    return DOUBLE if name in ("epoch", "julian") else INT


def _part(name: str, aliases: tuple[str, ...] = ()) -> None:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes a date or timestamp")
        return (moment_type(args[0], "time", "interval"),), _part_type(name)

    @of_moments(name, infer, f"The {name} of a date, timestamp, time or interval.", category="date", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return part_of(name, args[0], settings)


_ALIASES = {"week": ("weekofyear",), "dow": ("dayofweek", "weekday"), "doy": ("dayofyear",), "day": ("dayofmonth",)}
for _name in (*PARTS, "epoch", "julian"):
    if _name != "timezone":
        _part(_name, _ALIASES.get(_name, ()))


def unit_of(args: Sequence[Expr]) -> str | None:
    """The unit that a constant first argument names; None when it is not constant."""
    first = args[0] if args else None
    return unit_name(first.value) if isinstance(first, Literal) and isinstance(first.value, str) else None


def no_part(name: str) -> str:
    return f"there is no date part {name!r}; parts: {', '.join((*PARTS, 'epoch', 'julian'))}"


def _list_names(arg: Expr) -> list[str] | None:
    if isinstance(arg, Call) and arg.name == "list_value":
        return [str(a.value) for a in arg.args if isinstance(a, Literal)]
    return None


def _named_part(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes the name of a part and a date or timestamp")
    moment = moment_type(args[1], "time", "interval")
    names = _list_names(args[0])
    if names is not None:
        for name in names:
            if unit_name(name) not in (*PARTS, "epoch", "julian"):
                raise NoMatch(no_part(name))
        fields = [pa.field(name, _part_type(unit_name(name))) for name in names]
        return (args[0].type, moment), pa.struct(fields)
    unit = unit_of(args)
    if unit is not None and unit not in (*PARTS, "epoch", "julian"):
        raise NoMatch(no_part(unit))
    return (TEXT, moment), DOUBLE if unit is None else _part_type(unit)


@of_moments("date_part", _named_part, "A part of a date, timestamp, time or interval by name (or a struct of several).",
        category="date", aliases=("datepart",), main=1)  # fmt: skip
def _date_part(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if pa.types.is_struct(call.type):
        value = column(args[1], rows)
        columns = [column(part_of(unit_name(f.name), value, settings), rows) for f in call.type]
        return pa.StructArray.from_arrays(columns, fields=list(call.type), mask=value.is_null())
    name = constant(args[0])
    if name is not None:
        return part_of(unit_name(name), args[1], settings)
    return _by_unit(
        args[0], column(args[1], rows), lambda unit, value: pc.cast(part_of(unit, value, settings), DOUBLE), DOUBLE
    )


def _by_unit(
    units: pa.Array, value: pa.Array, function: Callable[[str, pa.Array], pa.Array], type_: pa.DataType
) -> pa.Array:
    """A function of a unit and a value where the unit varies by row: once for each unit."""
    result = pa.nulls(len(value), type_)
    for unit in pc.unique(units.drop_null()).to_pylist():
        mask = pc.and_(pc.fill_null(pc.equal(units, unit), False), value.is_valid())
        if not pc.any(mask).as_py():
            continue
        if unit_name(unit) not in (*PARTS, "epoch", "julian"):
            raise DataError(no_part(unit), code="invalid_date_part")
        result = pc.replace_with_mask(result, mask, function(unit_name(unit), value.filter(mask)))
    return result


# beginnings


def _trunc_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes the name of a unit and a date or timestamp")
    unit = unit_of(args)
    if unit is not None and unit not in _TRUNCATIONS:
        raise NoMatch(f"cannot truncate to {unit!r}; units: {', '.join(_TRUNCATIONS)}")
    type_ = moment_type(args[1], "interval")
    if type_ == INTERVAL:
        return (TEXT, type_), type_
    return (TEXT, type_), type_ if pa.types.is_timestamp(type_) and type_.tz else STAMP


_TRUNCATIONS = (
    "millennium", "century", "decade", "year", "isoyear", "quarter", "month", "week", "day", "hour", "minute", "second",
    "millisecond", "microsecond",
)  # fmt: skip
_MONTHS_IN = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200, "millennium": 12000}


def truncated(unit: str, value: Any) -> Any:
    """Where the unit begins that each (zone-less) timestamp lies in."""
    if unit in _MICROS:
        return (
            value
            if unit == "microsecond"
            else pc.cast(pc.multiply(_floor(_ticks(value), _MICROS[unit]), _MICROS[unit]), STAMP)
        )
    if unit in ("year", "quarter", "month", "week", "day"):
        return pc.floor_temporal(value, unit=unit)
    if unit == "isoyear":
        # The ISO year begins with the Monday of the week of its fourth of January.
        fourth = pc.add(pc.multiply(_year_days(pc.iso_year(value)), DAY), 3 * DAY)
        return pc.floor_temporal(pc.cast(fourth, STAMP), unit="week")
    years = _MONTHS_IN[unit] // 12
    year = pc.year(value)
    first = pc.multiply(_floor(year, years), years)
    if unit in ("century", "millennium"):
        first = pc.multiply(_floor(year, years), years)
    return pc.cast(pc.multiply(_year_days(first), DAY), STAMP)


def _year_days(years: Any) -> Any:
    """Days since 1970 of the first of January."""
    array = one(years) if isinstance(years, pa.Scalar) else years
    months = pc.cast(pc.multiply(pc.subtract(array, 1970), 12), pa.int32())
    base = pc.multiply(pc.cast(months, INT), 0)
    days = intervals.add_months(base, months, 1)
    return days[0] if isinstance(years, pa.Scalar) else days


def _interval_truncated(unit: str, value: Any) -> Any:
    months, days, nanos = intervals.split(one(value) if isinstance(value, pa.Scalar) else value)
    none32, none = pc.multiply(days, 0), pc.multiply(nanos, 0)
    if unit in _MONTHS_IN:
        size = _MONTHS_IN[unit]
        result = intervals.make(pc.multiply(pc.divide(months, size), size), none32, none)
    elif unit in ("week", "day"):
        size = 7 if unit == "week" else 1
        result = intervals.make(months, pc.multiply(pc.divide(days, size), size), none)
    else:
        size = _MICROS[unit] * 1000
        result = intervals.make(months, days, pc.multiply(pc.divide(nanos, size), size))
    return result[0] if isinstance(value, pa.Scalar) else result


@of_moments("date_trunc", _trunc_types, "The start of the year, month, ... that a time lies in.", category="date",
        aliases=("datetrunc",), main=1)  # fmt: skip
def _date_trunc(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one_unit(unit: str, value: Any) -> Any:
        if unit not in _TRUNCATIONS:
            raise DataError(f"cannot truncate to {unit!r}", code="invalid_date_part", hint=", ".join(_TRUNCATIONS))
        if call.type == INTERVAL:
            return _interval_truncated(unit, value)
        start = truncated(unit, pc.cast(local(value, settings), STAMP))
        return zoned(start, settings) if call.type.tz else start

    name = constant(args[0])
    if name is not None:
        return one_unit(unit_name(name), args[1])
    return _by_unit(args[0], column(args[1], rows), one_unit, call.type)


def zoned(value: Any, settings: Settings) -> Any:
    """Clock times of the session's zone as TIMESTAMPTZ; a time that a change of clocks skips is the one after it."""
    placed = pc.assume_timezone(value, settings.timezone, ambiguous="earliest", nonexistent="latest")
    return pc.cast(placed, pa.timestamp("us", "UTC"))


def _one_moment(gives: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes a date or timestamp")
        return (moment_type(args[0]),), gives

    return infer


@of_moments("last_day", _one_moment(DATE), "The last day of the month.", category="date")
def _last_day(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    array = column(local(args[0], settings), rows)
    start = pc.cast(pc.cast(pc.floor_temporal(pc.cast(array, STAMP), unit="month"), DATE), pa.int32())
    following = intervals.add_months(pc.cast(start, INT), 1, 1)
    return pc.cast(pc.cast(pc.subtract(following, 1), pa.int32()), DATE)


_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip


@of_moments("dayname", _one_moment(TEXT), "The English name of the day.", category="date")
def _dayname(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pa.array(_DAYS, TEXT).take(column(part_of("dow", args[0], settings), rows))


@of_moments("monthname", _one_moment(TEXT), "The English name of the month.", category="date")
def _monthname(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pa.array(_MONTHS, TEXT).take(pc.subtract(column(part_of("month", args[0], settings), rows), 1))


def _finite_types(args: Sequence[Expr]) -> Types:
    if len(args) == 1 and (
        pa.types.is_floating(args[0].type) or pa.types.is_decimal(args[0].type) or pa.types.is_integer(args[0].type)
    ):
        return (DOUBLE,), BOOL
    return _one_moment(BOOL)(args)


@scalar("isfinite", _finite_types, "Whether a number, date or timestamp is finite.", category="math")
def _isfinite(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if args[0].type == DOUBLE:
        return pc.is_finite(args[0])
    ends = infinite(args[0])
    known = pc.equal(args[0], args[0])
    return known if ends is None else pc.and_(known, pc.invert(ends))


@scalar("isinf", _finite_types, "Whether a number, date or timestamp is infinite.", category="math")
def _isinf(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if args[0].type == DOUBLE:
        return pc.is_inf(args[0])
    ends = infinite(args[0])
    unknown = pc.not_equal(args[0], args[0])
    return unknown if ends is None else pc.or_(unknown, ends)
