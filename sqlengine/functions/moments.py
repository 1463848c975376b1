"""Registering functions of dates and timestamps: infinities have no parts, and stay infinite as moments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.evaluate import one, repeat
from sqlengine.expr.far_times import infinite, infinity_of, is_endless, numbers_of
from sqlengine.expr.nodes import Call
from sqlengine.expr.registry import Infer, Run, scalar
from sqlengine.expr.text_forms import to_text
from sqlengine.settings import Settings

_WITHOUT = frozenset({"last_day", "dayname", "monthname"})  # NULL of an infinity, though a moment or text comes out


def of_moments(
    name: str, infer: Infer, doc: str, *, category: str, aliases: tuple[str, ...] = (), main: int = 0
) -> Callable[[Run], Run]:
    """`scalar` for a function that knows finite dates and timestamps only."""

    def register(run: Run) -> Run:
        scalar(name, infer, doc, category=category, aliases=aliases, main=main)(finite_only(run))
        return run

    return register


def finite_only(run: Run) -> Run:
    """`run` with NULL in the place of infinite arguments, whose rows give NULL, the infinity, or its text."""

    @functools.wraps(run)
    def guarded(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        ends = None  # the infinity that is the result, or NULL
        masked = list(args)
        for at, arg in enumerate(args):
            if not isinstance(arg, pa.Array | pa.Scalar) or not is_endless(arg.type):
                continue
            array = one(arg) if isinstance(arg, pa.Scalar) else arg
            mask = infinite(array)
            if mask is None:
                continue
            numbers = numbers_of(array)
            finite = pc.if_else(mask, pa.scalar(None, numbers.type), numbers).view(array.type)
            masked[at] = finite[0] if isinstance(arg, pa.Scalar) else finite
            found = _ends(call.name, array, mask, call.type)
            found = repeat(found[0], found.type, rows) if isinstance(arg, pa.Scalar) else found
            ends = found if ends is None else pc.coalesce(ends, found)
        if ends is None:
            return run(call, args, rows, settings)
        for other in args:  # NULL beside an infinity gives NULL
            if isinstance(other, pa.Scalar) and not other.is_valid:
                return pa.scalar(None, call.type)
            if isinstance(other, pa.Array) and other.null_count:
                places = pc.if_else(other.is_valid(), pa.arange(0, rows), pa.scalar(None, pa.int64()))
                ends = ends.take(places)
        if any(isinstance(a, pa.Scalar) and not a.is_valid for a in masked):
            return ends
        result = run(call, masked, rows, settings)
        if isinstance(result, pa.Scalar):
            result = repeat(result, call.type, rows)
        if pa.types.is_nested(call.type) or pa.types.is_interval(call.type):
            return result
        return pc.coalesce(result, ends)

    return guarded


def _ends(name: str, array: pa.Array, mask: pa.Array, type_: pa.DataType) -> pa.Array:
    if name in _WITHOUT:
        return pa.nulls(len(array), type_)
    if is_endless(type_):
        raw = pa.int32() if pa.types.is_date(type_) else pa.int64()
        end = infinity_of(type_)
        numbers = pc.if_else(pc.greater(numbers_of(array), 0), pa.scalar(end, raw), pa.scalar(-end, raw))
        return pc.if_else(mask, numbers, pa.scalar(None, raw)).view(type_)
    if pa.types.is_string(type_):
        return pc.if_else(mask, to_text(array), pa.scalar(None, pa.string()))
    return pa.nulls(len(array), type_)
