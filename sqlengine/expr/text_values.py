"""Reading values of every type from text: what CAST from VARCHAR takes.

Arrow's own parsers take the usual spellings of a whole column at once; a column with an unusual one is read row by row.
A text that does not fit raises ValueError (or pa.ArrowInvalid).
"""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.far_times import DAY, around_infinity, day_of_text, infinity_of, infinity_of_text
from sqlengine.kernels import decimals
from sqlengine.types import INTERVAL

Caster = Callable[[pa.Array, pa.DataType, str], pa.Array]
_WORDS = {
    "true": True,
    "t": True,
    "yes": True,
    "y": True,
    "1": True,
    "false": False,
    "f": False,
    "no": False,
    "n": False,
    "0": False,
}
_UNITS = {
    "microsecond": (0, 0, 1), "us": (0, 0, 1), "usec": (0, 0, 1), "millisecond": (0, 0, 10**3), "ms": (0, 0, 10**3),
    "msec": (0, 0, 10**3), "second": (0, 0, 10**6), "sec": (0, 0, 10**6), "s": (0, 0, 10**6),
    "minute": (0, 0, 60 * 10**6), "min": (0, 0, 60 * 10**6), "m": (0, 0, 60 * 10**6), "hour": (0, 0, 3600 * 10**6),
    "hr": (0, 0, 3600 * 10**6), "h": (0, 0, 3600 * 10**6), "day": (0, 1, 0), "d": (0, 1, 0), "week": (0, 7, 0),
    "w": (0, 7, 0), "month": (1, 0, 0), "mon": (1, 0, 0), "quarter": (3, 0, 0), "year": (12, 0, 0), "yr": (12, 0, 0),
    "y": (12, 0, 0), "decade": (120, 0, 0), "century": (1200, 0, 0), "centurie": (1200, 0, 0),
    "millennium": (12000, 0, 0), "millennia": (12000, 0, 0),
}  # fmt: skip
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,9}))?)?")
_ZONE = re.compile(r"\s*(?:Z|UTC|([+-])(\d{1,2}):?(\d{2})?(?::(\d{2}))?|([A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)*))\s*$")


def from_text(array: pa.Array, type_: pa.DataType, timezone: str, cast: Caster) -> pa.Array:
    """Each text as a value of the type."""
    t = pa.types
    if t.is_binary(type_):
        return _blobs(array)
    if t.is_boolean(type_):
        return _each(array, type_, _boolean)
    if t.is_integer(type_):
        return _first(array, type_, lambda s: _integer(s))
    if t.is_floating(type_):
        return _first(array, type_, _double)
    if t.is_decimal(type_):
        return _decimals(array, type_)
    if t.is_date(type_):
        return _dates(array)
    if t.is_time(type_):
        return _each(array, pa.int64(), _time).cast(pa.time64("us")).cast(type_)
    if t.is_timestamp(type_):
        return _stamps(array, type_, timezone)
    if type_ == INTERVAL:
        return _each(array, type_, parse_interval)
    if t.is_nested(type_):
        from sqlengine.expr.nested_text import parse_nested

        return pa.array(
            [None if s is None else parse_nested(s, type_, timezone, cast) for s in array.to_pylist()], type_
        )
    return pc.utf8_trim_whitespace(array).cast(type_)


def _first(array: pa.Array, type_: pa.DataType, slow: Callable[[str], Any]) -> pa.Array:
    """Arrow's parser for the whole column, else `slow` for each text."""
    try:
        return pc.utf8_trim_whitespace(array).cast(type_)
    except pa.ArrowInvalid:
        return _each(array, type_, slow)


def _each(array: pa.Array, type_: pa.DataType, parse: Callable[[str], Any]) -> pa.Array:
    known: dict[str | None, Any] = {None: None}
    texts = array.to_pylist()
    for text in texts:
        if text not in known:
            known[text] = parse(text)
    return pa.array([known[text] for text in texts], type_)


