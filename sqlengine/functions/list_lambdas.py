"""Functions that run a lambda, or an aggregate, over the elements of each list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.cast import cast_array
from sqlengine.expr.nodes import AggregateCall, Call, ColumnRef, Expr, Lambda, Literal
from sqlengine.expr.overloads import INT, TEXT, Types, constant
from sqlengine.expr.registry import NoMatch, bind_aggregate, group_aggregate, scalar
from sqlengine.functions.lists import (
    I32,
    counts_per_row,
    element_type,
    list_column,
    parents_of,
    put_together,
    starts_of,
    taken_apart,
)
from sqlengine.functions.moves import column
from sqlengine.kernels.lists import spans
from sqlengine.settings import Settings


def _transform_types(args: Sequence[Expr]) -> Types:
    _check_lambda(args)
    return [a.type for a in args], pa.list_(I32 if pa.types.is_null(args[1].type) else args[1].type)


def _places_in_lists(counts: pa.Array) -> pa.Array:
    ones = pa.repeat(pa.scalar(1, INT), len(counts))
    return spans(ones, counts, ones)


@scalar("list_transform", _transform_types, "The lambda's value for each element.", category="list",
        aliases=("list_apply", "array_transform", "array_apply", "apply"))  # fmt: skip
def _list_transform(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    made = args[1].apply([values, _places_in_lists(counts)], parents_of(counts))
    return put_together(counts, made, lists.is_valid(), call.type)


def _check_lambda(args: Sequence[Expr]) -> None:
    if len(args) != 2 or not isinstance(args[1], Lambda):
        raise NoMatch("it takes a list and a lambda: x -> x + 1")


def _filter_types(args: Sequence[Expr]) -> Types:
    _check_lambda(args)
    return [a.type for a in args], pa.list_(element_type(args[0]))


@scalar("list_filter", _filter_types,
        "The elements for which the lambda is true.", category="list",
        aliases=("array_filter", "filter"))  # fmt: skip
def _list_filter(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    parents = parents_of(counts)
    keep = pc.fill_null(args[1].apply([values, _places_in_lists(counts)], parents), False)
    return put_together(counts_per_row(parents.filter(keep), rows), values.filter(keep), lists.is_valid(), call.type)


@scalar("list_reduce", lambda args: ([a.type for a in args], args[1].type),
        "The lambda of the value so far and the next element.", category="list",
        aliases=("array_reduce", "reduce"))  # fmt: skip
def _list_reduce(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    starts = starts_of(counts)
    function = args[1]
    state_type = call.type
    if len(args) > 2:
        state, at = column(args[2], rows), 0
    else:
        if pc.any(pc.and_(lists.is_valid(), pc.equal(counts, 0))).as_py():
            raise DataError(
                "cannot reduce an empty list without a first value", code="invalid_argument", hint="give one"
            )
        state, at = values.take(pc.if_else(pc.greater(counts, 0), starts, pa.scalar(None, INT))), 1
        state = cast_array(state, state_type, False)
    most = pc.max(counts).as_py() or 0
    while at < most:
        active = pc.greater(counts, at)
        places = pc.indices_nonzero(active).cast(INT)
        element = values.take(pc.add(starts.take(places), at))
        number = pa.repeat(pa.scalar(at + 1, INT), len(places))
        made = function.apply([state.take(places), element, number], places)
        back = pc.if_else(active, pc.add(pc.cumulative_sum(active.cast(INT)), rows - 1), pa.array(range(rows), INT))
        state = pa.concat_arrays([state, made]).take(back)
        at += 1
    return state.take(pc.if_else(lists.is_valid(), pa.array(range(rows), INT), pa.scalar(None, INT)))


# aggregates of the elements

_PLAIN_AGGREGATES = (
    "sum", "avg", "min", "max", "count", "product", "median", "mode", "first", "last", "any_value", "stddev_samp",
    "stddev_pop", "var_samp", "var_pop", "sem", "skewness", "kurtosis", "kurtosis_pop", "mad", "bool_and", "bool_or",
    "bit_and", "bit_or", "bit_xor", "entropy", "histogram", "approx_count_distinct", "string_agg",
)  # fmt: skip


def _aggregate_call(name: str, element: pa.DataType, more: Sequence[Expr]) -> AggregateCall:
    return bind_aggregate(name, [ColumnRef(element, "element"), *more])


def _aggregate_types(args: Sequence[Expr]) -> Types:
    if len(args) < 2 or not isinstance(args[1], Literal) or not isinstance(args[1].value, str):
        raise NoMatch("it takes a list and the name of an aggregate")
    call = _aggregate_call(args[1].value, element_type(args[0]), args[2:])
    return [pa.list_(element_type(args[0])), TEXT, *(a.type for a in call.args[1:])], call.type


def aggregated(name: str, value: Any, more: Sequence[Any], rows: int) -> pa.Array:
    """An aggregate of the elements of each list; NULL for a NULL list."""
    lists = list_column(value, rows)
    counts, values = taken_apart(lists)
    constants = [Literal(m.type, constant(m)) for m in more]
    call = _aggregate_call(name, values.type, constants)
    if call.args[0].type != values.type:
        values = cast_array(values, call.args[0].type, False)
    extra = [pa.array([lit.value] * len(values), arg.type) for lit, arg in zip(constants, call.args[1:], strict=True)]
    result = group_aggregate(call, [values, *extra], parents_of(counts).cast(I32), rows)
    return result.take(pc.if_else(lists.is_valid(), pa.array(range(rows), INT), pa.scalar(None, INT)))


@scalar("list_aggregate", _aggregate_types, "An aggregate, by name, of the elements.", category="list",
        aliases=("list_aggr", "aggregate", "array_aggregate", "array_aggr"))  # fmt: skip
def _list_aggregate(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return aggregated(str(constant(args[1])), args[0], args[2:], rows)


def _named_aggregate(name: str) -> None:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes one list")
        element = element_type(args[0])
        return (pa.list_(element),), _aggregate_call(name, element, ()).type

    @scalar(f"list_{name}", infer, f"{name} of the elements.", category="list", aliases=(f"array_{name}",))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return aggregated(name, args[0], (), rows)


for _name in _PLAIN_AGGREGATES:
    _named_aggregate(_name)
