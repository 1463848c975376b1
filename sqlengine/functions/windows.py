"""Types of the ranking and navigation functions, which need OVER; aggregates over windows are ordinary aggregates."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sqlengine.expr.coercion import common_of
from sqlengine.expr.nodes import Expr
from sqlengine.expr.overloads import Types
from sqlengine.expr.registry import Infer, NoMatch, WindowFunction, window

_INT64, _DOUBLE = pa.int64(), pa.float64()


def _ranking(result: pa.DataType) -> Infer:
    def infer(args: Sequence[Expr]) -> Types:
        if args:
            raise NoMatch("it takes no arguments")
        return (), result

    return infer


def _ntile(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes the number of buckets")
    return (_INT64,), _INT64


def _shifted(args: Sequence[Expr]) -> Types:
    """lag(value, offset, default): value and default in one type."""
    if not 1 <= len(args) <= 3:
        raise NoMatch("it takes a value, an offset and a default")
    type_: pa.DataType | None = args[0].type
    if len(args) == 3:
        type_ = common_of([args[0], args[2]])
        if type_ is None:
            raise NoMatch("the value and the default have no common type")
    return (type_, _INT64, type_)[: len(args)], type_


def _value(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes one value")
    return (args[0].type,), args[0].type


def _nth_value(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a value and a position")
    return (args[0].type, _INT64), args[0].type


for _entry in (
    WindowFunction("row_number", _ranking(_INT64), "Number of the row in its partition, from 1."),
    WindowFunction("rank", _ranking(_INT64), "Rank with gaps: equal rows share the number of the first of them."),
    WindowFunction("dense_rank", _ranking(_INT64), "Rank without gaps."),
    WindowFunction("percent_rank", _ranking(_DOUBLE), "(rank - 1) / (rows of the partition - 1)."),
    WindowFunction("cume_dist", _ranking(_DOUBLE), "Share of the rows that come no later than this one."),
    WindowFunction("ntile", _ntile, "Number of the row's bucket when the partition is cut into this many."),
    WindowFunction("lag", _shifted, "Value of the row that many rows before, else the default."),
    WindowFunction("lead", _shifted, "Value of the row that many rows after, else the default."),
    WindowFunction("first_value", _value, "Value of the first row of the frame."),
    WindowFunction("last_value", _value, "Value of the last row of the frame."),
    WindowFunction("nth_value", _nth_value, "Value of the n-th row of the frame."),
):
    window(_entry)
