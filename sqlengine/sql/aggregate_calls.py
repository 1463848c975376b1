"""Binding of one aggregate call with its modifiers: DISTINCT, ORDER BY inside, WITHIN GROUP, FILTER."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from sqlengine.errors import BindError, Location, NotSupportedError
from sqlengine.expr.nodes import AggregateCall, Expr, SortKey
from sqlengine.expr.registry import bind_aggregate, find_aggregate
from sqlengine.sql.calls import CallParts
from sqlengine.sql.sort_keys import sort_key
from sqlengine.sql.user_calls import call_options, is_option, typed_arguments

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder
    from sqlengine.sql.select_level import SelectLevel

# WITHIN GROUP (ORDER BY x) is the function of x.
_ORDERED_SETS = {"percentile_cont": "quantile_cont", "percentile_disc": "quantile_disc", "mode": "mode"}
# The order of the rows cannot change these.
_ORDERLESS = frozenset(
    {
        "count",
        "count_star",
        "count_if",
        "sum",
        "avg",
        "min",
        "max",
        "bool_and",
        "bool_or",
        "bit_and",
        "bit_or",
        "bit_xor",
    }
)


def bind_aggregate_call(level: SelectLevel, parts: CallParts, name: str) -> AggregateCall:
    """The typed call; its arguments are bound over FROM."""
    location = level.binder.text.of(parts.call)
    inside = level.expressions("the argument of an aggregate")
    if parts.ignore_nulls:
        raise NotSupportedError("IGNORE NULLS of an aggregate without OVER is not supported", location=location)
    condition = None
    if parts.filter is not None:
        condition = level.expressions("the FILTER of an aggregate").boolean(parts.filter)
    function = None if find_aggregate(name) else level.binder.context.find_function(name)
    options: tuple[tuple[str, Any], ...] = ()
    if function is not None:
        options = call_options(inside, parts.args, function, location)
        parts = replace(parts, args=tuple(a for a in parts.args if not is_option(a)))
    args, order, name = arguments(inside, parts, name, location)
    if function is not None:
        function = replace(function, options=function.options.with_values(dict(options)))
        cast = typed_arguments(args, function, location)
        extra = (("function", function),)
        return AggregateCall(function.returns, function.name, cast, parts.distinct, condition, order, extra)
    call = bind_aggregate(
        name, args, distinct=parts.distinct, filter=condition, order_by=order, location=location
    )  # fmt: skip
    if call.name == "approx_count_distinct":
        # Counting exactly holds no more than it spills, and is the best of approximations.
        return AggregateCall(call.type, "count", call.args, True, call.filter)
    if call.name in _ORDERLESS and call.order_by:
        return AggregateCall(call.type, call.name, call.args, call.distinct, call.filter, (), call.options)
    return call


def arguments(
    inside: ExpressionBinder, parts: CallParts, name: str, location: Location | None
) -> tuple[list[Expr], tuple[SortKey, ...], str]:
    """The bound arguments and order of an aggregate, and the name of the function that takes them."""
    if parts.starred and name.lower() not in ("count", "count_star"):
        raise BindError(f"{name.lower()}(*) has no meaning", code="misplaced_star", location=location)
    order = parts.order
    args = [inside.bind(arg) for arg in parts.args]
    if parts.within:
        wanted = _ORDERED_SETS.get(name.lower())
        if wanted is None:
            raise BindError(
                f"{name.lower()} does not take WITHIN GROUP", code="within_group",
                hint="it is for percentile_cont, percentile_disc and mode", location=location,
            )  # fmt: skip
        if len(parts.within) != 1 or order:
            raise BindError("WITHIN GROUP takes one ORDER BY expression", code="within_group", location=location)
        name, order = wanted, parts.within
        key = order[0].this
        args = [inside.bind(key), *args]
    return args, tuple(_order_key(inside, item, args) for item in order), name


def _order_key(inside: ExpressionBinder, item: exp.Expression, args: list[Expr]) -> SortKey:
    if isinstance(item.this, exp.Var) and item.this.name.upper() == "ALL":
        return sort_key(inside, item, args[0])
    return sort_key(inside, item)
