"""Adjacent projections become one, and projections that only repeat their input vanish."""

from __future__ import annotations

from collections import Counter

from sqlengine.expr.nodes import ColumnRef, Expr, Literal
from sqlengine.optimizer.traits import is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import replace_columns
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_up, walk


def merge_projects(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y
    >>> inner = plans.Project(table("t", x), (("y#2", call("is_null", x)),))
    >>> merge_projects(plans.Project(inner, (("z#3", call("not", ColumnRef(y.type, "y#2"))),)), Settings()).input.name
    't'
    """
    return transform_up(plan, _merge)


def _merge(plan: Plan) -> Plan:
    if not isinstance(plan, plans.Project):
        return plan
    if plan.schema.names == plan.input.schema.names and all(
        isinstance(e, ColumnRef) and e.key == key for key, e in plan.columns
    ):
        return plan.input
    below = plan.input
    if not isinstance(below, plans.Project):
        return plan
    uses = Counter(node.key for _, e in plan.columns for node in walk(e) if isinstance(node, ColumnRef))
    made = dict(below.columns)
    for key, count in uses.items():
        expr = made.get(key)
        if expr is None:
            continue
        # Computed once below must not become computed twice, nor move what is not the same each time.
        if is_volatile(expr) or (count > 1 and not isinstance(expr, ColumnRef | Literal)):
            return plan
    columns: tuple[tuple[str, Expr], ...] = tuple((key, replace_columns(e, made)) for key, e in plan.columns)
    return _merge(plans.Project(below.input, columns))
