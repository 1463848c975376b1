"""Aggregates that need all values of a group: from rows grouped side by side to one value per group.

`group_values` is what `SortedAggregate` and general window frames share. Rows come with the (ascending) number of their
group; FILTER, ORDER BY and DISTINCT are applied here, then the function. A function with a mergeable state runs through
that state, so that every aggregate works with every modifier.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.expr.nodes import AggregateCall
from sqlengine.expr.registry import register_group_aggregate
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.aggregate_spec import HASH_AGGREGATES, AggregateSpec, State
from sqlengine.runtime.sort_column import SortColumn

_KEEPS_NULLS = frozenset({"list", "array_agg", "first", "last", "count_star", "arg_min_null", "arg_max_null"})
_SORTED_BY_VALUE = frozenset({"median", "quantile_cont", "quantile_disc", "quantile", "mad", "histogram"})


def group_values(spec: AggregateSpec, batch: pa.RecordBatch, groups: pa.Array, count: int) -> pa.Array:
    """The call for `count` groups: `groups` (int32, ascending) numbers the group of each row of `batch`."""
    if spec.filter is not None:
        keep = pc.fill_null(batch.column(spec.filter), False)
        batch, groups = batch.filter(keep), groups.filter(keep)
    if spec.args and spec.name not in _KEEPS_NULLS:
        keep = batch.column(spec.args[0]).is_valid()
        if spec.name in ("arg_min", "arg_max", "min_by", "max_by"):
            keep = pc.and_(keep, batch.column(spec.args[1]).is_valid())
        batch, groups = batch.filter(keep), groups.filter(keep)
    if spec.order_by:
        batch, groups = _reordered(batch, groups, spec.order_by)
    if spec.distinct and spec.args:
        batch, groups = _distinct(batch, groups, spec.args)
    if spec.name in _SORTED_BY_VALUE:
        # WITHIN GROUP (ORDER BY x DESC) counts from the greatest.
        down = any(by.key == spec.args[0] and by.descending for by in spec.order_by[:1])
        batch, groups = _reordered(batch, groups, (SortColumn(spec.args[0], down),))
    values = [batch.column(key) for key in spec.args]
    if spec.name in ("first", "last"):
        return _edge(values[0], groups, count, spec.name == "last")
    if spec.name in HASH_AGGREGATES and not _is_nested_extreme(spec):
        state = State(replace(spec, filter=None, distinct=False, order_by=()))
        state.update(batch, groups, count)
        return state.results(count)
    offsets = _offsets(groups, count)
    match spec.name:
        case "list" | "array_agg":
            empty = [offsets[i] == offsets[i + 1] for i in range(count)]
            return pa.ListArray.from_arrays(
                pa.array(offsets, pa.int32()), values[0], type=spec.type, mask=pa.array(empty, pa.bool_())
            )
        case "string_agg" | "group_concat" | "listagg":
            return _joined_texts(spec, values, offsets, count)
        case "any_value":
            return _edge(values[0], groups, count, last=False)
        case "min" | "max" | "arg_min" | "arg_max" | "arg_min_null" | "arg_max_null" | "min_by" | "max_by":
            return _extreme(spec, values, offsets, count)
    make = _FUNCTIONS.get(spec.name)
    if make is None:
        raise NotSupportedError(f"the aggregate {spec.name} is not supported with ORDER BY, DISTINCT or a window frame")
    parameter = _parameter(spec, values)
    items = values[0].to_pylist()
    nothing = 0.0 if spec.name == "entropy" else None
    results = [
        make(items[offsets[i] : offsets[i + 1]], parameter) if offsets[i] < offsets[i + 1] else nothing
        for i in range(count)
    ]
    return pa.array([_fitted(value, spec.type) for value in results], spec.type)


def _of_columns(call: AggregateCall, columns: Sequence[pa.Array], groups: pa.Array, count: int) -> pa.Array:
    names = tuple(f"arg{i}" for i in range(len(columns)))
    spec = AggregateSpec(
        "count_star" if call.name == "count" and not call.args else call.name,
        "value",
        names,
        tuple(column.type for column in columns),
        call.type,
        distinct=call.distinct,
        options=call.options,
    )
    return group_values(spec, pa.RecordBatch.from_arrays(list(columns), list(names)), groups, count)


register_group_aggregate(_of_columns)


def _is_nested_extreme(spec: AggregateSpec) -> bool:
    t = pa.types
    return spec.name in ("min", "max", "any_value") and bool(
        len(spec.args) > 1
        or t.is_nested(spec.arg_types[0])
        or t.is_interval(spec.arg_types[0])
        or t.is_null(spec.arg_types[0])
    )


def _reordered(batch: pa.RecordBatch, groups: pa.Array, by: tuple[SortColumn, ...]) -> tuple[pa.RecordBatch, pa.Array]:
    columns = [groups, *(batch.column(c.key) for c in by)]
    keys = SortKeys(columns, [False, *(c.descending for c in by)], [False, *(c.nulls_first for c in by)])
    order = keys.order()
    return batch.take(order), groups.take(order)


def _distinct(batch: pa.RecordBatch, groups: pa.Array, args: tuple[str, ...]) -> tuple[pa.RecordBatch, pa.Array]:
    """One row (the first) for each value of the arguments in each group, in the order of the rows."""
    columns = [groups, *(batch.column(key) for key in args)]
    flags = [False] * len(columns)
    order = SortKeys(columns, flags, flags).order()
    starts = SortKeys([column.take(order) for column in columns], flags, flags).starts()
    kept = order.take(starts)
    kept = kept.take(SortKeys([kept], [False], [False]).order())
    return batch.take(kept), groups.take(kept)


def _offsets(groups: pa.Array, count: int) -> list[int]:
    keys = SortKeys([groups], [False], [False])
    wanted = SortKeys([pa.array(range(count), groups.type)], [False], [False])
    n = len(groups)
    first = pa.array([0] * count, pa.int64())
    found: list[int] = keys.search(wanted, first, pa.array([n] * count, pa.int64()), False).to_pylist()
    return [*found, n]


def _edge(values: pa.Array, groups: pa.Array, count: int, last: bool) -> pa.Array:
    offsets = _offsets(groups, count)
    rows = [
        None if offsets[i] == offsets[i + 1] else (offsets[i + 1] - 1 if last else offsets[i]) for i in range(count)
    ]
    return values.take(pa.array(rows, pa.int64()))


def _extreme(spec: AggregateSpec, values: list[pa.Array], offsets: list[int], count: int) -> pa.Array:
    """min/max of nested values, and the argument at the extreme of another; the first of equals."""
    if len(values) > 2 or (len(values) == 2 and spec.name in ("min", "max")):
        raise NotSupportedError(f"{spec.name} with a number of results is not supported")
    measured = values[-1]
    greatest = spec.name in ("max", "arg_max", "arg_max_null", "max_by")
    order = SortKeys([measured], [greatest], [False]).order().to_pylist()
    place = [0] * len(order)
    for rank, row in enumerate(order):
        place[row] = rank
    valid = measured.is_valid().to_pylist()
    rows = []
    for i in range(count):
        candidates = [row for row in range(offsets[i], offsets[i + 1]) if valid[row]]
        rows.append(min(candidates, key=place.__getitem__) if candidates else None)
    return values[0].take(pa.array(rows, pa.int64()))


def _joined_texts(spec: AggregateSpec, values: list[pa.Array], offsets: list[int], count: int) -> pa.Array:
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values[0].cast(pa.string()))
    if len(values) > 1:
        between = (
            values[1]
            .cast(pa.string())
            .take(pa.array([offsets[i] if offsets[i] < offsets[i + 1] else None for i in range(count)], pa.int64()))
        )
    else:
        between = pa.scalar(str(dict(spec.options).get("separator", ",")))
    texts = pc.binary_join(lists, between)
    empty = pa.array([offsets[i] == offsets[i + 1] for i in range(count)], pa.bool_())
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts)


def _parameter(spec: AggregateSpec, values: list[pa.Array]) -> Any:
    """The second argument, which SQL wants to be constant: of the first row."""
    if len(values) > 1:
        return values[1][0].as_py() if len(values[1]) else None
    options = dict(spec.options)
    return options.get("quantile", options.get("q", 0.5))


def _between(low: Any, high: Any, share: float) -> Any:
    """Linear interpolation that works for numbers, dates and times."""
    if share == 0 or low == high:
        return low
    if isinstance(low, decimal.Decimal):
        return low + (high - low) * decimal.Decimal(repr(share))
    if isinstance(low, datetime.date) and not isinstance(low, datetime.datetime):
        midnight = datetime.time()
        low, high = datetime.datetime.combine(low, midnight), datetime.datetime.combine(high, midnight)
    return low + (high - low) * share


def _quantile_cont(items: list[Any], q: Any) -> Any:
    if isinstance(q, list):
        return [_quantile_cont(items, one) for one in q]
    share = _share(q)
    at = share * (len(items) - 1)
    low = math.floor(at)
    return _between(items[low], items[min(low + 1, len(items) - 1)], at - low)


def _quantile_disc(items: list[Any], q: Any) -> Any:
    if isinstance(q, list):
        return [_quantile_disc(items, one) for one in q]
    return items[max(0, math.ceil(_share(q) * len(items)) - 1)]


def _share(q: Any) -> float:
    share = float(q)
    if not 0 <= share <= 1:
        raise DataError("a quantile must be between 0 and 1", code="out_of_range")
    return share


def _median(items: list[Any], _: Any) -> Any:
    if isinstance(items[0], str | bytes | bool):
        return _quantile_disc(items, 0.5)
    return _quantile_cont(items, 0.5)


def _mad(items: list[Any], _: Any) -> Any:
    middle = _quantile_cont(items, 0.5)
    return _quantile_cont(sorted(abs(item - middle) for item in items), 0.5)


def _counts(items: list[Any]) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return counts


def _mode(items: list[Any], _: Any) -> Any:
    counts = _counts(items)
    return max(counts, key=counts.__getitem__)


def _histogram(items: list[Any], _: Any) -> Any:
    return list(_counts(items).items())


def _entropy(items: list[Any], _: Any) -> float:
    n = len(items)
    return -sum(c / n * math.log2(c / n) for c in _counts(items).values()) or 0.0


_FUNCTIONS: dict[str, Callable[[list[Any], Any], Any]] = {
    "median": _median,
    "quantile_cont": _quantile_cont,
    "quantile_disc": _quantile_disc,
    "quantile": _quantile_disc,
    "mad": _mad,
    "mode": _mode,
    "histogram": _histogram,
    "entropy": _entropy,
}


def _fitted(value: Any, type_: pa.DataType) -> Any:
    """A Python value as the result type takes it."""
    if isinstance(value, list) and pa.types.is_list(type_):
        return [_fitted(item, type_.value_type) for item in value]
    if value is None:
        return None
    if pa.types.is_decimal(type_):
        return decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-type_.scale), decimal.ROUND_HALF_UP)
    if pa.types.is_floating(type_):
        return float(value)
    return value
