"""Binding of calls by name: named arguments, lambdas, list comprehensions, subscripts and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, InterfaceError, Location, NotSupportedError
from sqlengine.expr.coercion import cast_to, common_of
from sqlengine.expr.nodes import Call, ColumnRef, Expr, Lambda, Literal, OuterRef, literal
from sqlengine.expr.registry import find_scalar
from sqlengine.sql.special_calls import SPECIAL_CALLS
from sqlengine.sql.subquery_exprs import bind_array_subquery
from sqlengine.tree import walk
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder

_WITH_LAMBDA = {"list_transform", "list_filter", "list_reduce", "map_filter", "map_transform"}
# Functions of the time at which the statement began.
CLOCKS = frozenset({"now", "current_date", "current_localtime", "current_localtimestamp"})
_NAMED_FIELDS = {"struct_pack", "struct_insert", "struct_update"}


def bind_named_call(binder: ExpressionBinder, node: exp.Anonymous, location: Location | None) -> Expr:
    """`name(arguments)` of a scalar function."""
    name = node.name.lower()
    if name in SPECIAL_CALLS:
        return SPECIAL_CALLS[name](binder, list(node.expressions), location)
    entry = find_scalar(name)
    canonical = entry.name if entry is not None else name
    nodes = list(node.expressions)
    if canonical in _WITH_LAMBDA and len(nodes) > 1 and isinstance(nodes[1], exp.Lambda):
        return _with_lambda(binder, canonical, nodes, location)
    if len(nodes) == 1 and isinstance(nodes[0], exp.Query) and name == "array":
        return bind_array_subquery(binder, nodes[0], location)
    if canonical == "current_setting":
        return _setting(binder, nodes, location)
    args: list[Expr] = []
    names: list[str] = []
    for item in nodes:
        if isinstance(item, exp.PropertyEQ | exp.Kwarg | exp.Alias):
            value = item.this if isinstance(item, exp.Alias) else item.expression
            names.append(item.alias if isinstance(item, exp.Alias) else item.this.name)
            args.append(binder.bind(value))
        else:
            args.append(binder.bind(item))
            if canonical == "struct_pack" and item.output_name:
                names.append(item.output_name)  # a column gives its name
    if names and canonical not in _NAMED_FIELDS:
        raise BindError(
            f"{name}() takes no named arguments", code="no_matching_overload", hint="give the arguments in order",
            location=location,
        )  # fmt: skip
    if canonical == "age" and len(args) == 1:
        args.insert(0, cast_to(binder.call("current_date", [], location), pa.timestamp("us")))
    if canonical == "typeof" and len(args) == 1:
        return literal(sql_name(args[0].type))  # known without computing the value
    options: tuple[tuple[str, Any], ...] = (("names", tuple(names)),) if canonical in _NAMED_FIELDS else ()
    # `/` is the operator; the function of its name divides whole numbers.
    return binder.call("int_divide" if name == "divide" else name, args, location, options)


def _setting(binder: ExpressionBinder, nodes: list[exp.Expression], location: Location | None) -> Expr:
    from sqlengine.settings import setting_field

    if len(nodes) != 1 or not isinstance(nodes[0], exp.Literal):
        raise BindError("current_setting takes the name of a setting", code="no_matching_overload", location=location)
    try:
        found = setting_field(nodes[0].name)
    except InterfaceError as error:
        raise BindError(error.message, code=error.code, hint=error.hint, location=location) from None
    value = getattr(binder.binder.context.settings, found.name)
    return literal(", ".join(value) if isinstance(value, tuple) else value)


def field_of(value: Expr, name: str, location: Location | None) -> Expr:
    """The field of a struct by name."""
    if not pa.types.is_struct(value.type):
        raise BindError(
            f'cannot take the field "{name}" of {sql_name(value.type)}', code="not_a_struct",
            hint="only structs have fields", location=location,
        )  # fmt: skip
    found = [f for f in value.type if f.name == name] or [f for f in value.type if f.name.lower() == name.lower()]
    if not found:
        raise BindError(
            f'the struct has no field "{name}"', code="field_not_found",
            hint=f"fields: {', '.join(f.name for f in value.type)}", location=location,
        )  # fmt: skip
    return Call(found[0].type, "struct_extract", (value, literal(found[0].name)), (), location)


def from_list(binder: ExpressionBinder, value: Expr, index: Expr, location: Location | None) -> Expr:
    """`value[index]` of a list, map, struct or text."""
    t = pa.types
    if t.is_struct(value.type):
        if isinstance(index, Literal) and isinstance(index.value, str):
            return field_of(value, index.value, location)
        if isinstance(index, Literal) and isinstance(index.value, int) and 1 <= index.value <= value.type.num_fields:
            return field_of(value, value.type.field(index.value - 1).name, location)
        raise BindError("a struct's field is named by a constant", code="not_a_struct", location=location)
    return binder.call("map_extract_value" if t.is_map(value.type) else "list_extract", [value, index], location)


def _lambda(
    binder: ExpressionBinder, names: list[str], types: list[pa.DataType], body: exp.Expression, boolean: bool = False
) -> Lambda:
    keys = binder.binder.keys
    params = tuple((keys.make(name), type_) for name, type_ in zip(names, types, strict=False))
    known = {name.lower(): ColumnRef(type_, key) for name, (key, type_) in zip(names, params, strict=True)}
    inner = binder.with_locals(known)
    value = inner.boolean(body) if boolean else inner.bind(body)
    if any(isinstance(e, OuterRef) for e in walk(value)):
        raise NotSupportedError("a lambda that reads a column of an enclosing query is not supported")
    return Lambda(value.type, params, value)


def _element(value: Expr, name: str, location: Location | None) -> pa.DataType:
    t = pa.types
    if not (t.is_list(value.type) or t.is_fixed_size_list(value.type)):
        raise BindError(
            f"{name}() takes a list, this is {sql_name(value.type)}", code="no_matching_overload", location=location
        )
    return value.type.value_type


def _with_lambda(binder: ExpressionBinder, name: str, nodes: list[exp.Expression], location: Location | None) -> Expr:
    """`list_transform(list, x -> ...)` and its kin: parameters get their types from the list."""
    value = binder.bind(nodes[0])
    function = nodes[1]
    assert isinstance(function, exp.Lambda)
    names = [item.name for item in function.expressions]
    if name.startswith("map_"):
        raise NotSupportedError(f"{name} with a lambda is not supported", location=location)
    if pa.types.is_null(value.type):
        return value
    element = _element(value, name, location)
    if pa.types.is_null(element):
        element = pa.int32()
    index = pa.int64()
    most = 3 if name == "list_reduce" else 2
    if not (2 if name == "list_reduce" else 1) <= len(names) <= most:
        raise BindError(
            f"the lambda of {name} takes at most {most} parameters", code="lambda_parameters", location=location
        )
    if name == "list_reduce":
        first = [binder.bind(nodes[2])] if len(nodes) > 2 else []
        state = first[0].type if first else element
        made = _lambda(binder, names, [state, element, index], function.this)
        wider = common_of([ColumnRef(state, ""), ColumnRef(made.body.type, "")])
        if wider is None:
            raise BindError(
                f"the lambda gives {sql_name(made.type)}, the value so far is {sql_name(state)}", code="type_mismatch",
                hint="cast one of them", location=location,
            )  # fmt: skip
        if wider != state:
            made = _lambda(binder, names, [wider, element, index], function.this)
        made = Lambda(wider, made.params, cast_to(made.body, wider))
        return binder.call(name, [value, made, *(cast_to(f, wider) for f in first)], location)
    made = _lambda(binder, names, [element, index], function.this, boolean=name == "list_filter")
    return binder.call(name, [value, made], location)


def from_comprehension(binder: ExpressionBinder, node: exp.Comprehension) -> Expr:
    """`[x + i for x, i in list if x > 0]`; the position counts all elements, also those that the condition drops."""
    location = binder.text.of(node)
    value = binder.bind(node.args["iterator"])
    element = _element(value, "a list comprehension", location)
    position, condition = node.args.get("position"), node.args.get("condition")
    names = [node.expression.name, *([position.name] if position is not None else [])]
    types = [element, pa.int64()]
    if condition is None:
        return binder.call("list_transform", [value, _lambda(binder, names, types, node.this)], location)
    if position is None:
        kept = binder.call("list_filter", [value, _lambda(binder, names, types, condition, boolean=True)], location)
        return binder.call("list_transform", [kept, _lambda(binder, names, types, node.this)], location)
    both = exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier("keep"), expression=condition.copy()),
            exp.PropertyEQ(this=exp.to_identifier("value"), expression=node.this.copy()),
        ]
    )
    pairs = binder.call("list_transform", [value, _lambda(binder, names, types, both)], location)
    pair = pairs.type.value_type
    item = exp.Dot(this=exp.to_identifier("pair"), expression=exp.to_identifier("keep"))
    kept = binder.call("list_filter", [pairs, _lambda(binder, ["pair"], [pair], item, boolean=True)], location)
    item = exp.Dot(this=exp.to_identifier("pair"), expression=exp.to_identifier("value"))
    return binder.call("list_transform", [kept, _lambda(binder, ["pair"], [pair], item)], location)
