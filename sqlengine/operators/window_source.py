"""Where a window function finds the rows of its frames: in a batch of whole partitions, or in the pages of a large one.

Positions are row numbers (int64) that count over the whole source. A `Span` is the rows for which values are wanted,
with the bounds of each row's partition and peers; all that a call asks of other rows goes through a `WindowSource`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.sorting import SortKeys
from sqlengine.kernels.windows import counts_before, running_numbers, segments
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.frame_tree import FrameTree
from sqlengine.operators.ordered_values import group_values
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys


@dataclass(frozen=True)
class Span:
    """Rows in order. Per row (int64): its position, the first row and the end of its partition and of its peers, and
    the number of its peers' group over the source."""

    rows: pa.RecordBatch
    row: pa.Array
    first: pa.Array
    end: pa.Array
    peer_first: pa.Array
    peer_end: pa.Array
    peer_number: pa.Array

    @property
    def count(self) -> int:
        return int(self.rows.num_rows)


class WindowSource(ABC):
    """`count` rows sorted by partition and `order_by`."""

    count: int
    order_by: tuple[SortColumn, ...]

    @abstractmethod
    def take(self, keys: Sequence[str], positions: pa.Array) -> pa.RecordBatch:
        """These columns of the rows at positions (NULL: NULLs)."""

    @abstractmethod
    def peer_start(self, numbers: pa.Array) -> pa.Array:
        """The first row of each of these groups of peers; `count` beyond the last one, 0 below the first."""

    @abstractmethod
    def search(self, targets: pa.Array, first: pa.Array, end: pa.Array, after: bool) -> pa.Array:
        """The first row in [first, end) whose (one) order column is not before the target, or with `after` after it."""

    @abstractmethod
    def counts(self, key: str, positions: pa.Array) -> pa.Array:
        """How many rows before each position have a value in a column."""

    @abstractmethod
    def nth_valid(self, key: str, numbers: pa.Array) -> pa.Array:
        """The position of the n-th (from 0) row with a value in a column; NULL for NULL."""

    @abstractmethod
    def frame_states(self, spec: AggregateSpec, starts: pa.Array, ends: pa.Array) -> list[pa.Array]:
        """The states of a call over ranges of rows, for calls that `has_tree`."""

    @abstractmethod
    def partition_values(self, spec: AggregateSpec, span: Span) -> pa.Array:
        """The call over the whole partition of each row."""

    def first_of_values(self, spec: AggregateSpec) -> AggregateSpec | None:
        """A call without DISTINCT that counts each value of a partition where it first occurs, if that can be known."""
        return None


class HeldRows(WindowSource):
    """Whole partitions in one batch."""

    def __init__(self, rows: pa.RecordBatch, partition_by: tuple[str, ...], order_by: tuple[SortColumn, ...]) -> None:
        self.rows = rows
        self.count = rows.num_rows
        self.order_by = order_by
        self._parts = tuple(SortColumn(key) for key in partition_by)
        whole = pa.array([0], pa.int32())
        first, end = segments(sort_keys(rows, self._parts).starts() if self._parts else whole, self.count)
        everything = (*self._parts, *order_by)
        self._peer_starts = sort_keys(rows, everything).starts() if everything else whole
        peer_first, peer_end = segments(self._peer_starts, self.count)
        row = pa.arange(0, self.count)
        numbers = running_numbers(pc.equal(row, peer_first))
        self.span = Span(rows, row, first, end, peer_first, peer_end, numbers)
        self._trees: dict[AggregateSpec, FrameTree] = {}
        self._valid: dict[str, tuple[pa.Array, pa.Array]] = {}
        self._firsts: dict[tuple[str, ...], str] = {}

    def take(self, keys: Sequence[str], positions: pa.Array) -> pa.RecordBatch:
        return self.rows.select(list(keys)).take(positions)

    def peer_start(self, numbers: pa.Array) -> pa.Array:
        starts = pa.concat_arrays([self._peer_starts.cast(pa.int64()), pa.array([self.count], pa.int64())])
        return starts.take(pc.min_element_wise(pc.max_element_wise(numbers, 0), len(starts) - 1))

    def search(self, targets: pa.Array, first: pa.Array, end: pa.Array, after: bool) -> pa.Array:
        values, wanted = order_keys(self.order_by[0], self.rows.column(self.order_by[0].key), targets)
        return values.search(wanted, first, end, after)

    def _valid_rows(self, key: str) -> tuple[pa.Array, pa.Array]:
        if key not in self._valid:
            mask = self.rows.column(key).is_valid()
            self._valid[key] = (counts_before(mask), pc.indices_nonzero(mask).cast(pa.int64()))
        return self._valid[key]

    def counts(self, key: str, positions: pa.Array) -> pa.Array:
        return self._valid_rows(key)[0].take(positions)

    def nth_valid(self, key: str, numbers: pa.Array) -> pa.Array:
        return self._valid_rows(key)[1].take(numbers)

    def frame_states(self, spec: AggregateSpec, starts: pa.Array, ends: pa.Array) -> list[pa.Array]:
        if spec not in self._trees:
            self._trees[spec] = FrameTree(spec, self.rows)
        return self._trees[spec].states(starts, ends)

    def partition_values(self, spec: AggregateSpec, span: Span) -> pa.Array:
        groups = running_numbers(pc.equal(span.row, span.first)).cast(pa.int32())
        return group_values(spec, self.rows, groups, groups[-1].as_py() + 1).take(groups)

    def first_of_values(self, spec: AggregateSpec) -> AggregateSpec | None:
        keys = (*spec.args, spec.filter or "")
        if keys not in self._firsts:
            mask = pa.repeat(pa.scalar(True), self.count)
            if spec.filter is not None:
                mask = pc.fill_null(self.rows.column(spec.filter), False)
            name = f"first of {' '.join(keys)}"
            by = (*self._parts, *(SortColumn(key) for key in spec.args))
            rows = pc.indices_nonzero(mask)
            chosen = self.rows.select([c.key for c in by]).take(rows)
            order = sort_keys(chosen, by).order()
            starts = sort_keys(chosen.take(order), by).starts()
            firsts = rows.take(order.take(starts))
            here = pc.is_in(self.span.row, value_set=firsts.cast(pa.int64()))
            self.rows = self.rows.append_column(name, here)
            self._firsts[keys] = name
        return replace(spec, filter=self._firsts[keys], distinct=False)


def order_keys(by: SortColumn, values: pa.Array, targets: pa.Array) -> tuple[SortKeys, SortKeys]:
    """The keys of values and of targets among them, comparable."""
    if values.type != targets.type:
        values = values.cast(targets.type)
    flags = ([by.descending], [by.nulls_first])
    return SortKeys([values], *flags), SortKeys([targets], *flags)
