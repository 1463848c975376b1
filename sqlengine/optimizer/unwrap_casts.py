"""Comparisons of a widened column with a constant are made in the column's own type: `CAST(day AS TIMESTAMP) <
'1995-01-01 00:00:00'` is `day < DATE '1995-01-01'`.

That is cheaper, and a source can compare its statistics with the constant. Only casts that keep order and never fail:
dates as timestamps, whole numbers as wider ones.
"""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Call, Cast, Expr, Literal
from sqlengine.plan.keys import map_plan_exprs
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings

_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
# A time within a day: earlier than it are the days up to it, later than it those after it.
_WITHIN_DAY = {"lt": "le", "le": "le", "gt": "gt", "ge": "gt"}


def unwrap_casts(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.expr.nodes import ColumnRef
    >>> from sqlengine.optimizer.examples import call
    >>> small = ColumnRef(pa.int16(), "n#1")
    >>> unwrapped(call("lt", Cast(pa.int64(), small), Literal(pa.int64(), 7))).args[0] == small
    True
    """
    return map_plan_exprs(plan, unwrapped)


def unwrapped(expr: Expr) -> Expr:
    if not isinstance(expr, Call):
        return expr
    match expr:
        case Call(name="in", args=(Cast() as cast, *values)) if all(isinstance(v, Literal) for v in values):
            narrow = [_narrowed(cast, v, "eq") for v in values if isinstance(v, Literal)]
            if any(n is None for n in narrow):
                return expr
            return Call(expr.type, "in", (cast.arg, *(n[1] for n in narrow if n is not None)), (), expr.location)
        case Call(args=(Cast() as cast, Literal() as value)) if expr.name in _MIRRORED:
            found = _narrowed(cast, value, expr.name)
        case Call(args=(Literal() as value, Cast() as cast)) if expr.name in _MIRRORED:
            found = _narrowed(cast, value, _MIRRORED[expr.name])
        case _:
            return expr
    if found is None:
        return expr
    name, constant = found
    return Call(expr.type, name, (cast.arg, constant), (), expr.location)


def _narrowed(cast: Cast, value: Literal, name: str) -> tuple[str, Literal] | None:
    """The comparison and its constant in the type below the cast, if there is one with the same meaning."""
    below = cast.arg.type
    if cast.safe or value.value is None or cast.type != value.type:
        return None
    if below == pa.date32() and pa.types.is_timestamp(cast.type) and cast.type.tz is None:
        return _as_date(value.value, name)
    if pa.types.is_integer(below) and pa.types.is_integer(cast.type):
        low, high = _range(below)
        wide_low, wide_high = _range(cast.type)
        if wide_low <= low and high <= wide_high and low <= value.value <= high:
            return name, Literal(below, value.value)
    return None


def _as_date(value: Any, name: str) -> tuple[str, Literal] | None:
    if not isinstance(value, datetime.datetime):
        return None
    day = Literal(pa.date32(), value.date())
    if value.time() == datetime.time():
        return name, day
    return (_WITHIN_DAY[name], day) if name in _WITHIN_DAY else None


def _range(type_: pa.DataType) -> tuple[int, int]:
    bits = type_.bit_width
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if pa.types.is_signed_integer(type_) else (0, (1 << bits) - 1)
