"""COLLATE: texts that are compared or sorted without regard to case or accents are changed before, on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import NotSupportedError
from sqlengine.expr.nodes import Expr

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder

_FUNCTIONS = {
    "nocase": "lower", "noaccent": "strip_accents", "nfc": "nfc_normalize", "binary": None, "c": None, "posix": None,
}  # fmt: skip


def collation_of(binder: ExpressionBinder, *nodes: exp.Expression) -> list[str]:
    """The functions that make texts comparable by the collations that stand at the top of the nodes."""
    found: dict[str, None] = {}
    for node in nodes:
        while isinstance(node, exp.Collate | exp.Paren):
            if isinstance(node, exp.Collate):
                named = node.expression
                name = named.sql("duckdb") if not isinstance(named, exp.Literal) else named.name
                for part in name.replace('"', "").lower().split("."):
                    if part not in _FUNCTIONS:
                        raise NotSupportedError(f"the collation {part} is not supported: there are nocase and noaccent",
                                                location=binder.text.of(node))  # fmt: skip
                    if (function := _FUNCTIONS[part]) is not None:
                        found[function] = None
            node = node.this
    return list(found)


def collated(binder: ExpressionBinder, value: Expr, functions: list[str]) -> Expr:
    """The value as it is compared; only texts have collations."""
    if pa.types.is_string(value.type):
        for function in functions:
            value = binder.call(function, [value], None)
    return value
