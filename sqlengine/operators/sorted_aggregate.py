"""GROUP BY for calls that need all values of a group: ordered, distinct and holistic aggregates, mixed with any others.

1. Rows are sorted by the keys (`SortedRuns`, spilling), so that groups come one after the other; and by the order that
   the calls want, if there is one that suits them all.
2. Pieces of whole groups are taken from the sorted stream; each call filters, orders (unless the rows are in its order)
   and folds the piece by itself (`ordered_values`), so that calls with different orders need no further pass.
3. A group for which no memory is left is kept in pages, in memory and then on disk, and each call goes over them by
   itself (`large_groups`).

Held: what the sort holds, then a piece with its working copies, or pages and a further sort. Output is in the order of
the keys. Worst case: a value that is as large as its group (a list, a text) must fit in memory; else the error says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.kernels.selection import row_flags
from sqlengine.kernels.windows import running_numbers
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.external_sort import sort_need, sorted_stream
from sqlengine.operators.large_groups import PagedGroup, Room
from sqlengine.operators.ordered_values import (
    call_order,
    group_values,
    in_input_order,
    ordered_group_values,
    rows_that_count,
    sorts_repeats,
)
from sqlengine.operators.whole_groups import bounded, whole_groups
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_ROOM = 8  # batches that one piece with its working copies may take
_COPIES = 4  # of a piece: itself, its keys, in order, and its values


@dataclass(frozen=True)
class SortedAggregate(Operator):
    """One row per value of `keys` with a column per call; without keys exactly one row."""

    keys: tuple[str, ...]
    calls: tuple[AggregateSpec, ...]
    room: int = _ROOM  # batches

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        source = self.inputs[0].schema
        order = self._order()
        by = (*(SortColumn(key) for key in self.keys), *order)
        reservation = task.reservation(self)
        kept = self.room * task.settings.batch_bytes
        kept = kept if reservation.try_grow(kept) else 0
        room = Room(reservation, task.spill, task.settings, "SortedAggregate")
        rows = sorted_stream(self, by, inputs[0], task) if by else inputs[0]
        seen = False
        try:
            pieces = whole_groups(
                rows, self.keys, _cost, reservation, kept, lambda: PagedGroup(source, self.keys, self._columns(), room)
            )
            for piece in pieces:
                task.cancel.check()
                seen = True
                if isinstance(piece, PagedGroup):
                    # The pages and further sorts work in the room of a piece.
                    reservation.shrink(kept)
                    try:
                        result = self._large(piece, order)
                    finally:
                        piece.close()
                        kept = kept if reservation.try_grow(kept) else 0
                else:
                    result = self._aggregated(piece, order)
                yield from bounded(result, task.settings.batch_rows, task.settings.batch_bytes)
            if not seen and not self.keys:
                yield self._aggregated(_no_rows(source), order)
        finally:
            reservation.shrink(kept)
            task.metrics(self).spilled_bytes += room.spilled_bytes

    def _order(self) -> tuple[SortColumn, ...]:
        """The order within groups that suits every call, () if there is none."""
        orders = {order for call in self.calls if (order := call_order(call))}
        if len(orders) != 1 or any(in_input_order(call) for call in self.calls):
            return ()
        return next(iter(orders))

    def _columns(self) -> list[str]:
        """What the calls look at."""
        wanted = {key for call in self.calls for key in (*call.args, *(c.key for c in call.order_by))}
        wanted |= {call.filter for call in self.calls if call.filter is not None}
        return [name for name in self.inputs[0].schema.names if name in wanted]

    def _aggregated(self, piece: pa.RecordBatch, order: tuple[SortColumn, ...]) -> pa.RecordBatch:
        if self.keys:
            starts = sort_keys(piece, tuple(SortColumn(key) for key in self.keys)).starts()
            count = len(starts)
            groups = _numbers(starts, piece.num_rows)
            keys = [piece.column(key).take(starts) for key in self.keys]
        else:
            count = 1
            groups = pa.repeat(pa.scalar(0, pa.int32()), piece.num_rows)
            keys = []
        return self._output(keys, [_values(call, piece, groups, count, order) for call in self.calls])

    def _large(self, group: PagedGroup, order: tuple[SortColumn, ...]) -> pa.RecordBatch:
        return self._output(group.keys, [group.value(call, _is_ready(call, order)) for call in self.calls])

    def _output(self, keys: list[pa.Array], values: list[pa.Array]) -> pa.RecordBatch:
        named = dict(zip([*self.keys, *(call.output for call in self.calls)], [*keys, *values], strict=True))
        columns = [named[f.name] if named[f.name].type == f.type else named[f.name].cast(f.type) for f in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        need = sort_need(inputs[0], settings, (*(SortColumn(key) for key in self.keys), *self._order()))
        room = self.room * settings.batch_bytes
        ideal = None if need.ideal is None else need.ideal + room
        return MemoryNeed(need.floor + room, ideal, True, "rows to sort, twice, and one piece of groups")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        if not self.keys:
            return Stats(1.0, 64.0)
        rows = min(inputs[0].rows, max(1.0, inputs[0].rows ** 0.5))
        return Stats(rows, inputs[0].bytes)

    def needs(self) -> Sequence[Distribution]:
        return [Distribution("hash", self.keys) if self.keys else SINGLE]

    def describe(self) -> str:
        calls = ", ".join(f"{c.name}({', '.join(c.args)})" for c in self.calls)
        return f"by [{', '.join(self.keys)}] {calls}".rstrip()


def _cost(batch: pa.RecordBatch) -> int:
    return int(_COPIES * batch.nbytes + 32 * batch.num_rows)


def _is_ready(call: AggregateSpec, order: tuple[SortColumn, ...]) -> bool:
    """Whether rows in this order need no other for the call."""
    if call.name == "mode" or (call.distinct and not sorts_repeats(call)):
        return False
    return call_order(call) in ((), order)


def _values(
    call: AggregateSpec, piece: pa.RecordBatch, groups: pa.Array, count: int, order: tuple[SortColumn, ...]
) -> pa.Array:
    if not _is_ready(call, order):
        return group_values(call, piece, groups, count)
    keep = rows_that_count(call, piece)
    if keep is not None:
        piece, groups = piece.filter(keep), groups.filter(keep)
    return ordered_group_values(call, piece, groups, count)


def _numbers(starts: pa.Array, rows: int) -> pa.Array:
    """int32 number of the group of each row, from the rows at which groups start."""
    return running_numbers(row_flags(starts, rows)).cast(pa.int32())


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
