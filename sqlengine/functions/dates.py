"""Dates and times: parts, truncation, construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr, Literal
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings

_PARTS: dict[str, Callable[[Any], Any]] = {
    "year": pc.year, "month": pc.month, "day": pc.day, "hour": pc.hour, "minute": pc.minute, "second": pc.second,
    "quarter": pc.quarter, "week": pc.iso_week, "isoyear": pc.iso_year, "doy": pc.day_of_year, "dayofyear": pc.day_of_year,
    "dow": lambda x: pc.day_of_week(x, week_start=7), "dayofweek": lambda x: pc.day_of_week(x, week_start=7),
    "isodow": lambda x: pc.day_of_week(x, count_from_zero=False),
}  # fmt: skip


def _one_date(args: Sequence[Expr]) -> tuple[Sequence[pa.DataType], pa.DataType]:
    if len(args) != 1:
        raise NoMatch("it takes a date or timestamp")
    return (_date_type(args[0]),), pa.int64()


def _date_type(arg: Expr) -> pa.DataType:
    t = pa.types
    if t.is_date(arg.type) or t.is_timestamp(arg.type):
        return arg.type
    if isinstance(arg, Literal) and t.is_string(arg.type):
        return pa.timestamp("us")
    raise NoMatch("it takes a date or timestamp")


def _part(name: str, function: Callable[[Any], Any]) -> None:
    @scalar(name, _one_date, f"The {name} of a date or timestamp.", category="date")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return pc.cast(function(_stamp(args[0], name)), pa.int64())


def _stamp(value: Any, name: str) -> Any:
    # Arrow has no clock parts of dates.
    return (
        pc.cast(value, pa.timestamp("us"))
        if name in ("hour", "minute", "second") and pa.types.is_date(value.type)
        else value
    )


for _name, _function in _PARTS.items():
    _part(_name, _function)


def _named_part(args: Sequence[Expr]) -> tuple[Sequence[pa.DataType], pa.DataType]:
    if len(args) != 2:
        raise NoMatch("it takes the name of a part and a date or timestamp")
    return (pa.string(), _date_type(args[1])), pa.int64()


@scalar(
    "date_part", _named_part, "A part of a date or timestamp by name.", category="date", aliases=("datepart",), main=1
)
def _date_part(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    name = str(args[0].as_py()).lower()
    if name not in _PARTS:
        raise DataError(f"there is no date part {name!r}", code="invalid_date_part", hint=f"one of {', '.join(_PARTS)}")
    return pc.cast(_PARTS[name](_stamp(args[1], name)), pa.int64())


def _trunc_types(args: Sequence[Expr]) -> tuple[Sequence[pa.DataType], pa.DataType]:
    types, _ = _named_part(args)
    return types, pa.timestamp("us") if not pa.types.is_date(types[1]) else pa.date32()


@scalar(
    "date_trunc",
    _trunc_types,
    "The start of the year, month, ... a time lies in.",
    category="date",
    aliases=("datetrunc",),
    main=1,
)
def _date_trunc(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    unit = str(args[0].as_py()).lower()
    if unit not in ("year", "quarter", "month", "week", "day", "hour", "minute", "second"):
        raise DataError(f"cannot truncate to {unit!r}", code="invalid_date_part")
    value = args[1]
    if pa.types.is_date(value.type):
        return pc.cast(pc.floor_temporal(pc.cast(value, pa.timestamp("us")), unit=unit), pa.date32())
    return pc.floor_temporal(value, unit=unit)
