"""Times as text and back by a format (`strftime`, `strptime`), time zones, and the clock.

Formats are C's with DuckDB's additions: %f microseconds, %g milliseconds, %n nanoseconds. They run once per distinct
value.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr, Literal
from sqlengine.expr.overloads import TEXT, Types, by_row, constant, is_list
from sqlengine.expr.registry import NoMatch
from sqlengine.functions.dates import DATE, STAMP, TIME, local, moment_type, part_of
from sqlengine.functions.moments import of_moments
from sqlengine.functions.moves import column
from sqlengine.settings import Settings

_ZONED = pa.timestamp("us", "UTC")


def _format_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a date or timestamp and a format")
    if pa.types.is_string(args[0].type) and not pa.types.is_string(args[1].type):
        return (TEXT, moment_type(args[1])), TEXT
    return (moment_type(args[0]), TEXT), TEXT


def formatted(value: datetime.date | datetime.datetime, form: str) -> str:
    micros = value.microsecond if isinstance(value, datetime.datetime) else 0

    def own(match: re.Match[str]) -> str:
        match match[1]:
            case "f":
                return f"{micros:06d}"
            case "g":
                return f"{micros // 1000:03d}"
            case "n":
                return f"{micros * 1000:09d}"
            case "Y":
                return str(value.year)
            case "c":
                return value.strftime("%Y-%m-%d %H:%M:%S")
            case "x":
                return value.strftime("%Y-%m-%d")
            case "X":
                return value.strftime("%H:%M:%S")
            case "z":
                shown = value.strftime("%z") or "+00"
                return shown[:3] + (":" + shown[3:5] if shown[3:5] not in ("", "00") else "")
            case _:
                return match[0]

    return value.strftime(re.sub(r"%(%|-?[A-Za-z])", own, form))


@of_moments("strftime", _format_types, "A date or timestamp as text by a format.", category="date")
def _strftime(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value, form = args if args[1].type == TEXT and not pa.types.is_string(args[0].type) else (args[1], args[0])
    if pa.types.is_timestamp(value.type) and value.type.tz:
        value = pc.cast(value, pa.timestamp("us", settings.timezone))
    elif pa.types.is_timestamp(value.type):
        value = local(value, settings)
    return by_row(formatted, [value, form], rows, TEXT)


def _formats(arg: Expr) -> list[str] | None:
    """The constant formats of an argument."""
    if isinstance(arg, Literal) and isinstance(arg.value, str):
        return [arg.value]
    if isinstance(arg, Literal) and isinstance(arg.value, list):
        return [str(v) for v in arg.value]
    if isinstance(arg, Call) and arg.name == "list_value":
        return [str(a.value) for a in arg.args if isinstance(a, Literal)]
    return None


def _parse_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a text and a format, or a list of formats")
    formats = _formats(args[1]) or []
    with_zone = any(re.search(r"%[zZ]", f) for f in formats)
    return (TEXT, args[1].type if is_list(args[1].type) else TEXT), _ZONED if with_zone else STAMP


def parsed(text: str, form: str, zone: bool) -> datetime.datetime:
    """A text read by a format; ValueError when it does not fit. In UTC when the result has a zone."""
    nanos = re.sub(r"%n", "%f", form)
    milli = re.sub(r"%g", "%f", nanos)
    plain = re.sub(r"%-([A-Za-z])", r"%\1", milli)
    plain = plain.replace("%x", "%Y-%m-%d").replace("%X", "%H:%M:%S").replace("%c", "%Y-%m-%d %H:%M:%S")
    if "%n" in form:
        text = re.sub(r"(\d{6})\d{3}(?!\d)", r"\1", text)
    if "%Z" in plain:
        found = re.search(r"[A-Za-z]+(?:/[A-Za-z_]+)*\s*$", text)
        if not found:
            raise ValueError(text)
        try:
            where = ZoneInfo(found[0].strip())
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(text) from None
        value = datetime.datetime.strptime(text[: found.start()], plain.replace("%Z", ""))
        return value.replace(tzinfo=where).astimezone(datetime.UTC)
    if "%z" in plain:
        text = re.sub(r"([+-]\d{2})$", r"\g<1>00", text)
    value = datetime.datetime.strptime(text, plain)
    if zone:
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    return value


def _parser(name: str, strict: bool) -> None:
    doc = "A timestamp read from text by a format" + ("." if strict else "; NULL when it does not fit.")

    @of_moments(name, _parse_types, doc, category="date")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        zone = bool(call.type.tz)

        def one_text(text: str, forms: str | list[str]) -> datetime.datetime | None:
            tried = [forms] if isinstance(forms, str) else forms
            for form in tried:
                try:
                    return parsed(text, form, zone)
                except ValueError:
                    continue
            if not strict:
                return None
            raise DataError(
                f"cannot read {text[:60]!r} by the format {', '.join(map(repr, tried))}", code="invalid_format",
                hint="try_strptime gives NULL instead of an error", location=call.location,
            )  # fmt: skip

        forms = constant(args[1])
        if isinstance(forms, str) and not zone and re.fullmatch(r"(%[YmdHMS]|[-/: T.])+", forms):
            found = _fast(args[0], forms)
            if found is not None:
                return found
        return by_row(one_text, args, rows, call.type)


def _fast(texts: Any, form: str) -> Any:
    """Arrow's reader, for plain formats that all texts fit; None when one does not."""
    try:
        read = pc.strptime(texts, format=form, unit="s", error_is_null=False)
    except pa.ArrowInvalid:
        return None
    return pc.cast(read, STAMP)


