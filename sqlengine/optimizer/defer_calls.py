"""Calls of user functions and downloads that a top-N does not sort by are made after it, for the rows it keeps."""

from __future__ import annotations

from sqlengine.expr.nodes import ColumnRef, columns_of
from sqlengine.optimizer.traits import has_lifted
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import refs
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_up


def defer_calls(plan: Plan, settings: Settings) -> Plan:
    """
    >>> import pyarrow as pa
    >>> from sqlengine.expr.nodes import LiftedCall, SortKey
    >>> from sqlengine.optimizer.examples import table, x
    >>> calls = plans.Project(table("t", x), (("k#8", x), ("v#9", LiftedCall(pa.int64(), "f", (x,), None))))
    >>> deferred = defer_calls(plans.Sort(calls, (SortKey(ColumnRef(x.type, "k#8")),), 5), Settings())
    >>> type(deferred).__name__, type(deferred.input).__name__
    ('Project', 'Sort')
    """
    return transform_up(plan, _one)


def _one(plan: Plan) -> Plan:
    if not isinstance(plan, plans.Sort) or plan.limit is None or not isinstance(plan.input, plans.Project):
        return plan
    below = plan.input
    sorted_by = {key for item in plan.keys for key in columns_of(item.expr)}
    late = {key for key, e in below.columns if has_lifted(e) and key not in sorted_by}
    if not late:
        return plan
    early = [(key, e) for key, e in below.columns if key not in late]
    have = {key for key, _ in early}
    wanted = {read for key, e in below.columns if key in late for read in columns_of(e)} - have
    kept = plans.Project(below.input, (*early, *refs(below.input, sorted(wanted))))
    top = plans.Sort(kept, plan.keys, plan.limit)
    return plans.Project(top, tuple((key, e if key in late else ColumnRef(e.type, key)) for key, e in below.columns))
