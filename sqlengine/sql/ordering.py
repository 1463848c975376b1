"""ORDER BY, LIMIT and OFFSET."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError
from sqlengine.expr.nodes import ColumnRef, Expr, SortKey
from sqlengine.plan import nodes as p
from sqlengine.sql.collations import collated, collation_of
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.scope import Column, Scope
from sqlengine.sql.sort_keys import direction

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names
    from sqlengine.sql.expressions import ExpressionBinder


@dataclass(frozen=True)
class OrderItem:
    """One item: a column of the select list by its `place` (from 0), or an expression that was bound."""

    node: exp.Expression
    place: int | None
    expr: Expr | None
    descending: bool = False
    nulls_first: bool = False


def order_items(
    expressions: ExpressionBinder, order: exp.Expression | None, names: Names, clause: str = "ORDER BY"
) -> list[OrderItem]:
    """The items of ORDER BY: positions, names of the select list (before columns), expressions, ALL."""
    if order is None:
        return []
    check_consumed(order, expressions.text)
    items: list[OrderItem] = []
    for node in order.expressions:
        check_consumed(node, expressions.text)
        inner = node.this
        descending, nulls_first = direction(node, expressions.binder.context.settings)
        if isinstance(inner, exp.Var) and inner.name.upper() == "ALL":
            if len(order.expressions) > 1:
                raise BindError(f"{clause} ALL stands alone", code="order_by_all", location=expressions.text.of(node))
            items += [OrderItem(node, place, None, descending, nulls_first) for place in range(len(names))]
            continue
        place = _place(expressions, inner, names, clause)
        expr = None
        if place is None:
            expr = collated(expressions, expressions.bind(inner), collation_of(expressions, inner))
        items.append(OrderItem(inner, place, expr, descending, nulls_first))
    return items


def _place(expressions: ExpressionBinder, node: exp.Expression, names: Names, clause: str) -> int | None:
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    location = expressions.text.of(node)
    if isinstance(literal, exp.Literal):
        if literal.is_string or not literal.name.isdigit():
            raise BindError(f"a constant in {clause} has no effect", code="constant_order", location=location)
        place = int(literal.name)
        if negative or not 1 <= place <= len(names):
            raise BindError(
                f"{clause} position {'-' if negative else ''}{place} is not in the select list", code="bad_position",
                hint=f"it has {len(names)} columns", location=location,
            )  # fmt: skip
        return place - 1
    if isinstance(node, exp.Column) and not node.table:
        lower = [name.lower() for name in names]
        if lower.count(node.name.lower()) == 1:
            return lower.index(node.name.lower())
    return None


def ordered(binder: Binder, tree: exp.Expression, plan: p.Plan, names: Names) -> tuple[p.Plan, Names]:
    """ORDER BY and LIMIT of a set operation, VALUES or a query in parentheses."""
    order = tree.args.get("order")
    if order is None:
        return limited(binder, tree, plan), names
    columns: list[tuple[str, Expr]] = [(f.name, ColumnRef(f.type, f.name)) for f in plan.schema]
    scope = Scope([Column("", n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)])
    hidden: list[tuple[str, Expr]] = []
    keys = []
    for item in order_items(binder.expressions(scope, "ORDER BY"), order, names):
        if item.place is not None:
            value = columns[item.place][1]
        else:
            assert item.expr is not None
            hidden.append((binder.keys.make("order"), item.expr))
            value = ColumnRef(item.expr.type, hidden[-1][0])
        keys.append(SortKey(value, item.descending, item.nulls_first))
    if hidden:
        plan = p.Project(plan, (*columns, *hidden))
    plan = limited(binder, tree, p.Sort(plan, tuple(keys)))
    if hidden:
        plan = p.Project(plan, tuple(columns))
    return plan, names


def limited(binder: Binder, tree: exp.Expression, plan: p.Plan) -> p.Plan:
    limit, offset = tree.args.get("limit"), tree.args.get("offset")
    if limit is None and offset is None:
        return plan
    skip = 0
    if offset is not None:
        check_consumed(offset, binder.text)
        skip = _count(binder, offset.expression, "OFFSET") or 0
    if limit is None:
        return p.Limit(plan, None, skip)
    check_consumed(limit, binder.text)
    options = limit.args.get("limit_options")
    if options is not None:
        check_consumed(options, binder.text)
    size = limit.args.get("count") if isinstance(limit, exp.Fetch) else limit.expression
    if size is None:
        return p.Limit(plan, 1, skip)  # FETCH FIRST ROW ONLY
    if options is not None and options.args.get("percent"):
        return p.Limit(plan, None, skip, _percent(binder, size))
    return p.Limit(plan, _count(binder, size, "LIMIT"), skip)


def _count(binder: Binder, node: exp.Expression, what: str) -> int | None:
    value = binder.constant(node)
    if value is None:
        return None
    if isinstance(value, bool | str) or value != int(value) or value < 0:
        raise BindError(
            f"{what} must be a whole number that is not negative", code="bad_limit", location=binder.text.of(node)
        )
    return int(value)


def _percent(binder: Binder, node: exp.Expression) -> float | None:
    value = binder.constant(node)
    if value is None:
        return None
    if isinstance(value, bool | str) or not 0 <= value <= 100:
        raise BindError("LIMIT in percent must be between 0 and 100", code="bad_limit", location=binder.text.of(node))
    return float(value)
