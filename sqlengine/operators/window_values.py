"""The values of one window call for a span of sorted rows.

Frames are half-open row ranges, one per row, or up to three when EXCLUDE cuts rows out of the middle. Aggregates with
a mergeable state come from trees (`frame_tree`), or from one pass where the frame is the whole partition; navigation
comes from counting the rows that are eligible; DISTINCT from the beginning of the partition counts each value where it
first occurs. What is left (lists, quantiles, DISTINCT over frames that move) is evaluated from the rows of its frames
written out, frame by frame in bounded portions (`ordered_values`). Nothing here knows whether the rows are in memory or
in pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.kernels.windows import expand
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.frame_tree import has_tree, merged_states, state_results
from sqlengine.operators.ordered_values import group_values
from sqlengine.operators.window_source import Span, WindowSource
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.sort_column import SortColumn

Frames = list[tuple[pa.Array, pa.Array]]
_EXPANDED_ROWS = 1 << 18
_RANKING = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile"})
_PICKED = frozenset({"first_value", "last_value", "nth_value", "first", "last", "any_value"})
_EVERYTHING = (("unbounded_preceding",), ("unbounded_following",))


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

    @property
    def picked(self) -> bool:
        """Whether the value is that of one row, found by counting rows."""
        plain = not (self.distinct or self.filter or self.arg_order)
        return self.name in ("first_value", "last_value", "nth_value") or (self.name in _PICKED and plain)

    def aggregate_spec(self) -> AggregateSpec:
        return AggregateSpec(
            self.name,
            self.output,
            self.args,
            self.arg_types,
            self.type,
            self.filter,
            self.distinct,
            self.arg_order,
            self.options,
        )

    def columns(self) -> set[str]:
        """What the call looks at, in the row itself or elsewhere."""
        bounds = {bound[1] for bound in (self.start, self.end) if len(bound) > 1}
        return {*self.args, *(c.key for c in self.arg_order), *bounds, *([self.filter] if self.filter else [])}

    def counted(self) -> str | None:
        """The column whose rows with a value are counted."""
        counts = self.ignore_nulls or self.name == "any_value"
        return self.args[0] if counts and (self.picked or self.name in ("lag", "lead")) else None


def window_values(call: WindowSpec, span: Span, source: WindowSource, held: Reservation, batch_bytes: int) -> pa.Array:
    """The call's value for each row of the span. `held` is asked for the rows of frames that have to be written out."""
    if call.arg_order and not call.aggregate:
        raise NotSupportedError(f"ORDER BY inside the window function {call.name} is not supported")
    if call.name in _RANKING:
        return _ranking(call, span, source)
    if call.name in ("lag", "lead"):
        return _shifted(call, span, source)
    if call.picked:
        return _picked(call, span, source, _frames(call, span, source))
    if not call.aggregate:
        raise NotSupportedError(f"the window function {call.name} is not supported")
    spec = call.aggregate_spec()
    if covers_partition(call, source.order_by):
        return source.partition_values(spec, span)
    frames = _frames(call, span, source)
    if spec.distinct and spec.args and call.start == _EVERYTHING[0] and call.exclude == "no_others":
        spec = source.first_of_values(spec) or spec
    if has_tree(spec):
        states = [source.frame_states(spec, start, end) for start, end in frames]
        return state_results(spec, merged_states(spec, states))
    return pa.concat_arrays(list(_written_out(spec, frames, source, held, batch_bytes)))


def covers_partition(call: WindowSpec, order_by: tuple[SortColumn, ...]) -> bool:
    """Whether every frame is the whole partition."""
    if call.exclude != "no_others":
        return False
    wide = {("unbounded_preceding",), ("unbounded_following",)}
    if not order_by and call.unit != "rows":
        wide.add(("current",))  # all rows are peers
    return call.start in wide - {_EVERYTHING[1]} and call.end in wide - {_EVERYTHING[0]}


def _ranking(call: WindowSpec, span: Span, source: WindowSource) -> pa.Array:
    size = pc.subtract(span.end, span.first)
    number = pc.add(pc.subtract(span.row, span.first), 1)
    rank = pc.add(pc.subtract(span.peer_first, span.first), 1)
    match call.name:
        case "row_number":
            return number
        case "rank":
            return rank
        case "dense_rank":
            numbers = span.peer_number
            # In pages there is one partition, whose first group of peers is the first of all.
            first = 0 if source.count > span.count else numbers.take(span.first)
            return pc.add(pc.subtract(numbers, first), 1)
        case "percent_rank":
            others = pc.subtract(size, 1)
            share = pc.divide(_double(pc.subtract(rank, 1)), _double(pc.max_element_wise(others, 1)))
            return pc.if_else(pc.greater(others, 0), share, 0.0)
        case "cume_dist":
            return pc.divide(_double(pc.subtract(span.peer_end, span.first)), _double(size))
    buckets = span.rows.column(call.args[0]).cast(pa.int64())
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


