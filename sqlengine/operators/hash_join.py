"""Joins on equality: a table over the build side, probed by the other side's rows.

1. Shared: the first task builds one table from the whole build side, all tasks of the stage probe it, and the last one
   to finish gives what belongs to the build side (the planner chose this because the real size fits). If it does not
   fit after all, the build rows are partitioned onto disk, every task partitions its probe rows, and the last one joins
   them.
2. Alone: one task has both sides. Build rows are added while the reservation allows it; if it does, probe.
3. If not, both sides are partitioned by the hash of their keys onto disk and each pair of partitions is joined by
   itself, with other bits of the hash if it is still too large.
4. A partition that hashing cannot split (one hot key) is joined in pieces: as much of its build side as fits, the probe
   side replayed for each, remembering which probe rows have had a match.

Held: build rows in the batches they came in and their table (reserved before it is built), batches of both sides. Worst
case: one key on both sides, its pairs in time proportional to their product. Source: Graefe, "Query evaluation
techniques for large databases", 1993, section 5; Shapiro, "Join processing in database systems with large main
memories", 1986.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.nodes import ColumnRef, Expr
from sqlengine.expr.selectivity import equi_join, with_bytes
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import ANY, SHARED, SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.join_table import (
    PROBE_FLAGS,
    BuildFacts,
    BuildSide,
    JoinShape,
    build_output,
    check_single,
    flags,
    gives_unmatched,
    probe,
    unmatched_output,
)
from sqlengine.runtime.memory import Reservation, compact
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_SPILL_PARTITIONS = 16
_MAX_LEVEL = 4
# A partition with this share of all rows is not split again: it is one hot key, or next to it.
_HOT = 0.8


@dataclass
class _OnDisk:
    """What a build side became that did not fit: its partitions, and the partitioned probe rows of each task."""

    builds: PartitionedBuffer
    facts: BuildFacts
    probes: list[PartitionedBuffer] = field(default_factory=list)

    def probe_rows(self, number: int) -> int:
        return sum(part.rows(number) for part in self.probes)

    def read_probe(self, number: int, consume: bool = False) -> Iterator[pa.RecordBatch]:
        for part in self.probes:
            yield from part.read(number, consume)

    def close(self) -> None:
        for part in (self.builds, *self.probes):
            part.close()


class _Held:
    """Build rows on their way into a table, all that they will need reserved; `reserved` bytes."""

    def __init__(self, side: BuildSide, reservation: Reservation) -> None:
        self.side = side
        self._reservation = reservation
        self.reserved = 0

    def add(self, batch: pa.RecordBatch, must: bool = False) -> bool:
        """False if the batch does not fit."""
        batch = compact(self.side.narrowed(batch))
        more = self.side.size_with(batch) - self.reserved
        if more > 0:
            if must:
                self._reservation.grow(more)
            elif not self._reservation.try_grow_first(more):
                return False
            self.reserved += more
        self.side.add(batch)
        return True

    def give_back(self) -> Iterator[pa.RecordBatch]:
        """The rows again, one batch after the other, each freed before it is given."""
        batches = list(reversed(self.side.rows.batches))
        self.side.rows.clear()
        self.side.table.clear()
        freed = self.reserved - sum(batch.nbytes for batch in batches)
        while batches:
            batch = batches.pop()
            self._release(freed + batch.nbytes)
            freed = 0
            yield batch
        self.close()

    def _release(self, n: int) -> None:
        n = max(0, min(n, self.reserved))
        self.reserved -= n
        self._reservation.shrink(n)

    def close(self) -> None:
        self._release(self.reserved)


@dataclass(frozen=True)
class HashJoin(Operator):
    """`inputs` = (probe, build). `kind` from the probe's side: inner, probe_outer, build_outer, full, probe_semi,
    probe_anti, build_semi, build_anti, mark, single. `residual` is evaluated on pairs with equal keys."""

    kind: str
    probe_keys: tuple[str, ...]
    build_keys: tuple[str, ...]
    residual: Expr | None
    null_aware: bool = False
    mark: str | None = None
    null_equal: bool = False
    shared: bool = False

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        if not self.shared:
            yield from self._alone(inputs[0], inputs[1], BuildFacts(), reservation, task, level=1)
            return
        made = task.shared(self, lambda: self._build(inputs[1], BuildFacts(), reservation, task, level=1))
        if isinstance(made, _Held):
            for batch in inputs[0]:
                yield from self._probe(made.side, batch)
            if task.finished(self):
                yield from build_output(made.side)
            return
        part = self._buffer(0, reservation, task, level=1)
        made.probes.append(part)
        self._fill(part, inputs[0], self.probe_keys, task)
        if task.finished(self):
            try:
                yield from self._join_partitions(made, reservation, task, level=1)
            finally:
                made.close()

    def _shape(self) -> JoinShape:
        return JoinShape(
            self.kind, self.schema, self.inputs[0].schema, self.inputs[1].schema, self.probe_keys, self.build_keys,
            self.residual, self.null_aware, self.mark, self.null_equal,
        )  # fmt: skip

    def _build(
        self, stream: Iterator[pa.RecordBatch], facts: BuildFacts, reservation: Reservation, task: Task, level: int
    ) -> _Held | _OnDisk:
        """A finished table if the build side fits, else its rows partitioned on disk."""
        held = _Held(BuildSide(self._shape(), task.settings, facts), reservation)
        for batch in stream:
            facts.see(batch, self.build_keys)
            if held.add(batch):
                continue
            builds = self._buffer(1, reservation, task, level, tuple(held.side.held))
            made = _OnDisk(builds, facts)
            try:
                self._fill(builds, held.give_back(), self.build_keys, task)
                self._fill(builds, self._rest(batch, stream, facts, held.side), self.build_keys, task)
            except BaseException:
                made.close()
                raise
            return made
        held.side.finish()
        return held

    def _rest(
        self, batch: pa.RecordBatch, stream: Iterator[pa.RecordBatch], facts: BuildFacts, side: BuildSide
    ) -> Iterator[pa.RecordBatch]:
        yield side.narrowed(batch)
        for batch in stream:
            facts.see(batch, self.build_keys)
            yield side.narrowed(batch)

    def _fill(
        self, buffer: PartitionedBuffer, stream: Iterator[pa.RecordBatch], keys: Sequence[str], task: Task
    ) -> None:
        """All rows of the stream, written: what comes next needs the memory."""
        before = buffer.spilled_bytes
        for batch in stream:
            if batch.num_rows:
                buffer.add(batch, keys)
        buffer.finish()
        buffer.spill()
        metrics = task.metrics(self)
        metrics.spilled_bytes += buffer.spilled_bytes - before
        metrics.spill_files += 1 if not before and buffer.spilled_bytes else 0

    def _buffer(
        self, side: int, reservation: Reservation, task: Task, level: int, names: Sequence[str] | None = None
    ) -> PartitionedBuffer:
        schema = self.inputs[side].schema
        if names is not None:
            schema = pa.schema([schema.field(name) for name in names])
        return PartitionedBuffer(schema, _SPILL_PARTITIONS, reservation, task.spill, task.settings, "HashJoin", level)

    def _probe(self, side: BuildSide, batch: pa.RecordBatch) -> Batches:
        matched: list[pa.Array] = []
        yield from probe(side, batch, matched)
        if self.kind in PROBE_FLAGS and not gives_unmatched(side):
            if self.kind == "single":
                check_single(matched)
            yield from unmatched_output(side, batch, flags(batch.num_rows, matched))

    def _alone(
        self,
        probe_stream: Iterator[pa.RecordBatch],
        build_stream: Iterator[pa.RecordBatch],
        facts: BuildFacts,
        reservation: Reservation,
        task: Task,
        level: int,
    ) -> Batches:
        made = self._build(iter(build_stream), facts, reservation, task, level)
        try:
            if isinstance(made, _Held):
                for batch in probe_stream:
                    yield from self._probe(made.side, batch)
                yield from build_output(made.side)
                return
            part = self._buffer(0, reservation, task, level)
            made.probes.append(part)
            self._fill(part, probe_stream, self.probe_keys, task)
            yield from self._join_partitions(made, reservation, task, level)
        finally:
            made.close()

    def _join_partitions(self, made: _OnDisk, reservation: Reservation, task: Task, level: int) -> Batches:
        total = made.builds.total_rows
        for number in range(_SPILL_PARTITIONS):
            rows = made.builds.rows(number)
            if not rows and not made.probe_rows(number):
                continue
            if level >= _MAX_LEVEL or rows > _HOT * total:
                yield from self._in_pieces(made, number, reservation, task)
            else:
                yield from self._alone(
                    made.read_probe(number, consume=True), made.builds.read(number, consume=True), made.facts,
                    reservation, task, level + 1,
                )  # fmt: skip

    def _in_pieces(self, made: _OnDisk, number: int, reservation: Reservation, task: Task) -> Batches:
        needs_flags = self.kind in PROBE_FLAGS
        matched: list[pa.Array] = []
        if needs_flags:
            reservation.grow(made.probe_rows(number) // 8)
            matched = [pa.repeat(pa.scalar(False), batch.num_rows) for batch in made.read_probe(number)]
        try:
            stream = made.builds.read(number)
            pending = next(stream, None)
            while pending is not None:
                task.cancel.check()
                held = _Held(BuildSide(self._shape(), task.settings, made.facts, whole=False), reservation)
                # One batch always goes in: it is within the floor.
                held.add(pending, must=True)
                while (pending := next(stream, None)) is not None and held.add(pending):
                    pass
                held.side.finish()
                for place, batch in enumerate(made.read_probe(number)):
                    found: list[pa.Array] = []
                    yield from probe(held.side, batch, found)
                    if needs_flags:
                        now = flags(batch.num_rows, found)
                        if self.kind == "single":
                            twice = pc.any(pc.and_(now, matched[place])).as_py()
                            check_single([*found, *([found[0]] if found and twice else [])])
                        matched[place] = pc.or_(matched[place], now)
                yield from build_output(held.side)
                held.close()
            if needs_flags:
                nothing = BuildSide(self._shape(), task.settings, made.facts, whole=False)
                nothing.finish()
                for place, batch in enumerate(made.read_probe(number)):
                    yield from unmatched_output(nothing, batch, matched[place])
        finally:
            if needs_flags:
                reservation.shrink(made.probe_rows(number) // 8)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 8 * settings.batch_bytes
        ideal = 2 * settings.batch_bytes + int(inputs[1].bytes + inputs[1].rows * 32)
        return MemoryNeed(floor, ideal, True, "the build side with its table")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        left, right = inputs
        pairs = [
            (ColumnRef(self.inputs[0].schema.field(a).type, a), ColumnRef(self.inputs[1].schema.field(b).type, b))
            for a, b in zip(self.probe_keys, self.build_keys, strict=True)
        ]
        stats = equi_join(self.kind, pairs, left, right, [] if self.residual is None else [self.residual])
        return with_bytes(stats, self.schema)

    def needs(self) -> Sequence[Distribution]:
        if self.shared:
            return [ANY, SHARED]
        if self.null_aware:
            # Whether the build side has a NULL at all matters to every probe row.
            return [SINGLE, SINGLE]
        return [Distribution("hash", self.probe_keys), Distribution("hash", self.build_keys)]

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        # Build rows without a match have NULL for the columns of the probe side, wherever they are.
        if self.kind in ("build_outer", "full") and inputs[0].kind == "hash":
            return ANY
        return inputs[0]

    def describe(self) -> str:
        pairs = ", ".join(f"{a} = {b}" for a, b in zip(self.probe_keys, self.build_keys, strict=True))
        how = "shared table" if self.shared else "partitioned"
        return f"{self.kind} on {pairs}{' and more' if self.residual is not None else ''}, {how}"
