"""WITH RECURSIVE: the base rows, then the step over the rows that came last, until a step gives nothing new.

1. The rows of the base are given out and kept as the working table.
2. The step plan runs over the working table; what it gives becomes output and the next working table.
3. UNION (distinct) drops rows seen before: a group table of all rows so far decides.

Held: two working tables (spillable, replayable), and for UNION the table of seen rows, which must fit the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.kernels.grouping import GroupTable
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class RecursiveUnion(Operator):
    """`step` is a plan for one task whose `HeldInput` of `name` reads the working table."""

    name: str
    step: Operator
    distinct: bool

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        fresh = self._filter_seen(reservation)
        working = self._hold(reservation, task)
        try:
            for batch in inputs[0]:
                batch = fresh(self._renamed(batch))
                if batch.num_rows:
                    working.add(batch)
                    yield batch
            working.finish()
            while working.rows(0):
                task.cancel.check()
                following = self._hold(reservation, task)
                try:
                    for batch in task.run_again(self.step, {self.name: working}):
                        batch = fresh(self._renamed(batch))
                        if batch.num_rows:
                            following.add(batch)
                            yield batch
                    following.finish()
                except BaseException:
                    following.close()
                    raise
                working.close()
                working = following
        finally:
            working.close()

    def _renamed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)

    def _hold(self, reservation: Reservation, task: Task) -> PartitionedBuffer:
        return PartitionedBuffer(self.schema, 1, reservation, task.spill, task.settings, "RecursiveUnion")

    def _filter_seen(self, reservation: Reservation) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        if not self.distinct:
            return lambda batch: batch
        seen = GroupTable(self.schema.types)
        held = 0

        def fresh(batch: pa.RecordBatch) -> pa.RecordBatch:
            nonlocal held
            _, first_rows = seen.lookup(batch.columns)
            if seen.nbytes > held:
                reservation.grow(seen.nbytes - held)
                held = seen.nbytes
            return batch if len(first_rows) == batch.num_rows else batch.take(first_rows)

        return fresh

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed(8 * settings.batch_bytes, None, True, "two working tables")

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def describe(self) -> str:
        return f"{self.name}{' distinct' if self.distinct else ''}"
