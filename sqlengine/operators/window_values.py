"""The values of one window call for sorted rows of whole partitions.

Frames are half-open row ranges, one per row, or up to three when EXCLUDE cuts rows out of the middle. Sums come from a
segment tree (no error of differences of running sums), navigation from counting eligible rows, and every other
aggregate from its rows written out frame by frame in bounded portions (`ordered_values`). Source of the tree: Leis
et al., "Efficient Processing of Window Functions in Analytical SQL Queries", VLDB 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.kernels.sorting import SortKeys
from sqlengine.kernels.windows import counts_before, expand, frame_sums, pick, segments
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.ordered_values import group_values
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys

Frames = list[tuple[pa.Array, pa.Array]]
_EXPANDED_ROWS = 1 << 18
_RANKING = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile"})


@dataclass(frozen=True)
class WindowSpec:
    """One call. `args`, `filter` and the bounds name input columns.

    Bounds: ("unbounded_preceding",), ("preceding", key), ("current",), ("following", key), ("unbounded_following",).
    For ROWS and GROUPS the key's column holds the offset (a whole number). For RANGE it holds the boundary itself: the
    value of the order column minus or plus the offset (minus for PRECEDING of an ascending order, plus of a descending
    one), so that the arithmetic is that of the expressions. `exclude`: no_others, current_row, group, ties.
    """

    name: str
    output: str
    args: tuple[str, ...]
    arg_types: tuple[pa.DataType, ...]
    type: pa.DataType
    unit: str = "range"
    start: tuple[str, ...] = ("unbounded_preceding",)
    end: tuple[str, ...] = ("current",)
    exclude: str = "no_others"
    aggregate: bool = False
    filter: str | None = None
    distinct: bool = False
    ignore_nulls: bool = False
    arg_order: tuple[SortColumn, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


class Partitions:
    """Sorted rows of whole partitions with, per row, the bounds of its partition and of its peers."""

    def __init__(self, rows: pa.RecordBatch, partition_by: tuple[str, ...], order_by: tuple[SortColumn, ...]) -> None:
        self.rows = rows
        self.count = rows.num_rows
        self.order_by = order_by
        parts = tuple(SortColumn(key) for key in partition_by)
        whole = pa.array([0], pa.int32())
        self.first, self.end = segments(sort_keys(rows, parts).starts() if parts else whole, self.count)
        everything = (*parts, *order_by)
        self._peer_starts = sort_keys(rows, everything).starts() if everything else whole
        self.peer_first, self.peer_end = segments(self._peer_starts, self.count)
        self.row = pa.array(range(self.count), pa.int64())

    def peer_numbers(self) -> pa.Array:
        """int64 number of each row's peer group, over all partitions."""
        marks = pc.equal(self.row, self.peer_first)
        return pc.subtract(pc.cumulative_sum(pc.cast(marks, pa.int64())), 1)

    def peer_bound(self, numbers: pa.Array) -> pa.Array:
        """The first row of each of these peer groups; beyond the last one the number of rows."""
        starts = pa.concat_arrays([self._peer_starts.cast(pa.int64()), pa.array([self.count], pa.int64())])
        return starts.take(_clamped(numbers, 0, len(starts) - 1))


def window_values(call: WindowSpec, parts: Partitions) -> pa.Array:
    """The call's value for each row."""
    if call.arg_order and not call.aggregate:
        raise NotSupportedError(f"ORDER BY inside the window function {call.name} is not supported")
    if call.name in _RANKING:
        return _ranking(call, parts)
    if call.name in ("lag", "lead"):
        return _shifted(call, parts)
    frames = _frames(call, parts)
    if call.name in ("first_value", "last_value", "nth_value", "first", "last", "any_value") and not (
        call.distinct or call.filter or call.arg_order
    ):
        return _picked(call, parts, frames)
    if not call.aggregate:
        raise NotSupportedError(f"the window function {call.name} is not supported")
    return _aggregated(call, parts, frames)


