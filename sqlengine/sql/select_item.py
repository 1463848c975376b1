"""One column of a select list before it is bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.expr.nodes import Expr

if TYPE_CHECKING:
    from sqlengine.sql.select_level import SelectLevel


@dataclass(frozen=True, eq=False)
class Item:
    """One column of the result: a node to bind, or (from a star) a column that is bound already."""

    name: str
    node: exp.Expression | None
    column: Expr | None = None

    def value(self, level: SelectLevel) -> Expr:
        if self.node is not None:
            return level.item(self.node)
        assert self.column is not None
        return self.column
