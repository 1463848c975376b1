"""Simple conditions on columns, taken from exact predicates, with which a source can skip row groups and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Call, ColumnRef, Expr, Literal, conjuncts
from sqlengine.formats.base import Bounds

_FLIPPED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq"}


def bounds_of(predicates: Sequence[Expr], columns: Mapping[str, str]) -> tuple[Bounds, ...]:
    """Bounds implied by the conjunction of `predicates`; `columns` maps keys to the source's column names."""
    found = []
    for predicate in predicates:
        for part in conjuncts(predicate):
            bound = _bound(part, columns)
            if bound is not None:
                found.append(bound)
    return tuple(found)


def _bound(expr: Expr, columns: Mapping[str, str]) -> Bounds | None:
    match expr:
        case Call(name="eq" | "lt" | "le" | "gt" | "ge" as symbol, args=(left, right)):
            name: str = symbol
            if isinstance(left, Literal):
                left, right, name = right, left, _FLIPPED[name]
            if not (isinstance(left, ColumnRef) and left.key in columns and isinstance(right, Literal)):
                return None
            value = right.value
            if value is None or value != value:
                return None
            # Floats order NaN above everything here and nowhere in file statistics.
            if pa.types.is_floating(left.type) and name in ("gt", "ge"):
                return None
            return _range(columns[left.key], name, value)
        case Call(name="in", args=(ColumnRef(key=key), *values)) if key in columns:
            if all(isinstance(v, Literal) for v in values):
                allowed = frozenset(v.value for v in values if isinstance(v, Literal) and v.value is not None)
                return Bounds(columns[key], values=allowed) if allowed else None
    return None


def _range(column: str, name: str, value: Any) -> Bounds:
    match name:
        case "eq":
            return Bounds(column, low=value, high=value)
        case "lt" | "le":
            return Bounds(column, high=value, high_open=name == "lt")
        case _:
            return Bounds(column, low=value, low_open=name == "gt")