def _shifted(call: WindowSpec, span: Span, source: WindowSource) -> pa.Array:
    if len(call.args) > 1:
        offset = span.rows.column(call.args[1]).cast(pa.int64())
    else:
        offset = pa.repeat(pa.scalar(1, pa.int64()), span.count)
    # Offsets beyond the rows there are make no difference, and must not overflow.
    offset = pc.min_element_wise(pc.max_element_wise(offset, -source.count), source.count, skip_nulls=False)
    step = offset if call.name == "lead" else pc.negate(offset)
    if call.ignore_nulls:
        key = call.args[0]
        before, through = source.counts(key, span.row), source.counts(key, pc.add(span.row, 1))
        place = pc.if_else(pc.less(step, 0), pc.add(before, step), pc.add(pc.subtract(through, 1), step))
        low, high = source.counts(key, span.first), source.counts(key, span.end)
    else:
        place, low, high = pc.add(span.row, step), span.first, span.end
    inside = pc.and_(pc.greater_equal(place, low), pc.less(place, high))
    found = pc.if_else(inside, place, pa.scalar(None, pa.int64()))
    if call.ignore_nulls:
        found = source.nth_valid(call.args[0], found)
    found = pc.if_else(pc.equal(step, 0), span.row, found)
    result = source.take(call.args[:1], found).column(0)
    if len(call.args) > 2:
        outside = pc.fill_null(found.is_null(), True)
        default = span.rows.column(call.args[2]).cast(result.type)
        here = pa.arange(0, span.count)
        choice = pc.if_else(outside, pc.add(here, span.count), here)
        result = pa.concat_arrays([result, default]).take(choice)
    return result


def _frames(call: WindowSpec, span: Span, source: WindowSource) -> Frames:
    start = _bound(call, span, source, call.start, is_end=False)
    end = _bound(call, span, source, call.end, is_end=True)
    start = pc.min_element_wise(pc.max_element_wise(start, span.first), span.end)
    end = pc.max_element_wise(pc.min_element_wise(end, span.end), start)
    after = pc.add(span.row, 1)
    match call.exclude:
        case "no_others":
            return [(start, end)]
        case "current_row":
            cuts = [(span.row, after)]
        case "group":
            cuts = [(span.peer_first, span.peer_end)]
        case "ties":
            cuts = [(span.peer_first, span.row), (after, span.peer_end)]
        case other:
            raise NotSupportedError(f"EXCLUDE {other} is not supported")
    frames: Frames = []
    for low, high in cuts:
        stop = pc.max_element_wise(pc.min_element_wise(end, low), start)
        frames.append((start, stop))
        start = pc.min_element_wise(pc.max_element_wise(start, high), end)
    return [*frames, (start, end)]


def _bound(call: WindowSpec, span: Span, source: WindowSource, bound: tuple[str, ...], is_end: bool) -> pa.Array:
    match bound:
        case ("unbounded_preceding",):
            return span.first
        case ("unbounded_following",):
            return span.end
        case ("current",):
            if call.unit == "rows":
                return pc.add(span.row, 1) if is_end else span.row
            return span.peer_end if is_end else span.peer_first
    kind, key = bound
    column = span.rows.column(key)
    if call.unit == "range":
        return _range_bound(span, source, column, is_end)
    offset = column.cast(pa.int64())
    if offset.null_count or pc.any(pc.less(offset, 0)).as_py():
        raise DataError("a frame offset must not be negative or NULL", code="out_of_range")
    # Offsets beyond the rows there are make no difference, and must not overflow.
    offset = pc.min_element_wise(offset, source.count)
    delta = pc.negate(offset) if kind == "preceding" else offset
    if call.unit == "rows":
        return _clamped(pc.add(pc.add(span.row, delta), 1 if is_end else 0), 0, source.count)
    numbers = pc.add(span.peer_number, delta)
    return source.peer_start(pc.add(numbers, 1) if is_end else numbers)


def _range_bound(span: Span, source: WindowSource, targets: pa.Array, is_end: bool) -> pa.Array:
    if len(source.order_by) != 1:
        raise NotSupportedError("RANGE with an offset needs exactly one ORDER BY column")
    return source.search(targets, span.first, span.end, is_end)


def _picked(call: WindowSpec, span: Span, source: WindowSource, frames: Frames) -> pa.Array:
    """The value of the n-th eligible row of the frame, counted from one of its ends."""
    key = call.counted()
    if call.name == "nth_value":
        left = pc.fill_null(span.rows.column(call.args[1]).cast(pa.int64()), 0)
    else:
        left = pa.repeat(pa.scalar(1, pa.int64()), span.count)
    backwards = call.name in ("last_value", "last")
    places = pa.nulls(span.count, pa.int64())
    for start, end in reversed(frames) if backwards else frames:
        end = pc.max_element_wise(start, end)
        if key is not None:
            start, end = source.counts(key, start), source.counts(key, end)
        have = pc.subtract(end, start)
        here = pc.and_(pc.greater_equal(left, 1), pc.less_equal(left, have))
        places = pc.if_else(here, pc.subtract(end, left) if backwards else pc.add(start, pc.subtract(left, 1)), places)
        left = pc.subtract(left, have)  # below one once the row has been found
    return source.take(call.args[:1], places if key is None else source.nth_valid(key, places)).column(0)


def _written_out(
    spec: AggregateSpec, frames: Frames, source: WindowSource, held: Reservation, batch_bytes: int
) -> Iterator[pa.Array]:
    keys = sorted({*spec.args, *(c.key for c in spec.order_by), *([spec.filter] if spec.filter else [])})
    count = len(frames[0][0])
    sample = source.take(keys, pa.array([0], pa.int64()))
    # The rows of the frames by number, their values, and the values in order: one batch of that has room.
    width = 20 + 3 * sample.nbytes
    limit = max(1, min(_EXPANDED_ROWS, batch_bytes // width))
    done = 0
    while done < count:
        end, rows, groups = expand(frames, done, limit)
        need = max(0, width * len(rows) - batch_bytes)
        held.grow(need)
        try:
            yield group_values(spec, source.take(keys, rows), groups, end - done)
        finally:
            held.shrink(need)
        done = end


def _double(values: pa.Array) -> pa.Array:
    return values.cast(pa.float64())


def _clamped(values: pa.Array, low: int, high: int) -> pa.Array:
    return pc.min_element_wise(pc.max_element_wise(values, low), high)