_parser("strptime", True)
_parser("try_strptime", False)


# time zones


def _zone_types(args: Sequence[Expr]) -> Types:
    t = pa.types
    if len(args) == 1:
        return (_ZONED,), pa.int64()
    if len(args) != 2:
        raise NoMatch("it takes the name of a time zone and a timestamp")
    type_ = args[1].type
    if t.is_timestamp(type_) and type_.tz:
        return (TEXT, type_), STAMP
    return (TEXT, moment_type(args[1])), _ZONED


def _zone(name: str, call: Call) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise DataError(f"unknown time zone {name!r}", code="unknown_time_zone",
                        hint="such as 'Europe/Berlin' or 'UTC'", location=call.location) from None  # fmt: skip
    return name


@of_moments("timezone", _zone_types,
        "AT TIME ZONE: a clock time of a zone as TIMESTAMPTZ, or a TIMESTAMPTZ as clock time.",
        category="date", main=1)  # fmt: skip
def _timezone(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if len(args) == 1:
        return part_of("timezone", args[0], settings)
    names, value = args[0], column(args[1], rows)

    def placed(name: str, stamps: pa.Array) -> pa.Array:
        if call.type == STAMP:
            return pc.local_timestamp(pc.cast(stamps, pa.timestamp("us", _zone(name, call))))
        naive = pc.cast(stamps, STAMP)
        fixed = pc.assume_timezone(naive, _zone(name, call), ambiguous="earliest", nonexistent="latest")
        return pc.cast(fixed, _ZONED)

    if isinstance(names, pa.Scalar):
        return placed(names.as_py(), value)
    result = pa.nulls(rows, call.type)
    for name in pc.unique(names.drop_null()).to_pylist():
        mask = pc.fill_null(pc.equal(names, name), False)
        result = pc.replace_with_mask(result, mask, placed(name, value.filter(mask)))
    return result


# the clock: the binder gives the time at which the statement began as the option `at` (microseconds since 1970)


def _clock_types(gives: pa.DataType) -> Any:
    def infer(args: Sequence[Expr], options: dict[str, Any] | None = None) -> Types:
        if args:
            raise NoMatch("it takes no arguments")
        return [], gives

    return infer


def _clock(name: str, gives: pa.DataType, doc: str, aliases: tuple[str, ...]) -> None:
    @of_moments(name, _clock_types(gives), doc, category="date", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        now = dict(call.options).get("at")
        if now is None:
            now = int(datetime.datetime.now(datetime.UTC).timestamp() * 1e6)
        stamp = pa.scalar(now, pa.int64()).cast(_ZONED)
        if gives == _ZONED:
            return stamp
        clock = local(pa.array([stamp.as_py()], _ZONED), settings)
        if gives == DATE:
            return pc.floor_temporal(clock, unit="day").cast(DATE)[0]
        if gives == TIME:
            return pc.subtract(clock, pc.floor_temporal(clock, unit="day")).cast(pa.int64()).cast(TIME)[0]
        return clock[0]


_clock(
    "now", _ZONED, "When the statement began.", ("current_timestamp", "get_current_timestamp", "transaction_timestamp")
)
_clock("current_date", DATE, "Today, in the session's time zone.", ("today",))
_clock(
    "current_localtime",
    TIME,
    "The time of day, in the session's time zone.",
    ("current_time", "get_current_time", "localtime"),
)
_clock("current_localtimestamp", STAMP, "Now as a clock shows it in the session's time zone.", ("localtimestamp",))
