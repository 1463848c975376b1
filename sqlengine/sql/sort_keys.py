"""One item of any ORDER BY: the expression, its direction and where NULLs go, with the defaults of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.expr.nodes import Expr, SortKey
from sqlengine.settings import Settings
from sqlengine.sql.collations import collated, collation_of
from sqlengine.sql.consumed import check_consumed

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder


def sort_key(expressions: ExpressionBinder, node: exp.Expression, value: Expr | None = None) -> SortKey:
    """The key of an `Ordered` node; `value` in place of its expression if that is bound already."""
    check_consumed(node, expressions.text)
    descending, nulls_first = direction(node, expressions.binder.context.settings)
    value = expressions.bind(node.this) if value is None else value
    value = collated(expressions, value, collation_of(expressions, node.this))
    return SortKey(value, descending, nulls_first)


def direction(node: exp.Expression, settings: Settings) -> tuple[bool, bool]:
    """Whether it is descending, and whether NULLs come first."""
    said = node.args.get("desc")
    descending = settings.default_order == "desc" if said is None else bool(said)
    match settings.default_null_order:
        case "nulls_first":
            default = True
        case "nulls_first_on_asc_last_on_desc":
            default = not descending
        case "nulls_last_on_asc_first_on_desc":
            default = descending
        case _:
            default = False
    first = node.args.get("nulls_first")
    return descending, default if first is None else bool(first)
