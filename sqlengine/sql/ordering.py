"""ORDER BY, LIMIT and OFFSET."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.nodes import ColumnRef, Expr, SortKey
from sqlengine.plan import nodes as p
from sqlengine.sql.scope import Column, Scope

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names


def bind_sort_key(
    binder: Binder,
    node: exp.Expression,
    columns: list[tuple[str, Expr]],
    names: list[str],
    hidden: list[tuple[str, Expr]],
    bind: Callable[[exp.Expression, bool], Expr],
    distinct: bool,
) -> SortKey:
    inner = node.this
    descending = bool(node.args.get("desc"))
    expr: Expr
    lower = [n.lower() for n in names]
    if isinstance(inner, exp.Literal) and not inner.is_string:
        place = int(inner.name)
        if not 1 <= place <= len(columns):
            raise BindError(
                f"ORDER BY position {place} is not in the select list", code="bad_position",
                hint=f"it has {len(columns)} columns", location=binder.text.of(inner),
            )  # fmt: skip
        key, value = columns[place - 1]
        expr = ColumnRef(value.type, key)
    elif isinstance(inner, exp.Column) and not inner.table and lower.count(inner.name.lower()) == 1:
        key, value = columns[lower.index(inner.name.lower())]
        expr = ColumnRef(value.type, key)
    else:
        value = bind(inner, False)
        same = next((key for key, e in (*columns, *hidden) if e == value), None)
        if same is None:
            if distinct:
                raise BindError(
                    "with DISTINCT, ORDER BY may only use columns of the select list", code="order_by_distinct",
                    location=binder.text.of(inner),
                )  # fmt: skip
            same = binder.keys.make("order")
            hidden.append((same, value))
        expr = ColumnRef(value.type, same)
    return SortKey(expr, descending, _nulls_first(binder, node, descending))


def _nulls_first(binder: Binder, node: exp.Expression, descending: bool) -> bool:
    match binder.context.settings.default_null_order:
        case "nulls_first":
            default = True
        case "nulls_first_on_asc_last_on_desc":
            default = not descending
        case "nulls_last_on_asc_first_on_desc":
            default = descending
        case _:
            default = False
    said = node.args.get("nulls_first")
    return default if said is None else bool(said)


def ordered(binder: Binder, tree: exp.Expression, plan: p.Plan, names: Names) -> tuple[p.Plan, Names]:
    """ORDER BY and LIMIT of a set operation or a query in parentheses."""
    order = tree.args.get("order")
    if order is not None:
        columns = [(f.name, ColumnRef(f.type, f.name)) for f in plan.schema]
        scope = Scope([Column("", n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)])
        hidden: list[tuple[str, Expr]] = []

        def bind(node: exp.Expression, condition: bool) -> Expr:
            return binder.expressions(scope, "ORDER BY").bind(node)

        keys = [bind_sort_key(binder, i, list(columns), list(names), hidden, bind, False) for i in order.expressions]
        if hidden:
            plan = p.Project(plan, (*columns, *hidden))
        plan = p.Sort(plan, tuple(keys))
        plan = limited(binder, tree, plan)
        if hidden:
            plan = p.Project(plan, tuple(columns))
        return plan, names
    return limited(binder, tree, plan), names


def limited(binder: Binder, tree: exp.Expression, plan: p.Plan) -> p.Plan:
    limit, offset = tree.args.get("limit"), tree.args.get("offset")
    if limit is None and offset is None:
        return plan
    if isinstance(limit, exp.Fetch):
        raise NotSupportedError("FETCH FIRST is not supported, use LIMIT", location=binder.text.of(limit))
    if limit is not None and limit.args.get("limit_options"):
        raise NotSupportedError("LIMIT with a percentage is not supported yet", location=binder.text.of(limit))
    count = None if limit is None else _count(binder, limit.expression, "LIMIT")
    return p.Limit(plan, count, 0 if offset is None else _count(binder, offset.expression, "OFFSET") or 0)


def _count(binder: Binder, node: exp.Expression, what: str) -> int | None:
    value = binder.constant(node)
    if value is None:
        return None
    if isinstance(value, bool) or value != int(value) or value < 0:
        raise BindError(
            f"{what} must be a whole number that is not negative", code="bad_limit", location=binder.text.of(node)
        )
    return int(value)
