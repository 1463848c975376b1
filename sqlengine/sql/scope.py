"""Names in scope: the columns of the FROM clause, those of enclosing queries, and what to suggest for a typo."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.errors import BindError, Location
from sqlengine.expr.nodes import ColumnRef, Expr, OuterRef

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder


@dataclass(frozen=True)
class Column:
    """A visible column: the table alias it is under, its name, its key and type. `merged`: the USING column that stands
    for both sides, so that the unqualified name is not ambiguous."""

    table: str
    name: str
    key: str
    type: pa.DataType


def distinct_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of a derived table: one that is there already gets a number.

    >>> distinct_names(("a", "A", "b", "a_1"))
    ('a', 'A_1', 'b', 'a_1_1')
    """
    following: dict[str, int] = {}
    made = []
    for name in names:
        low = name.lower()
        if low in following:
            number = following[low]
            while f"{low}_{number}" in following:
                number += 1
            following[low] = number + 1
            name = f"{name}_{number}"
        following[name.lower()] = 1
        made.append(name)
    return tuple(made)


@dataclass
class Scope:
    """The columns one query level sees, and the level around it."""

    columns: list[Column] = field(default_factory=list)
    parent: Scope | None = None
    hidden: set[str] = field(default_factory=set)  # keys that only a qualified name reaches (USING, NATURAL)
    user: ExpressionBinder | None = None  # what is being bound here while a subquery inside it is bound

    def find(self, table: str | None, name: str, location: Location | None) -> Expr:
        """The column of a name, here or in an enclosing query; BindError when there is none or there are several."""
        scope: Scope | None = self
        depth = 0
        while scope is not None:
            found = scope._matches(table, name)
            if len(found) > 1:
                tables = ", ".join(f'"{c.table}.{c.name}"' for c in found[:3])
                raise BindError(
                    f'column reference "{name}" is ambiguous', code="ambiguous_column", hint=f"use one of {tables}",
                    location=location,
                )  # fmt: skip
            if found:
                column = found[0]
                return ColumnRef(column.type, column.key) if depth == 0 else OuterRef(column.type, column.key, depth)
            scope, depth = scope.parent, depth + 1
        raise self._missing(table, name, location)

    def _matches(self, table: str | None, name: str) -> list[Column]:
        low = name.lower()
        return [
            c
            for c in self.columns
            if c.name.lower() == low
            and (table.lower() == c.table.lower() if table is not None else c.key not in self.hidden)
        ]

    def _missing(self, table: str | None, name: str, location: Location | None) -> BindError:
        names = [c.name for c in self.columns if table is None or c.table.lower() == table.lower()]
        shown = f'"{table}.{name}"' if table else f'"{name}"'
        if table is not None and not names:
            tables = sorted({c.table for c in self.columns})
            return BindError(
                f'table "{table}" is not in this query', code="table_not_found",
                hint=f"tables here: {', '.join(tables)}" if tables else None, location=location,
            )  # fmt: skip
        close = difflib.get_close_matches(name, names, 1, 0.6)
        parts = [f'did you mean "{close[0]}"?'] if close else []
        if names:
            parts.append(f"columns here: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}")
        return BindError(
            f"column {shown} does not exist", code="column_not_found", hint="  ".join(parts) or None, location=location
        )
