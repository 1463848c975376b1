"""GROUP BY and DISTINCT by hashing.

1. Each batch's keys are looked up in a table of groups; the calls fold the rows into states by group number.
2. When the reservation refuses to grow: a partial aggregation gives its groups out as states and starts anew; a final or
   single one writes them, partitioned by the hash of the keys, and starts anew.
3. At the end the groups come out in batches; if something was written, each partition is aggregated by itself (again
   partitioned by other bits of the hash if it does not fit).
4. A partial aggregation that does not reduce its input passes rows on as states of one row each.

Held: packed keys, states, and the key columns of the groups (reserved as they grow); output batches one at a time. Worst
case: every row is its own group, all of it written and read once per level. Source: Graefe, "Query evaluation techniques
for large databases", 1993, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.expr.nodes import ColumnRef
from sqlengine.expr.selectivity import group_count, scaled, with_bytes
from sqlengine.expr.statistics import Stats
from sqlengine.kernels.grouping import GroupTable
from sqlengine.operators.aggregate_spec import AggregateSpec, State, state_fields
from sqlengine.operators.base import ANY, SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_SPILL_PARTITIONS = 16
_MAX_LEVEL = 6
# A partial aggregation looks at its reduction after this many rows, and gives up above this share of groups per row.
_TRIAL_ROWS = 200_000
_GIVE_UP = 0.7


@dataclass(frozen=True)
class HashAggregate(Operator):
    """`phase`: partial (rows to states), final (states to results), single (rows to results)."""

    keys: tuple[str, ...]
    calls: tuple[AggregateSpec, ...]
    phase: str

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        if self.phase == "partial":
            yield from self._partial(inputs[0], reservation, task)
        else:
            yield from self._complete(inputs[0], self.phase == "final", reservation, task, level=1)

    def _partial(self, stream: Batches, reservation: Reservation, task: Task) -> Batches:
        groups = _Groups(self, reservation)
        seen = 0
        reducing = True
        for batch in stream:
            if not reducing:
                groups.add(batch, merging=False)
                yield from groups.states(task.settings)
                groups.clear()
                continue
            seen += batch.num_rows
            if not groups.add(batch, merging=False):
                yield from groups.states(task.settings)
                groups.clear()
            elif seen >= _TRIAL_ROWS and groups.count > _GIVE_UP * seen:
                reducing = False
                yield from groups.states(task.settings)
                groups.clear()
        if groups.count or not self.keys:
            yield from groups.states(task.settings)
        groups.clear()

    def _complete(
        self, stream: Iterator[pa.RecordBatch], merging: bool, reservation: Reservation, task: Task, level: int
    ) -> Batches:
        groups = _Groups(self, reservation)
        written: PartitionedBuffer | None = None
        try:
            for batch in stream:
                if groups.add(batch, merging):
                    continue
                if level > _MAX_LEVEL:
                    reservation.grow(groups.nbytes - reservation.size)
                    continue
                if written is None:
                    written = PartitionedBuffer(
                        self._state_schema(), _SPILL_PARTITIONS, reservation, task.spill, task.settings,
                        "HashAggregate", level,
                    )  # fmt: skip
                self._write(groups, written, task)
            if written is None:
                yield from groups.results(self.schema, task.settings)
                groups.clear()
                return
            self._write(groups, written, task)
            written.finish()
            written.spill()
            metrics = task.metrics(self)
            metrics.spilled_bytes += written.spilled_bytes
            metrics.spill_files += 1
            for number in range(_SPILL_PARTITIONS):
                if written.rows(number):
                    yield from self._complete(written.read(number, consume=True), True, reservation, task, level + 1)
        finally:
            groups.clear()
            if written is not None:
                written.close()

    def _write(self, groups: _Groups, written: PartitionedBuffer, task: Task) -> None:
        for batch in groups.states(task.settings):
            written.add(batch, self.keys)
        groups.clear()
        written.spill()

    def _state_schema(self) -> pa.Schema:
        keys = [self.schema.field(key) for key in self.keys]
        return pa.schema([*keys, *(field for call in self.calls for field in state_fields(call))])

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 6 * settings.batch_bytes if self.keys else settings.batch_bytes
        width = 48 + 24 * len(self.keys) + 24 * len(self.calls)
        ideal = floor + int(self.stats(inputs).rows * width) if self.keys else floor
        return MemoryNeed(floor, ideal, bool(self.keys), "a table of groups with their states")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        keys = [ColumnRef(self.inputs[0].schema.field(key).type, key) for key in self.keys]
        rows = group_count(keys, inputs[0])
        columns = {key: inputs[0].columns[key] for key in self.keys if key in inputs[0].columns}
        return with_bytes(scaled(replace(inputs[0], columns=columns), rows), self.schema)

    def needs(self) -> Sequence[Distribution]:
        if self.phase == "partial":
            return [ANY]
        return [Distribution("hash", self.keys) if self.keys else SINGLE]

    def describe(self) -> str:
        calls = ", ".join(f"{c.name}({', '.join(c.args)})" for c in self.calls)
        return f"{self.phase} by [{', '.join(self.keys)}] {calls}".rstrip()


class _Groups:
    """The groups of one table, counted in a reservation."""

    def __init__(self, operator: HashAggregate, reservation: Reservation) -> None:
        self._operator = operator
        self._reservation = reservation
        # A final phase reads the keys under the names of its own schema; so does a partial one.
        self._types = [operator.schema.field(key).type for key in operator.keys]
        self._reserved = 0
        self._start()

    def _start(self) -> None:
        self._table = GroupTable(self._types) if self._types else None
        self._states = [State(call) for call in self._operator.calls]
        self._keys: list[pa.RecordBatch] = []
        self._key_bytes = 0
        self.count = 0 if self._types else 1

    @property
    def nbytes(self) -> int:
        table = self._table.nbytes if self._table is not None else 0
        return table + self._key_bytes + sum(state.nbytes for state in self._states)

    def add(self, batch: pa.RecordBatch, merging: bool) -> bool:
        """Fold a batch of rows (or of states) in. False when the table has outgrown what it may hold."""
        keys = self._operator.keys
        if self._table is not None:
            groups, first = self._table.lookup([batch.column(key) for key in keys])
            if len(first):
                new = batch.select(list(keys)).take(first)
                self._keys.append(new)
                self._key_bytes += new.nbytes
                self.count = self._table.groups
        else:
            groups = pa.repeat(pa.scalar(0, pa.int32()), batch.num_rows)
        for call, state in zip(self._operator.calls, self._states, strict=True):
            if merging:
                state.merge([batch.column(field.name) for field in state_fields(call)], groups, self.count)
            else:
                state.update(batch, groups, self.count)
        size = self.nbytes
        if self._reservation.try_grow(max(0, size - self._reserved)):
            self._reserved = max(size, self._reserved)
            return True
        return False

    def states(self, settings: Settings) -> Iterator[pa.RecordBatch]:
        """Keys and states of all groups, in bounded batches."""
        fields = [field for call in self._operator.calls for field in state_fields(call)]
        arrays = [array for state in self._states for array in state.states(self.count)]
        yield from self._batches(arrays, fields, settings)

    def results(self, schema: pa.Schema, settings: Settings) -> Iterator[pa.RecordBatch]:
        """Keys and values of all groups, in bounded batches."""
        arrays = [state.results(self.count) for state in self._states]
        fields = [schema.field(call.output) for call in self._operator.calls]
        yield from self._batches(arrays, fields, settings)

    def _batches(self, arrays: list[pa.Array], fields: list[pa.Field], settings: Settings) -> Iterator[pa.RecordBatch]:
        if not self.count:
            return
        key_fields = [pa.field(k, t) for k, t in zip(self._operator.keys, self._types, strict=True)]
        schema = pa.schema([*key_fields, *fields])
        if not self._types:
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            return
        keys = pa.concat_batches(self._keys) if len(self._keys) > 1 else self._keys[0]
        self._keys = [keys]
        whole = pa.RecordBatch.from_arrays([*keys.columns, *arrays], schema=schema)
        step = max(1, min(settings.batch_rows, int(settings.batch_bytes * whole.num_rows / max(1, whole.nbytes))))
        for start in range(0, whole.num_rows, step):
            yield whole.slice(start, step)

    def clear(self) -> None:
        """Forget all groups and give their memory back."""
        self._start()
        self._reservation.shrink(self._reserved)
        self._reserved = 0
