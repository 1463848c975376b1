"""Binding: parsed queries to logical plans with every name resolved and every expression typed.

Here is what holds one statement together; each clause has a module of its own (`select_clauses`, `from_clause`,
`grouping`, `ordering`, ...). Subqueries stay as `Subquery` expressions for `decorrelate`.
"""

from __future__ import annotations

import time
from typing import Any

from sqlglot import exp

from sqlengine.errors import NotSupportedError
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import Expr, KeyMaker, Subquery
from sqlengine.plan import nodes as p
from sqlengine.sql.bind_context import BindContext as BindContext
from sqlengine.sql.bind_context import BoundQuery as BoundQuery
from sqlengine.sql.bind_context import Names as Names
from sqlengine.sql.bind_context import ViewQuery as ViewQuery
from sqlengine.sql.call_time import resolve
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.ctes import CommonTable, bind_with
from sqlengine.sql.expressions import ExpressionBinder
from sqlengine.sql.from_clause import bind_table
from sqlengine.sql.ordering import ordered
from sqlengine.sql.pivots import bind_pivot
from sqlengine.sql.scope import Scope
from sqlengine.sql.select_clauses import bind_select
from sqlengine.sql.set_operations import bind_set_operation
from sqlengine.sql.source_text import Text
from sqlengine.sql.values_rows import bind_values
from sqlengine.tree import walk

_OF_TABLES = ("alias", "joins", "sample", "pivots")  # what makes a table of a query in parentheses


class Binder:
    """Binds one statement; gives out its column keys (`keys`: those of the statement that it is a part of)."""

    def __init__(self, context: BindContext, text: Text, keys: KeyMaker | None = None) -> None:
        self.context = context
        self.text = text
        self.keys = keys or KeyMaker()
        self.ctes: dict[str, CommonTable] = {}
        self.started = time.time_ns() // 1000  # now() everywhere in the statement, in microseconds

    def bind(self, tree: exp.Expression) -> BoundQuery:
        if not isinstance(tree, exp.Query | exp.Values | exp.Pivot):
            raise NotSupportedError(f"{tree.key.upper()} statements are not supported", location=self.text.of(tree))
        plan, names = self.query(resolve(tree, self.context.call_time, self.text), None)
        return BoundQuery(plan, names)

    def view(self, view: ViewQuery) -> BoundQuery:
        """A view's query as a part of this statement. It sees none of the statement's own names."""
        bound = Binder(self.context, view.text, self.keys).bind(view.tree)
        return BoundQuery(bound.plan, (*view.names, *bound.names[len(view.names) :]))

    def expression(self, tree: exp.Expression, where: str) -> Expr:
        """An expression without columns that stands by itself."""
        return self.expressions(Scope(), where).bind(resolve(tree, self.context.call_time, self.text))

    def subquery(self, tree: Any, scope: Scope) -> tuple[p.Plan, Names]:
        """A query inside an expression of `scope`, which it may refer to."""
        return self.query(tree, scope)

    def query(self, tree: exp.Expression, outer: Scope | None) -> tuple[p.Plan, Names]:
        """A query with its WITH clause, in the scope of the query around it."""
        with_ = tree.args.get("with_")
        if with_ is not None:
            return bind_with(self, with_, outer, lambda: self._query(tree, outer))
        return self._query(tree, outer)

    def _query(self, tree: exp.Expression, outer: Scope | None) -> tuple[p.Plan, Names]:
        match tree:
            case exp.Subquery() | exp.Paren() if not any(
                tree.args.get(key) for key in ("alias", "joins", "sample", "pivots")
            ):
                check_consumed(tree, self.text)
                plan, names = self.query(tree.this, outer)
                return ordered(self, tree, plan, names)
            case exp.Select():
                return bind_select(self, tree, outer)
            case exp.SetOperation():
                return bind_set_operation(self, tree, outer)
            case exp.Values():
                return bind_values(self, tree, outer)
            case exp.Pivot():
                plan, scope = bind_table(self, tree.this, outer)
                return bind_pivot(self, tree, plan, scope, outer)
            case exp.Table():
                return bind_select(self, exp.Select(expressions=[exp.Star()], from_=exp.From(this=tree.copy())), outer)
        raise NotSupportedError(f"{tree.key.upper()} is not supported as a query", location=self.text.of(tree))

    def expressions(self, scope: Scope, where: str, **more: Any) -> ExpressionBinder:
        return ExpressionBinder(self, scope, self.text, where, **more)

    def constant(self, node: exp.Expression) -> Any:
        """The value of an expression without columns, such as an argument of a table function."""
        if isinstance(node, exp.Array):
            return [self.constant(item) for item in node.expressions]
        value = self.expressions(Scope(), "a constant").bind(node)
        if any(isinstance(e, Subquery) for e in walk(value)):
            raise NotSupportedError("a subquery where a constant is needed", location=self.text.of(node))
        return evaluate_constant(value)
