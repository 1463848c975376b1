"""Limits move down: into sorts (top-N), through projections and unions, into scans; LIMIT 0 reads nothing."""

from __future__ import annotations

from dataclasses import replace

from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_down


def push_limits(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import table, x
    >>> from sqlengine.expr.nodes import SortKey
    >>> push_limits(plans.Limit(plans.Sort(table("t", x), (SortKey(x),)), 5), Settings()).limit
    5
    """
    return transform_down(plan, _one)


def _one(plan: Plan) -> Plan:
    if not isinstance(plan, plans.Limit) or plan.count is None or plan.percent is not None:
        return plan
    if plan.count == 0:
        return plans.Values(tuple((f.name, f.type) for f in plan.schema), ())
    rows = plan.count + plan.offset
    below = plan.input
    match below:
        case plans.Project():
            return replace(below, input=replace(plan, input=below.input))
        case plans.Sort():
            least = rows if below.limit is None else min(rows, below.limit)
            top = replace(below, limit=least)
            if plan.offset == 0:
                return top
            return plan if below.limit == least else replace(plan, input=top)
        case plans.Limit() if below.offset == 0 and below.percent is None and below.count is not None:
            if below.count <= rows:
                return plan
            return replace(plan, input=below.input)
        case plans.Scan():
            least = rows if below.limit is None else min(rows, below.limit)
            return plan if below.limit == least else replace(plan, input=replace(below, limit=least))
        case plans.Union():
            inputs = tuple(_capped(child, rows) for child in below.inputs)
            return replace(plan, input=replace(below, inputs=inputs))
        case _:
            return plan


def _capped(child: Plan, rows: int) -> Plan:
    if isinstance(child, plans.Limit) and child.count is not None and child.percent is None and child.count <= rows:
        return child
    return plans.Limit(child, rows)
