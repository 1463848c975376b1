"""Functions that change the shape of lists: flattened, zipped, selected, resized, joined to a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BOOL, INT, TEXT, Types, by_row, constant, is_list
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.lists import (
    I32,
    counts_of,
    element_type,
    list_column,
    parents_of,
    put_together,
    starts_of,
    taken_apart,
)
from sqlengine.functions.moves import column
from sqlengine.kernels.lists import spans
from sqlengine.settings import Settings


def _flatten_types(args: Sequence[Expr]) -> Types:
    if (
        len(args) != 1
        or not is_list(args[0].type)
        or not (is_list(args[0].type.value_type) or pa.types.is_null(args[0].type.value_type))
    ):
        raise NoMatch("it takes a list of lists")
    inner = args[0].type.value_type
    type_ = pa.list_(inner.value_type) if is_list(inner) else pa.list_(I32)
    return (pa.list_(type_),), type_


@scalar("flatten", _flatten_types, "The elements of the lists in a list.", category="list")
def _flatten(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    outer, inner = taken_apart(lists)
    counts = counts_of(inner)
    ends = pa.concat_arrays([pa.array([0], INT), pc.cumulative_sum(counts)])
    first = starts_of(outer)
    total = pc.subtract(ends.take(pc.add(first, outer)), ends.take(first))
    return put_together(total, pc.list_flatten(inner), lists.is_valid(), call.type)


def _zip_types(args: Sequence[Expr]) -> Types:
    lists = list(args)
    if lists and pa.types.is_boolean(lists[-1].type):
        lists = lists[:-1]
    if not lists:
        raise NoMatch("it takes lists")
    types = [a.type if is_list(a.type) else pa.list_(I32) for a in lists]
    pair = pa.struct([pa.field(f"element{i}", element_type(a)) for i, a in enumerate(lists, 1)])
    return types + [BOOL] * (len(args) - len(lists)), pa.list_(pair)


@scalar("list_zip", _zip_types, "Elements of several lists side by side, as structs.", category="list",
        aliases=("array_zip",), strict=False)  # fmt: skip
def _list_zip(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    cut = False
    if pa.types.is_boolean(args[-1].type):
        cut, args = bool(constant(args[-1])), args[:-1]
    lists = [list_column(a, rows) for a in args]
    counts = [counts_of(c) for c in lists]
    total = pc.min_element_wise(*counts) if cut else pc.max_element_wise(*counts)
    parents = parents_of(total)
    at = spans(pa.repeat(pa.scalar(0, INT), rows), total, pa.repeat(pa.scalar(1, INT), rows))
    children = []
    for c, n in zip(lists, counts, strict=True):
        inside = pc.less(at, n.take(parents))
        places = pc.if_else(inside, pc.add(starts_of(n).take(parents), at), pa.scalar(None, INT))
        children.append(pc.list_flatten(c).take(places))
    values = pa.StructArray.from_arrays(children, fields=list(call.type.value_type))
    return put_together(total, values, None, call.type)


def _select_types(kind: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2:
            raise NoMatch("it takes two lists")
        type_ = pa.list_(element_type(args[0]))
        return (type_, pa.list_(kind)), type_

    return infer


@scalar("list_select", _select_types(INT), "The elements at the given positions.", category="list",
        aliases=("array_select",))  # fmt: skip
def _list_select(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(items: list[Any], places: list[int | None]) -> list[Any]:
        return [items[p - 1] if p is not None and 1 <= p <= len(items) else None for p in places]

    return by_row(one, args, rows, call.type)


@scalar("list_where", _select_types(BOOL), "The elements where the second list is true.", category="list",
        aliases=("array_where",))  # fmt: skip
def _list_where(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(items: list[Any], flags: list[bool | None]) -> list[Any]:
        if None in flags:
            raise DataError("the second list of list_where has a NULL", code="invalid_argument", location=call.location)
        return [items[i] if i < len(items) else None for i, keep in enumerate(flags) if keep]

    return by_row(one, args, rows, call.type)


def _resize_types(args: Sequence[Expr]) -> Types:
    if len(args) not in (2, 3):
        raise NoMatch("it takes a list, a length and what to fill with")
    type_ = element_type(args[0])
    return [pa.list_(type_), INT, type_][: len(args)], pa.list_(type_)


@scalar("list_resize", _resize_types, "The list cut or filled to a length.", category="list", aliases=("array_resize",),
        strict=False)  # fmt: skip
def _list_resize(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    columns = [column(a, rows).to_pylist() for a in args]
    fills = columns[2] if len(args) == 3 else [None] * rows
    results = []
    for items, size, fill in zip(columns[0], columns[1], fills, strict=True):
        results.append(None if items is None else (items + [fill] * ((size or 0) - len(items)))[: size or 0])
    return pa.array(results, call.type)


def _text_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a list and what to put between")
    element_type(args[0])
    return (pa.list_(TEXT), TEXT), TEXT


@scalar("array_to_string", _text_types, "The elements as one text.", category="list", aliases=("list_to_string",))
def _array_to_string(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    between = constant(args[1])

    def one(items: list[str | None], *mark: str) -> str | None:
        found = [item for item in items if item is not None]
        # A list of nothing but NULLs has no text, as string_agg of them has none; an empty list has the empty one.
        return (mark[0] if mark else str(between)).join(found) if found or not items else None

    return by_row(one, args if between is None else args[:1], rows, TEXT)