def _boolean(text: str) -> bool:
    value = _WORDS.get(text.strip().lower())
    if value is None:
        raise ValueError(text)
    return value


def _integer(text: str) -> int:
    text = text.strip()
    match = re.fullmatch(r"([+-]?)0([xXbBoO])([0-9a-fA-F_]+)", text)
    if match:
        return int(match[1] + match[3], {"x": 16, "b": 2, "o": 8}[match[2].lower()])
    return int(_number(text).quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP, _CONTEXT))


_CONTEXT = decimal.Context(prec=80)


def _number(text: str) -> decimal.Decimal:
    text = text.strip()
    if (
        not re.fullmatch(r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?", text)
        or "__" in text
        or text.endswith("_")
    ):
        raise ValueError(text)
    value = decimal.Decimal(text.replace("_", ""))
    if value.adjusted() > 60:
        raise OverflowError(text)
    return value


def _double(text: str) -> float:
    word = text.strip()
    if word.lower().lstrip("+-") in ("inf", "infinity", "nan"):
        return float(word)
    number = float(_number(word)) if "_" in word else float(word)
    if number in (float("inf"), float("-inf")) or not re.fullmatch(r"[+-]?(\d.*|\.\d.*)", word):
        raise ValueError(text)
    return number


def _decimals(array: pa.Array, type_: pa.DataType) -> pa.Array:
    # Arrow reads exact digits at their own scale; DuckDB rounds to the scale of the type.
    try:
        return decimals.rescale(pc.utf8_trim_whitespace(array).cast(pa.decimal128(38, min(type_.scale + 6, 18))), type_)
    except (pa.ArrowInvalid, decimals.OutOfRange):
        step = decimal.Decimal(1).scaleb(-type_.scale)
        return _each(array, type_, lambda s: _number(s).quantize(step, decimal.ROUND_HALF_UP, _CONTEXT))


def _days(text: str) -> int:
    """Days since 1970."""
    sign = infinity_of_text(text)
    if sign:
        return sign * infinity_of(pa.date32())
    if text.strip().lower() == "epoch":
        return 0
    days, rest = day_of_text(text)
    rest = rest.strip()
    if days is None or (rest and not _CLOCK.match(rest.lstrip("T"))):
        raise ValueError(text)
    return days


def _dates(array: pa.Array) -> pa.Array:
    try:
        return pc.utf8_trim_whitespace(array).cast(pa.date32())
    except pa.ArrowInvalid:
        return _each(array, pa.int32(), _days).cast(pa.date32())


def _time(text: str) -> int:
    """Microseconds since midnight."""
    match = _CLOCK.match(text.strip())
    if match and match.end() == len(text.strip()):
        return _clock(match, 24)
    return _stamp(text, None) % DAY


def _clock(match: re.Match[str], most: int = 23) -> int:
    hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or 0)
    micros = int((match[4] or "0")[:6].ljust(6, "0"))
    if hours > most or minutes > 59 or seconds > 59 or (hours == 24 and (minutes or seconds or micros)):
        raise ValueError(match[0])
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros


def _stamps(array: pa.Array, type_: pa.DataType, timezone: str) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(array)
    naive = pa.timestamp(type_.unit)
    if not type_.tz:
        try:
            return trimmed.cast(naive)
        except pa.ArrowInvalid:
            micros = _each(array, pa.int64(), lambda s: _stamp(s, None)).cast(pa.timestamp("us"))
            if type_.unit == "us":
                return micros
            return around_infinity(micros, naive, lambda finite: finite.cast(naive, safe=type_.unit == "ns"))
    zone = ZoneInfo(timezone)
    return _each(array, pa.int64(), lambda s: _stamp(s, zone)).cast(pa.timestamp("us", "UTC"))


