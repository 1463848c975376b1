"""The items of a select list: stars and COLUMNS become columns, every item gets its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.nodes import ColumnRef, Expr
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.dialect import SqlengineDialect
from sqlengine.sql.scope import Column, Scope
from sqlengine.sql.select_item import Item
from sqlengine.sql.unnest_items import struct_field, unnest_items

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder


def select_items(binder: Binder, tree: exp.Select, scope: Scope) -> list[Item]:
    items: list[Item] = []
    for node in tree.expressions:
        alias = node.alias if isinstance(node, exp.Alias) else None
        inner = node.this if isinstance(node, exp.Alias) else node
        star = _whole_star(inner)
        fields = _struct_fields(binder, inner, scope) if alias is None else None
        if fields is not None:
            items += fields
        elif star is not None:
            if alias:
                raise BindError("* cannot have an alias", code="star_alias", location=binder.text.of(node))
            items += [Item(name, made, column) for name, made, column in _Star(binder, scope, *star).items()]
        elif isinstance(inner, exp.Explode):
            items += unnest_items(binder, inner, scope, alias)
        elif inner.find(exp.Columns) is not None and (expanded := _expanded(binder, inner, scope, alias)) is not None:
            items += expanded
        else:
            items.append(Item(alias or _column_name(inner, scope) or output_name(inner), inner))
    return items


def _struct_fields(binder: Binder, node: exp.Expression, scope: Scope) -> list[Item] | None:
    """`s.*` where s is a struct column, not a table: its fields."""
    if not (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
        return None
    name = node.table.lower()
    if any(c.table.lower() == name for c in scope.columns):
        return None
    column = next((c for c in scope.columns if c.name.lower() == name and c.key not in scope.hidden), None)
    if column is None or not pa.types.is_struct(column.type):
        return None
    if any(node.this.args.values()):
        raise NotSupportedError(
            "EXCLUDE, REPLACE and RENAME of the fields of a struct are not supported", location=binder.text.of(node)
        )
    return [Item(f.name, struct_field(_reference(column), f.name)) for f in column.type]


def _column_name(node: exp.Expression, scope: Scope) -> str | None:
    """A column's name as its table spells it."""
    if not isinstance(node, exp.Column):
        return None
    found = {c.name for c in scope.columns if _names(node, c)}
    return found.pop() if len(found) == 1 else None


def output_name(node: exp.Expression) -> str:
    """The name of a column without alias: of a column its own, of anything else its text."""
    if isinstance(node, exp.Paren):
        return output_name(node.this)
    if isinstance(node, exp.Column):
        return str(node.name)
    if isinstance(node, exp.Anonymous) and node.name.lower() == "count" and not node.find(exp.Column, exp.Literal):
        return "count_star()"
    return node.sql(SqlengineDialect, normalize_functions="lower")


def _whole_star(node: exp.Expression) -> tuple[exp.Star, str | None, Callable[[str], bool] | None] | None:
    """(star, its table, a test of names) if the node is `*`, `t.*` or `* LIKE 'pattern'`."""
    if isinstance(node, exp.Star):
        return node, None, None
    if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
        return node.this, node.table, None
    if isinstance(node, exp.Not):
        inner = _whole_star(node.this)
        if inner is None or inner[2] is None:
            return None
        test = inner[2]
        return inner[0], inner[1], lambda name: not test(name)
    if isinstance(node, exp.Like | exp.ILike | exp.Glob | exp.SimilarTo | exp.RegexpLike):
        inner = _whole_star(node.this)
        if inner is None or inner[2] is not None:
            return None
        pattern = node.expression
        if not isinstance(pattern, exp.Literal) or not pattern.is_string:
            raise NotSupportedError("a pattern after * must be a text")
        matches = re.compile(_regex(node, str(pattern.this)), re.DOTALL | (re.I if isinstance(node, exp.ILike) else 0))
        negated = bool(node.args.get("negate"))
        return inner[0], inner[1], lambda name: (matches.fullmatch(name) is not None) != negated
    return None


def _regex(node: exp.Expression, pattern: str) -> str:
    if isinstance(node, exp.SimilarTo | exp.RegexpLike):
        return pattern
    many, one = ("*", "?") if isinstance(node, exp.Glob) else ("%", "_")
    return "".join(".*" if c == many else "." if c == one else re.escape(c) for c in pattern)


