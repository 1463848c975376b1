"""Cheap predicates are tested first, so that dear ones see fewer rows."""

from __future__ import annotations

from dataclasses import replace

from sqlengine.expr.nodes import Expr, and_all, conjuncts
from sqlengine.optimizer.traits import cost, is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_up


def order_predicates(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y
    >>> dear, cheap = call("regexp_matches", x, y), call("eq", x, y)
    >>> scan = replace(table("t", x, y), filters=(dear, cheap))
    >>> [p.name for p in order_predicates(scan, Settings()).filters]
    ['eq', 'regexp_matches']
    """
    return transform_up(plan, _one)


def _ordered(parts: list[Expr]) -> list[Expr]:
    return parts if any(is_volatile(p) for p in parts) else sorted(parts, key=cost)


def _one(plan: Plan) -> Plan:
    match plan:
        case plans.Scan() if len(plan.filters) > 1:
            filters = tuple(_ordered(list(plan.filters)))
            return plan if filters == plan.filters else replace(plan, filters=filters)
        case plans.Filter():
            parts = conjuncts(plan.predicate)
            ordered = _ordered(parts)
            return plan if ordered == parts else replace(plan, predicate=and_all(ordered))
        case _:
            return plan
