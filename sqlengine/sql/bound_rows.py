"""Rows that are bound already, as a table of a tree that is about to be bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sqlglot import exp

from sqlengine.plan import nodes as p
from sqlengine.sql.scope import Scope

_ROWS = "bound_rows"


@dataclass(frozen=True)
class BoundRows:
    plan: p.Plan
    scope: Scope

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # a copy of a tree reads the same rows


def rows_as_table(plan: p.Plan, scope: Scope) -> exp.Table:
    """A table for FROM that stands for these rows; their columns keep their names and tables."""
    table = exp.Table(this=exp.to_identifier("rows"))
    table.meta[_ROWS] = BoundRows(plan, scope)
    return table


def bound_rows(node: exp.Expression) -> BoundRows | None:
    found = node.meta.get(_ROWS)
    return found if isinstance(found, BoundRows) else None