class _Star:
    """A star with EXCLUDE, REPLACE, RENAME and a test of the names."""

    def __init__(
        self,
        binder: Binder,
        scope: Scope,
        star: exp.Star,
        table: str | None,
        test: Callable[[str], bool] | None = None,
    ) -> None:
        check_consumed(star, binder.text)
        self._binder = binder
        self._scope = scope
        self._star = star
        self._table = table
        self._test = test

    def columns(self) -> list[Column]:
        """The columns that remain, before REPLACE and RENAME."""
        excluded = self._star.args.get("except_") or ()
        shown = [
            c
            for c in self._scope.columns
            if (c.key not in self._scope.hidden if self._table is None else c.table.lower() == self._table.lower())
        ]
        if not shown:
            raise BindError(
                "SELECT * needs a FROM clause with columns" if self._table is None
                else f'table "{self._table}" is not in this query',
                code="empty_star", location=self._binder.text.of(self._star),
            )  # fmt: skip
        for node in excluded:
            self._check(node, shown, "EXCLUDE")
        kept = [c for c in shown if not any(_names(node, c) for node in excluded)]
        if self._test is not None:
            kept = [c for c in kept if self._test(c.name)]
        if not kept:
            raise BindError("no column is left of *", code="empty_star", location=self._binder.text.of(self._star))
        return kept

    def items(self) -> list[tuple[str, exp.Expression | None, Expr | None]]:
        columns = self.columns()
        replaced = self._star.args.get("replace") or ()
        renamed = self._star.args.get("rename") or ()
        for node in replaced:
            if not any(c.name.lower() == node.alias.lower() for c in columns):
                raise self._not_there(node, node.alias, "REPLACE")
        for node in renamed:
            self._check(node.this, columns, "RENAME")
        items: list[tuple[str, exp.Expression | None, Expr | None]] = []
        for c in columns:
            name = next((node.alias for node in renamed if _names(node.this, c)), c.name)
            value = next((node.this for node in replaced if node.alias.lower() == c.name.lower()), None)
            items.append((name, value, None if value is not None else ColumnRef(c.type, c.key)))
        return items

    def _check(self, node: exp.Expression, columns: list[Column], clause: str) -> None:
        if not any(_names(node, c) for c in columns):
            raise self._not_there(node, node.name, clause)

    def _not_there(self, node: exp.Expression, name: str, clause: str) -> BindError:
        return BindError(
            f'column "{name}" of {clause} is not among the columns of *', code="column_not_found",
            location=self._binder.text.of(node),
        )  # fmt: skip


def _names(node: exp.Expression, column: Column) -> bool:
    """Whether a (qualified) name means the column."""
    table = node.table if isinstance(node, exp.Column) else ""
    return node.name.lower() == column.name.lower() and (not table or table.lower() == column.table.lower())


def _expanded(binder: Binder, node: exp.Expression, scope: Scope, alias: str | None) -> list[Item] | None:
    """An expression with COLUMNS(...), once for each column; the columns of all COLUMNS in it must be the same."""
    found = [n for n in node.find_all(exp.Columns) if n.parent_select is node.parent_select]
    if not found:
        return None
    spread = [n for n in found if n.args.get("unpack")]
    if spread:
        return _spread(binder, node, scope, alias, spread, found)
    first = found[0]
    if any(other != first for other in found[1:]):
        raise BindError(
            "different COLUMNS in one expression are not supported", code="columns", location=binder.text.of(found[1])
        )
    columns, groups = chosen_columns(binder, first, scope)
    items = []
    for place, (name, value) in enumerate(columns):
        made = node.copy()
        for n in list(made.find_all(exp.Columns)) if not isinstance(made, exp.Columns) else [made]:
            replacement = value.copy()
            if n is made:
                made = replacement
            else:
                n.replace(replacement)
        shown = name
        if alias:
            match = groups[place]
            shown = re.sub(r"\\(\d)", lambda m, g=match: (g[int(m[1])] or "") if int(m[1]) < len(g) else "", alias)  # type: ignore[misc]
        items.append(Item(shown, made))
    return items


