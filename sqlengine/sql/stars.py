"""The items of a select list: stars become columns, every item gets its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError
from sqlengine.expr.nodes import ColumnRef, Expr
from sqlengine.sql.scope import Scope

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder


def select_items(binder: Binder, tree: exp.Select, scope: Scope) -> list[tuple[str, exp.Expression | Expr]]:
    """The select list with stars expanded: names, and nodes or (from stars) columns."""
    items: list[tuple[str, exp.Expression | Expr]] = []
    for node in tree.expressions:
        star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else None
        if isinstance(star, exp.Star):
            items += _star(binder, star, node.table if isinstance(node, exp.Column) else None, scope)
        elif isinstance(node, exp.Alias):
            items.append((node.alias, node.this))
        else:
            items.append((_output_name(node), node))
    return items


def _star(binder: Binder, star: exp.Star, table: str | None, scope: Scope) -> list[tuple[str, exp.Expression | Expr]]:
    excluded = {e.name.lower() for e in (star.args.get("except_") or star.args.get("except") or ())}
    replaced = {e.alias.lower(): e.this for e in star.args.get("replace") or ()}
    renamed = {e.this.name.lower(): e.alias for e in star.args.get("rename") or ()}
    items: list[tuple[str, exp.Expression | Expr]] = []
    for c in scope.columns:
        if table is None and c.key in scope.hidden:
            continue
        if (table is None or c.table.lower() == table.lower()) and c.name.lower() not in excluded:
            shown = renamed.get(c.name.lower(), c.name)
            items.append((shown, replaced.get(c.name.lower()) or ColumnRef(c.type, c.key)))
    if not items:
        raise BindError(
            "SELECT * needs a FROM clause with columns" if table is None else f'table "{table}" is not in this query',
            code="empty_star", location=binder.text.of(star),
        )  # fmt: skip
    return items


def _output_name(node: exp.Expression) -> str:
    if isinstance(node, exp.Column):
        return str(node.name)
    return node.sql("duckdb").lower()
