"""The simple way out of correlation: pull correlated predicates up through a subquery, until they are a join condition.

`select sum(b) from t where t.a = o.a` becomes `t.a = o.a` over `select a, sum(b) from t group by a`: no copy of the
outer query is needed. That works for equalities between an inner and an outer expression, and below nothing that looks
across rows for any predicate. What this file refuses, `dependent_push` does in general.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.expr.nodes import (
    AggregateCall,
    Call,
    ColumnRef,
    Expr,
    Frame,
    KeyMaker,
    Literal,
    SortKey,
    WindowCall,
    and_all,
    columns_of,
    conjuncts,
    null_of,
)
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import expr_outer_refs, outer_refs, refs, replace_columns
from sqlengine.plan.nodes import Plan
from sqlengine.plan.nullness import certainly_null


@dataclass(frozen=True)
class Pulled:
    """A plan without the outer references, and the predicates (over its columns and `OuterRef`s) it owes.

    `filling`: for a scalar aggregate the value of each column where the plan has no row that meets the predicates (it
    has at most one); then a left join has to fill the gaps.
    """

    plan: Plan
    predicates: tuple[Expr, ...] = ()
    filling: Mapping[str, Expr] | None = None


def empty_value(call: AggregateCall) -> Expr:
    """What an aggregate function gives for no rows."""
    counts = call.name in ("count", "count_star", "count_if", "approx_count_distinct", "regr_count")
    return Literal(call.type, 0) if counts else null_of(call.type)


def pull_correlation(plan: Plan, outer: frozenset[str], maker: KeyMaker) -> Pulled | None:
    """The plan with its correlated predicates pulled up, or None where that is not valid."""
    if not outer_refs(plan).keys() & outer:
        return Pulled(plan)
    plan = limit_below_project(plan)
    match plan:
        case plans.Filter():
            return _filter(plan, outer, maker)
        case plans.Join():
            return _join(plan, outer, maker)
        case (
            plans.Project() | plans.Aggregate() | plans.Distinct() | plans.Sort() | plans.Limit() | plans.Window()
            | plans.Unnest()
        ):  # fmt: skip
            if any(expr_outer_refs(e) & outer for e in plan.exprs()):
                return None
            below = pull_correlation(plan.input, outer, maker)
            if below is None:
                return None
        case _:
            return None
    match plan:
        case plans.Project():
            return _project(plan, below)
        case plans.Sort(limit=None):
            return replace(below, plan=plans.Sort(below.plan, plan.keys))
    if below.filling is not None:
        # One row: only a limit that keeps it changes nothing.
        keeps = isinstance(plan, plans.Limit) and plan.percent is None and plan.offset == 0 and plan.count != 0
        return below if keeps or (isinstance(plan, plans.Sort) and plan.limit != 0) else None
    if isinstance(plan, plans.Unnest):
        return replace(below, plan=replace(plan, input=below.plan))
    pairs = _equal_pairs(below.predicates)
    if pairs is None:
        return None
    return _grouped(plan, below, pairs, maker)


def _filter(plan: plans.Filter, outer: frozenset[str], maker: KeyMaker) -> Pulled | None:
    below = pull_correlation(plan.input, outer, maker)
    if below is None or below.filling is not None:
        return None
    own = [part for part in conjuncts(plan.predicate) if not expr_outer_refs(part) & outer]
    owed = [part for part in conjuncts(plan.predicate) if expr_outer_refs(part) & outer]
    input_ = plans.Filter(below.plan, and_all(own)) if own else below.plan
    return Pulled(input_, (*below.predicates, *owed))


def _join(plan: plans.Join, outer: frozenset[str], maker: KeyMaker) -> Pulled | None:
    left = pull_correlation(plan.left, outer, maker)
    if left is None or left.filling is not None:
        return None
    if plan.kind in ("inner", "cross"):
        right = pull_correlation(plan.right, outer, maker)
        if right is None or right.filling is not None:
            return None
        own = [part for part in conjuncts(plan.condition) if not expr_outer_refs(part) & outer]
        owed = [part for part in conjuncts(plan.condition) if expr_outer_refs(part) & outer]
        joined = plans.Join(left.plan, right.plan, "inner" if own else "cross", and_all(own))
        return Pulled(joined, (*left.predicates, *right.predicates, *owed))
    if plan.kind not in ("left", "semi", "anti", "mark", "single"):
        return None
    if outer_refs(plan.right).keys() & outer or expr_outer_refs(plan.condition) & outer:
        return None
    return replace(left, plan=replace(plan, left=left.plan))


def _project(plan: plans.Project, below: Pulled) -> Pulled:
    made = {key for key, _ in plan.columns}
    owed = sorted({key for p in below.predicates for key in columns_of(p)} - made)
    passed = refs(below.plan, owed)
    filling = below.filling
    if filling is not None:
        values = {key: replace_columns(e, filling) for key, e in plan.columns}
        filling = {key: null_of(e.type) if certainly_null(e, set()) else e for key, e in values.items()}
    return Pulled(plans.Project(below.plan, (*plan.columns, *passed)), below.predicates, filling)


def _equal_pairs(predicates: tuple[Expr, ...]) -> list[tuple[Call, Expr, Expr]] | None:
    """(predicate, inner expression, outer expression) of each, if all are equalities between the two worlds."""
    pairs = []
    for part in predicates:
        if not isinstance(part, Call) or part.name not in ("eq", "is_not_distinct"):
            return None
        a, b = part.args
        if expr_outer_refs(a):
            a, b = b, a
        if expr_outer_refs(a) or not columns_of(a) or columns_of(b):
            return None
        pairs.append((part, a, b))
    return pairs


def _grouped(plan: Plan, below: Pulled, pairs: list[tuple[Call, Expr, Expr]], maker: KeyMaker) -> Pulled | None:
    """A node that looks across rows, made to look only across rows with equal inner expressions."""
    keys: dict[Expr, str] = {}
    for _, inner, _ in pairs:
        if inner not in keys:
            taken = isinstance(inner, ColumnRef) and inner.key not in keys.values()
            keys[inner] = inner.key if isinstance(inner, ColumnRef) and taken else maker.make("key")
    owed = tuple(replace(part, args=(ColumnRef(inner.type, keys[inner]), out)) for part, inner, out in pairs)
    named = tuple((key, inner) for inner, key in keys.items())
    match plan:
        case plans.Aggregate(sets=None):
            made = {key for key, _ in (*plan.keys, *plan.aggregates)}
            extra = tuple((key, e) for key, e in named if key not in made)
            if any(key in made and dict(plan.keys).get(key) != e for key, e in named):
                return None
            grouped = replace(plan, input=below.plan, keys=(*plan.keys, *extra))
            if plan.keys:
                return Pulled(grouped, owed)
            return Pulled(grouped, owed, {key: empty_value(call) for key, call in plan.aggregates})
        case plans.Distinct(on=None):
            return Pulled(plans.Distinct(_with(below.plan, plan.input.schema.names, named)), owed)
        case plans.Distinct():
            base = _with(below.plan, plan.input.schema.names, named)
            on = (*(plan.on or ()), *(ColumnRef(e.type, key) for key, e in named))
            return Pulled(replace(plan, input=base, on=on), owed)
        case plans.Window():
            base = _with(below.plan, plan.input.schema.names, named)
            parts = tuple(ColumnRef(e.type, key) for key, e in named)
            calls = tuple((k, replace(c, partition_by=(*c.partition_by, *parts))) for k, c in plan.calls)
            return Pulled(plans.Window(base, calls), owed)
        case plans.Sort() | plans.Limit(percent=None):
            base = _with(below.plan, plan.input.schema.names, named)
            return Pulled(limit_per_group(plan, base, tuple(ColumnRef(e.type, k) for k, e in named), maker), owed)
        case _:
            return None


def _with(plan: Plan, names: list[str], named: tuple[tuple[str, Expr], ...]) -> Plan:
    passed = [name for name in names if name not in dict(named)]
    return plans.Project(plan, (*refs(plan, passed), *named))


def limit_below_project(plan: Plan) -> Plan:
    """A limit over projections moved below them, next to the sort that says which rows are the first."""
    if isinstance(plan, plans.Limit) and isinstance(plan.input, plans.Project):
        project = plan.input
        return replace(project, input=limit_below_project(replace(plan, input=project.input)))
    return plan


def limit_per_group(plan: plans.Sort | plans.Limit, base: Plan, groups: tuple[Expr, ...], maker: KeyMaker) -> Plan:
    """`plan`'s limit applied to each group of `base` (its input with the group columns) by a row number."""
    order: tuple[SortKey, ...] = ()
    if isinstance(plan, plans.Sort):
        assert plan.limit is not None
        order, first = plan.keys, 0
        last: int | None = plan.limit
    else:
        first, last = plan.offset, None if plan.count is None else plan.offset + plan.count
        sort = base if isinstance(base, plans.Sort) else plan.input
        if isinstance(sort, plans.Sort):
            order = sort.keys
    number = maker.make("row_number")
    frame = Frame("rows", ("unbounded_preceding",), ("current",))
    call = WindowCall(pa.int64(), "row_number", (), groups, order, frame)
    column = ColumnRef(pa.int64(), number)
    tests: list[Expr] = []
    if first:
        tests.append(Call(pa.bool_(), "gt", (column, Literal(pa.int64(), first))))
    if last is not None:
        tests.append(Call(pa.bool_(), "le", (column, Literal(pa.int64(), last))))
    rows = plans.Filter(plans.Window(base, ((number, call),)), and_all(tests))
    return plans.Project(rows, refs(base))