def _ranking(call: WindowSpec, parts: Partitions) -> pa.Array:
    size = pc.subtract(parts.end, parts.first)
    number = pc.add(pc.subtract(parts.row, parts.first), 1)
    rank = pc.add(pc.subtract(parts.peer_first, parts.first), 1)
    match call.name:
        case "row_number":
            return number
        case "rank":
            return rank
        case "dense_rank":
            groups = parts.peer_numbers()
            return pc.add(pc.subtract(groups, groups.take(parts.first)), 1)
        case "percent_rank":
            others = pc.subtract(size, 1)
            share = pc.divide(_double(pc.subtract(rank, 1)), _double(pc.max_element_wise(others, 1)))
            return pc.if_else(pc.greater(others, 0), share, 0.0)
        case "cume_dist":
            return pc.divide(_double(pc.subtract(parts.peer_end, parts.first)), _double(size))
    buckets = parts.rows.column(call.args[0]).cast(pa.int64())
    if pc.any(pc.less(buckets, 1)).as_py():
        raise DataError("the argument of ntile must be greater than zero", code="out_of_range")
    safe = pc.fill_null(buckets, 1)
    small = pc.divide(size, safe)  # rows of the later buckets; the first `rest` ones have one more
    rest = pc.subtract(size, pc.multiply(small, safe))
    at = pc.subtract(number, 1)
    large = pc.multiply(rest, pc.add(small, 1))
    early = pc.divide(at, pc.add(small, 1))
    late = pc.add(rest, pc.divide(pc.subtract(at, large), pc.max_element_wise(small, 1)))
    return pc.if_else(buckets.is_valid(), pc.add(pc.if_else(pc.less(at, large), early, late), 1), None)


