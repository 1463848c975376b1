"""`count(DISTINCT x)` becomes a grouping by x below a plain count, so that it hashes and spills like any grouping.

The rule applies when all distinct calls of a node have the same arguments and the other calls can be computed in two
steps (count, sum, min, max, bool_and, bool_or). Distinct calls over different arguments are left to the sorted
aggregate.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from sqlengine.expr.nodes import AggregateCall, Call, Cast, ColumnRef, Expr, KeyMaker, Literal
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import key_maker
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_up, walk

_REPEATABLE = frozenset({"min", "max", "bool_and", "bool_or", "bit_and", "bit_or"})
_DISTINCT = frozenset({"count", "sum", "avg", "stddev_samp", "stddev_pop", "var_samp", "var_pop"})


def distinct_aggregates(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import table, x, y
    >>> call = AggregateCall(pa.int64(), "count", (y,), distinct=True)
    >>> plan = distinct_aggregates(plans.Aggregate(table("t", x, y), (("x#1", x),), (("n#9", call),)), Settings())
    >>> len(plan.input.keys), plan.aggregates[0][1].distinct
    (2, False)
    """
    if not any(isinstance(n, plans.Aggregate) and any(c.distinct for _, c in n.aggregates) for n in walk(plan)):
        return plan
    maker = key_maker(plan)
    return transform_up(plan, lambda node: _two_steps(node, maker) if isinstance(node, plans.Aggregate) else node)


def _two_steps(plan: plans.Aggregate, maker: KeyMaker) -> Plan:
    distinct = [c for _, c in plan.aggregates if c.distinct and c.name not in _REPEATABLE]
    if not distinct or plan.sets is not None:
        return plan
    args = distinct[0].args
    for _, call in plan.aggregates:
        if call.order_by or call.options or (call in distinct and (call.args != args or call.filter is not None)):
            return plan
        if call in distinct and (call.name not in _DISTINCT or len(args) != 1):
            return plan
        if call not in distinct and call.name not in _REPEATABLE | {"count", "count_star", "sum"}:
            return plan
    keys = tuple((key, ColumnRef(e.type, key)) for key, e in plan.keys)
    value = maker.make("distinct")
    below: list[tuple[str, AggregateCall]] = []
    above: list[tuple[str, AggregateCall]] = []
    columns: list[tuple[str, Expr]] = list(keys)
    for key, call in plan.aggregates:
        if call in distinct:
            above.append((key, replace(call, args=(ColumnRef(args[0].type, value),), distinct=False)))
            columns.append((key, ColumnRef(call.type, key)))
            continue
        part = maker.make("part")
        below.append((part, replace(call, distinct=False)))
        column = ColumnRef(call.type, part)
        if call.name in ("count", "count_star"):
            total = maker.make("total")
            huge = pa.decimal128(38, 0)
            above.append((total, AggregateCall(huge, "sum", (column,))))
            # No rows at all: a sum of no counts is NULL, a count of no rows is 0.
            counted = Call(huge, "coalesce", (ColumnRef(huge, total), Literal(huge, 0)))
            columns.append((key, Cast(call.type, counted)))
        else:
            above.append((key, AggregateCall(call.type, call.name, (column,))))
            columns.append((key, ColumnRef(call.type, key)))
    first = plans.Aggregate(plan.input, (*plan.keys, (value, args[0])), tuple(below))
    second = plans.Aggregate(first, keys, tuple(above))
    return plans.Project(second, tuple(columns)) if below else second
