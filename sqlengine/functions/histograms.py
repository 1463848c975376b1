"""What is made of a histogram, the map of how often each value occurs: counts by bins, the most frequent, sets of bits.

Aggregates such as `histogram(x, bins)` are these functions of `histogram(x)`, which spills (see `sql.built_in_macros`).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.coercion import common_type
from sqlengine.expr.far_times import infinity_of, is_endless, numbers_of
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BOOL, INT, TEXT, Types, by_row, is_list
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.moves import column
from sqlengine.settings import Settings

_COUNT = pa.uint64()


def other_bin(type_: pa.DataType) -> Any:
    """The key under which values of no bin are counted: the greatest of the type, or what is empty there."""
    t = pa.types
    if t.is_integer(type_):
        return 2 ** (type_.bit_width - t.is_signed_integer(type_)) - 1
    if t.is_floating(type_):
        return float("inf")
    if t.is_string(type_):
        return ""
    return None


def _binned_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2 or not pa.types.is_map(args[0].type) or not is_list(args[1].type):
        raise NoMatch("it takes a value and a list of the upper ends of bins")
    key = common_type(args[0].type.key_type, args[1].type.value_type)
    if key is None or pa.types.is_nested(key):
        raise NoMatch("the values and the bins need one type")
    return (pa.map_(key, args[0].type.item_type), pa.list_(key)), pa.map_(key, _COUNT)


def _binned(name: str, exact: bool, doc: str) -> None:
    @scalar(name, _binned_types, doc, category="histogram")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        counts, ends = column(args[0], rows), column(args[1], rows)
        key = call.type.key_type
        endless = is_endless(key)
        result_keys: list[Any] = []
        result_counts: list[int] = []
        offsets: list[int | None] = []
        keys = numbers_of(counts.keys).to_pylist() if endless else counts.keys.to_pylist()
        flat = ends.values
        bins = numbers_of(flat).to_pylist() if endless else flat.to_pylist()
        numbers = counts.items.to_pylist()
        starts, bin_starts = counts.offsets.to_pylist(), ends.offsets.to_pylist()
        for row in range(rows):
            if not (counts[row].is_valid and ends[row].is_valid):
                offsets.append(None)
                continue
            offsets.append(len(result_keys))
            edges = bins[bin_starts[row] : bin_starts[row + 1]]
            if None in edges:
                raise DataError("a bin of histogram cannot be NULL", code="invalid_argument", location=call.location)
            edges = sorted(set(edges))
            found = [0] * (len(edges) + 1)
            for at in range(starts[row], starts[row + 1]):
                place = bisect.bisect_left(edges, keys[at])
                if exact and (place == len(edges) or edges[place] != keys[at]):
                    place = len(edges)
                found[place] += numbers[at]
            result_keys += edges
            result_counts += found[: len(edges)]
            if found[-1]:
                result_keys.append(infinity_of(key) if endless else other_bin(key))
                result_counts.append(found[-1])
        offsets.append(len(result_keys))
        raw = (pa.int32() if pa.types.is_date(key) else INT) if endless else key
        made = pa.array(result_keys, raw)
        return pa.MapArray.from_arrays(
            pa.array(offsets, pa.int32()), made.view(key) if endless else made, pa.array(result_counts, _COUNT),
            type=call.type,
        )  # fmt: skip


_binned("histogram_by_bins", False, "A histogram counted by bins, each up to its upper end; the rest under one key.")
_binned("histogram_by_values", True, "A histogram of some values only; the rest under one key.")


def _top_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2 or not pa.types.is_map(args[0].type):
        raise NoMatch("it takes a value and how many values to give")
    return (args[0].type, INT), pa.list_(args[0].type.key_type)


@scalar("most_frequent", _top_types, "The values of a histogram that occur most often.", category="histogram")
def _most_frequent(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(pairs: list[tuple[Any, int]], count: int) -> list[Any]:
        if not 0 < count <= 1_000_000:
            raise DataError("approx_top_k takes a number from 1 to 1000000", code="out_of_range")
        return [key for key, _ in sorted(pairs, key=lambda pair: -pair[1])[:count]]

    return by_row(one, args, rows, call.type)


def _set_types(args: Sequence[Expr]) -> Types:
    if len(args) != 3 or not pa.types.is_map(args[0].type) or not pa.types.is_integer(args[0].type.key_type):
        raise NoMatch("it takes whole numbers, and the least and the greatest of them")
    return (args[0].type, INT, INT), TEXT


@scalar("bits_of_values", _set_types, "Bits that say which whole numbers of a range a histogram has.",
        category="histogram")  # fmt: skip
def _bits_of_values(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(pairs: list[tuple[int, int]], low: int, high: int) -> str:
        if not 0 <= high - low < 1_000_000_000:
            raise DataError("the range of bitstring_agg is too large", code="out_of_range", location=call.location)
        bits = bytearray(b"0" * (high - low + 1))
        for value, _ in pairs:
            if not low <= value <= high:
                raise DataError(f"bitstring_agg: {value} is not from {low} to {high}", code="out_of_range",
                                location=call.location)  # fmt: skip
            bits[value - low] = ord("1")
        return bits.decode()

    return by_row(one, args, rows, TEXT)


def _any_one(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes one value")
    return (args[0].type,), BOOL


@scalar("is_histogram_other_bin", _any_one, "Whether a key of a histogram stands for the values of no bin.",
        category="histogram")  # fmt: skip
def _is_other_bin(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value = column(args[0], rows)
    if is_endless(value.type):
        numbers = numbers_of(value)
        return pc.equal(numbers, pa.scalar(infinity_of(value.type), numbers.type))
    other = other_bin(value.type)
    if other is None:
        return pc.if_else(value.is_valid(), False, pa.scalar(None, BOOL))
    return pc.equal(value, pa.scalar(other, value.type))
