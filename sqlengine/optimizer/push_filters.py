"""Filters move down to where they cost least: through projections, joins, aggregates and unions, into scans.

On the way a predicate that cannot be true for NULLs turns an outer join into a narrower one, and a predicate over both
sides of a cross join becomes its condition. Volatile predicates stay where they are.
"""

from __future__ import annotations

from dataclasses import replace

from sqlengine.expr.nodes import ColumnRef, Expr, and_all, columns_of, conjuncts
from sqlengine.optimizer.traits import has_lifted, is_volatile, may_repeat, reads_only
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import replace_columns
from sqlengine.plan.nodes import Plan
from sqlengine.plan.nullness import rejects_nulls
from sqlengine.settings import Settings


def push_filters(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y
    >>> joined = plans.Join(table("t", x), table("u", y), "cross")
    >>> plan = push_filters(plans.Filter(joined, and_all([call("eq", x, y), call("is_null", x)])), Settings())
    >>> plan.kind, len(plan.left.filters)
    ('inner', 1)
    """
    return _push(plan, [])


def _filter(plan: Plan, predicates: list[Expr]) -> Plan:
    return plans.Filter(plan, and_all(predicates)) if predicates else plan


def _split(predicates: list[Expr], columns: set[str]) -> tuple[list[Expr], list[Expr]]:
    """Those that read only `columns` (and at least one), and the others."""
    inside = [p for p in predicates if columns_of(p) and reads_only(p, columns)]
    taken = {id(p) for p in inside}
    return inside, [p for p in predicates if id(p) not in taken]


def _push(plan: Plan, predicates: list[Expr]) -> Plan:
    """The plan with the predicates applied."""
    stay = [p for p in predicates if is_volatile(p)]
    if stay:
        moving = [p for p in predicates if not is_volatile(p)]
        return _filter(_push(plan, moving), stay)
    match plan:
        case plans.Filter():
            return _push(plan.input, _unique([*conjuncts(plan.predicate), *predicates]))
        case plans.Scan():
            if plan.limit is not None:
                return _filter(plan, predicates)
            calls = [p for p in predicates if has_lifted(p)]  # operators of their own, above the scan
            inside, rest = _split([p for p in predicates if not has_lifted(p)], set(plan.schema.names))
            return _filter(replace(plan, filters=tuple(_unique([*plan.filters, *inside]))), [*rest, *calls])
        case plans.Project():
            return _project(plan, predicates)
        case plans.Join():
            return _join(plan, predicates)
        case plans.Aggregate():
            return _aggregate(plan, predicates)
        case plans.Window():
            common = [{e.key for e in call.partition_by if isinstance(e, ColumnRef)} for _, call in plan.calls]
            inside, rest = _split(predicates, set.intersection(*common) if common else set(plan.schema.names))
            return _filter(replace(plan, input=_push(plan.input, inside)), rest)
        case plans.Union():
            inputs = []
            for child in plan.inputs:
                new: dict[str, Expr] = {
                    key: ColumnRef(f.type, f.name) for key, f in zip(plan.keys, child.schema, strict=True)
                }
                inputs.append(_same(child, _push(child, [replace_columns(p, new) for p in predicates])))
            return replace(plan, inputs=tuple(inputs))
        case plans.SetOperation():
            sides = []
            for child in plan.children():
                new = {key: ColumnRef(f.type, f.name) for key, f in zip(plan.keys, child.schema, strict=True)}
                sides.append(_same(child, _push(child, [replace_columns(p, new) for p in predicates])))
            return plan.with_children(tuple(sides))
        case plans.Distinct():
            keys = set(plan.schema.names) if plan.on is None else {e.key for e in plan.on if isinstance(e, ColumnRef)}
            inside, rest = _split(predicates, keys)
            return _filter(replace(plan, input=_push(plan.input, inside)), rest)
        case plans.Unnest():
            inside, rest = _split(predicates, set(plan.input.schema.names))
            return _filter(replace(plan, input=_push(plan.input, inside)), rest)
        case plans.Sort(limit=None):
            return replace(plan, input=_push(plan.input, predicates))
        case plans.SharedPlan():
            return replace(plan, definition=_push(plan.definition, []), body=_push(plan.body, predicates))
        case _:
            children = plan.children()
            new_children = tuple(_same(child, _push(child, [])) for child in children)
            if any(a is not b for a, b in zip(new_children, children, strict=True)):
                plan = plan.with_children(new_children)
            return _filter(plan, predicates)


def _same(old: Plan, new: Plan) -> Plan:
    assert old.schema.names == new.schema.names
    return new


def _unique(predicates: list[Expr]) -> list[Expr]:
    return [p for i, p in enumerate(predicates) if p not in predicates[:i] or is_volatile(p)]


def _project(plan: plans.Project, predicates: list[Expr]) -> Plan:
    made = dict(plan.columns)
    repeatable = {key for key, e in plan.columns if may_repeat(e)}
    inside, rest = _split(predicates, repeatable)
    return _filter(replace(plan, input=_push(plan.input, [replace_columns(p, made) for p in inside])), rest)


def _aggregate(plan: plans.Aggregate, predicates: list[Expr]) -> Plan:
    everywhere = range(len(plan.keys))
    if plan.sets is not None:
        everywhere = [i for i in everywhere if all(i in chosen for chosen in plan.sets)]  # type: ignore[assignment]
    keys = {plan.keys[i][0]: plan.keys[i][1] for i in everywhere}
    inside, rest = _split(predicates, {key for key, e in keys.items() if may_repeat(e)})
    return _filter(replace(plan, input=_push(plan.input, [replace_columns(p, keys) for p in inside])), rest)


def _join(plan: plans.Join, predicates: list[Expr]) -> Plan:
    left, right = set(plan.left.schema.names), set(plan.right.schema.names)
    plan = replace(plan, kind=_narrowed(plan.kind, predicates, left, right))
    parts = conjuncts(plan.condition)
    fixed = [p for p in parts if is_volatile(p)]
    parts = [p for p in parts if not is_volatile(p)]
    to_left: list[Expr] = []
    to_right: list[Expr] = []
    match plan.kind:
        case "inner" | "cross":
            all_parts = _unique([*parts, *predicates])
            to_left, all_parts = _split(all_parts, left)
            to_right, all_parts = _split(all_parts, right)
            parts = [p for p in all_parts if columns_of(p)]
            predicates = [p for p in all_parts if not columns_of(p)]
            kind = "inner" if parts or fixed else "cross"
            plan = replace(plan, kind=kind)
        case "left" | "single":
            to_left, predicates = _split(predicates, left)
            to_right, parts = _split(parts, right)
        case "right":
            to_right, predicates = _split(predicates, right)
            to_left, parts = _split(parts, left)
        case "semi":
            to_left, predicates = _split([*parts, *predicates], left)
            to_right, parts = _split(predicates, right)
            predicates = [p for p in parts if not columns_of(p)]
            parts = [p for p in parts if columns_of(p)]
        case "anti" | "mark":
            to_left, predicates = _split(predicates, left)
            if not plan.null_aware:
                to_right, parts = _split(parts, right)
        case "asof":
            to_left, predicates = _split(predicates, left)
        case _:
            pass
    new_left, new_right = _push(plan.left, to_left), _push(plan.right, to_right)
    condition = and_all([*parts, *fixed])
    changed = replace(plan, left=new_left, right=new_right, condition=condition)
    return _filter(changed, predicates)


def _narrowed(kind: str, predicates: list[Expr], left: set[str], right: set[str]) -> str:
    """The join kind, given that rows for which a predicate is not true are dropped afterwards."""
    if kind not in ("left", "right", "full"):
        return kind
    no_left_nulls = any(rejects_nulls(p, left) for p in predicates)
    no_right_nulls = any(rejects_nulls(p, right) for p in predicates)
    match kind:
        case "left":
            return "inner" if no_right_nulls else "left"
        case "right":
            return "inner" if no_left_nulls else "right"
        case _ if no_left_nulls and no_right_nulls:
            return "inner"
        case _ if no_left_nulls:
            return "left"
        case _:
            return "right" if no_right_nulls else "full"
