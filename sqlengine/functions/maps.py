"""Maps: keys and values side by side; a key occurs once and is not NULL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import common_of, common_type
from sqlengine.expr.nodes import Call, ColumnRef, Expr
from sqlengine.expr.overloads import BOOL, INT, Types, by_row, is_list
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.comparison import compare
from sqlengine.functions.lists import element_type, list_column, parents_of, put_together, starts_of, taken_apart
from sqlengine.functions.moves import column
from sqlengine.kernels.lists import first_hits
from sqlengine.kernels.sorting import SortKeys
from sqlengine.settings import Settings
from sqlengine.types import sql_name

_I32 = pa.int32()


def entries(value: Any, rows: int) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """A map column as counts per row, all keys, all items, and which rows are not NULL."""
    maps = column(value, rows)
    counts = pc.if_else(maps.is_valid(), pc.subtract(maps.offsets[1:], maps.offsets[:-1]), 0).cast(INT)
    if maps.null_count or maps.offset:
        pairs = maps.filter(maps.is_valid())
        first, last = (pairs.offsets[0].as_py(), pairs.offsets[-1].as_py()) if len(pairs) else (0, 0)
        return counts, pairs.keys[first:last], pairs.items[first:last], maps.is_valid()
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    return counts, maps.keys[first:last], maps.items[first:last], maps.is_valid()


def made_map(counts: pa.Array, keys: pa.Array, items: pa.Array, valid: pa.Array | None, type_: pa.DataType) -> pa.Array:
    """Maps of so many entries each; NULL where `valid` is false; an error for a NULL key or one that occurs twice."""
    if keys.null_count:
        raise DataError("a key of a map is NULL", code="invalid_map_key")
    if len(keys) > 1:
        both = [parents_of(counts), keys]
        order = SortKeys(both, [False, False], [False, False]).order()
        if len(SortKeys([c.take(order) for c in both], [False, False], [False, False]).starts()) < len(keys):
            raise DataError("a key occurs twice in a map", code="invalid_map_key")
    ends = pc.cumulative_sum(counts).cast(_I32)
    offsets = pa.concat_arrays([pa.array([0], _I32), ends])
    if valid is not None and not (pc.all(valid).as_py() is not False):
        missing = pa.concat_arrays([pc.invert(valid), pa.array([False])])
        offsets = pc.if_else(missing, pa.scalar(None, _I32), offsets)
    return pa.MapArray.from_arrays(offsets, keys, items, type=type_)


def _map_types(args: Sequence[Expr]) -> Types:
    if not args:
        return [], pa.map_(_I32, _I32)
    if len(args) != 2:
        raise NoMatch("it takes a list of keys and a list of values")
    key, item = element_type(args[0]), element_type(args[1])
    return (pa.list_(key), pa.list_(item)), pa.map_(key, item)


@scalar("map", _map_types, "A map of a list of keys and a list of values.", category="map")
def _map(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not args:
        return pa.array([[]] * rows, call.type)
    keys, items = (list_column(a, rows) for a in args)
    valid = pc.and_(keys.is_valid(), items.is_valid())
    if not pc.all(valid).as_py():
        keys, items = (pc.if_else(valid, c, pa.scalar(None, c.type)) for c in (keys, items))
    (counts, flat), (others, values) = taken_apart(keys), taken_apart(items)
    if pc.any(pc.not_equal(counts, others)).as_py():
        raise DataError("a map needs as many keys as values", code="invalid_argument")
    return made_map(counts, flat, values, valid, call.type)


def _entries_types(args: Sequence[Expr]) -> Types:
    t = pa.types
    if len(args) != 1 or not is_list(args[0].type) or not t.is_struct(args[0].type.value_type):
        raise NoMatch("it takes a list of structs of a key and a value")
    pair = args[0].type.value_type
    if pair.num_fields != 2:
        raise NoMatch("it takes a list of structs of a key and a value")
    return (args[0].type,), pa.map_(pair.field(0).type, pair.field(1).type)


@scalar("map_from_entries", _entries_types, "A map of a list of pairs.", category="map")
def _map_from_entries(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, pairs = taken_apart(lists)
    return made_map(counts, pc.struct_field(pairs, 0), pc.struct_field(pairs, 1), lists.is_valid(), call.type)


def _a_map(arg: Expr) -> pa.DataType:
    if not pa.types.is_map(arg.type):
        raise NoMatch(f"it takes a map, this is {sql_name(arg.type)}")
    return arg.type


def _by_key(args: Sequence[Expr]) -> tuple[pa.DataType, pa.DataType]:
    if len(args) != 2:
        raise NoMatch("it takes a map and a key")
    type_ = _a_map(args[0])
    wanted = common_of([ColumnRef(type_.key_type, ""), args[1]])
    if wanted is None:
        raise NoMatch(f"the keys are {sql_name(type_.key_type)}, not {sql_name(args[1].type)}")
    return pa.map_(wanted, type_.item_type), wanted


def _found(args: list[Any], rows: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    """For each row the place of the key among all entries (or NULL), the items, and which maps are known."""
    counts, keys, items, valid = entries(args[0], rows)
    if not len(keys):
        return pa.nulls(rows, INT), items, valid
    wanted = args[1] if isinstance(args[1], pa.Scalar) else args[1].take(parents_of(counts))
    places = first_hits(counts, pc.fill_null(compare("eq", keys, wanted, len(keys)), False))
    there = pc.greater_equal(places, 0)
    return pc.if_else(there, pc.add(starts_of(counts), places), pa.scalar(None, INT)), items, valid


@scalar("map_extract_value", lambda args: (_by_key(args), _a_map(args[0]).item_type), "The value of a key, or NULL.",
        category="map")  # fmt: skip
def _map_extract_value(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    places, items, _ = _found(args, rows)
    return items.take(places)


@scalar("map_extract", lambda args: (_by_key(args), pa.list_(_a_map(args[0]).item_type)),
        "A list of the value of a key; empty when it is not there.", category="map",
        aliases=("element_at",))  # fmt: skip
def _map_extract(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    places, items, valid = _found(args, rows)
    counts = places.is_valid().cast(pa.int8()).cast(INT)
    return put_together(counts, items.take(places.drop_null()), valid, call.type)


def _part_types(part: str) -> Any:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes a map")
        type_ = _a_map(args[0])
        gives = {
            "keys": type_.key_type, "values": type_.item_type,
            "entries": pa.struct([pa.field("key", type_.key_type), pa.field("value", type_.item_type)]),
        }[part]  # fmt: skip
        return (type_,), pa.list_(gives)

    return infer


@scalar("map_keys", _part_types("keys"), "The keys as a list.", category="map")
def _map_keys(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    counts, keys, _, valid = entries(args[0], rows)
    return put_together(counts, keys, valid, call.type)


@scalar("map_values", _part_types("values"), "The values as a list.", category="map")
def _map_values(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    counts, _, items, valid = entries(args[0], rows)
    return put_together(counts, items, valid, call.type)


@scalar("map_entries", _part_types("entries"), "Keys and values as a list of structs.", category="map")
def _map_entries(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    counts, keys, items, valid = entries(args[0], rows)
    pairs = pa.StructArray.from_arrays([keys, items], fields=list(call.type.value_type))
    return put_together(counts, pairs, valid, call.type)


@scalar("cardinality", lambda args: ((_a_map(args[0]),), pa.uint64()), "How many entries a map has.", category="map")
def _cardinality(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    counts, _, _, valid = entries(args[0], rows)
    return pc.if_else(valid, counts.cast(pa.uint64()), pa.scalar(None, pa.uint64()))


def _concat_types(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("it takes maps")
    type_ = _a_map(args[0])
    for arg in args[1:]:
        found = common_type(type_, _a_map(arg))
        if found is None:
            raise NoMatch("the maps have no common type")
        type_ = found
    return [type_] * len(args), type_


@scalar("map_concat", _concat_types, "Maps in one; a later value wins.", category="map", strict=False)
def _map_concat(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    results = []
    for row in zip(*(column(a, rows).to_pylist() for a in args), strict=True):
        known = [pairs for pairs in row if pairs is not None]
        results.append(list({k: v for pairs in known for k, v in pairs}.items()) if known else None)
    return pa.array(results, call.type)


def _value_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a map and a value")
    type_ = _a_map(args[0])
    return (type_, type_.item_type), BOOL


@scalar("map_contains_value", _value_types, "Whether a map has a value.", category="map")
def _map_contains_value(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda pairs, value: any(v == value for _, v in pairs), args, rows, BOOL)


def _entry_types(args: Sequence[Expr]) -> Types:
    if len(args) != 3:
        raise NoMatch("it takes a map, a key and a value")
    type_ = _a_map(args[0])
    return (type_, type_.key_type, type_.item_type), BOOL


@scalar("map_contains_entry", _entry_types, "Whether a map has a value under a key.", category="map")
def _map_contains_entry(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda pairs, key, value: any((k, v) == (key, value) for k, v in pairs), args, rows, BOOL)
