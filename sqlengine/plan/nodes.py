"""All logical plan nodes, by kind of their inputs. They say WHAT; how is the business of `physical/` and `operators/`.

Each node derives its schema: a `pa.Schema` whose field names are column keys unique in the statement. A node that
passes columns on keeps their keys; a node that makes a column gives it a new key. Constructors refuse illegal trees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import Expr, SortKey
from sqlengine.plan.base import Named as Named
from sqlengine.plan.base import Plan as Plan
from sqlengine.plan.pairs import DependentJoin as DependentJoin
from sqlengine.plan.pairs import Join as Join
from sqlengine.plan.pairs import SetOperation as SetOperation
from sqlengine.plan.pairs import Union as Union
from sqlengine.plan.rows import Aggregate as Aggregate
from sqlengine.plan.rows import Distinct as Distinct
from sqlengine.plan.rows import Extend as Extend
from sqlengine.plan.rows import Filter as Filter
from sqlengine.plan.rows import Limit as Limit
from sqlengine.plan.rows import OneRowOnly as OneRowOnly
from sqlengine.plan.rows import Project as Project
from sqlengine.plan.rows import Sample as Sample
from sqlengine.plan.rows import Sort as Sort
from sqlengine.plan.rows import Unnest as Unnest
from sqlengine.plan.rows import Window as Window
from sqlengine.plan.rows import Write as Write
from sqlengine.plan.rows import table_call as table_call
from sqlengine.plan.shared import Recursion as Recursion
from sqlengine.plan.shared import SharedPlan as SharedPlan
from sqlengine.plan.shared import SharedRef as SharedRef
from sqlengine.plan.sources import ONE_ROW as ONE_ROW
from sqlengine.plan.sources import Scan as Scan
from sqlengine.plan.sources import TableFunction as TableFunction
from sqlengine.plan.sources import Values as Values


def map_exprs(plan: Plan, change: Callable[[Expr], Expr]) -> Plan:
    """The node with `change` applied to each of its top-level expressions (not to its children's). The node itself if
    that changes none of them; expressions of `Extend` are left alone."""
    old = plan.exprs()
    if not old or isinstance(plan, Extend):
        return plan
    new = [change(e) for e in old]
    if all(a is b for a, b in zip(old, new, strict=True)):
        return plan
    rest = iter(new)

    def keys(items: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
        return tuple(replace(k, expr=next(rest)) for k in items)

    def named(items: tuple[tuple[str, Any], ...]) -> tuple[Any, ...]:
        return tuple((key, next(rest)) for key, _ in items)

    match plan:
        case Scan():
            return replace(plan, filters=tuple(new))
        case Values():
            return replace(plan, rows=tuple(tuple(next(rest) for _ in row) for row in plan.rows))
        case Filter():
            return replace(plan, predicate=new[0])
        case Project() | Unnest():
            return replace(plan, columns=named(plan.columns))
        case Aggregate():
            return replace(plan, keys=named(plan.keys), aggregates=named(plan.aggregates))
        case Distinct():
            on = None if plan.on is None else tuple(next(rest) for _ in plan.on)
            return replace(plan, on=on, order_by=keys(plan.order_by))
        case Window():
            return replace(plan, calls=named(plan.calls))
        case Sort():
            return replace(plan, keys=keys(plan.keys))
        case Join() | DependentJoin():
            return replace(plan, condition=new[0])
    raise InternalError(f"{type(plan).__name__} has expressions that cannot be changed")
