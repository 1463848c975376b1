"""Binding: parsed queries to logical plans with every name resolved and every expression typed.

Here is what holds one statement together; each clause has a module of its own (`select_clauses`, `from_clause`,
`grouping`, `ordering`, ...). Subqueries stay as `Subquery` expressions for `decorrelate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from sqlengine.errors import NotSupportedError
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import KeyMaker, Subquery
from sqlengine.formats.base import Source
from sqlengine.plan import nodes as p
from sqlengine.settings import Settings
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.ctes import CommonTable, bind_with
from sqlengine.sql.expressions import ExpressionBinder
from sqlengine.sql.ordering import ordered
from sqlengine.sql.parse import Text
from sqlengine.sql.scope import Scope
from sqlengine.sql.select_clauses import bind_select
from sqlengine.sql.set_operations import bind_set_operation
from sqlengine.sql.values_rows import bind_values
from sqlengine.tree import walk

Names = tuple[str, ...]


@dataclass(frozen=True)
class BindContext:
    """What binding needs from the session: tables by name, files by path, the names it could suggest."""

    find_table: Callable[[str], Source | None]
    open_file: Callable[[str | list[str], str | None, dict[str, Any]], Source]
    table_names: Callable[[], list[str]]
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class BoundQuery:
    """A query ready to optimize: the plan and the names of its columns."""

    plan: p.Plan
    names: Names


class Binder:
    """Binds one statement; gives out its column keys."""

    def __init__(self, context: BindContext, text: Text) -> None:
        self.context = context
        self.text = text
        self.keys = KeyMaker()
        self.ctes: dict[str, CommonTable] = {}

    def bind(self, tree: exp.Expression) -> BoundQuery:
        if not isinstance(tree, exp.Query | exp.Values):
            raise NotSupportedError(f"{tree.key.upper()} statements are not supported", location=self.text.of(tree))
        plan, names = self.query(tree, None)
        return BoundQuery(plan, names)

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
            case exp.Subquery() | exp.Paren() if not any(tree.args.get(key) for key in ("alias", "joins", "sample")):
                check_consumed(tree, self.text)
                plan, names = self.query(tree.this, outer)
                return ordered(self, tree, plan, names)
            case exp.Select():
                return bind_select(self, tree, outer)
            case exp.SetOperation():
                return bind_set_operation(self, tree, outer)
            case exp.Values():
                return bind_values(self, tree, outer)
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
