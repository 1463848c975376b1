"""UNNEST: each input row repeated for the elements of its lists.

Streaming, order kept. For each batch:
1. Count the output rows of each input row (its longest list; at least one with `outer`), and the bytes that one of them
   will take of the columns beside the lists: text is measured row by row, because one long text beside one long list
   decides the size, not the mean.
2. Cut the output into pieces of at most `batch_rows` rows and about `batch_bytes` bytes *before* any of it is made. A
   cut may fall inside a row's list.
3. Make each piece: indices of the parent rows (from list offsets), a `take` of the other columns, and the elements.

Memory: the input batch, one output batch, and the counts (40 bytes an input row). Worst case: one row wider than
`batch_bytes`, which is repeated one output row at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

# Bytes of index arrays per output row while a piece is made.
_INDEX_BYTES = 32


@dataclass(frozen=True)
class ExplodeRows(Operator):
    """`lists` pairs output keys with the input's list columns (unnested side by side, shorter ones padded with NULL).
    `outer` keeps rows whose lists are all empty or NULL; `ordinality` is the key of an int64 column counting from 1."""

    lists: tuple[tuple[str, str], ...]
    outer: bool
    ordinality: str | None

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        for batch in inputs[0]:
            lists = [_plain_list(batch.column(source)) for _, source in self.lists]
            lengths = [pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64()) for column in lists]
            counts = lengths[0] if len(lengths) == 1 else pc.max_element_wise(*lengths)
            if self.outer:
                counts = pc.max_element_wise(counts, pa.scalar(1, pa.int64()))
            ends = list(accumulate(counts.to_pylist(), initial=0))
            for low, high in _pieces(ends, self._widths(batch), task.settings):
                yield self._piece(batch, lists, lengths, ends, low, high)

    def _widths(self, batch: pa.RecordBatch) -> list[int]:
        """Bytes per row that the columns beside the lists add to each output row."""
        mean = _INDEX_BYTES
        varying: list[pa.Array] = []
        made = {key for key, _ in self.lists} | {self.ordinality}
        for key in self.schema.names:
            if key in made:
                continue
            column = batch.column(key)
            if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
                varying.append(pc.fill_null(pc.binary_length(column), 0))
            elif pa.types.is_nested(column.type):
                # The mean would hide one huge value among small ones.
                varying.append(pa.array([column.slice(i, 1).nbytes for i in range(len(column))], pa.int64()))
            else:
                mean += column.nbytes // len(column) + 1
        if not varying:
            return [mean] * batch.num_rows
        total: Any = pa.scalar(mean, pa.int64())
        for lengths in varying:
            total = pc.add(total, lengths.cast(pa.int64()))
        return total.to_pylist()  # type: ignore[no-any-return]

    def _piece(
        self, batch: pa.RecordBatch, lists: list[Any], lengths: list[Any], ends: list[int], low: int, high: int
    ) -> pa.RecordBatch:
        """Output rows `low` to `high` of the batch's output."""
        first = bisect_right(ends, low) - 1
        last = max(first + 1, bisect_right(ends, high - 1))
        # Offsets of a list over nothing: its parent indices are the parent of each output row.
        inner = [min(max(end, low), high) - low for end in ends[first : last + 1]]
        nothing = pa.nulls(high - low)
        parents = pa.ListArray.from_arrays(pa.array(inner, pa.int32()), nothing)
        rows = pc.add(pc.list_parent_indices(parents).cast(pa.int64()), first)
        # How far each output row is into its input row's list.
        starts = pa.array(ends[first:last], pa.int64()).take(pc.subtract(rows, first))
        into = pc.subtract(pa.arange(low, high), starts)
        exploded = {
            key: _elements(column, length, rows, into)
            for (key, _), column, length in zip(self.lists, lists, lengths, strict=True)
        }
        arrays = []
        for field in self.schema:
            if field.name in exploded:
                arrays.append(exploded[field.name])
            elif field.name == self.ordinality:
                number = pc.add(into, 1)
                if self.outer:
                    # A row that has no element at all has no place in its list either.
                    longest = lengths[0] if len(lengths) == 1 else pc.max_element_wise(*lengths)
                    number = pc.if_else(pc.less(into, longest.take(rows)), number, pa.scalar(None, pa.int64()))
                arrays.append(number)
            else:
                arrays.append(batch.column(field.name).take(rows))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 3 * settings.batch_bytes + 40 * settings.batch_rows
        return MemoryNeed(floor, floor, False, "one batch in, one out, counts per row")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        # Nothing is known of list lengths: a handful each.
        return replace(inputs[0], rows=inputs[0].rows * 5, bytes=inputs[0].bytes * 5, origin="default")

    def describe(self) -> str:
        return "outer" if self.outer else ""


def _plain_list(column: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type):
        return column.cast(pa.list_(column.type.value_type))
    return column


def _elements(column: pa.Array, lengths: pa.Array, rows: pa.Array, into: pa.Array) -> pa.Array:
    """Element `into` of the list in each of `rows`; NULL beyond its end."""
    places = pc.add(column.offsets.slice(0, len(column)).take(rows).cast(pa.int64()), into)
    inside = pc.less(into, lengths.take(rows))
    return column.values.take(pc.if_else(inside, places, pa.scalar(None, pa.int64())))


def _pieces(ends: list[int], widths: list[int], settings: Settings) -> Iterator[tuple[int, int]]:
    """Ranges of output rows within the limits of a batch. `ends`: running count of output rows, from 0."""
    total = ends[-1]
    sizes = list(accumulate(((b - a) * w for a, b, w in zip(ends, ends[1:], widths, strict=False)), initial=0))
    low = 0
    while low < total:
        row = bisect_right(ends, low) - 1
        target = sizes[row] + (low - ends[row]) * widths[row] + settings.batch_bytes
        stop = bisect_right(sizes, target) - 1
        high = total if stop >= len(widths) else ends[stop] + (target - sizes[stop]) // widths[stop]
        high = min(max(high, low + 1), low + settings.batch_rows, total)
        yield low, high
        low = high
