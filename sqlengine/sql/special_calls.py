"""Calls that the binder itself answers: about types, names and the statement, or that are another expression written
differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Location
from sqlengine.expr.coercion import cast_to, common_of, common_type
from sqlengine.expr.nodes import Case, Cast, Expr, Literal, literal
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder

Nodes = list[exp.Expression]
Special = Callable[["ExpressionBinder", Nodes, Location | None], Expr]


def _refused(name: str, what: str, location: Location | None) -> BindError:
    return BindError(f"{name}() takes {what}", code="no_matching_overload", location=location)


def _alias(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    if len(nodes) != 1:
        raise _refused("alias", "one expression", location)
    binder.bind(nodes[0])
    return literal(nodes[0].output_name or nodes[0].sql("duckdb"))


def _can_cast(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    if len(nodes) != 2:
        raise _refused("can_cast_implicitly", "two values", location)
    have, want = (binder.bind(node).type for node in nodes)
    to_decimal = pa.types.is_integer(have) and pa.types.is_decimal(want)
    return literal(bool(have == want or pa.types.is_null(have) or to_decimal or common_type(have, want) == want))


def _cast_to_type(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    if len(nodes) != 2:
        raise _refused("cast_to_type", "a value, and a value of the type that it gets", location)
    value, like = (binder.bind(node) for node in nodes)
    return value if value.type == like.type else Cast(like.type, value, False, location)


def _replace_type(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    if len(nodes) != 3:
        raise _refused("replace_type", "a value, and values of the old and the new type", location)
    value, old, new = (binder.bind(node) for node in nodes)
    type_ = _with_type(value.type, old.type, new.type)
    return value if value.type == type_ else Cast(type_, value, False, location)


def _with_type(type_: pa.DataType, old: pa.DataType, new: pa.DataType) -> pa.DataType:
    t = pa.types
    if type_ == old:
        return new
    if t.is_fixed_size_list(type_):
        return pa.list_(_with_type(type_.value_type, old, new), type_.list_size)
    if t.is_list(type_):
        return pa.list_(_with_type(type_.value_type, old, new))
    if t.is_struct(type_):
        return pa.struct([pa.field(f.name, _with_type(f.type, old, new)) for f in type_])
    if t.is_map(type_):
        return pa.map_(_with_type(type_.key_type, old, new), _with_type(type_.item_type, old, new))
    return type_


def _invoke(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    """`invoke(lambda x, y: x + y, 1, 2)` is the body with the values in the places of the parameters."""
    function = nodes[0] if nodes else None
    if not isinstance(function, exp.Lambda) or len(function.expressions) != len(nodes) - 1:
        raise _refused("invoke", "a lambda, and a value for each of its parameters", location)
    values = {item.name.lower(): binder.bind(node) for item, node in zip(function.expressions, nodes[1:], strict=True)}
    return binder.with_locals(values).bind(function.this)


def _current_query(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    if nodes:
        raise _refused("current_query", "no arguments", location)
    return literal(binder.text.sql)


def _current_schemas(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    if len(nodes) != 1 or not isinstance(implicit := binder.bind(nodes[0]), Literal):
        raise _refused("current_schemas", "whether to name implicit schemas", location)
    names = ["main", "main", "main", "pg_catalog"] if implicit.value else ["main"]
    return binder.call("list_value", [literal(name) for name in names], location)


def _switch(binder: ExpressionBinder, nodes: Nodes, location: Location | None) -> Expr:
    """switch(value, cases [, otherwise]) or switch(conditions [, otherwise]), where cases and conditions are maps."""
    args = [binder.bind(node) for node in nodes]
    if args and pa.types.is_map(args[0].type):
        args.insert(0, literal(True))
    if len(args) not in (2, 3) or not pa.types.is_map(args[1].type):
        raise _refused("switch", "a value, a map of cases, and what else", location)
    key = cast_to(args[0], args[1].type.key_type)
    found = binder.call("map_extract_value", [args[1], key], location)
    if len(args) == 2:
        return found
    type_ = common_of([found, args[2]])
    if type_ is None:
        raise _refused("switch", f"values of one type, these are {sql_name(found.type)} and {sql_name(args[2].type)}",
                       location)  # fmt: skip
    there = binder.call("list_contains", [args[1], key], location)
    return Case(type_, ((there, cast_to(found, type_)),), cast_to(args[2], type_))


SPECIAL_CALLS: dict[str, Special] = {
    "alias": _alias, "can_cast_implicitly": _can_cast, "cast_to_type": _cast_to_type, "replace_type": _replace_type,
    "invoke": _invoke, "current_query": _current_query, "current_schemas": _current_schemas, "switch": _switch,
}  # fmt: skip
