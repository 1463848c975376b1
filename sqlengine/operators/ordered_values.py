"""Aggregates that need all values of a group: from rows grouped side by side to one value per group.

`group_values` is what `SortedAggregate` and general window frames share. Rows come with the (ascending) number of their
group; FILTER, ORDER BY and DISTINCT are applied here, then the function (`holistic`). A function with a mergeable state
runs through that state, so that every aggregate works with every modifier. `rows_that_count`, `call_order` and
`without_repeats` are the same steps for a group that is too large for one batch (`large_groups`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.nodes import AggregateCall
from sqlengine.expr.registry import register_group_aggregate
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.aggregate_spec import HASH_AGGREGATES, AggregateSpec, State
from sqlengine.operators.holistic import Groups, holistic_values
from sqlengine.operators.user_aggregate import user_function
from sqlengine.runtime.sort_column import SortColumn

_KEEPS_NULLS = frozenset({"list", "array_agg", "first", "last", "count_star", "arg_min_null", "arg_max_null",
                          "arg_min_nulls_last", "arg_max_nulls_last"})  # fmt: skip
_BY_VALUE = frozenset(
    {
        "median",
        "quantile_cont",
        "quantile_disc",
        "quantile",
        "approx_quantile",
        "reservoir_quantile",
        "mad",
        "histogram",
        "mode",
        "entropy",
    }
)
_ARG_EXTREMES = {
    "arg_min": False, "min_by": False, "arg_min_null": False, "arg_max": True, "max_by": True, "arg_max_null": True,
    "arg_min_nulls_last": False, "arg_max_nulls_last": True,
}  # fmt: skip
ROW = "row number"  # the place of a row in the input: of values that occur as often, `mode` is the first
_IN_ORDER = frozenset({"list", "array_agg", "string_agg", "group_concat", "listagg", "first", "last", "any_value"})


def group_values(spec: AggregateSpec, batch: pa.RecordBatch, groups: pa.Array, count: int) -> pa.Array:
    """The call for `count` groups: `groups` (int32, ascending) numbers the group of each row of `batch`."""
    keep = rows_that_count(spec, batch)
    if keep is not None:
        batch, groups = batch.filter(keep), groups.filter(keep)
    if spec.distinct and spec.args and not sorts_repeats(spec):
        batch, groups = _distinct(batch, groups, spec.args)
    order = call_order(spec)
    if spec.name == "mode":
        batch = batch.append_column(ROW, pa.arange(0, batch.num_rows))
    if order:
        batch, groups = _reordered(batch, groups, order)
    return ordered_group_values(spec, batch, groups, count)


def ordered_group_values(spec: AggregateSpec, batch: pa.RecordBatch, groups: pa.Array, count: int) -> pa.Array:
    """The same for rows that count, within their group in the order of the call."""
    if spec.distinct and spec.args and sorts_repeats(spec):
        columns = [groups, *(batch.column(key) for key in spec.args)]
        starts = SortKeys(columns, [False] * len(columns), [False] * len(columns)).starts()
        if len(starts) < batch.num_rows:
            batch, groups = batch.take(starts), groups.take(starts)
    if has_state(spec):
        state = State(replace(spec, filter=None, distinct=False, order_by=()))
        state.update(batch, groups, count)
        return state.results(count)
    keys = [*spec.args, ROW] if spec.name == "mode" else spec.args
    return holistic_values(spec, [batch.column(key) for key in keys], Groups(groups, count))


def has_state(spec: AggregateSpec) -> bool:
    """Whether the call, once its rows are chosen and in order, is a fold."""
    return (
        spec.name in HASH_AGGREGATES
        and spec.name not in ("first", "last")
        and spec.name not in _ARG_EXTREMES
        and not is_nested_extreme(spec)
    )


def rows_that_count(spec: AggregateSpec, batch: pa.RecordBatch) -> pa.Array | None:
    """Booleans without NULLs: which rows the call looks at (None: all)."""
    keep = None
    if spec.filter is not None:
        keep = pc.fill_null(batch.column(spec.filter), False)
    valued = []
    if spec.args and spec.name not in _KEEPS_NULLS and user_function(spec) is None:
        valued.append(spec.args[0])
    if spec.name in _ARG_EXTREMES and len(spec.args) > 1 and not spec.name.endswith("nulls_last"):
        valued.append(spec.args[1])
    for key in valued:
        column = batch.column(key)
        if column.null_count:
            keep = column.is_valid() if keep is None else pc.and_(keep, column.is_valid())
    return keep


def call_order(spec: AggregateSpec) -> tuple[SortColumn, ...]:
    """The order of a group's rows that the call wants; () where it makes no difference, or is that of the input."""
    if spec.name in _BY_VALUE:
        # WITHIN GROUP (ORDER BY x DESC) counts from the greatest.
        down = any(by.key == spec.args[0] and by.descending for by in spec.order_by[:1])
        return (SortColumn(spec.args[0], down),)
    if spec.name in _ARG_EXTREMES:
        return (SortColumn(spec.args[1], _ARG_EXTREMES[spec.name]), *spec.order_by)  # of equals the first in the order
    if is_nested_extreme(spec) and spec.name in ("min", "max"):
        return (SortColumn(spec.args[0], spec.name == "max"),)
    if spec.distinct and spec.args and sorts_repeats(spec):
        named = {by.key for by in spec.order_by}
        return (*spec.order_by, *(SortColumn(key) for key in spec.args if key not in named))
    return spec.order_by if _looks_at_order(spec) else ()


def sorts_repeats(spec: AggregateSpec) -> bool:
    """Whether the order of the call brings equal arguments together. Where values are given in the order of the input,
    the first of equals stays in its place instead."""
    return not _looks_at_order(spec) or {by.key for by in spec.order_by} >= set(spec.args)


def in_input_order(spec: AggregateSpec) -> bool:
    """Whether the call depends on the order of the input."""
    return spec.name == "mode" or (_looks_at_order(spec) and not call_order(spec))


def _looks_at_order(spec: AggregateSpec) -> bool:
    """Whether the value depends on the order of the rows; a user's function may."""
    return spec.name in _IN_ORDER or user_function(spec) is not None


def is_nested_extreme(spec: AggregateSpec) -> bool:
    t = pa.types
    return spec.name in ("min", "max", "any_value") and bool(
        len(spec.args) > 1
        or t.is_nested(spec.arg_types[0])
        or t.is_interval(spec.arg_types[0])
        or t.is_null(spec.arg_types[0])
    )


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
