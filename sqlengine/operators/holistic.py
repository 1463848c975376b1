"""Functions of all values of a group, for many groups at once: values in the order of the call, group after group.

No value is looked at by Python: positions are computed for all groups, then taken. What interpolates types that Arrow
cannot (decimals, dates, times) does so for one pair of values per group.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.aggregate_spec import AggregateSpec, State
from sqlengine.operators.user_aggregate import user_function, user_values

Take = Callable[[pa.Array], pa.Array]
TEXTS = frozenset({"string_agg", "group_concat", "listagg"})
LISTS = frozenset({"list", "array_agg"})
FIRSTS = frozenset(
    {
        "first",
        "any_value",
        "min",
        "max",
        "arg_min",
        "arg_max",
        "arg_min_null",
        "arg_max_null",
        "arg_min_nulls_last",
        "arg_max_nulls_last",
        "min_by",
        "max_by",
    }
)
QUANTILES = frozenset({"median", "quantile_cont", "quantile_disc", "quantile", "approx_quantile", "reservoir_quantile"})
_DIGITS = decimal.Context(prec=76)


@dataclass(frozen=True)
class Groups:
    """`number`: int32 group of each row, ascending, below `count`."""

    number: pa.Array
    count: int

    @cached_property
    def offsets(self) -> pa.Array:
        """int64: the first row of each group, then the number of rows."""
        keys = SortKeys([self.number], [False], [False])
        wanted = SortKeys([pa.arange(0, self.count).cast(pa.int32())], [False], [False])
        low = pa.repeat(pa.scalar(0, pa.int64()), self.count)
        high = pa.repeat(pa.scalar(len(self.number), pa.int64()), self.count)
        return pa.concat_arrays([keys.search(wanted, low, high, False), pa.array([len(self.number)], pa.int64())])

    @property
    def starts(self) -> pa.Array:
        return self.offsets.slice(0, self.count)

    @property
    def sizes(self) -> pa.Array:
        return pc.subtract(self.offsets.slice(1), self.starts)

    @property
    def empty(self) -> pa.Array:
        return pc.equal(self.sizes, 0)


def holistic_values(spec: AggregateSpec, values: list[pa.Array], groups: Groups) -> pa.Array:
    """The call for each group."""
    name = spec.name
    function = user_function(spec)
    if function is not None:
        return user_values(function, values, groups.offsets)
    if name in LISTS:
        offsets = groups.offsets.cast(pa.int32())
        return pa.ListArray.from_arrays(offsets, values[0], type=spec.type, mask=groups.empty)
    if name in TEXTS:
        return _joined_texts(spec, values, groups)
    if name in FIRSTS:
        if gives_several(spec):
            return _first_of_each(spec, values, groups)
        return values[0].take(pc.if_else(groups.empty, pa.scalar(None, pa.int64()), groups.starts))
    if name == "last":
        lasts = pc.subtract(groups.offsets.slice(1), 1)
        return values[0].take(pc.if_else(groups.empty, pa.scalar(None, pa.int64()), lasts))
    if name in QUANTILES:
        return quantiles(spec, parameter(spec, values), values[0].take, groups.starts, groups.sizes)
    if name == "mad":
        return _mad(spec, values[0], groups)
    if name == "approx_count_distinct":
        return _different(values[0], groups)
    if name in ("mode", "histogram", "entropy"):
        return _by_frequency(spec, values, groups)
    raise NotSupportedError(f"the aggregate {name} is not supported with ORDER BY, DISTINCT or a window frame")


def gives_several(spec: AggregateSpec) -> bool:
    """Whether the call is min(x, n), arg_max(x, y, n) or the like, which give a list of at most n values."""
    return spec.name in FIRSTS and len(spec.args) > (1 if spec.name in ("min", "max") else 2)


def how_many(spec: AggregateSpec, wanted: pa.Array) -> pa.Array:
    """The last argument of such a call, checked."""
    if wanted.null_count or pc.any(pc.or_(pc.less(wanted, 1), pc.greater_equal(wanted, 1_000_000))).as_py():
        raise DataError(f"the number of values that {spec.name} gives must be from 1 to 999999", code="out_of_range")
    return wanted


def _first_of_each(spec: AggregateSpec, values: list[pa.Array], groups: Groups) -> pa.Array:
    first = groups.starts.take(groups.number)
    place = pc.subtract(pa.arange(0, len(first)), first)
    kept = pc.less(place, how_many(spec, values[-1]).take(first))
    chosen = Groups(groups.number.filter(kept), groups.count)
    items = values[0].filter(kept)
    return pa.ListArray.from_arrays(chosen.offsets.cast(pa.int32()), items, type=spec.type, mask=groups.empty)


def parameter(spec: AggregateSpec, values: list[pa.Array]) -> Any:
    """The second argument, which SQL wants to be constant: of the first row."""
    if len(values) > 1:
        return values[1][0].as_py() if len(values[1]) else None
    options = dict(spec.options)
    return options.get("quantile", options.get("q", 0.5))


def separator(spec: AggregateSpec) -> str:
    return str(dict(spec.options).get("separator", ","))


def _joined_texts(spec: AggregateSpec, values: list[pa.Array], groups: Groups) -> pa.Array:
    lists = pa.ListArray.from_arrays(groups.offsets.cast(pa.int32()), values[0].cast(pa.string()))
    between: Any = pa.scalar(separator(spec))
    if len(values) > 1:
        firsts = pc.if_else(groups.empty, pa.scalar(None, pa.int64()), groups.starts)
        between = values[1].cast(pa.string()).take(firsts)
    return pc.if_else(groups.empty, pa.scalar(None, pa.string()), pc.binary_join(lists, between))


def quantiles(spec: AggregateSpec, q: Any, take: Take, starts: pa.Array, sizes: pa.Array) -> pa.Array:
    """Quantiles of groups of sorted values: `take` gives values at (int64) positions."""
    if spec.name == "median":
        q = 0.5
    if q is None:  # there is no row
        return pa.nulls(len(sizes), spec.type)
    continuous = spec.name in ("quantile_cont", "approx_quantile")
    if spec.name == "median":
        t = pa.types
        type_ = spec.arg_types[0]
        continuous = not (t.is_string(type_) or t.is_binary(type_) or t.is_boolean(type_))
    if not isinstance(q, list):
        return _quantile(spec.type, continuous, _share(q), take, starts, sizes)
    columns = [_quantile(spec.type.value_type, continuous, _share(one), take, starts, sizes) for one in q]
    count = len(sizes)
    # Column after column becomes group after group.
    order = pc.add(
        pc.multiply(pc.subtract(pa.arange(0, count * len(q)), _tens(count, len(q))), count), _tens(count, len(q), True)
    )
    items = pa.concat_arrays(columns).take(order) if columns else pa.array([], spec.type.value_type)
    offsets = pc.multiply(pa.arange(0, count + 1), len(q)).cast(pa.int32())
    return pa.ListArray.from_arrays(offsets, items, type=spec.type, mask=pc.equal(sizes, 0))


def _tens(count: int, width: int, number: bool = False) -> pa.Array:
    """For `count` groups of `width` items: the first item of each item's group, or its group's number."""
    numbers = pc.divide(pa.arange(0, count * width), max(1, width))
    return numbers if number else pc.multiply(numbers, width)


def _quantile(
    type_: pa.DataType, continuous: bool, share: float, take: Take, starts: pa.Array, sizes: pa.Array
) -> pa.Array:
    none = pa.scalar(None, pa.int64())
    last = pc.subtract(sizes, 1)
    if not continuous:
        at = pc.subtract(pc.ceil(pc.multiply(sizes.cast(pa.float64()), share)).cast(pa.int64()), 1)
        place = pc.add(starts, pc.min_element_wise(pc.max_element_wise(at, 0), last))
        return take(pc.if_else(pc.less(last, 0), none, place)).cast(type_)
    at = pc.multiply(last.cast(pa.float64()), share)
    low = pc.floor(at).cast(pa.int64())
    part = pc.subtract(at, low.cast(pa.float64()))
    places = [pc.add(starts, low), pc.add(starts, pc.min_element_wise(pc.add(low, 1), last))]
    below, above = (take(pc.if_else(pc.less(last, 0), none, place)) for place in places)
    if pa.types.is_integer(below.type) or pa.types.is_floating(below.type):
        below, above = below.cast(pa.float64()), above.cast(pa.float64())
        between = pc.add(below, pc.multiply(pc.subtract(above, below), part))
        # Of infinities the difference is not a number.
        between = pc.if_else(pc.or_(pc.equal(part, 0.0), pc.equal(below, above)), below, between)
        return (pc.round(between) if pa.types.is_integer(type_) else between).cast(type_)
    found = [
        None if a is None else _between(a, b, p, type_)
        for a, b, p in zip(below.to_pylist(), above.to_pylist(), part.to_pylist(), strict=True)
    ]
    return pa.array(found, type_)


def _mad(spec: AggregateSpec, values: pa.Array, groups: Groups) -> pa.Array:
    middle = _quantile(middle_type(values.type), True, 0.5, values.take, groups.starts, groups.sizes)
    away = distances(values, middle.take(groups.number))
    order = SortKeys([groups.number, away], [False, False], [False, False]).order()
    return _quantile(spec.type, True, 0.5, away.take(order).take, groups.starts, groups.sizes)


def middle_type(type_: pa.DataType) -> pa.DataType:
    """The type of the median of values."""
    t = pa.types
    if t.is_date(type_):
        return pa.timestamp("us")
    return pa.float64() if t.is_integer(type_) or t.is_floating(type_) else type_


def distances(values: pa.Array, middle: pa.Array) -> pa.Array:
    """How far each value is from the middle."""
    t = pa.types
    if t.is_decimal(values.type):
        away = pc.abs(pc.subtract(values.cast(pa.decimal128(37, values.type.scale)), middle))
        return away.cast(values.type)
    away = pc.subtract(values.cast(middle.type), middle)
    if t.is_floating(away.type):
        return pc.abs(away)
    return pc.abs(away.cast(pa.int64())).cast(away.type)


def _different(values: pa.Array, groups: Groups) -> pa.Array:
    """How many different values each group has."""
    order = SortKeys([groups.number, values], [False, False], [False, False]).order()
    numbers = groups.number.take(order)
    starts = SortKeys([numbers, values.take(order)], [False, False], [False, False]).starts()
    return Groups(numbers.take(starts), groups.count).sizes


def _by_frequency(spec: AggregateSpec, columns: list[pa.Array], groups: Groups) -> pa.Array:
    values = columns[0]
    flags = [False, False]
    starts = SortKeys([groups.number, values], flags, flags).starts().cast(pa.int64())
    ends = pa.concat_arrays([starts, pa.array([len(values)], pa.int64())]).slice(1)
    counts = pc.subtract(ends, starts)
    runs = Groups(groups.number.take(starts), groups.count)
    if spec.name == "histogram":
        items = pa.MapArray.from_arrays(
            runs.offsets.cast(pa.int32()), values.take(starts), counts.cast(pa.uint64()).cast(spec.type.item_type)
        ).cast(spec.type)
        return pc.if_else(groups.empty, pa.scalar(None, spec.type), items)
    if spec.name == "mode":
        firsts = columns[1].take(starts)
        order = SortKeys([runs.number, counts, firsts], [False, True, False], [False] * 3).order()
        places = starts.take(order.take(pc.if_else(groups.empty, pa.scalar(None, pa.int64()), runs.starts)))
        return values.take(places)
    total = groups.sizes.cast(pa.float64())
    amount = counts.cast(pa.float64())
    state = State(AggregateSpec("sum", "value", ("value",), (pa.float64(),), pa.float64()))
    weighed = pa.RecordBatch.from_arrays([pc.multiply(amount, pc.log2(amount))], ["value"])
    state.update(weighed, runs.number, groups.count)
    value = pc.subtract(pc.log2(pc.max_element_wise(total, 1.0)), pc.divide(state.results(groups.count), total))
    return pc.if_else(groups.empty, 0.0, pc.max_element_wise(value, 0.0))


def _between(low: Any, high: Any, share: float, type_: pa.DataType) -> Any:
    """Linear interpolation that works for decimals, dates and times."""
    if share == 0 or low == high:
        return low
    if isinstance(low, decimal.Decimal):
        # Digits beyond the scale are cut off: of the value, or of its distance if doubles are too narrow for the value.
        first, last = (int(one.scaleb(type_.scale, _DIGITS)) for one in (low, high))
        step = (last - first) * share
        units = math.trunc(first + step) if type_.precision <= 18 else first + math.trunc(step)
        return decimal.Decimal(units).scaleb(-type_.scale, _DIGITS)
    if isinstance(low, datetime.date) and not isinstance(low, datetime.datetime):
        midnight = datetime.time()
        low, high = datetime.datetime.combine(low, midnight), datetime.datetime.combine(high, midnight)
    if isinstance(low, datetime.time):
        day = datetime.date(2000, 1, 1)
        start, end = (datetime.datetime.combine(day, time) for time in (low, high))
        return (start + (end - start) * share).time()
    return low + (high - low) * share


def _share(q: Any) -> float:
    share = float(q)
    if not 0 <= share <= 1:
        raise DataError("a quantile must be between 0 and 1", code="out_of_range")
    return share
