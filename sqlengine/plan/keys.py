"""Keys and references of whole plans: which columns a plan makes, which it takes from outside, and fresh copies.

Column keys are unique in a statement, so a reference is resolved by its key alone: an `OuterRef` is free in a plan when
no node of the plan makes its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlengine.expr.nodes import ColumnRef, Expr, KeyMaker, Lambda, OuterRef, Subquery, display_name
from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan, map_exprs
from sqlengine.tree import transform_up, walk


def walk_exprs(plan: Plan) -> Iterator[Expr]:
    """Every expression node of one plan node (not of its children)."""
    for expr in plan.exprs():
        yield from walk(expr)


def walk_all(plan: Plan) -> Iterator[Plan]:
    """Every plan node, those inside subquery expressions included."""
    for node in walk(plan):
        yield node
        for expr in walk_exprs(node):
            if isinstance(expr, Subquery):
                yield from walk_all(expr.plan)


def key_maker(plan: Plan) -> KeyMaker:
    """A maker of keys that do not occur in the plan."""
    largest = 0
    for node in walk_all(plan):
        names = list(node.schema.names)
        for expr in walk_exprs(node):
            if isinstance(expr, Lambda):
                names.extend(name for name, _ in expr.params)
        if isinstance(node, plans.SharedPlan | plans.SharedRef | plans.Recursion):
            names.append(node.name)
        for name in names:
            number = name.rpartition("#")[2]
            if number.isdigit():
                largest = max(largest, int(number))
    return KeyMaker(largest + 1)


def made_keys(plan: Plan) -> set[str]:
    """The keys of all columns of all nodes of the plan."""
    return {name for node in walk_all(plan) for name in node.schema.names}


def outer_refs(plan: Plan) -> dict[str, OuterRef]:
    """The free references of the plan to columns of enclosing queries, by key."""
    found: dict[str, OuterRef] = {}
    for node in walk_all(plan):
        for expr in walk_exprs(node):
            if isinstance(expr, OuterRef):
                found.setdefault(expr.key, expr)
    if found:
        for name in made_keys(plan) & found.keys():
            del found[name]
    return found


def expr_outer_refs(expr: Expr) -> set[str]:
    """Keys of the outer references in an expression without subqueries."""
    return {node.key for node in walk(expr) if isinstance(node, OuterRef)}


def replace_columns(expr: Expr, new: Mapping[str, Expr]) -> Expr:
    """The expression with columns replaced by other expressions."""
    if not new:
        return expr
    return transform_up(expr, lambda e: new.get(e.key, e) if isinstance(e, ColumnRef) else e)


def replace_outer(expr: Expr, new: Mapping[str, Expr]) -> Expr:
    """The expression with outer references replaced."""
    return transform_up(expr, lambda e: new.get(e.key, e) if isinstance(e, OuterRef) else e)


def ref(plan: Plan, key: str) -> ColumnRef:
    """A reference to a column of the plan."""
    return ColumnRef(plan.schema.field(key).type, key)


def refs(plan: Plan, keys: Iterable[str] | None = None) -> tuple[tuple[str, Expr], ...]:
    """Projection items that pass the columns of the plan on (all, or those named)."""
    return tuple((key, ref(plan, key)) for key in (plan.schema.names if keys is None else keys))


def restrict(plan: Plan, keys: Iterable[str]) -> Plan:
    """The plan with exactly these columns, in this order."""
    wanted = list(keys)
    return plan if plan.schema.names == wanted else plans.Project(plan, refs(plan, wanted))


def with_fresh_keys(plan: Plan, maker: KeyMaker) -> tuple[Plan, dict[str, str]]:
    """A copy in which every column made inside has a new key, and the new key of each old one."""
    new = {key: maker.make(display_name(key)) for key in sorted(made_keys(plan))}
    names = {
        node.name: maker.make(display_name(node.name))
        for node in walk_all(plan)
        if isinstance(node, plans.SharedPlan | plans.Recursion)
    }
    return _renamed(plan, new, names), new


def _renamed(plan: Plan, new: Mapping[str, str], names: Mapping[str, str]) -> Plan:
    def expr(old: Expr) -> Expr:
        return transform_up(old, one)

    def one(node: Expr) -> Expr:
        match node:
            case ColumnRef() | OuterRef() if node.key in new:
                return replace(node, key=new[node.key])
            case Subquery():
                return replace(node, plan=_renamed(node.plan, new, names))
            case _:
                return node

    def bridge(child: Plan) -> Plan:
        # Nodes check their expressions against their inputs: while the two change, the input has both kinds of keys.
        fields = [(f.name, f.type) for f in child.schema]
        return plans.Values((*fields, *((new[name], type_) for name, type_ in fields)), ())

    old = plan.children()
    bridged = plan.with_children(tuple(bridge(child) for child in old)) if old else plan
    node = _renamed_node(map_exprs(bridged, expr), new, names)
    return node.with_children(tuple(_renamed(child, new, names) for child in old)) if old else node


def _renamed_node(plan: Plan, new: Mapping[str, str], names: Mapping[str, str]) -> Plan:
    def pairs(items: tuple[tuple[str, Any], ...]) -> tuple[Any, ...]:
        return tuple((new[key], value) for key, value in items)

    def optional(key: str | None) -> str | None:
        return None if key is None else new[key]

    match plan:
        case plans.Scan():
            return replace(plan, columns=tuple((name, new[key]) for name, key in plan.columns))
        case plans.Values() | plans.TableFunction() | plans.Project():
            return replace(plan, columns=pairs(plan.columns))
        case plans.Aggregate():
            return replace(
                plan, keys=pairs(plan.keys), aggregates=pairs(plan.aggregates), grouping_key=optional(plan.grouping_key)
            )
        case plans.Window():
            return replace(plan, calls=pairs(plan.calls))
        case plans.Unnest():
            return replace(plan, columns=pairs(plan.columns), ordinality=optional(plan.ordinality))
        case plans.Join() | plans.DependentJoin():
            return replace(plan, mark=optional(plan.mark))
        case plans.Union() | plans.SetOperation():
            return replace(plan, keys=tuple(new[key] for key in plan.keys))
        case plans.Recursion():
            return replace(plan, keys=tuple(new[key] for key in plan.keys), name=names[plan.name])
        case plans.SharedPlan():
            return replace(plan, name=names[plan.name])
        case plans.SharedRef():
            inside = plan.name in names  # then what it reads has new keys too
            columns = tuple((new[old] if inside else old, new[key], type_) for old, key, type_ in plan.columns)
            return replace(plan, name=names.get(plan.name, plan.name), columns=columns)
        case plans.Write():
            return replace(plan, count_key=new[plan.count_key])
        case _:
            return plan


def map_plan_exprs(plan: Plan, change: Callable[[Expr], Expr]) -> Plan:
    """The plan with `change` applied to every node of every expression, bottom up."""
    return transform_up(plan, lambda node: map_exprs(node, lambda e: transform_up(e, change)))


def map_plan_tree(plan: Plan, change: Callable[[Plan], Plan]) -> Plan:
    """The plan with `change` applied to every node, bottom up, those inside subquery expressions included."""

    def one(expr: Expr) -> Expr:
        return replace(expr, plan=map_plan_tree(expr.plan, change)) if isinstance(expr, Subquery) else expr

    def node(n: Plan) -> Plan:
        if any(isinstance(e, Subquery) for e in walk_exprs(n)):
            n = map_exprs(n, lambda e: transform_up(e, one))
        return change(n)

    return transform_up(plan, node)


def map_expr_tree(plan: Plan, change: Callable[[Expr], Expr]) -> Plan:
    """The plan with `change` applied to every node of every expression, those inside subquery expressions included."""

    def one(expr: Expr) -> Expr:
        return change(replace(expr, plan=map_expr_tree(expr.plan, change)) if isinstance(expr, Subquery) else expr)

    return map_plan_exprs(plan, one)
