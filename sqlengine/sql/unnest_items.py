"""UNNEST as an item of the select list: a struct gives a column per field, nested lists can be unnested at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError
from sqlengine.sql.scope import Scope
from sqlengine.sql.select_item import Item

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder


def unnest_items(binder: Binder, node: exp.Explode, scope: Scope, alias: str | None) -> list[Item]:
    """The columns of `unnest(value [, recursive := true] [, max_depth := n])`."""
    depth = _depth(binder, node)
    value = node.this
    name = alias or f"unnest({value.sql('duckdb', normalize_functions='lower')})"
    type_ = _type(binder, value, scope)
    if type_ is not None and pa.types.is_struct(type_):
        return _fields(value, type_, depth is None)
    for _ in range(1, depth if depth is not None else 1 << 10):
        if type_ is None or not (pa.types.is_list(type_) and pa.types.is_list(type_.value_type)):
            break
        value, type_ = exp.Anonymous(this="flatten", expressions=[value.copy()]), type_.value_type
    made = exp.Explode(this=value.copy())
    made.meta.update(node.meta)
    if depth is None and type_ is not None and pa.types.is_list(type_) and pa.types.is_struct(type_.value_type):
        return _fields(made, type_.value_type, True)
    return [Item(name, made)]


def _depth(binder: Binder, node: exp.Explode) -> int | None:
    """How many levels of lists are unnested; None is all of them."""
    depth: int | None = 1
    for option in node.expressions:
        location = binder.text.of(option)
        if not isinstance(option, exp.PropertyEQ | exp.EQ | exp.Kwarg):
            raise BindError("UNNEST takes one list", code="unnest", location=location)
        value = binder.constant(option.expression)
        match option.this.name.lower():
            case "recursive" if isinstance(value, bool):
                depth = None if value else depth
            case "max_depth" if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                depth = value
            case other:
                raise BindError(
                    f"{other} is not an option of UNNEST with this value", code="unnest",
                    hint="recursive := true, or max_depth := 2", location=location,
                )  # fmt: skip
    return depth


def _type(binder: Binder, node: exp.Expression, scope: Scope) -> pa.DataType | None:
    """The type of the value, where it can be told before the clauses are bound (it has no aggregate in it)."""
    try:
        return binder.expressions(scope, "UNNEST").bind(node).type
    except BindError:
        return None


def _fields(value: exp.Expression, type_: pa.DataType, deep: bool) -> list[Item]:
    items: list[Item] = []
    for field in type_:
        part = struct_field(value, field.name)
        items += (
            _fields(part, field.type, True) if deep and pa.types.is_struct(field.type) else [Item(field.name, part)]
        )
    return items


def struct_field(value: exp.Expression, name: str) -> exp.Expression:
    return exp.Dot(this=exp.Paren(this=value.copy()), expression=exp.to_identifier(name, quoted=True))