def _stamp(text: str, zone: ZoneInfo | None) -> int:
    """Microseconds since 1970 of a date with an optional clock and zone; in UTC when `zone`, the default, is given."""
    sign = infinity_of_text(text)
    if sign:
        return sign * infinity_of(pa.timestamp("us"))
    if text.strip().lower() == "epoch":
        return 0
    days, rest = day_of_text(text)
    if days is None:
        raise ValueError(text)
    micros = days * DAY
    found = _CLOCK.match(rest.lstrip(" T"))
    if found:
        micros, rest = micros + _clock(found, 24), rest.lstrip(" T")[found.end() :]
    offset: datetime.tzinfo | None = None
    if rest.strip():
        where = _ZONE.fullmatch(rest)
        if not where:
            raise ValueError(text)
        if where[1]:
            span = datetime.timedelta(hours=int(where[2]), minutes=int(where[3] or 0), seconds=int(where[4] or 0))
            offset = datetime.timezone(span if where[1] == "+" else -span)
        else:
            try:
                offset = ZoneInfo(where[5]) if where[5] else datetime.UTC
            except (ZoneInfoNotFoundError, OSError):
                raise ValueError(text) from None
    offset = offset or zone
    if offset is not None:
        try:
            local = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
            away = local.replace(tzinfo=offset).utcoffset() or datetime.timedelta()
        except OverflowError:  # years that Python does not know have the offset of the first one
            away = datetime.datetime(2, 1, 1, tzinfo=offset).utcoffset() or datetime.timedelta()
        micros -= away // datetime.timedelta(microseconds=1)
    if abs(micros) >= 2**63 - 1:
        raise OverflowError(text)
    return micros


def _blobs(array: pa.Array) -> pa.Array:
    if pc.all(pc.string_is_ascii(array)).as_py() is not False and not pc.any(pc.match_substring(array, "\\")).as_py():
        return array.cast(pa.binary())
    return _each(array, pa.binary(), _blob)


def _blob(text: str) -> bytes:
    if not text.isascii() or re.search(r"\\(?!x[0-9a-fA-F]{2})", text):
        raise ValueError(text)
    return re.sub(r"\\x(..)", lambda m: chr(int(m[1], 16)), text).encode("latin-1")


def parse_interval(text: str) -> pa.MonthDayNano:
    """`1 year 2 months 3 days 04:05:06.7`, `90 minutes`, `-1.5 month ago`."""
    months, days, micros = 0, 0, decimal.Decimal(0)
    rest, seen = text.strip().removeprefix("@").strip(), False
    back = rest.lower().endswith(" ago")
    rest = rest[:-4] if back else rest
    while rest:
        clock = re.match(r"([+-]?)(\d+):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?\s*", rest)
        item = None if clock else re.match(r"([+-]?\d*\.?\d+)\s*([A-Za-z]+)\s*,?\s*", rest)
        if clock:
            total = (int(clock[2]) * 3600 + int(clock[3]) * 60 + int(clock[4] or 0)) * 10**6 + int(
                (clock[5] or "0").ljust(6, "0")
            )
            micros += -total if clock[1] == "-" else total
            rest = rest[clock.end() :]
        elif item:
            unit = item[2].lower()
            size = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
            if size is None:
                raise ValueError(text)
            amount = decimal.Decimal(item[1])
            whole = int(amount)
            months, days, micros = months + whole * size[0], days + whole * size[1], micros + whole * size[2]
            # A fraction of a month counts in days of which it has 30, one of a day in hours.
            part = (amount - whole) * size[0]
            months, part = months + int(part), (part - int(part)) * 30 + (amount - whole) * size[1]
            days, micros = days + int(part), micros + (part - int(part)) * 86_400_000_000 + (amount - whole) * size[2]
            rest = rest[item.end() :]
        else:
            raise ValueError(text)
        seen = True
    if not seen:
        raise ValueError(text)
    sign = -1 if back else 1
    return pa.MonthDayNano([sign * months, sign * days, sign * int(micros) * 1000])
