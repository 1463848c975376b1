"""Decorrelation: a plan without `Subquery`, `OuterRef` and `DependentJoin`.

Innermost first: the plans inside subquery expressions, then the expressions themselves (`subqueries`), each as a
dependent join, which is unnested at once (`dependent_join`): by pulling correlated predicates up (`correlation`),
which needs no copy of the outer side, or by pushing the set of outer bindings down (`dependent_push`), which works for
every plan. References that reach further out than one query stay until their own query is unnested.
"""

from __future__ import annotations

from dataclasses import replace

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import Expr, KeyMaker, Subquery
from sqlengine.plan.keys import key_maker, outer_refs, walk_exprs
from sqlengine.plan.nodes import DependentJoin, Plan, map_exprs
from sqlengine.sql.dependent_join import unnest
from sqlengine.sql.subqueries import subqueries_to_joins
from sqlengine.tree import transform_up, walk


def decorrelate(plan: Plan) -> Plan:
    """The plan with ordinary joins in place of subqueries and lateral joins.

    NotSupportedError names what cannot be done.
    """
    if not any(isinstance(node, DependentJoin) for node in walk(plan)) and not any(
        isinstance(e, Subquery) for node in walk(plan) for e in walk_exprs(node)
    ):
        return plan
    result = _decorrelated(plan, key_maker(plan))
    free = outer_refs(result)
    if free:
        raise InternalError(f"outer references left after decorrelation: {sorted(free)}")
    if result.schema.names != plan.schema.names:
        raise InternalError("decorrelation changed the columns of the plan")
    return result


def _decorrelated(plan: Plan, maker: KeyMaker) -> Plan:
    def inner(expr: Expr) -> Expr:
        return replace(expr, plan=_decorrelated(expr.plan, maker)) if isinstance(expr, Subquery) else expr

    def one(node: Plan) -> Plan:
        if any(isinstance(e, Subquery) for e in walk_exprs(node)):
            node = map_exprs(node, lambda e: transform_up(e, inner))
            node = subqueries_to_joins(node, maker)
        return unnest(node, maker) if isinstance(node, DependentJoin) else node

    return transform_up(plan, one)
