"""Names and types of the aggregate functions; their states live with the operators that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sqlengine.expr.coercion import is_number
from sqlengine.expr.nodes import Expr
from sqlengine.expr.registry import AggregateFunction, NoMatch, aggregate
from sqlengine.types import HUGEINT

Types = tuple[Sequence[pa.DataType], pa.DataType]


def _sum(args: Sequence[Expr]) -> Types:
    t = pa.types
    type_ = _one(args)
    if t.is_boolean(type_):
        return (pa.int32(),), HUGEINT
    if t.is_integer(type_) or t.is_null(type_):
        return (type_ if not t.is_null(type_) else pa.int32(),), HUGEINT
    if t.is_decimal(type_):
        return (type_,), pa.decimal128(38, type_.scale)
    if t.is_floating(type_):
        return (pa.float64(),), pa.float64()
    raise NoMatch("it takes numbers")


def _one(args: Sequence[Expr]) -> pa.DataType:
    if len(args) != 1:
        raise NoMatch("it takes one argument")
    return args[0].type


def _avg(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    if pa.types.is_floating(type_):
        return (pa.float64(),), pa.float64()
    if not is_number(type_):
        raise NoMatch("it takes numbers")
    return (type_,), pa.float64()


def _double(args: Sequence[Expr]) -> Types:
    if not is_number(_one(args)):
        raise NoMatch("it takes numbers")
    return (pa.float64(),), pa.float64()


def _same(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    return (type_,), type_


def _boolean(args: Sequence[Expr]) -> Types:
    _one(args)
    return (pa.bool_(),), pa.bool_()


def _whole(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    if not pa.types.is_integer(type_):
        raise NoMatch("it takes whole numbers")
    return (type_,), type_


def _count(args: Sequence[Expr]) -> Types:
    if len(args) > 1:
        raise NoMatch("it takes at most one argument")
    return [arg.type for arg in args], pa.int64()


for _entry in (
    AggregateFunction("count", _count, "state", "Number of rows, or of values that are not NULL."),
    AggregateFunction(
        "count_if", lambda args: ((pa.bool_(),), pa.int64()), "state", "Number of rows where it is true."
    ),
    AggregateFunction("sum", _sum, "state", "Sum; of whole numbers a HUGEINT."),
    AggregateFunction("avg", _avg, "state", "Mean, as DOUBLE.", ("mean",)),
    AggregateFunction("min", _same, "state", "Smallest value."),
    AggregateFunction("max", _same, "state", "Greatest value."),
    AggregateFunction("any_value", _same, "state", "Some value that is not NULL: the first one seen."),
    AggregateFunction("bool_and", _boolean, "state", "Whether all values are true."),
    AggregateFunction("bool_or", _boolean, "state", "Whether any value is true."),
    AggregateFunction("bit_and", _whole, "state", "Bitwise and."),
    AggregateFunction("bit_or", _whole, "state", "Bitwise or."),
    AggregateFunction("bit_xor", _whole, "state", "Bitwise exclusive or."),
    AggregateFunction("product", _double, "state", "Product, as DOUBLE."),
    AggregateFunction("stddev_samp", _double, "state", "Standard deviation of a sample.", ("stddev",)),
    AggregateFunction("stddev_pop", _double, "state", "Standard deviation of a population."),
    AggregateFunction("var_samp", _double, "state", "Variance of a sample.", ("variance",)),
    AggregateFunction("var_pop", _double, "state", "Variance of a population."),
    AggregateFunction("sem", _double, "state", "Standard error of the mean."),
):
    aggregate(_entry)