def _eligible(call: WindowSpec, parts: Partitions, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Which rows count (all, or those not NULL): counts before each row, and the rows."""
    mask = values.is_valid() if call.ignore_nulls else pa.repeat(pa.scalar(True), parts.count)
    return counts_before(mask), parts.row.filter(mask)


def _shifted(call: WindowSpec, parts: Partitions) -> pa.Array:
    values = parts.rows.column(call.args[0])
    if len(call.args) > 1:
        offset = parts.rows.column(call.args[1]).cast(pa.int64())
    else:
        offset = pa.repeat(pa.scalar(1, pa.int64()), parts.count)
    step = offset if call.name == "lead" else pc.negate(offset)
    counts, rows = _eligible(call, parts, values)
    before = counts.take(parts.row)
    through = counts.take(pc.add(parts.row, 1))
    place = pc.if_else(pc.less(step, 0), pc.add(before, step), pc.add(pc.subtract(through, 1), step))
    inside = pc.and_(pc.greater_equal(place, counts.take(parts.first)), pc.less(place, counts.take(parts.end)))
    found = rows.take(pc.if_else(inside, place, pa.scalar(None, pa.int64())))
    found = pc.if_else(pc.equal(step, 0), parts.row, found)
    result = values.take(found)
    if len(call.args) > 2:
        outside = pc.fill_null(found.is_null(), True)
        default = parts.rows.column(call.args[2]).cast(values.type)
        choice = pc.if_else(outside, pc.add(parts.row, parts.count), parts.row)
        result = pa.concat_arrays([result, default]).take(choice)
    return result


def _frames(call: WindowSpec, parts: Partitions) -> Frames:
    start = _bound(call, parts, call.start, is_end=False)
    end = _bound(call, parts, call.end, is_end=True)
    start = pc.min_element_wise(pc.max_element_wise(start, parts.first), parts.end)
    end = pc.max_element_wise(pc.min_element_wise(end, parts.end), start)
    after = pc.add(parts.row, 1)
    match call.exclude:
        case "no_others":
            return [(start, end)]
        case "current_row":
            cuts = [(parts.row, after)]
        case "group":
            cuts = [(parts.peer_first, parts.peer_end)]
        case "ties":
            cuts = [(parts.peer_first, parts.row), (after, parts.peer_end)]
        case other:
            raise NotSupportedError(f"EXCLUDE {other} is not supported")
    frames: Frames = []
    for low, high in cuts:
        stop = pc.max_element_wise(pc.min_element_wise(end, low), start)
        frames.append((start, stop))
        start = pc.min_element_wise(pc.max_element_wise(start, high), end)
    return [*frames, (start, end)]


def _bound(call: WindowSpec, parts: Partitions, bound: tuple[str, ...], is_end: bool) -> pa.Array:
    match bound:
        case ("unbounded_preceding",):
            return parts.first
        case ("unbounded_following",):
            return parts.end
        case ("current",):
            if call.unit == "rows":
                return pc.add(parts.row, 1) if is_end else parts.row
            return parts.peer_end if is_end else parts.peer_first
    kind, key = bound
    column = parts.rows.column(key)
    if call.unit == "range":
        return _range_bound(parts, column, is_end)
    offset = column.cast(pa.int64())
    if offset.null_count or pc.any(pc.less(offset, 0)).as_py():
        raise DataError("a frame offset must not be negative or NULL", code="out_of_range")
    # Offsets beyond the rows there are make no difference, and must not overflow.
    offset = pc.min_element_wise(offset, parts.count)
    delta = pc.negate(offset) if kind == "preceding" else offset
    if call.unit == "rows":
        return _clamped(pc.add(pc.add(parts.row, delta), 1 if is_end else 0), 0, parts.count)
    numbers = pc.add(parts.peer_numbers(), delta)
    return parts.peer_bound(pc.add(numbers, 1) if is_end else numbers)


def _range_bound(parts: Partitions, targets: pa.Array, is_end: bool) -> pa.Array:
    if len(parts.order_by) != 1:
        raise NotSupportedError("RANGE with an offset needs exactly one ORDER BY column")
    by = parts.order_by[0]
    values = parts.rows.column(by.key)
    if values.type != targets.type:
        values = values.cast(targets.type)
    keys = SortKeys([values], [by.descending], [by.nulls_first])
    wanted = SortKeys([targets], [by.descending], [by.nulls_first])
    return keys.search(wanted, parts.first, parts.end, is_end)


def _picked(call: WindowSpec, parts: Partitions, frames: Frames) -> pa.Array:
    values = parts.rows.column(call.args[0])
    if call.name == "any_value":
        mask = values.is_valid()
        counts, rows = counts_before(mask), parts.row.filter(mask)
    else:
        counts, rows = _eligible(call, parts, values)
    if call.name == "nth_value":
        nth = pc.fill_null(parts.rows.column(call.args[1]).cast(pa.int64()), 0)
    else:
        nth = pa.repeat(pa.scalar(1, pa.int64()), parts.count)
    place = pick(frames, counts, nth, call.name in ("last_value", "last"))
    place = pc.if_else(pc.less(place, 0), pa.scalar(None, pa.int64()), place)
    return values.take(rows.take(place))


def _aggregated(call: WindowSpec, parts: Partitions, frames: Frames) -> pa.Array:
    if call.name in ("count", "count_star", "sum", "avg") and not call.distinct:
        return _summed(call, parts, frames)
    spec = AggregateSpec(
        call.name,
        call.output,
        call.args,
        call.arg_types,
        call.type,
        call.filter,
        call.distinct,
        call.arg_order,
        call.options,
    )
    keys = {*call.args, *(c.key for c in call.arg_order), *([call.filter] if call.filter else [])}
    source = parts.rows.select(sorted(keys)) if keys else parts.rows.select([0])
    done = 0
    results = []
    while done < parts.count:
        end, rows, groups = expand(frames, done, _EXPANDED_ROWS)
        results.append(group_values(spec, source.take(rows), groups, end - done))
        done = end
    return pa.concat_arrays(results)


def _summed(call: WindowSpec, parts: Partitions, frames: Frames) -> pa.Array:
    mask = pa.repeat(pa.scalar(True), parts.count)
    if call.filter is not None:
        mask = pc.fill_null(parts.rows.column(call.filter), False)
    if call.args:
        values = parts.rows.column(call.args[0])
        mask = pc.and_(mask, values.is_valid())
    counts = counts_before(mask)
    count = None
    for start, end in frames:
        some = pc.subtract(counts.take(pc.max_element_wise(start, end)), counts.take(start))
        count = some if count is None else pc.add(count, some)
    if call.name in ("count", "count_star"):
        return count
    t = pa.types
    if t.is_floating(values.type):
        values = values.cast(pa.float64())
        zero = pa.scalar(0.0, pa.float64())
    else:
        scale = values.type.scale if t.is_decimal(values.type) else 0
        values = values.cast(pa.decimal128(38, scale))
        zero = pa.scalar(0, values.type)
    sums = frame_sums(pc.if_else(mask, values, zero), frames)
    empty = pc.equal(count, 0)
    if call.name == "sum":
        return pc.if_else(empty, pa.scalar(None, sums.type), sums)
    mean = pc.divide(_double(sums), _double(pc.max_element_wise(count, 1)))
    return pc.if_else(empty, pa.scalar(None, pa.float64()), mean)


def _double(values: pa.Array) -> pa.Array:
    return values.cast(pa.float64())


def _clamped(values: pa.Array, low: int, high: int) -> pa.Array:
    return pc.min_element_wise(pc.max_element_wise(values, low), high)
