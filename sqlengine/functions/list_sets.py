"""Functions of lists that put elements in order or take lists for sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BOOL, INT, TEXT, Types, by_row, constant
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.lists import (
    counts_per_row,
    element_type,
    list_column,
    lists_only,
    one_list,
    parents_of,
    put_together,
    starts_of,
    taken_apart,
)
from sqlengine.functions.moves import column
from sqlengine.kernels.sorting import SortKeys
from sqlengine.settings import Settings


def _sort_types(args: Sequence[Expr]) -> Types:
    if not 1 <= len(args) <= 3:
        raise NoMatch("it takes a list, an order and the place of NULLs")
    type_ = pa.list_(element_type(args[0]))
    return (type_, *[TEXT] * (len(args) - 1)), type_


def _wanted_order(args: list[Any], settings: Settings, reverse: bool) -> tuple[bool, bool]:
    """Whether descending, and whether NULLs come first."""
    words = [str(constant(a) or "").upper() for a in args[1:]]
    default = settings.default_null_order
    if reverse:
        down = settings.default_order != "desc"
        nulls = words[0] if words else ""
    else:
        down = (words[0] if words else settings.default_order.upper()).startswith("DESC")
        nulls = words[1] if len(words) > 1 else ""
    if nulls:
        return down, nulls == "NULLS FIRST"
    by_order = "nulls_last_on_asc_first_on_desc" if down else "nulls_first_on_asc_last_on_desc"
    return down, default in ("nulls_first", by_order)


def _sorted(name: str, reverse: bool, aliases: tuple[str, ...], doc: str) -> None:
    @scalar(name, _sort_types, doc, category="list", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        lists = list_column(args[0], rows)
        counts, values = taken_apart(lists)
        down, first = _wanted_order(args, settings, reverse)
        places = SortKeys([parents_of(counts), values], [False, down], [False, first]).order()
        return put_together(counts, values.take(places), lists.is_valid(), call.type)


_sorted("list_sort", False, ("array_sort",), "The elements in order.")
_sorted("list_reverse_sort", True, ("array_reverse_sort",), "The elements in reverse order.")


def _grade_types(args: Sequence[Expr]) -> Types:
    return _sort_types(args)[0], pa.list_(INT)


@scalar("list_grade_up", _grade_types, "Positions of the elements in order.", category="list",
        aliases=("array_grade_up", "grade_up"))  # fmt: skip
def _grade_up(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    down, first = _wanted_order(args, settings, False)
    places = SortKeys([parents_of(counts), values], [False, down], [False, first]).order().cast(INT)
    starts = starts_of(counts).take(parents_of(counts))
    return put_together(counts, pc.add(pc.subtract(places, starts), 1), lists.is_valid(), call.type)


def _without_doubles(lists: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """For each row the distinct elements that are not NULL, in the order of first places: their rows and values."""
    counts, values = taken_apart(lists)
    keep = values.is_valid()
    parents, values = parents_of(counts).filter(keep), values.filter(keep)
    if not len(values):
        return parents, values
    order_ = SortKeys([parents, values], [False, False], [False, False]).order()
    starts = SortKeys([parents.take(order_), values.take(order_)], [False] * 2, [False] * 2).starts()
    kept = pc.array_sort_indices(order_.take(starts))
    kept = order_.take(starts).take(kept)
    return parents.take(kept), values.take(kept)


@scalar(
    "list_distinct", one_list, "The elements without NULLs and doubles.", category="list", aliases=("array_distinct",)
)
def _list_distinct(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    parents, values = _without_doubles(lists)
    return put_together(counts_per_row(parents, rows), values, lists.is_valid(), call.type)


@scalar("list_unique", lambda args: (one_list(args)[0], pa.uint64()), "How many different elements.", category="list",
        aliases=("array_unique",))  # fmt: skip
def _list_unique(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts = counts_per_row(_without_doubles(lists)[0], rows).cast(pa.uint64())
    return pc.if_else(lists.is_valid(), counts, pa.scalar(None, pa.uint64()))


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_known, value))
    return repr(value) if isinstance(value, dict) or value != value else value


def _has_any(a: list[Any], b: list[Any]) -> bool:
    return bool({_known(x) for x in a if x is not None} & {_known(x) for x in b if x is not None})


def _has_all(a: list[Any], b: list[Any]) -> bool:
    return {_known(x) for x in b if x is not None} <= {_known(x) for x in a if x is not None}


@scalar("list_has_any", lists_only(BOOL), "Whether two lists share an element.", category="list",
        aliases=("array_has_any",))  # fmt: skip
def _list_has_any(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_has_any, args, rows, BOOL)


@scalar("list_contained_by", lists_only(BOOL), "Whether another list has all elements of a list.", category="list")
def _list_contained_by(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_has_all, args[::-1], rows, BOOL)


@scalar("list_has_all", lists_only(BOOL), "Whether a list has all elements of another.", category="list",
        aliases=("array_has_all",))  # fmt: skip
def _list_has_all(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_has_all, args, rows, BOOL)


@scalar("list_intersect", lists_only(None), "The elements that both lists have.", category="list",
        aliases=("array_intersect",), strict=False)  # fmt: skip
def _list_intersect(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(a: list[Any] | None, b: list[Any] | None) -> list[Any] | None:
        if a is None:
            return None
        there = {_known(x) for x in b or () if x is not None}
        return list({_known(x): x for x in a if x is not None and _known(x) in there}.values())

    pairs = zip(*(column(a, rows).to_pylist() for a in args), strict=True)
    return pa.array([one(a, b) for a, b in pairs], call.type)
