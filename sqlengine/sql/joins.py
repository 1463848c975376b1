"""Joins of the FROM clause: which rows pair, and which columns the pair shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.nodes import ColumnRef, Expr, and_all
from sqlengine.expr.registry import bind_call
from sqlengine.plan import nodes as p
from sqlengine.sql.scope import Column, Scope

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder


def bind_join(
    binder: Binder, node: exp.Join, left: p.Plan, scope: Scope, right: p.Plan, columns: list[Column]
) -> p.Plan:
    """The join; `scope`, which sees the left columns, sees those of the pair afterwards."""
    side, kind, method = (str(node.args.get(k) or "").upper() for k in ("side", "kind", "method"))
    location = binder.text.of(node)
    if method not in ("", "NATURAL"):
        raise NotSupportedError(f"{method} JOIN is not supported yet", location=location)
    how = {"LEFT": "left", "RIGHT": "right", "FULL": "full", "": "inner"}[side]
    if kind in ("SEMI", "ANTI"):
        how = kind.lower()
    both = Scope([*scope.columns, *columns], scope.parent, set(scope.hidden))
    using = [u.name for u in node.args.get("using") or ()]
    if method == "NATURAL":
        there = {c.name.lower() for c in columns}
        using = [c.name for c in scope.columns if c.name.lower() in there and c.key not in scope.hidden]
    condition: Expr = and_all([])
    if using:
        parts = []
        for name in using:
            mine = scope.find(None, name, location)
            other = Scope(columns).find(None, name, location)
            parts.append(bind_call("eq", [mine, other], location=location))
            hide = mine if how == "right" else other
            assert isinstance(hide, ColumnRef)
            both.hidden.add(hide.key)
            if how == "full":
                raise NotSupportedError("FULL JOIN with USING is not supported yet", location=location)
        condition = and_all(parts)
    elif node.args.get("on") is not None:
        condition = binder.expressions(both, "ON").boolean(node.args["on"])
    elif side and kind != "CROSS":
        raise BindError("a join needs ON or USING", code="join_without_condition", location=location)
    if how not in ("semi", "anti"):
        scope.columns[:] = both.columns
        scope.hidden = both.hidden
    if how == "inner" and condition == and_all([]):
        how = "cross"
    return p.Join(left, right, how, condition)
