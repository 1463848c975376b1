"""One dependent join turned into ordinary joins: by pulling predicates up if that works, else by pushing its domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from sqlengine.errors import NotSupportedError
from sqlengine.expr.nodes import FALSE, TRUE, Call, Case, ColumnRef, Expr, KeyMaker, and_all, conjuncts, null_of
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import outer_refs, ref, refs, replace_outer, restrict, with_fresh_keys
from sqlengine.plan.nodes import DependentJoin, Plan
from sqlengine.sql.correlation import pull_correlation
from sqlengine.sql.dependent_push import Domain, filled, push_domain, same_binding
from sqlengine.tree import transform_up


def unnest(join: DependentJoin, maker: KeyMaker) -> Plan:
    """The join without references from its right to its left side. Both sides hold no dependent join any more."""
    outer = outer_refs(join.right).keys() & set(join.left.schema.names)
    if not outer:
        return _plain(join, join.left, join.right, ())
    if join.kind in ("right", "full"):
        raise NotSupportedError(f"a {join.kind.upper()} JOIN with a LATERAL right side is not supported")
    pulled = pull_correlation(join.right, frozenset(outer), maker)
    if pulled is not None and pulled.filling is None:
        owed = tuple(_local(p, join.left) for p in pulled.predicates)
        return _correlated(join, join.left, pulled.plan, owed, maker)
    if pulled is not None and pulled.filling is not None:
        owed = tuple(_local(p, join.left) for p in pulled.predicates)
        result = _filled(join, pulled.plan, owed, pulled.filling, maker)
        if result is not None:
            return result
    return _by_domain(join, sorted(outer), maker)


def _local(expr: Expr, plan: Plan) -> Expr:
    return replace_outer(expr, {f.name: ColumnRef(f.type, f.name) for f in plan.schema})


def _plain(join: DependentJoin, left: Plan, right: Plan, owed: tuple[Expr, ...]) -> Plan:
    condition = and_all([*conjuncts(join.condition), *owed])
    kind = join.kind
    if kind in ("inner", "cross"):
        kind = "cross" if condition == TRUE else "inner"
    return plans.Join(left, right, kind, condition, join.mark, join.null_aware)


def _correlated(join: DependentJoin, left: Plan, right: Plan, owed: tuple[Expr, ...], maker: KeyMaker) -> Plan:
    """The join with the owed predicates in its condition. They decide which rows the subquery has, so they are never
    NULL in the sense of IN: only the comparison itself can make the answer NULL."""
    if not join.null_aware or not owed or join.condition == TRUE:
        return restrict(_plain(replace(join, null_aware=False), left, right, owed), join.schema.names)
    may_match = [_true_or_null(part) for part in conjuncts(join.condition)]
    if join.kind == "anti":
        return plans.Join(left, right, "anti", and_all([*owed, *may_match]))
    assert join.mark is not None
    if join.kind != "mark":
        raise NotSupportedError(f"a null-aware correlated {join.kind} join is not supported")
    name, yes, maybe = maker.make("in"), maker.make("match"), maker.make("unknown")
    again, new = with_fresh_keys(plans.SharedRef(name, tuple((f.name, f.name, f.type) for f in right.schema)), maker)
    first = plans.SharedRef(name, tuple((f.name, f.name, f.type) for f in right.schema))

    def renamed(expr: Expr) -> Expr:
        return transform_up(
            expr, lambda e: replace(e, key=new[e.key]) if isinstance(e, ColumnRef) and e.key in new else e
        )

    matches = plans.Join(left, first, "mark", and_all([*conjuncts(join.condition), *owed]), yes)
    second = and_all([renamed(part) for part in (*owed, *may_match)])
    both = plans.Join(matches, again, "mark", second, maybe)
    bool_ = pa.bool_()
    value = Case(bool_, ((ColumnRef(bool_, yes), TRUE), (ColumnRef(bool_, maybe), null_of(bool_))), FALSE)
    body = plans.Project(both, (*refs(left), (join.mark, value)))
    return plans.SharedPlan(name, right, body)


def _true_or_null(part: Expr) -> Expr:
    """The condition that a comparison is true or NULL."""
    if isinstance(part, Call) and part.name in ("eq", "ne", "lt", "le", "gt", "ge"):
        nulls = [Call(pa.bool_(), "is_null", (arg,)) for arg in part.args]
        return Call(pa.bool_(), "or", (Call(pa.bool_(), "or", (part, nulls[0])), nulls[1]))
    return Call(pa.bool_(), "or", (part, Call(pa.bool_(), "is_null", (part,))))


def _filled(
    join: DependentJoin, right: Plan, owed: tuple[Expr, ...], filling: Mapping[str, Expr], maker: KeyMaker
) -> Plan | None:
    """The right side has exactly one row per left row, in a left join with its gaps filled; then the join is a
    filter."""
    if join.kind == "left" and join.condition != TRUE:
        return None
    wanted = {k: v for k, v in filling.items() if v != null_of(v.type)}
    found = maker.make("found")
    if wanted:
        right = plans.Project(right, (*refs(right), (found, TRUE)))
    joined = plans.Join(join.left, right, "left", and_all(owed))
    names = join.right.schema.names
    values = tuple((key, filled(ref(joined, key), wanted.get(key), found)) for key in names)
    one = plans.Project(joined, (*refs(join.left), *values))
    condition = join.condition
    match join.kind:
        case "mark":
            assert join.mark is not None
            value = condition if join.null_aware else _is_true(condition)
            return plans.Project(one, (*refs(join.left), (join.mark, value)))
        case "semi":
            return restrict(plans.Filter(one, condition), join.schema.names)
        case "anti":
            kept = condition if join.null_aware else _is_true(condition)
            return restrict(plans.Filter(one, Call(pa.bool_(), "not", (kept,))), join.schema.names)
        case "single" if condition != TRUE:
            return None
        case "inner" if condition != TRUE:
            return plans.Filter(one, condition)
        case _:
            return one


def _is_true(condition: Expr) -> Expr:
    return condition if condition == TRUE else Call(pa.bool_(), "coalesce", (condition, FALSE))


def _by_domain(join: DependentJoin, outer: list[str], maker: KeyMaker) -> Plan:
    """The left side is held and read twice: as itself and, in the distinct values of the outer columns, as the
    domain."""
    name, domain_name = maker.make("outer"), maker.make("domain")
    left = plans.SharedRef(name, tuple((f.name, f.name, f.type) for f in join.left.schema))
    fields = [join.left.schema.field(key) for key in outer]
    source: Plan = plans.SharedRef(name, tuple((f.name, maker.make("outer"), f.type) for f in fields))
    domain = Domain(domain_name, tuple(zip(source.schema.names, source.schema.types, strict=True)), maker)
    # Outer references are rewritten to the domain's own keys, which nothing else in the plan has.
    own = dict(zip(outer, source.schema.names, strict=True))
    pushed, binding = push_domain(_refer(join.right, own), domain)
    same = same_binding(
        {own[key]: ref(left, key) for key in outer}, {key: ref(pushed, name) for key, name in binding.items()}
    )
    body = _correlated(join, left, pushed, tuple(conjuncts(same)), maker)
    return plans.SharedPlan(name, join.left, plans.SharedPlan(domain_name, plans.Distinct(source), body))


def _refer(plan: Plan, own: Mapping[str, str]) -> Plan:
    from sqlengine.expr.nodes import OuterRef
    from sqlengine.plan.keys import map_plan_exprs

    return map_plan_exprs(plan, lambda e: replace(e, key=own[e.key]) if isinstance(e, OuterRef) and e.key in own else e)
