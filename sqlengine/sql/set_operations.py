"""UNION, INTERSECT and EXCEPT: both sides brought to the same columns, by position or by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.coercion import cast_to, common_type
from sqlengine.expr.nodes import ColumnRef, Expr, null_of
from sqlengine.plan import nodes as p
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.ordering import ordered
from sqlengine.sql.scope import Scope
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names

_KINDS: dict[type[exp.Expression], str] = {exp.Union: "union", exp.Intersect: "intersect", exp.Except: "except"}


def bind_set_operation(binder: Binder, tree: exp.SetOperation, outer: Scope | None) -> tuple[p.Plan, Names]:
    check_consumed(tree, binder.text)
    kind = _KINDS[type(tree)]
    if kind == "union" and not tree.args.get("by_name"):
        plan, names = _union(binder, tree, outer)
        return ordered(binder, _order_by_outputs(tree, names), plan, names)
    left, names = binder.query(tree.this, outer)
    right, others = binder.query(tree.expression, outer)
    if tree.args.get("by_name"):
        if kind != "union":
            raise NotSupportedError(f"{kind.upper()} BY NAME is not supported", location=binder.text.of(tree))
        left, right, names = _by_name(binder, left, names, right, others, tree)
        others = names
    left, right = _alike(binder, tree, [left, right], [names, others])
    keys = tuple(binder.keys.make(name) for name in names)
    all_ = not tree.args.get("distinct")
    made: p.Plan
    if kind == "union":
        made = p.Union((left, right), keys)
        made = made if all_ else p.Distinct(made)
    else:
        made = p.SetOperation(left, right, kind, all_, keys)
    return ordered(binder, _order_by_outputs(tree, names), made, names)


def _union(binder: Binder, tree: exp.SetOperation, outer: Scope | None) -> tuple[p.Plan, Names]:
    """UNION or UNION ALL; a chain of one of them is one node, however long it is."""
    sides: list[exp.Expression] = []
    node: exp.Expression = tree
    while _continues(node, tree):
        check_consumed(node, binder.text)
        sides.append(node.args["expression"])
        node = node.this
    bound = [binder.query(side, outer) for side in (node, *reversed(sides))]
    names = bound[0][1]
    plans = _alike(binder, tree, [plan for plan, _ in bound], [own for _, own in bound])
    plan = p.Union(tuple(plans), tuple(binder.keys.make(name) for name in names))
    return (p.Distinct(plan) if tree.args.get("distinct") else plan), names


def _continues(node: exp.Expression, tree: exp.SetOperation) -> bool:
    """Whether the sides of a UNION are sides of the UNION around it too."""
    if not isinstance(node, exp.Union) or node.args.get("by_name"):
        return False
    if node is tree:
        return True
    same = bool(node.args.get("distinct")) == bool(tree.args.get("distinct"))
    return same and not any(node.args.get(key) for key in ("with_", "order", "limit", "offset"))


def _alike(binder: Binder, tree: exp.SetOperation, plans: list[p.Plan], names: list[Names]) -> list[p.Plan]:
    """The sides with the same types in each column."""
    kind = _KINDS[type(tree)].upper()
    for own in names[1:]:
        if len(own) != len(names[0]):
            raise BindError(
                f"the sides of {kind} have {len(names[0])} and {len(own)} columns", code="set_columns",
                hint="UNION BY NAME fills missing columns with NULL" if kind == "UNION" else None,
                location=binder.text.of(tree),
            )  # fmt: skip
    types = list(plans[0].schema.types)
    for plan in plans[1:]:
        for place, (a, b) in enumerate(zip(types, plan.schema.types, strict=True)):
            type_ = common_type(a, b)
            if type_ is None:
                raise BindError(
                    f'column "{names[0][place]}" of {kind} is {sql_name(a)} on one side and {sql_name(b)} on the other',
                    code="type_mismatch", hint="cast one of them", location=binder.text.of(tree),
                )  # fmt: skip
            types[place] = type_
    return [with_types(binder, plan, types) for plan in plans]


def _order_by_outputs(tree: exp.SetOperation, names: Names) -> exp.SetOperation:
    """ORDER BY t.a means the output column `a` where a side reads a table `t`."""
    order = tree.args.get("order")
    if order is None:
        return tree
    tables = {source.alias_or_name.lower() for side in _sides(tree) for source in _sources(side)}
    known = {name.lower() for name in names}
    for item in order.expressions:
        column = item.this
        if isinstance(column, exp.Column) and column.table.lower() in tables and column.name.lower() in known:
            column.set("table", None)
    return tree


def _sides(tree: exp.Expression) -> list[exp.Expression]:
    if isinstance(tree, exp.Subquery):
        return _sides(tree.this)
    if isinstance(tree, exp.SetOperation):
        return [*_sides(tree.this), *_sides(tree.expression)]
    return [tree]


def _sources(side: exp.Expression) -> list[exp.Expression]:
    clause = side.args.get("from_") or side.args.get("from")
    return [part.this for part in (clause, *(side.args.get("joins") or ())) if part is not None]


def with_types(binder: Binder, plan: p.Plan, types: list[pa.DataType]) -> p.Plan:
    """The plan with its columns cast to these types."""
    if plan.schema.types == types:
        return plan
    columns = [
        (binder.keys.make("side"), cast_to(ColumnRef(f.type, f.name), t))
        for f, t in zip(plan.schema, types, strict=True)
    ]
    return p.Project(plan, tuple(columns))


def _by_name(
    binder: Binder, left: p.Plan, names: Names, right: p.Plan, others: Names, tree: exp.SetOperation
) -> tuple[p.Plan, p.Plan, Names]:
    """Both sides with the columns of either, those of the left first; a missing one is NULL."""
    places = []
    for side in (names, others):
        low = [name.lower() for name in side]
        twice = next((name for name in side if low.count(name.lower()) > 1), None)
        if twice is not None:
            raise BindError(
                f'UNION BY NAME meets the column "{twice}" twice on one side', code="ambiguous_column",
                hint="give the columns different names", location=binder.text.of(tree),
            )  # fmt: skip
        places.append({name: i for i, name in enumerate(low)})
    every = (*names, *(name for name in others if name.lower() not in places[0]))

    def widened(plan: p.Plan, at: dict[str, int]) -> p.Plan:
        columns: list[tuple[str, Expr]] = []
        for name in every:
            place = at.get(name.lower())
            field = plan.schema.field(place) if place is not None else None
            value = null_of(pa.null()) if field is None else ColumnRef(field.type, field.name)
            columns.append((binder.keys.make(name), value))
        return p.Project(plan, tuple(columns))

    return widened(left, places[0]), widened(right, places[1]), every
