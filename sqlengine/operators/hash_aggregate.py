"""GROUP BY and DISTINCT by hashing.

1. Each batch's keys are looked up in a table of groups; the calls fold the rows into states by group number. The most
   that the batch can add is reserved before; what it did not need is given back after.
2. When the reservation refuses: the batch is taken in smaller pieces; then a partial aggregation gives its groups out
   as states and starts anew; a final or single one writes them, partitioned by the hash of the keys, and starts anew.
3. At the end the groups come out by ranges, each freed as soon as it is given; if something was written, each partition
   is aggregated by itself (again partitioned by other bits of the hash if it does not fit).
4. A partial aggregation gives its groups out early when its table outgrows the cache without reducing much, and one
   that hardly reduces its input passes rows on as states of one row each, without a table.

Held: packed keys and states (reserved before they grow), and a batch of input and of output. Worst case: every row is
its own group, all of it written and read once per level. Source: Graefe, "Query evaluation techniques for large
databases", 1993, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.expr.nodes import ColumnRef
from sqlengine.expr.selectivity import group_count, scaled, with_bytes
from sqlengine.expr.statistics import Stats
from sqlengine.formats.batches import plain
from sqlengine.kernels.grouping import GroupTable
from sqlengine.kernels.selection import product_rows
from sqlengine.operators.aggregate_spec import AggregateSpec, State, state_fields
from sqlengine.operators.base import ANY, SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.coded_keys import CodedTable
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_SPILL_PARTITIONS = 16
_MAX_LEVEL = 6
# A partial aggregation looks at its reduction after this many rows, and gives up above this share of groups per row.
_TRIAL_ROWS = 200_000
_GIVE_UP = 0.7
# A partial table larger than this is slower to look into than what it gives out is to merge; but it may go on growing
# while it has taken so many rows per group.
_CACHE_BYTES = 8 << 20
_REDUCES_WELL = 16
# A batch is not taken in smaller pieces than this while the table could be emptied instead.
_SMALL_PIECE = 4096


@dataclass(frozen=True)
class HashAggregate(Operator):
    """`phase`: partial (rows to states), final (states to results), single (rows to results). Keys in `coded` may come
    as dictionaries."""

    keys: tuple[str, ...]
    calls: tuple[AggregateSpec, ...]
    phase: str
    coded: tuple[str, ...] = ()

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        if self.phase == "partial":
            yield from self._partial(inputs[0], reservation, task)
        else:
            yield from self._complete(inputs[0], self.phase == "final", reservation, task, level=1)

    def _partial(self, stream: Batches, reservation: Reservation, task: Task) -> Batches:
        groups = _Groups(self, reservation, task.settings)
        seen = 0  # rows since the table was last empty
        reducing = True
        try:
            for batch in stream:
                if not reducing:
                    yield from self._passed(batch, task.settings)
                    continue
                while batch.num_rows:
                    taken = groups.add(batch, merging=False)
                    seen += taken
                    batch = batch.slice(taken)
                    large = groups.nbytes > _CACHE_BYTES and seen < _REDUCES_WELL * groups.count
                    poor = bool(self.keys) and (seen >= _TRIAL_ROWS or large) and groups.count > _GIVE_UP * seen
                    if not taken or poor or large:
                        yield from groups.states()
                        seen = 0
                    if poor:
                        reducing = False
                        if batch.num_rows:
                            yield from self._passed(batch, task.settings)
                        break
            yield from groups.states()
        finally:
            groups.clear()

    def _passed(self, batch: pa.RecordBatch, settings: Settings) -> Iterator[pa.RecordBatch]:
        """Each row as the states of a group of its own."""
        rows = step = batch.num_rows
        start = 0
        _, numbers = product_rows(0, 1, 0, rows)
        while start < rows:
            piece = batch.slice(start, step)
            groups = numbers.slice(0, piece.num_rows)
            arrays = [plain(piece.column(key), self.schema.field(key).type) for key in self.keys]
            for call in self.calls:
                state = State(call)
                state.update(piece, groups, piece.num_rows, complete=True)
                arrays += state.states(piece.num_rows)
            out = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
            if out.nbytes > 2 * settings.batch_bytes and step > 1:
                step = max(1, step * settings.batch_bytes // out.nbytes)
                continue
            yield out
            start += piece.num_rows

    def _complete(
        self, stream: Iterator[pa.RecordBatch], merging: bool, reservation: Reservation, task: Task, level: int
    ) -> Batches:
        groups = _Groups(self, reservation, task.settings)
        written: PartitionedBuffer | None = None
        try:
            for batch in stream:
                while batch.num_rows:
                    taken = groups.add(batch, merging, must=level > _MAX_LEVEL)
                    batch = batch.slice(taken)
                    if taken:
                        continue
                    if written is None:
                        written = PartitionedBuffer(
                            self._state_schema(), _SPILL_PARTITIONS, reservation, task.spill, task.settings,
                            "HashAggregate", level,
                        )  # fmt: skip
                    self._write(groups, written)
            if written is None:
                yield from groups.results(self.schema)
                return
            self._write(groups, written)
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

    def _write(self, groups: _Groups, written: PartitionedBuffer) -> None:
        for batch in groups.states():
            written.add(batch, self.keys)
        written.spill()

    def _state_schema(self) -> pa.Schema:
        keys = [self.schema.field(key) for key in self.keys]
        return pa.schema([*keys, *(field for call in self.calls for field in state_fields(call))])

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = (6 if self.keys else 4) * settings.batch_bytes
        ideal = floor
        if self.keys:
            groups = self.stats(inputs)
            # Slots and hashes, the keys and states themselves, and their growth by doubling.
            table = groups.rows * (32 + 8 * len(self.keys) + 8 * len(self.calls)) + 1.5 * groups.bytes
            if self.phase == "partial" and inputs[0].rows < _REDUCES_WELL * groups.rows:
                table = min(table, 1.5 * _CACHE_BYTES)
            ideal = 2 * settings.batch_bytes + int(table)
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

    def __init__(self, operator: HashAggregate, reservation: Reservation, settings: Settings) -> None:
        self._operator = operator
        self._reservation = reservation
        self._settings = settings
        # A final phase reads the keys under the names of its own schema; so does a partial one.
        self._types = [operator.schema.field(key).type for key in operator.keys]
        self._texts = [key for key, type_ in zip(operator.keys, self._types, strict=True) if not _is_fixed(type_)]
        self._state_fields = [field for call in operator.calls for field in state_fields(call)]
        self._table: GroupTable | CodedTable | None = None
        if operator.coded:
            self._table = CodedTable(self._types, [operator.keys.index(key) for key in operator.coded])
        elif self._types:
            self._table = GroupTable(self._types)
        self._reserved = 0
        self._start()

    def _start(self) -> None:
        self._states = [State(call) for call in self._operator.calls]
        # Keys that cannot be read back from the table, as they came: of nested types.
        self._kept: dict[str, list[pa.Array]] = {
            key: [] for key, type_ in zip(self._operator.keys, self._types, strict=True) if pa.types.is_nested(type_)
        }
        self._kept_bytes = 0
        self.count = 0 if self._types else 1

    @property
    def nbytes(self) -> int:
        table = self._table.nbytes if self._table is not None else 0
        return table + self._kept_bytes + sum(state.nbytes for state in self._states)

    def add(self, batch: pa.RecordBatch, merging: bool, must: bool = False) -> int:
        """Fold the rows of a batch (of states, when `merging`) in, as many as there is memory for; how many. With 0 the
        groups have to be given out first; one row goes into an empty table, or the reservation raises."""
        rows: int = batch.num_rows
        empty = self._table is not None and self.count == 0
        while not self._reserve(piece := batch.slice(0, rows), merging):
            if rows <= _SMALL_PIECE and not empty and not must and self._table is not None:
                return 0
            if rows == 1:
                self._reservation.grow(self._room(piece, merging) - self._reserved)
                self._reserved = self._reservation.size
                break
            rows = max(1, rows // 4)
        self._fold(piece, merging)
        # In use are the groups, a batch that comes in and one that goes out.
        self._resize(self.nbytes + 2 * self._settings.batch_bytes)
        return rows

    def _reserve(self, batch: pa.RecordBatch, merging: bool) -> bool:
        more = self._room(batch, merging) - self._reserved
        if more > 0:
            if not self._reservation.try_grow(more):
                return False
            self._reserved += more
        return True

    def _room(self, batch: pa.RecordBatch, merging: bool) -> int:
        """Most bytes in use while and after a batch is folded in."""
        rows = batch.num_rows
        size = 2 * self._settings.batch_bytes
        count = 1
        if self._table is not None:
            text = sum(batch.column(key).nbytes for key in self._texts)
            kept = text if self._kept else 0
            size += self._table.nbytes + self._table.room(rows, text) + self._kept_bytes + kept
            count = self.count + rows
        return size + sum(state.room(batch, count, merging) for state in self._states)

    def _resize(self, size: int) -> None:
        if size < self._reserved:
            self._reservation.shrink(self._reserved - size)
        elif size > self._reserved:
            self._reservation.grow(size - self._reserved)
        self._reserved = size

    def _fold(self, batch: pa.RecordBatch, merging: bool) -> None:
        if self._table is not None:
            groups, first = self._table.lookup([batch.column(key) for key in self._operator.keys])
            self.count = self._table.groups
            if len(first):
                for key, kept in self._kept.items():
                    kept.append(batch.column(key).take(first))
                    self._kept_bytes += kept[-1].nbytes
        else:
            groups = _zeros(batch.num_rows)
        for call, state in zip(self._operator.calls, self._states, strict=True):
            if merging:
                state.merge([batch.column(field.name) for field in state_fields(call)], groups, self.count)
            else:
                state.update(batch, groups, self.count, complete=True)

    def states(self) -> Iterator[pa.RecordBatch]:
        """Keys and states of all groups, in bounded batches; the groups are gone after that."""
        yield from self._given(self._state_fields, results=False)

    def results(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Keys and values of all groups, in bounded batches; the groups are gone after that."""
        yield from self._given([schema.field(call.output) for call in self._operator.calls], results=True)

    def _given(self, fields: list[pa.Field], results: bool) -> Iterator[pa.RecordBatch]:
        keys = self._operator.keys
        schema = pa.schema([*(pa.field(k, t) for k, t in zip(keys, self._types, strict=True)), *fields])
        if self._table is not None:
            self._table.seal()
        start = 0
        fixed = sum(_fixed_width(field.type) for field in schema) + 1
        limit = self._settings.batch_bytes
        while start < self.count:
            step = max(1, min(self.count - start, self._settings.batch_rows, limit // fixed))
            for part in (self._table, *self._states):
                if part is not None:
                    step = part.fit(start, step, limit)
            end = start + step
            arrays = []
            for number, key in enumerate(keys):
                assert self._table is not None
                arrays.append(
                    self._kept_keys(key, start, step) if key in self._kept else self._table.keys(number, start, step)
                )
            for state in self._states:
                arrays += [state.results(end, start)] if results else state.states(end, start)
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            del arrays
            for part in (self._table, *self._states):
                if part is not None:
                    part.release(end)
            self._resize(min(self._reserved, self.nbytes + 2 * limit))
            start = end
        self.clear()

    def _kept_keys(self, key: str, start: int, n: int) -> pa.Array:
        column = pa.chunked_array(self._kept[key], self._operator.schema.field(key).type).slice(start, n)
        return pa.concat_arrays(column.chunks)

    def clear(self) -> None:
        """Forget all groups and give their memory back."""
        if self._table is not None:
            self._table.clear()
        self._start()
        self._reservation.shrink(self._reserved)
        self._reserved = 0


def _is_fixed(type_: pa.DataType) -> bool:
    t = pa.types
    return not (t.is_string(type_) or t.is_binary(type_) or t.is_dictionary(type_) or t.is_nested(type_))


def _fixed_width(type_: pa.DataType) -> int:
    """Bytes of a value, without those of text and nested values."""
    try:
        return (int(type_.bit_width) + 7) // 8
    except ValueError:
        return 8


def _zeros(n: int) -> pa.Array:
    return pa.Array.from_buffers(pa.int32(), n, [None, pa.py_buffer(bytes(4 * n))])