def conditions_of_columns(binder: Binder, node: exp.Expression, scope: Scope) -> list[exp.Expression]:
    """A condition with COLUMNS(...), once for each column: all must be true."""
    if node.find(exp.Columns) is None:
        return [node]
    parts: list[exp.Expression] = [*node.flatten()] if isinstance(node, exp.And) else [node]  # type: ignore[list-item]
    found: list[exp.Expression] = []
    for part in parts:
        items = _expanded(binder, part, scope, None) if part.find(exp.Columns) is not None else None
        found += [part] if items is None else [item.node for item in items if item.node is not None]
    return found


def _spread(
    binder: Binder,
    node: exp.Expression,
    scope: Scope,
    alias: str | None,
    spread: list[exp.Columns],
    found: list[exp.Columns],
) -> list[Item]:
    """`f(*COLUMNS(...))`: the columns as arguments."""
    if len(found) != len(spread):
        raise NotSupportedError("COLUMNS and *COLUMNS in one expression", location=binder.text.of(node))
    made = node.copy()
    for n in list(made.find_all(exp.Columns)):
        columns, _ = chosen_columns(binder, n, scope)
        call = n.parent
        if call is None or n.arg_key != "expressions" or not isinstance(call, exp.Func):
            raise BindError("*COLUMNS must be an argument of a function", code="columns", location=binder.text.of(node))
        args = [a for arg in call.expressions for a in ([v.copy() for _, v in columns] if arg is n else [arg])]
        call.set("expressions", args)
    return [Item(alias or output_name(made), made)]


def chosen_columns(
    binder: Binder, node: exp.Columns, scope: Scope
) -> tuple[list[tuple[str, exp.Expression]], list[tuple[str | None, ...]]]:
    """Names and nodes of the columns that COLUMNS(...) means, and for each the groups of the regular expression."""
    inner = node.this
    location = binder.text.of(node)
    star = _whole_star(inner)
    if star is not None:
        shown = _Star(binder, scope, *star)
        columns = shown.columns()
        named = [(name, value) for name, value, _ in shown.items()]
        nodes = [
            (name, value if value is not None else _reference(c))
            for (name, value), c in zip(named, columns, strict=True)
        ]
        return nodes, [(c.name,) for c in columns]
    visible = [c for c in scope.columns if c.key not in scope.hidden]
    if isinstance(inner, exp.Array):
        wanted = [item.name.lower() for item in inner.expressions]
        listed = [c for c in visible if c.name.lower() in wanted]
        missing = next((name for name in wanted if not any(c.name.lower() == name for c in listed)), None)
        if missing is not None:
            raise BindError(f'column "{missing}" does not exist', code="column_not_found", location=location)
        return [(c.name, _reference(c)) for c in listed], [(c.name,) for c in listed]
    if isinstance(inner, exp.Lambda) and len(inner.expressions) == 1:
        chosen = [c for c in visible if _accepts(binder, inner, c.name)]
        if not chosen:
            raise BindError("no column is chosen by COLUMNS", code="column_not_found", location=location)
        return [(c.name, _reference(c)) for c in chosen], [(c.name,) for c in chosen]
    if isinstance(inner, exp.Literal) and inner.is_string:
        try:
            pattern = re.compile(str(inner.this))
        except re.error as error:
            raise BindError(
                f"COLUMNS takes a regular expression: {error}", code="invalid_regex", location=location
            ) from None
        found = [(c, m) for c in visible if (m := pattern.search(c.name)) is not None]
        if not found:
            raise BindError(f"no column matches {inner.this!r}", code="column_not_found", location=location)
        return [(c.name, _reference(c)) for c, _ in found], [(m[0], *m.groups()) for _, m in found]
    raise NotSupportedError("COLUMNS takes *, a text or a list of names", location=location)


def _accepts(binder: Binder, function: exp.Lambda, name: str) -> bool:
    """Whether the lambda of COLUMNS is true for a name."""
    parameter = function.expressions[0].name.lower()

    def put(node: exp.Expression) -> exp.Expression:
        named = isinstance(node, exp.Column | exp.Identifier) and node.name.lower() == parameter
        return exp.Literal.string(name) if named else node

    return binder.constant(function.this.copy().transform(put)) is True


def _reference(column: Column) -> exp.Column:
    table = exp.to_identifier(column.table, quoted=True) if column.table else None
    return exp.Column(this=exp.to_identifier(column.name, quoted=True), table=table)
