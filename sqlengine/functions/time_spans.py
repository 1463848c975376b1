"""Distances between times, buckets of time, and dates, times and intervals made from numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import is_number
from sqlengine.expr.far_times import infinite
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import DOUBLE, INT, TEXT, Types, constant, takes
from sqlengine.expr.registry import NoMatch
from sqlengine.functions.dates import DATE, DAY, STAMP, TIME, local, moment_type, unit_name, unit_of, zoned
from sqlengine.functions.moments import of_moments
from sqlengine.functions.moves import as_micros, column, moved
from sqlengine.kernels import intervals
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL

_ZONED = pa.timestamp("us", "UTC")
_SPANS = {
    "microsecond": 1, "millisecond": 1000, "second": 10**6, "minute": 60 * 10**6, "hour": 3600 * 10**6, "day": DAY,
    "week": 7 * DAY,
}  # fmt: skip
_MONTHS = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200, "millennium": 12000, "isoyear": 12}
_ALIKE = {"doy": "day", "dow": "day", "isodow": "day", "yearweek": "week"}


def _floor(number: Any, by: int) -> Any:
    quotient = pc.divide(number, by)
    down = pc.and_(pc.less(number, 0), pc.not_equal(pc.multiply(quotient, by), number))
    return pc.subtract(quotient, pc.cast(down, pa.int8()))


def _months(stamps: Any) -> Any:
    """Months since year 0."""
    return pc.add(pc.multiply(pc.cast(pc.year(stamps), INT), 12), pc.subtract(pc.cast(pc.month(stamps), INT), 1))


def _between_types(args: Sequence[Expr]) -> Types:
    if len(args) != 3:
        raise NoMatch("it takes the name of a unit and two dates or timestamps")
    unit = unit_of(args)
    if unit is not None:
        _known_unit(unit, NoMatch)
    types = [moment_type(a, "time") for a in args[1:]]
    if any(pa.types.is_time(t) for t in types):
        return (TEXT, TIME, TIME), INT
    zone = any(pa.types.is_timestamp(t) and t.tz for t in types)
    type_ = _ZONED if zone else STAMP
    return (TEXT, type_, type_), INT


def _known_unit(unit: str, error: Callable[[str], Exception]) -> str:
    unit = _ALIKE.get(unit, unit)
    if unit not in _SPANS and unit not in _MONTHS:
        raise error(f"{unit!r} is not a unit of time; units: {', '.join((*_SPANS, *_MONTHS))}")
    return unit


def _distance(name: str, aliases: tuple[str, ...], between: Callable[[str, Any, Any], Any], doc: str) -> None:
    @of_moments(name, _between_types, doc, category="date", aliases=aliases, main=1)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        first, last = (column(local(a, settings), rows) for a in args[1:])
        unit = constant(args[0])
        if unit is not None:
            return between(_known_unit(unit_name(unit), _bad_unit), first, last)
        result = pa.nulls(rows, INT)
        for text in pc.unique(args[0].drop_null()).to_pylist():
            mask = pc.and_(pc.fill_null(pc.equal(args[0], text), False), pc.and_(first.is_valid(), last.is_valid()))
            if not pc.any(mask).as_py():
                continue
            part = between(_known_unit(unit_name(text), _bad_unit), first.filter(mask), last.filter(mask))
            result = pc.replace_with_mask(result, mask, part)
        return result


def _bad_unit(message: str) -> DataError:
    return DataError(message, code="invalid_date_part")


def _boundaries(unit: str, first: Any, last: Any) -> Any:
    """How many beginnings of a unit lie between two times."""
    if unit in _SPANS:
        size = _SPANS[unit]
        a, b = pc.cast(first, INT), pc.cast(last, INT)
        if unit == "week":  # DuckDB counts seven days, wherever they begin
            return pc.divide(pc.subtract(_floor(b, DAY), _floor(a, DAY)), 7)
        return pc.subtract(_floor(b, size), _floor(a, size))
    if unit == "isoyear":
        return pc.subtract(pc.iso_year(last), pc.iso_year(first))
    if unit in ("decade", "century", "millennium"):
        years = _MONTHS[unit] // 12
        return pc.subtract(_floor(pc.cast(pc.year(last), INT), years), _floor(pc.cast(pc.year(first), INT), years))
    size = _MONTHS[unit]
    return pc.subtract(_floor(_months(last), size), _floor(_months(first), size))


def _within_month(stamps: Any) -> tuple[Any, Any]:
    """Microseconds since the month began, and how long the month is."""
    ticks = pc.cast(stamps, INT)
    start = pc.cast(pc.floor_temporal(stamps, unit="month"), INT)
    return pc.subtract(ticks, start), pc.subtract(intervals.add_months(start, 1, DAY), start)


def _ordered(first: Any, last: Any) -> tuple[Any, Any, Any]:
    """The earlier and the later of two times, and -1 where they were in the other order."""
    swapped = pc.greater(first, last)
    return pc.if_else(swapped, last, first), pc.if_else(swapped, first, last), pc.if_else(swapped, -1, 1)


def _whole_units(unit: str, first: Any, last: Any) -> Any:
    """How many whole units lie between two times."""
    if unit in _SPANS:
        return pc.divide(pc.subtract(pc.cast(last, INT), pc.cast(first, INT)), _SPANS[unit])
    early, late, sign = _ordered(first, last)
    a, _ = _within_month(early)
    b, length = _within_month(late)
    # On the last day of a shorter month the month is over even where the day of the earlier time does not exist.
    at_end = pc.greater_equal(b, pc.subtract(length, DAY))
    last_day = pc.subtract(length, DAY)
    clock = pc.subtract(a, pc.multiply(_floor(a, DAY), DAY))
    a = pc.if_else(pc.and_(at_end, pc.greater_equal(a, length)), pc.add(last_day, clock), a)
    short = pc.cast(pc.less(b, a), pa.int8())
    months = pc.subtract(pc.subtract(_months(late), _months(early)), short)
    return pc.multiply(pc.divide(months, _MONTHS[unit]), sign)


_distance("date_diff", ("datediff",), _boundaries, "How many unit boundaries lie between two times.")
_distance("date_sub", ("datesub",), _whole_units, "How many whole units lie between two times.")


def _age_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes two timestamps (age(x) counts from today)")
    types = [moment_type(a) for a in args]
    type_ = _ZONED if any(pa.types.is_timestamp(t) and t.tz for t in types) else STAMP
    return (type_, type_), INTERVAL


@of_moments("age", _age_types, "The interval between two times in months, days and clock time.", category="date")
def _age(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    late, early = (column(local(a, settings), rows) for a in args)
    early, late, sign = _ordered(early, late)
    a, length = _within_month(early)
    b, _ = _within_month(late)
    rest = pc.subtract(b, a)
    borrowed = pc.less(rest, 0)
    months = pc.subtract(pc.subtract(_months(late), _months(early)), pc.cast(borrowed, pa.int8()))
    rest = pc.if_else(borrowed, pc.add(rest, length), rest)
    days = pc.divide(rest, DAY)
    clock = pc.subtract(rest, pc.multiply(days, DAY))
    parts = [pc.multiply(x, sign) for x in (months, days, pc.multiply(clock, 1000))]
    return intervals.make(parts[0].cast(pa.int32()), parts[1].cast(pa.int32()), parts[2])


def _add_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2 or not (args[1].type == INTERVAL or pa.types.is_null(args[1].type)):
        raise NoMatch("it takes a date or timestamp and an interval")
    type_ = moment_type(args[0])
    type_ = type_ if pa.types.is_timestamp(type_) and type_.tz else STAMP
    return (type_, INTERVAL), type_


@of_moments("date_add", _add_types, "A time moved by an interval.", category="date")
def _date_add(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return moved(args[0], column(args[1], rows), 1, rows, settings)


# buckets


def _bucket_types(args: Sequence[Expr]) -> Types:
    if len(args) not in (2, 3):
        raise NoMatch("it takes a width, a time, and an offset or origin")
    type_ = moment_type(args[1])
    types = [INTERVAL, type_]
    if len(args) == 3:
        types.append(INTERVAL if args[2].type == INTERVAL else type_)
    return types, type_


def _by_width(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    """Buckets of a width that varies by row: once for each width."""
    widths = column(args[0], rows).to_pylist()
    pieces, places = [], []
    for width in set(widths):
        rows_of = pa.array([at for at, other in enumerate(widths) if other == width], INT)
        some = [pa.scalar(width, INTERVAL), *(column(a, rows).take(rows_of) for a in args[1:])]
        known = width is not None
        pieces.append(_time_bucket(call, some, len(rows_of), settings) if known else pa.nulls(len(rows_of), call.type))
        places.append(rows_of)
    if not pieces:
        return pa.nulls(0, call.type)
    return pa.concat_arrays(pieces).take(pc.sort_indices(pa.concat_arrays(places)))


@of_moments(
    "time_bucket", _bucket_types, "The start of the bucket of a width that a time lies in.", category="date", main=1
)
def _time_bucket(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    width = constant(args[0])
    if width is None:
        return _by_width(call, args, rows, settings)
    value = column(pc.cast(local(args[1], settings), STAMP), rows)
    months, days, nanos = width
    size = days * DAY + nanos // 1000
    if (months and size) or (months or size) <= 0:
        raise DataError("the width of time_bucket is months, or days and clock time, and greater than 0",
                        code="invalid_argument", location=call.location)  # fmt: skip
    shift = origin = None
    if len(args) == 3 and args[2].type == INTERVAL:
        shift = column(args[2], rows)
        value = moved(value, shift, -1, rows, settings)
    elif len(args) == 3:
        origin = column(pc.cast(local(args[2], settings), STAMP), rows)
    if months:
        # Months count from January 2000.
        base = _months(origin) if origin is not None else 24000
        index = pc.add(pc.multiply(_floor(pc.subtract(_months(value), base), months), months), base)
        zero = pc.multiply(pc.cast(value, INT), 0)
        start = intervals.add_months(zero, pc.subtract(index, 23640).cast(pa.int32()), DAY)
    else:
        # Days count from Monday, 2000-01-03.
        base = pc.cast(origin, INT) if origin is not None else 946_857_600_000_000
        start = pc.add(pc.multiply(_floor(pc.subtract(pc.cast(value, INT), base), size), size), base)
    result = pc.cast(start, STAMP)
    if shift is not None:
        result = moved(result, shift, 1, rows, settings)
    if pa.types.is_timestamp(call.type) and call.type.tz:
        return zoned(result, settings)
    return pc.floor_temporal(result, unit="day").cast(DATE) if call.type == DATE else result.cast(call.type)


# made from numbers


def _unit_maker(name: str, months: int, days: int, micros: int) -> None:
    fraction = micros > 0

    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1 or not (is_number(args[0].type) or pa.types.is_null(args[0].type)):
            raise NoMatch("it takes a number")
        whole = not fraction or pa.types.is_integer(args[0].type)
        return (INT if whole else DOUBLE,), INTERVAL

    @of_moments(name, infer, "An interval of so many units.", category="date")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        number = column(args[0], rows)
        try:
            if number.type == DOUBLE:
                return intervals.make(
                    *_none(rows, number), pc.multiply(pc.cast(pc.round(pc.multiply(number, float(micros))), INT), 1000)
                )
            parts = [pc.multiply_checked(number, size) for size in (months, days, micros * 1000)]
            return intervals.make(parts[0].cast(pa.int32()), parts[1].cast(pa.int32()), parts[2])
        except pa.ArrowInvalid:
            raise DataError(f"{name} is out of the range of an interval", code="out_of_range") from None


def _none(rows: int, like: pa.Array) -> tuple[pa.Array, pa.Array]:
    zeros = pc.if_else(like.is_valid(), pa.scalar(0, pa.int32()), pa.scalar(None, pa.int32()))
    return zeros, zeros


for _name, _size in {
    "to_millennia": (12000, 0, 0), "to_centuries": (1200, 0, 0), "to_decades": (120, 0, 0), "to_years": (12, 0, 0),
    "to_quarters": (3, 0, 0), "to_months": (1, 0, 0), "to_weeks": (0, 7, 0), "to_days": (0, 1, 0),
    "to_hours": (0, 0, 3600 * 10**6), "to_minutes": (0, 0, 60 * 10**6), "to_seconds": (0, 0, 10**6),
    "to_milliseconds": (0, 0, 1000), "to_microseconds": (0, 0, 1),
}.items():  # fmt: skip
    _unit_maker(_name, *_size)


def _days_of(year: pa.Array, month: pa.Array, day: pa.Array) -> pa.Array:
    """Days since 1970; an error for a day that does not exist."""
    zero = pc.multiply(day, 0)
    index = pc.add(pc.multiply(pc.subtract(year, 1970), 12), pc.subtract(month, 1)).cast(pa.int32())
    start = intervals.add_months(zero, index, 1)
    length = pc.subtract(intervals.add_months(zero, pc.add(index, 1), 1), start)
    fine = pc.and_(pc.and_(pc.greater_equal(month, 1), pc.less_equal(month, 12)),
                   pc.and_(pc.greater_equal(day, 1), pc.less_equal(day, length)))  # fmt: skip
    if pc.all(fine).as_py() is False:
        at = pc.index(pc.fill_null(fine, True), False).as_py()
        raise DataError(f"there is no date {year[at]}-{month[at]}-{day[at]}", code="out_of_range")
    return pc.add(start, pc.subtract(day, 1))


def _same_nulls(args: list[Any], rows: int) -> list[pa.Array]:
    """Columns that are NULL together."""
    columns = [column(a, rows) for a in args]
    known = columns[0].is_valid()
    for c in columns[1:]:
        known = pc.and_(known, c.is_valid())
    return [pc.if_else(known, c, pa.scalar(None, c.type)) for c in columns]


def _date_types(args: Sequence[Expr]) -> Types:
    if len(args) == 1 and pa.types.is_integer(args[0].type):
        return (INT,), DATE
    if len(args) == 1 and pa.types.is_struct(args[0].type):
        if sorted(f.name.lower() for f in args[0].type) != ["day", "month", "year"]:
            raise NoMatch("the struct has the fields year, month and day")
        return (pa.struct([pa.field(f.name.lower(), INT) for f in args[0].type]),), DATE
    return takes(INT, INT, INT, gives=DATE)(args)


@of_moments("make_date", _date_types, "A date of year, month and day (or of days since 1970).", category="date")
def _make_date(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if pa.types.is_struct(args[0].type):
        parts = column(args[0], rows)
        args = [pc.struct_field(parts, name) for name in ("year", "month", "day")]
    columns = _same_nulls(args, rows)
    days = columns[0] if len(columns) == 1 else _days_of(*columns)
    return days.cast(pa.int32()).cast(DATE)


def _micros_of(hour: pa.Array, minute: pa.Array, second: pa.Array) -> pa.Array:
    fine = pc.and_(pc.and_(pc.greater_equal(hour, 0), pc.less(hour, 24)),
                   pc.and_(pc.and_(pc.greater_equal(minute, 0), pc.less(minute, 60)),
                           pc.and_(pc.greater_equal(second, 0.0), pc.less(second, 60.0))))  # fmt: skip
    if pc.all(fine).as_py() is False:
        at = pc.index(pc.fill_null(fine, True), False).as_py()
        raise DataError(f"there is no time {hour[at]}:{minute[at]}:{second[at]}", code="out_of_range")
    whole = pc.add(pc.multiply(hour, 3600 * 10**6), pc.multiply(minute, 60 * 10**6))
    return pc.add(whole, pc.cast(pc.round(pc.multiply(second, 1e6)), INT))


@of_moments("make_time", takes(INT, INT, DOUBLE, gives=TIME), "A time of hour, minute and second.", category="date")
def _make_time(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _micros_of(*_same_nulls(args, rows)).cast(TIME)


def _stamp_types(gives: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) == 1:
            return takes(INT, gives=gives)(args)
        if len(args) == 7 and gives.tz:
            return takes(INT, INT, INT, INT, INT, DOUBLE, TEXT, gives=gives)(args)
        return takes(INT, INT, INT, INT, INT, DOUBLE, gives=gives)(args)

    return infer


def _stamp_maker(name: str, gives: pa.DataType) -> None:
    @of_moments(name, _stamp_types(gives), "A timestamp of its parts (or of microseconds since 1970).", category="date")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        columns = _same_nulls(args, rows)
        if len(columns) == 1:
            made = columns[0].cast(gives)
            if infinite(made) is not None:
                raise DataError("a timestamp is out of range", code="out_of_range", location=call.location)
            return made
        if len(columns) == 7:
            clock = pc.add(pc.multiply(_days_of(*columns[:3]), DAY), _micros_of(*columns[3:6])).cast(STAMP)
            result = pa.nulls(rows, gives)
            for zone in pc.unique(columns[6].drop_null()).to_pylist():
                mask = pc.fill_null(pc.equal(columns[6], zone), False)
                part = zoned(clock.filter(mask), replace(settings, timezone=zone))
                result = pc.replace_with_mask(result, mask, part)
            return result
        micros = pc.add(pc.multiply(_days_of(*columns[:3]), DAY), _micros_of(*columns[3:]))
        return zoned(micros.cast(STAMP), settings) if gives.tz else micros.cast(STAMP)


_stamp_maker("make_timestamp", STAMP)
_stamp_maker("make_timestamptz", _ZONED)


for _unit in ("ms", "ns"):

    def _of_number(call: Call, args: list[Any], rows: int, settings: Settings, unit: str = _unit) -> Any:
        made = pc.cast(args[0], pa.timestamp(unit))
        if unit == "ns":
            return made
        try:
            return pc.cast(made, STAMP)
        except pa.ArrowInvalid:
            raise DataError("a timestamp is out of range", code="out_of_range", location=call.location) from None

    _type = pa.timestamp("ns") if _unit == "ns" else STAMP
    of_moments(f"make_timestamp_{_unit}", takes(INT, gives=_type), f"A timestamp of a number of {_unit} since 1970.",
               category="date")(_of_number)  # fmt: skip


@of_moments("normalized_interval", takes(INTERVAL, gives=INTERVAL),
            "The interval with 24 hours as a day and 30 days as a month.", category="date")  # fmt: skip
def _normalized_interval(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    months, days, nanos = intervals.split(column(args[0], rows))
    whole = _floor(nanos, DAY * 1000)
    nanos = pc.subtract(nanos, pc.multiply(whole, DAY * 1000))
    days = pc.add(pc.cast(days, INT), whole)
    more = _floor(days, 30)
    days = pc.subtract(days, pc.multiply(more, 30))
    months = pc.add(pc.cast(months, INT), more)
    return intervals.make(months.cast(pa.int32()), days.cast(pa.int32()), nanos)


@of_moments("to_timestamp", takes(DOUBLE, gives=_ZONED), "A TIMESTAMPTZ of seconds since 1970.", category="date")
def _to_timestamp(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.cast(pc.cast(pc.round(pc.multiply(args[0], 1e6)), INT), _ZONED)


def _epoch_in(name: str, divisor: int, factor: int) -> None:
    """epoch_ms and its kin: of a time a number; of a number (of milliseconds) a timestamp."""

    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes a timestamp")
        if name == "epoch_ms" and pa.types.is_integer(args[0].type):
            return (INT,), STAMP
        if args[0].type == INTERVAL:
            return (INTERVAL,), INT
        return (moment_type(args[0], "time"),), INT

    @of_moments(name, infer, f"{name.removeprefix('epoch_')} since 1970.", category="date")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        value = args[0]
        if value.type == INT:
            return pc.cast(pc.multiply_checked(value, 1000), STAMP)
        if value.type == INTERVAL:
            micros = as_micros(value)
        elif pa.types.is_timestamp(value.type) and value.type.unit == "ns" and factor > 1:
            return pc.cast(value, INT)
        else:
            if pa.types.is_date(value.type):
                value = pc.cast(value, STAMP)
            elif pa.types.is_timestamp(value.type):
                value = local(value, settings) if not value.type.tz else pc.cast(value, pa.timestamp("us", "UTC"))
            micros = pc.cast(value, INT)
        if factor > 1:
            try:
                return pc.multiply_checked(micros, factor)
            except pa.ArrowInvalid:
                raise DataError("a time is out of the range of nanoseconds", code="out_of_range",
                                location=call.location) from None  # fmt: skip
        return _floor(pc.add(micros, divisor // 2), divisor) if divisor > 1 else micros


_epoch_in("epoch_ms", 1000, 1)
_epoch_in("epoch_us", 1, 1)
_epoch_in("epoch_ns", 1, 1000)
