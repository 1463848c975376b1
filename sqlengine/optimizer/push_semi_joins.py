"""A semi or anti join over an inner join moves down to the one relation it tests, if it is likely to drop rows
there."""

from __future__ import annotations

from dataclasses import replace

from sqlengine.expr.nodes import columns_of
from sqlengine.optimizer.cardinality import estimate
from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_down

_WORTH = 0.5  # the tested set must be expected to be smaller than this share of the relation


def push_semi_joins(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y, z
    >>> joined = plans.Join(table("t", x), table("u", y), "inner", call("eq", x, y))
    >>> plan = push_semi_joins(plans.Join(joined, table("few", z, rows=5), "semi", call("eq", x, z)), Settings())
    >>> plan.kind, plan.left.kind
    ('inner', 'semi')
    """
    return transform_down(plan, _one)


def _one(plan: Plan) -> Plan:
    if not isinstance(plan, plans.Join) or plan.kind not in ("semi", "anti"):
        return plan
    below = plan.left
    if not isinstance(below, plans.Join) or below.kind not in ("inner", "cross"):
        return plan
    tested = columns_of(plan.condition) & set(below.schema.names)
    for side in ("left", "right"):
        child: Plan = getattr(below, side)
        if tested and tested <= set(child.schema.names):
            if estimate(plan.right).rows > _WORTH * estimate(child).rows:
                return plan
            tested_child = replace(plan, left=child)
            return replace(below, left=tested_child) if side == "left" else replace(below, right=tested_child)
    return plan
