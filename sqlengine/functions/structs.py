"""Structs: making them, taking fields, changing them. Names of new fields come as the option `names` of the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.nodes import Call, Expr, Literal
from sqlengine.expr.overloads import BOOL, TEXT, Types
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.comparison import compare
from sqlengine.functions.moves import column
from sqlengine.settings import Settings


def _kept(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_null(type_) else type_


def _row_types(args: Sequence[Expr]) -> Types:
    types = [_kept(a.type) for a in args]
    return types, pa.struct([pa.field(f"element{i}", t) for i, t in enumerate(types, 1)])


@scalar("row", _row_types, "A struct of the arguments, without names.", category="struct", strict=False)
def _row(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pa.StructArray.from_arrays([column(a, rows) for a in args], fields=list(call.type))


def _pack_types(args: Sequence[Expr], options: dict[str, Any]) -> Types:
    names = options.get("names", ())
    if len(names) != len(args) or not names:
        raise NoMatch("name the fields: struct_pack(a := 1, b := 2)")
    if len({n.lower() for n in names}) < len(names):
        raise NoMatch("two fields have one name")
    types = [_kept(a.type) for a in args]
    return types, pa.struct([pa.field(n, t) for n, t in zip(names, types, strict=True)])


@scalar("struct_pack", _pack_types, "A struct of named fields.", category="struct", strict=False)
def _struct_pack(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pa.StructArray.from_arrays([column(a, rows) for a in args], fields=list(call.type))


def _struct(arg: Expr) -> list[pa.Field]:
    if not pa.types.is_struct(arg.type):
        raise NoMatch("it takes a struct")
    return list(arg.type)


def _changed_types(replace: bool) -> Any:
    def infer(args: Sequence[Expr], options: dict[str, Any]) -> Types:
        names = options.get("names", ())
        if not args or len(names) != len(args) - 1:
            raise NoMatch("it takes a struct and named values: f(s, a := 1)")
        fields = {f.name: f for f in _struct(args[0])}
        for name, arg in zip(names, args[1:], strict=True):
            if not replace and name in fields:
                raise NoMatch(f'the struct has a field "{name}" already')
            fields[name] = pa.field(name, _kept(arg.type))
        return [args[0].type, *(_kept(a.type) for a in args[1:])], pa.struct(list(fields.values()))

    return infer


def _changed(name: str, replace: bool, doc: str) -> None:
    @scalar(name, _changed_types(replace), doc, category="struct", strict=False)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        base = column(args[0], rows)
        columns = {f.name: pc.struct_field(base, i) for i, f in enumerate(base.type)}
        for field, value in zip(dict(call.options)["names"], args[1:], strict=True):
            columns[field] = column(value, rows)
        return pa.StructArray.from_arrays(list(columns.values()), fields=list(call.type))


_changed("struct_insert", False, "The struct with more fields.")
_changed("struct_update", True, "The struct with fields replaced or added.")


def _concat_types(args: Sequence[Expr]) -> Types:
    fields = [f for a in args for f in _struct(a)]
    if len({f.name for f in fields}) < len(fields):
        raise NoMatch("two fields have one name")
    return [a.type for a in args], pa.struct(fields)


@scalar("struct_concat", _concat_types, "The fields of several structs in one.", category="struct", strict=False)
def _struct_concat(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    columns = [pc.struct_field(column(a, rows), i) for a in args for i in range(a.type.num_fields)]
    return pa.StructArray.from_arrays(columns, fields=list(call.type))


def _extract_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2 or not isinstance(args[1], Literal):
        raise NoMatch("it takes a struct and the name (or the number) of a field")
    return (args[0].type, args[1].type), _field(args[0], args[1].value)[1].type


def _field(arg: Expr, name: Any) -> tuple[int, pa.Field]:
    fields = _struct(arg)
    if isinstance(name, int) and not isinstance(name, bool) and 1 <= name <= len(fields):
        return name - 1, fields[name - 1]
    by_name = [(field.name, str(name)) for field in fields]
    for pairs in (by_name, [(a.lower(), b.lower()) for a, b in by_name]):
        for at, (found, wanted) in enumerate(pairs):
            if found == wanted:
                return at, fields[at]
    raise NoMatch(f"the struct has no field {name!r}; fields: {', '.join(f.name for f in fields)}")


@scalar("struct_extract", _extract_types, "A field of a struct, by name or number.", category="struct",
        aliases=("struct_extract_at",))  # fmt: skip
def _struct_extract(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    at, _ = _field(call.args[0], args[1].as_py())
    return pc.struct_field(column(args[0], rows), at)


def _keys_types(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes a struct")
    _struct(args[0])
    return (args[0].type,), pa.list_(TEXT)


@scalar("struct_keys", _keys_types, "The names of a struct's fields.", category="struct")
def _struct_keys(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    names = pa.array([[f.name for f in args[0].type]], call.type)
    valid = column(args[0], rows).is_valid()
    return names.take(pc.if_else(valid, 0, pa.scalar(None, pa.int32())))


def _values_types(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes a struct")
    fields = _struct(args[0])
    return (args[0].type,), pa.struct([pa.field(f"element{i}", f.type) for i, f in enumerate(fields, 1)])


@scalar("struct_values", _values_types, "The struct without names.", category="struct")
def _struct_values(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    base = column(args[0], rows)
    columns = [pc.struct_field(base, i) for i in range(base.type.num_fields)]
    return pa.StructArray.from_arrays(columns, fields=list(call.type), mask=base.is_null())


def _contains_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a struct and a value")
    if any(f.type != args[1].type for f in _struct(args[0])):
        raise NoMatch("the fields and the value need one type")
    return (args[0].type, args[1].type), BOOL


@scalar("struct_contains", _contains_types, "Whether a field of the struct has the value.", category="struct",
        aliases=("struct_has",))  # fmt: skip
def _struct_contains(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    base = column(args[0], rows)
    found: Any = pa.repeat(pa.scalar(False), rows)
    for at in range(base.type.num_fields):
        same = compare("eq", pc.struct_field(base, at), args[1], rows)
        found = pc.or_(found, pc.fill_null(same, False))
    return pc.if_else(base.is_valid(), found, pa.scalar(None, BOOL))


@scalar("struct_position", lambda args: (_contains_types(args)[0], pa.int32()),
        "The number of the struct's first field that has the value, NULL if none has.", category="struct",
        aliases=("struct_indexof",))  # fmt: skip
def _struct_position(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    base = column(args[0], rows)
    found: Any = pa.nulls(rows, pa.int32())
    for at in range(base.type.num_fields):
        field = pc.struct_field(base, at)
        if field.type == args[1].type:
            hit = pc.fill_null(compare("eq", field, args[1], rows), False)
            found = pc.if_else(pc.and_(hit, found.is_null()), pa.scalar(at + 1, pa.int32()), found)
    return pc.if_else(base.is_valid(), found, pa.scalar(None, pa.int32()))
