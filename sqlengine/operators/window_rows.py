"""Window functions.

1. Rows are sorted by the partition's columns and the order (`SortedRuns`, spilling).
2. Pieces of whole partitions are taken from the sorted stream. For a piece the bounds of each row's partition and peers
   are found once, then each call is computed for all rows of the piece (`window_values`).
3. A partition for which no memory is left is cut into pages, in memory and then on disk, and each page's values are
   computed from what the pages say about each other (`window_pages`).

Held: what the sort holds, and a piece with its working copies, or the last pages used. Worst case: every row is written
and read twice, once as a run and once as a page; an aggregate that needs all values of frames that move (a list, a
quantile) must fit the rows of one frame. Output is in the sorted order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.external_sort import order_text, sort_need, sorted_stream
from sqlengine.operators.frame_tree import has_tree
from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.paged_rows import PagedRows
from sqlengine.operators.sorted_aggregate import SortedAggregate
from sqlengine.operators.whole_groups import bounded, whole_groups
from sqlengine.operators.window_pages import PagedPartition
from sqlengine.operators.window_source import HeldRows, Span, WindowSource
from sqlengine.operators.window_values import WindowSpec, window_values
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_PIECES = 12  # batches that one piece with its working copies may take
_SPARE = 2  # batches that pages leave free for frames that are written out
_ROW_BYTES = 160  # bounds of partition, peers and frame, and what is computed from them
_CALL_BYTES = 64  # a row's node in a tree, and its value


@dataclass(frozen=True)
class WindowRows(Operator):
    """The input's columns plus one per call, all calls over the same partition and order."""

    partition_by: tuple[str, ...]
    order_by: tuple[SortColumn, ...]
    calls: tuple[WindowSpec, ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        by = (*(SortColumn(key) for key in self.partition_by), *self.order_by)
        reservation = task.reservation(self)
        # Room for one piece or the pages in use; the sort shall not take it.
        kept = _PIECES * task.settings.batch_bytes
        kept = kept if reservation.try_grow(kept) else 0
        rows = sorted_stream(self, by, inputs[0], task) if by else inputs[0]
        try:
            pieces = whole_groups(rows, self.partition_by, self._cost, reservation, kept, lambda: self._paged(task))
            for piece in pieces:
                task.cancel.check()
                if isinstance(piece, PagedPartition):
                    try:
                        for span in piece.spans():
                            task.cancel.check()
                            yield from self._computed(span, piece, task)
                    finally:
                        task.metrics(self).spilled_bytes += piece.spilled_bytes
                        piece.close()
                else:
                    source = HeldRows(piece, self.partition_by, self.order_by)
                    yield from self._computed(source.span, source, task)
        finally:
            reservation.shrink(kept)

    def _computed(self, span: Span, source: WindowSource, task: Task) -> Batches:
        settings = task.settings
        held = task.reservation(self)
        values = {call.output: window_values(call, span, source, held, settings.batch_bytes) for call in self.calls}
        columns = [values[f.name].cast(f.type) if f.name in values else span.rows.column(f.name) for f in self.schema]
        result = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        yield from bounded(result, settings.batch_rows, settings.batch_bytes)

    def _cost(self, batch: pa.RecordBatch) -> int:
        return int(3 * batch.nbytes + (_ROW_BYTES + _CALL_BYTES * len(self.calls)) * batch.num_rows)

    def _paged(self, task: Task) -> PagedPartition:
        schema = self.inputs[0].schema
        reservation = task.reservation(self)
        asked = {c.key for c in self.order_by}
        trees: list[AggregateSpec] = []
        for call in self.calls:
            asked |= call.columns()
            spec = call.aggregate_spec()
            if call.aggregate and has_tree(spec) and not call.picked:
                trees.append(spec)
        # Up to four pages with their trees are in use at a time.
        row = _ROW_BYTES + _CALL_BYTES * len(self.calls)
        size = _PIECES * task.settings.batch_bytes // 5
        return PagedPartition(
            schema,
            self.order_by,
            sorted(asked),
            trees,
            sorted({key for call in self.calls if (key := call.counted()) is not None}),
            max(1, min(task.settings.batch_rows, size // row)),
            max(1, size // 3),
            lambda shown: PagedRows(shown, reservation, task.spill, "WindowRows", _SPARE * task.settings.batch_bytes),
            lambda spec, shown, rows: self._over_all(spec, shown, rows, task),
        )

    def _over_all(self, spec: AggregateSpec, source: pa.Schema, rows: Batches, task: Task) -> pa.Array:
        """A call over the whole of a partition in pages: an aggregation of its own, which spills as that does."""
        schema = pa.schema([pa.field(spec.output, spec.type)])
        operator = SortedAggregate((LiteralRows((), source, ()),), schema, (), (spec,), 1)
        # It works in the room of this operator, half of which is free while no span is computed.
        reservation = task.reservation(self)
        half = min(reservation.size, _PIECES // 2 * task.settings.batch_bytes)
        task.lend(operator, reservation)
        reservation.shrink(half)
        try:
            return next(iter(operator.run([rows], task))).column(0)
        finally:
            reservation.grow(half)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        need = sort_need(inputs[0], settings, (*(SortColumn(key) for key in self.partition_by), *self.order_by))
        piece = _PIECES * settings.batch_bytes
        ideal = None if need.ideal is None else need.ideal + piece
        return MemoryNeed(need.floor + piece, ideal, True, "rows to sort, twice, and one piece with its values")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(inputs[0].rows, inputs[0].bytes + 8 * len(self.calls) * inputs[0].rows, inputs[0].columns)

    def needs(self) -> Sequence[Distribution]:
        return [Distribution("hash", self.partition_by) if self.partition_by else SINGLE]

    def describe(self) -> str:
        calls = ", ".join(call.name for call in self.calls)
        return f"{calls} by [{', '.join(self.partition_by)}] {order_text(self.order_by)}".rstrip()
