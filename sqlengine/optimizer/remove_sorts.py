"""An ORDER BY without a limit has no meaning below what does not keep or read an order."""

from __future__ import annotations

from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_up

# The answer of these does not depend on the order of the rows.
_UNORDERED = frozenset({
    "count", "count_star", "sum", "avg", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor",
    "count_if", "var_samp", "var_pop", "stddev_samp", "stddev_pop", "approx_count_distinct",
})  # fmt: skip


def remove_sorts(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import table, x
    >>> from sqlengine.expr.nodes import SortKey
    >>> remove_sorts(plans.Distinct(plans.Sort(table("t", x), (SortKey(x),))), Settings()).input.name
    't'
    """
    return transform_up(plan, _one)


def _one(plan: Plan) -> Plan:
    match plan:
        case plans.Aggregate() if all(call.name in _UNORDERED for _, call in plan.aggregates):
            return plan.with_children((_unsorted(plan.input),))
        case plans.Distinct(on=None) | plans.SetOperation():
            return plan.with_children(tuple(_unsorted(child) for child in plan.children()))
        case plans.Join() if plan.kind in ("semi", "anti", "mark"):
            return plan.with_children((plan.left, _unsorted(plan.right)))
        case _:
            return plan


def _unsorted(plan: Plan) -> Plan:
    match plan:
        case plans.Sort(limit=None):
            return _unsorted(plan.input)
        case plans.Project() | plans.Filter():
            below = _unsorted(plan.input)
            return plan if below is plan.input else plan.with_children((below,))
        case _:
            return plan
