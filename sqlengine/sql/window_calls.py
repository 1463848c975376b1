"""Binding of one call with OVER: the function, its partition, order and frame, and windows that are named in WINDOW."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Location, NotSupportedError, ParseError
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import Expr, Frame, Literal, SortKey, WindowCall
from sqlengine.expr.registry import bind_call, bind_window
from sqlengine.runtime.udf.function import AGGREGATE
from sqlengine.sql.aggregate_calls import arguments
from sqlengine.sql.calls import call_name, take_apart
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.sort_keys import sort_key

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder
    from sqlengine.sql.select_level import SelectLevel

_INSIDE = frozenset({"aggregate", "grouping"})
_BOUNDS = ("unbounded_preceding", "preceding", "current", "following", "unbounded_following")


def bind_window_call(level: SelectLevel, node: exp.Window) -> WindowCall:
    """The typed call. Aggregates may stand inside: they are computed before windows are."""
    text = level.binder.text
    location = text.of(node)
    parts = take_apart(node.this, location)
    inside = level.expressions("the argument of a window function", _INSIDE)
    args, arg_order, name = arguments(inside, parts, call_name(parts.call), location)
    condition = None
    if parts.filter is not None:
        condition = level.expressions("the FILTER of a window function", _INSIDE).boolean(parts.filter)
    within = level.expressions("a window", _INSIDE)
    window = _resolved(node, level, location)
    partition = tuple(within.bind(e) for e in window.args.get("partition_by") or ())
    order_node = window.args.get("order")
    order = tuple(_order_key(within, o) for o in order_node.expressions) if order_node is not None else ()
    frame = _frame(window.args.get("spec"), within, order, location)
    if (user := level.binder.context.find_function(name)) is not None and user.kind == AGGREGATE:
        raise NotSupportedError(
            f"{name}() is a user aggregate, it cannot stand before OVER",
            hint=f"compute it by group and join: JOIN (SELECT k, {name}(...) FROM t GROUP BY k)", location=location,
        )  # fmt: skip
    call = bind_window(
        name, args, partition_by=partition, order_by=order, frame=frame, distinct=parts.distinct, filter=condition,
        ignore_nulls=parts.ignore_nulls, arg_order=arg_order, location=location,
    )  # fmt: skip
    if not call.aggregate:
        if parts.distinct:
            raise BindError(f"{name} does not take DISTINCT", code="window_distinct", location=location)
        if parts.filter is not None:
            raise BindError(f"{name} does not take FILTER", code="window_filter", location=location)
    elif parts.ignore_nulls:
        raise BindError(f"{name} does not take IGNORE NULLS", code="window_ignore_nulls", location=location)
    return call


def _order_key(within: ExpressionBinder, item: exp.Expression) -> SortKey:
    if isinstance(item.this, exp.Var):
        raise NotSupportedError(
            f"ORDER BY {item.this.name} in a window is not supported", location=within.text.of(item)
        )
    return sort_key(within, item)


def _resolved(node: exp.Window, level: SelectLevel, location: Location | None, depth: int = 0) -> exp.Expression:
    """The window with what it takes from the window that it names."""
    check_consumed(node, level.binder.text)
    base_name = node.args.get("alias")
    if base_name is None:
        return node
    base = level.named_windows.get(base_name.name.lower())
    if base is None or depth > len(level.named_windows):
        known = ", ".join(sorted(level.named_windows))
        raise BindError(
            f'window "{base_name.name}" does not exist', code="window_not_found",
            hint=f"windows here: {known}" if known else "define it: WINDOW name AS (...)", location=location,
        )  # fmt: skip
    above = _resolved(base, level, location, depth + 1)
    own = {key: node.args.get(key) for key in ("partition_by", "order", "spec")}
    if not any(own.values()):
        return above
    for key, what in (("partition_by", "PARTITION BY"), ("order", "ORDER BY")):
        if own[key] and (key == "partition_by" or above.args.get(key)):
            raise BindError(
                f'cannot override the {what} of window "{base_name.name}"', code="window_override", location=location
            )
    if above.args.get("spec"):
        raise BindError(
            f'window "{base_name.name}" has a frame, so it cannot be extended',
            code="window_override",
            location=location,
        )
    merged = {key: own[key] or above.args.get(key) for key in own}
    return exp.Window(**{k: _copied(v) for k, v in merged.items() if v})


def _copied(value: Any) -> Any:
    return [v.copy() for v in value] if isinstance(value, list) else value.copy()


def _frame(
    spec: exp.Expression | None, within: ExpressionBinder, order: tuple[SortKey, ...], location: Location | None
) -> Frame:
    if spec is None:
        return Frame()
    check_consumed(spec, within.text)
    unit = str(spec.args["kind"]).lower()
    exclude = spec.args.get("exclude")
    excluded = "_".join(exclude.name.lower().split()) if exclude is not None else "no_others"
    start = _bound(spec.args.get("start"), spec.args.get("start_side"), within, unit, order)
    end_node = spec.args.get("end")
    end = ("current",) if end_node is None else _bound(end_node, spec.args.get("end_side"), within, unit, order)
    first, last = _BOUNDS.index(start[0]), _BOUNDS.index(end[0])
    if start[0] == "unbounded_following" or end[0] == "unbounded_preceding" or first > last:
        raise BindError("the frame ends before it starts", code="bad_frame", location=location)
    if unit == "groups" and not order:
        raise BindError("a frame of GROUPS needs an ORDER BY", code="bad_frame", location=location)
    return Frame(unit, start, end, excluded)


def _bound(node: Any, side: Any, within: ExpressionBinder, unit: str, order: tuple[SortKey, ...]) -> tuple[Any, ...]:
    side = str(side or "").lower()
    if isinstance(node, str):
        words = node.upper()
        if words == "CURRENT ROW":
            return ("current",)
        if words == "UNBOUNDED" and side in ("preceding", "following"):
            return (f"unbounded_{side}",)
        raise ParseError(f"{node} {side} is not a frame bound")
    location = within.text.of(node)
    if side not in ("preceding", "following"):
        raise ParseError("a frame bound is so many rows PRECEDING or FOLLOWING", location=location)
    offset = within.bind(node)
    if isinstance(offset, Literal) and isinstance(offset.value, int | float) and offset.value < 0:
        raise BindError("a frame offset must not be negative", code="bad_frame", location=location)
    if unit != "range":
        if not (pa.types.is_integer(offset.type) or pa.types.is_null(offset.type)):
            raise BindError(f"the offset of {unit.upper()} must be a whole number", code="bad_frame", location=location)
        return (side, cast_to(offset, pa.int64()))
    if len(order) != 1:
        raise BindError(
            "RANGE with an offset needs exactly one ORDER BY expression", code="bad_frame",
            hint="use ROWS, or order by one expression", location=location,
        )  # fmt: skip
    back = (side == "preceding") != order[0].descending
    boundary: Expr = bind_call("subtract" if back else "add", [order[0].expr, offset], location=location)
    return (side, boundary)


def without_frame(call: WindowCall) -> WindowCall:
    """The call with the default frame, for functions that look at their whole partition."""
    return replace(call, frame=Frame())
