"""Aggregates over ranges of rows: one tree per call, which answers any range in O(log n).

Every aggregate with a mergeable state can be asked: the answer is the state (`state_fields`), one row per range, so
that answers of several trees (the parts of a frame with EXCLUDE, the pages of a partition on disk) are merged as
partial aggregates are. Sums, counts, averages and extremes have trees of their own in the kernel; the others use a tree
of 16 children whose nodes are states. Held: 32 bytes a row and call. Source: Leis et al., "Efficient Processing of
Window Functions in Analytical SQL Queries", VLDB 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.sorting import SortKeys
from sqlengine.kernels.windows import ExtremeTree, SumTree, counts_before, tree_nodes
from sqlengine.operators.aggregate_spec import AggregateSpec, State, is_hashable, state_fields

_CHILDREN = 16
_NODES_AT_ONCE = 1 << 18
_SUMMED = frozenset({"sum", "avg", "count", "count_star"})
_EXTREMES = {"min": False, "max": True, "bool_and": False, "bool_or": True}


def has_tree(spec: AggregateSpec) -> bool:
    return is_hashable(spec) and spec.name not in ("first", "last", "any_value")


class FrameTree:
    """The tree of one call over some rows (which have its `args` and `filter`)."""

    def __init__(self, spec: AggregateSpec, rows: pa.RecordBatch) -> None:
        mask = pa.repeat(pa.scalar(True), rows.num_rows)
        if spec.filter is not None:
            mask = pc.fill_null(rows.column(spec.filter), False)
        self._spec = replace(spec, filter=None)
        self._types = [field.type for field in state_fields(self._spec)]
        self._sums: SumTree | None = None
        self._extremes: ExtremeTree | None = None
        self._values: pa.Array | None = None
        self._counts: pa.Array | None = None
        if spec.args and spec.name != "count_star":
            self._values = rows.column(spec.args[0])
            mask = pc.and_(mask, self._values.is_valid())
        if spec.name in ("count", "count_star"):
            self._counts = counts_before(mask)
        elif spec.name in ("sum", "avg"):
            values = self._values
            assert values is not None
            if pa.types.is_temporal(values.type):
                values = values.cast(pa.int64())
            values = values.cast(self._types[0])
            self._sums = SumTree(pc.if_else(mask, values, pa.scalar(0, values.type)), mask)
        elif spec.name in _EXTREMES:
            keys = SortKeys([self._values], [False], [False])
            self._extremes = ExtremeTree(keys, mask, _EXTREMES[spec.name])
        else:
            self._rows = rows.filter(mask) if spec.filter is not None else rows
            self._before = counts_before(mask) if spec.filter is not None else None
            self._levels = self._built()

    def _built(self) -> list[list[pa.Array]]:
        """The states of each level above the rows."""
        levels: list[list[pa.Array]] = []
        count = self._rows.num_rows
        while count > _CHILDREN:
            groups = pc.divide(pa.arange(0, count), _CHILDREN).cast(pa.int32())
            count = -(-count // _CHILDREN)
            state = State(self._spec)
            if levels:
                state.merge(levels[-1], groups, count)
            else:
                state.update(self._rows, groups, count)
            levels.append(state.states(count))
        return levels

    def states(self, starts: pa.Array, ends: pa.Array) -> list[pa.Array]:
        """The state columns of the ranges [start, end) of rows (int64 without NULLs); of an empty one the state of
        nothing."""
        ends = pc.max_element_wise(starts, ends)
        if self._counts is not None:
            return [pc.subtract(self._counts.take(ends), self._counts.take(starts))]
        if self._sums is not None:
            sums, counts = self._sums.query(starts, ends)
            return [sums] if self._spec.name == "sum" else [sums, counts]
        if self._extremes is not None:
            assert self._values is not None
            rows = self._extremes.query(starts, ends)
            return [self._values.take(pc.if_else(pc.less(rows, 0), pa.scalar(None, pa.int64()), rows))]
        return self._from_levels(starts, ends)

    def _from_levels(self, starts: pa.Array, ends: pa.Array) -> list[pa.Array]:
        if self._before is not None:
            starts, ends = self._before.take(starts), self._before.take(ends)
        parts: list[list[pa.Array]] = []
        done = 0
        while done < len(starts):
            stop, nodes = tree_nodes(starts, ends, len(self._levels) + 1, done, _NODES_AT_ONCE)
            state = State(self._spec)
            state.update(self._rows.take(nodes[0][0]), nodes[0][1], stop - done)
            for level, (chosen, queries) in zip(self._levels, nodes[1:], strict=True):
                state.merge([column.take(chosen) for column in level], queries, stop - done, False)
            parts.append(state.states(stop - done))
            done = stop
        return [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]


class StateTree:
    """The same over states instead of rows: those of the pages of a partition."""

    def __init__(self, spec: AggregateSpec, columns: Sequence[pa.Array]) -> None:
        self._spec = replace(spec, filter=None)
        self._levels = [list(columns)]
        count = len(columns[0])
        while count > _CHILDREN:
            groups = pc.divide(pa.arange(0, count), _CHILDREN).cast(pa.int32())
            count = -(-count // _CHILDREN)
            state = State(self._spec)
            state.merge(self._levels[-1], groups, count)
            self._levels.append(state.states(count))

    def states(self, starts: pa.Array, ends: pa.Array) -> list[pa.Array]:
        stop, nodes = tree_nodes(starts, ends, len(self._levels), 0, 1 << 62)
        state = State(self._spec)
        for level, (chosen, queries) in zip(self._levels, nodes, strict=True):
            state.merge([column.take(chosen) for column in level], queries, stop, False)
        return state.states(stop)


def merged_states(spec: AggregateSpec, parts: Sequence[list[pa.Array]]) -> list[pa.Array]:
    """The states of the same ranges in several parts as one."""
    if len(parts) == 1:
        return parts[0]
    count = len(parts[0][0])
    rows = pa.arange(0, count).cast(pa.int32())
    state = State(replace(spec, filter=None))
    for columns in parts:
        state.merge(columns, rows, count)
    return state.states(count)


def state_results(spec: AggregateSpec, columns: list[pa.Array]) -> pa.Array:
    """The values that states stand for."""
    count = len(columns[0])
    state = State(replace(spec, filter=None))
    state.merge(columns, pa.arange(0, count).cast(pa.int32()), count)
    return state.results(count)
