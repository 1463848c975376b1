"""One SELECT, bound in the order in which SQL evaluates its clauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import NotSupportedError, ParseError
from sqlengine.expr.nodes import ColumnRef, Expr, SortKey
from sqlengine.plan import nodes as p
from sqlengine.sql.from_clause import bind_from
from sqlengine.sql.grouping import Grouping
from sqlengine.sql.ordering import bind_sort_key, limited
from sqlengine.sql.scope import Scope
from sqlengine.sql.stars import select_items

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names


def bind_select(binder: Binder, tree: exp.Select, outer: Scope | None) -> tuple[p.Plan, Names]:
    if not tree.expressions:
        raise ParseError("the select list is empty", hint="name a column, or use *", location=binder.text.of(tree))
    for clause in ("windows", "qualify", "laterals", "sample", "pivots"):
        if tree.args.get(clause):
            raise NotSupportedError(f"{clause.upper()} is not supported yet", location=binder.text.of(tree))
    plan, scope = bind_from(binder, tree, outer)
    items = select_items(binder, tree, scope)
    aliases = {name.lower(): node for name, node in items if isinstance(node, exp.Expression)}
    if tree.args.get("where") is not None:
        condition = binder.expressions(scope, "WHERE", aliases=aliases).boolean(tree.args["where"].this)
        plan = p.Filter(plan, condition)
    grouping = Grouping(binder, tree, scope, items, aliases)
    plan, bind = grouping.apply(plan)
    having = tree.args.get("having")
    if having is not None:
        plan = p.Filter(plan, bind(having.this, True))
    columns: list[tuple[str, Expr]] = []
    names: list[str] = []
    for name, item in items:
        expr = item if isinstance(item, Expr) else bind(item, False)
        if isinstance(item, Expr) and grouping.active:
            expr = grouping.check_column(item, name)
        names.append(name)
        columns.append((binder.keys.make(name), expr))
    order = tree.args.get("order")
    distinct = tree.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        raise NotSupportedError("DISTINCT ON is not supported yet", location=binder.text.of(distinct))
    sort: list[SortKey] = []
    hidden: list[tuple[str, Expr]] = []
    for item in order.expressions if order is not None else ():
        sort.append(bind_sort_key(binder, item, columns, names, hidden, bind, distinct is not None))
    plan = p.Project(plan, (*columns, *hidden))
    if distinct is not None:
        plan = p.Distinct(plan)
    if sort:
        plan = p.Sort(plan, tuple(sort))
    plan = limited(binder, tree, plan)
    if hidden:
        plan = p.Project(plan, tuple((key, ColumnRef(e.type, key)) for key, e in columns))
    return plan, tuple(names)
