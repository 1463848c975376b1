"""An aggregate call in terms of columns, and the states by which its partial results travel.

A state is one or more Arrow columns per call (`state_fields`): a partial aggregation gives them, a final one merges
them, and a spilled aggregation is nothing but rows of keys and states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.kernels import decimals
from sqlengine.kernels.accumulators import Fold, Moments
from sqlengine.operators.moment_results import MOMENT_KINDS, MOMENT_PARTS, moment_result
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.types import HUGEINT


@dataclass(frozen=True)
class AggregateSpec:
    """`name` of the registry; `args`, `filter` (boolean column) and `order_by` name input columns; `output` the
    result."""

    name: str
    output: str
    args: tuple[str, ...]
    arg_types: tuple[pa.DataType, ...]
    type: pa.DataType
    filter: str | None = None
    distinct: bool = False
    order_by: tuple[SortColumn, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


_FOLDS = {
    "sum": "sum", "min": "min", "max": "max", "any_value": "first", "first": "first", "last": "last",
    "bool_and": "min", "bool_or": "max", "bit_and": "bit_and", "bit_or": "bit_or", "bit_xor": "bit_xor",
    "product": "product", "count_if": "sum",
}  # fmt: skip
HASH_AGGREGATES = frozenset({*_FOLDS, *MOMENT_KINDS, "count", "count_star", "avg"})


def is_hashable(spec: AggregateSpec) -> bool:
    """Whether a small mergeable state exists for the call, so that `HashAggregate` can hold it."""
    if spec.name not in HASH_AGGREGATES or spec.distinct or spec.order_by:
        return False
    if spec.name in _FOLDS:
        t, type_ = pa.types, spec.arg_types[0]
        return len(spec.args) == 1 and not (t.is_nested(type_) or t.is_null(type_) or t.is_interval(type_))
    return True


def state_fields(spec: AggregateSpec) -> list[pa.Field]:
    """The state columns, named `output.0`, `output.1`, ..."""
    return [pa.field(f"{spec.output}.{i}", type_) for i, type_ in enumerate(_state_types(spec))]


def _state_types(spec: AggregateSpec) -> list[pa.DataType]:
    match spec.name:
        case "count" | "count_star":
            return [pa.int64()]
        case "avg":
            return [_sum_type(spec.arg_types[0]), pa.int64()]
        case "count_if":
            return [pa.int64()]  # like a sum, NULL without a value that is not NULL
        case "sum":
            return [_sum_type(spec.arg_types[0])]
        case "first" | "last":
            return [spec.arg_types[0], pa.bool_()]  # a value that is not NULL, and whether the row in question has it
        case name if name in _FOLDS:
            return [spec.arg_types[0] if name != "product" else pa.float64()]
        case name if name in MOMENT_KINDS:
            return [pa.float64()] * MOMENT_PARTS[MOMENT_KINDS[name]]
    raise NotSupportedError(f"aggregate {spec.name} has no mergeable state")


def _sum_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_floating(type_):
        return pa.float64()
    return pa.decimal128(38, type_.scale) if pa.types.is_decimal(type_) else HUGEINT


class State:
    """The states of one call for all groups of a table. `nbytes` grows with the groups."""

    def __init__(self, spec: AggregateSpec) -> None:
        self._spec = spec
        name = spec.name
        self._types = _state_types(spec)
        self._moments = Moments(MOMENT_KINDS[name]) if name in MOMENT_KINDS else None
        self._folds: list[Fold] = []
        if name in ("count", "count_star"):
            self._folds = [Fold("count", None)]
        elif name == "avg":
            self._folds = [Fold("sum", self._types[0]), Fold("count", None)]
        elif name in _FOLDS:
            self._folds = [Fold(_FOLDS[name], type_) for type_ in self._types]
        self._parts: list[Fold | Moments] = [*self._folds, *([self._moments] if self._moments else [])]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self._parts)

    def room(self, batch: pa.RecordBatch, count: int, merging: bool) -> int:
        """Most bytes held once a batch (of rows, or of states when `merging`) is folded in and there are `count`
        groups."""
        text = 0
        if pa.types.is_string(self._types[0]) or pa.types.is_binary(self._types[0]):
            text = batch.column(f"{self._spec.output}.0" if merging else self._spec.args[0]).nbytes
        return sum(part.room(count, text) for part in self._parts)

    def update(self, batch: pa.RecordBatch, groups: pa.Array, count: int, complete: bool = False) -> None:
        """Fold the rows of a batch in; there are `count` groups by now. `complete`: each group that is new has a row
        here."""
        spec = self._spec
        columns = [batch.column(key) for key in spec.args]
        if spec.filter is not None:
            mask = pc.fill_null(batch.column(spec.filter), False)
            groups = groups.filter(mask)
            columns = [column.filter(mask) for column in columns]
            complete = False
        with _overflow(spec):
            match spec.name:
                case "count_star":
                    self._folds[0].update(groups, count, None)
                case name if name in MOMENT_KINDS:
                    assert self._moments is not None
                    columns = [_doubles(column) for column in columns]
                    self._moments.update(groups, count, _logarithms(columns) if name == "geometric_mean" else columns)
                case "product":
                    self._folds[0].update(groups, count, _doubles(columns[0]), complete)
                case "first" | "last":
                    self._folds[0].update(groups, count, columns[0], complete)
                    self._folds[1].update(groups, count, columns[0].is_valid(), complete)
                case "avg" if pa.types.is_temporal(columns[0].type):
                    for fold in self._folds:
                        fold.update(groups, count, columns[0].cast(pa.int64()), complete)
                case "count" if pa.types.is_nested(columns[0].type):
                    # What is counted is only whether there is a value.
                    known = pc.if_else(columns[0].is_valid(), True, pa.scalar(None, pa.bool_()))
                    self._folds[0].update(groups, count, known, complete)
                case _:
                    for fold in self._folds:
                        fold.update(groups, count, columns[0], complete)

    def merge(self, columns: list[pa.Array], groups: pa.Array, count: int, complete: bool = True) -> None:
        """Fold partial states in. `complete`: each group that is new has a row here."""
        with _overflow(self._spec):
            if self._moments is not None:
                self._moments.merge(groups, count, columns)
            for fold, column in zip(self._folds, columns if self._folds else (), strict=True):
                fold.merge(groups, count, column, complete)

    def states(self, count: int, start: int = 0) -> list[pa.Array]:
        """The states of the groups start .. count, one array per state column."""
        with _overflow(self._spec):
            if self._moments is not None:
                return self._moments.result(count, start)
            return [fold.result(type_, count, start) for fold, type_ in zip(self._folds, self._types, strict=True)]

    def results(self, count: int, start: int = 0) -> pa.Array:
        """The values of the call for the groups start .. count."""
        states = self.states(count, start)
        match self._spec.name:
            case "first" | "last":
                return pc.if_else(pc.fill_null(states[1], False), states[0], pa.scalar(None, states[0].type))
            case "avg" if pa.types.is_temporal(self._spec.type):
                return _mean_time(states, self._spec.type)
            case "avg":
                valid = pc.greater(states[1], 0)
                mean = pc.divide(_doubles(states[0]), pc.cast(states[1], pa.float64()))
                return pc.if_else(valid, mean, pa.scalar(None, pa.float64()))
            case name if name in MOMENT_KINDS:
                return moment_result(name, states)
            case _:
                return states[0] if states[0].type == self._spec.type else states[0].cast(self._spec.type)

    def fit(self, start: int, most: int, limit: int) -> int:
        """How many of at most `most` groups from `start` on have no more than `limit` bytes of text here."""
        return min((fold.fit(start, most, limit) for fold in self._folds), default=most)

    def release(self, before: int) -> None:
        """Free what is held for the groups before number `before`, which have been given out."""
        for part in self._parts:
            part.release(before)


def _mean_time(states: list[pa.Array], type_: pa.DataType) -> pa.Array:
    """Sums by counts, cut off towards the beginning of time measurement; infinities stay."""
    counts = pc.if_else(pc.greater(states[1], 0), states[1], pa.scalar(None, pa.int64()))
    means = decimals.int_divide(states[0], decimals.from_int(counts, HUGEINT), HUGEINT)
    return decimals.to_int(means, pa.int64()).cast(type_)


def _logarithms(columns: list[pa.Array]) -> list[pa.Array]:
    if pc.any(pc.less_equal(columns[0], 0.0)).as_py():
        raise DataError("geometric_mean of a number that is not positive", code="out_of_range")
    return [pc.ln(columns[0])]


def _doubles(column: pa.Array) -> pa.Array:
    return column if column.type == pa.float64() else column.cast(pa.float64())


class _overflow:
    """Turns the kernels' OverflowError into the user's error."""

    def __init__(self, spec: AggregateSpec) -> None:
        self._spec = spec

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OverflowError):
            raise DataError(
                f"{self._spec.name} is out of the range of {self._spec.type}",
                code="out_of_range",
                hint="cast the argument to DOUBLE",
            ) from None
