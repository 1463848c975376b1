"""Joins on equality: a table over the build side, probed by the other side's rows.

1. Shared: the first task builds one table from the whole build side, all tasks of the stage probe it, and the last one to
   finish gives what belongs to the build side (the planner chose this because the real size fits).
2. Alone: one task has both sides. Build rows are added while the reservation allows it; if it does, probe.
3. If not, both sides are partitioned by the hash of their keys onto disk and each pair of partitions is joined by itself,
   with other bits of the hash if it is still too large.
4. A partition that hashing cannot split (one hot key) is joined in pieces: as much of its build side as fits, the probe
   side replayed for each, remembering which probe rows have had a match.

Held: build rows and their table (reserved as they grow), batches of both sides. Worst case: one key on both sides, its
pairs in time proportional to their product. Source: Graefe, "Query evaluation techniques for large databases", 1993,
section 5; Shapiro, "Join processing in database systems with large main memories", 1986.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    probe,
    unmatched_output,
)
from sqlengine.runtime.memory import Reservation, compact
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_SPILL_PARTITIONS = 16
_MAX_LEVEL = 4


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
        side = task.shared(self, lambda: self._table(inputs[1], reservation, task))
        for batch in inputs[0]:
            yield from self._probe(side, batch)
        if task.finished(self):
            yield from build_output(side)

    def _shape(self) -> JoinShape:
        return JoinShape(
            self.kind, self.schema, self.inputs[0].schema, self.inputs[1].schema, self.probe_keys, self.build_keys,
            self.residual, self.null_aware, self.mark, self.null_equal,
        )  # fmt: skip

    def _table(self, stream: Batches, reservation: Reservation, task: Task) -> BuildSide:
        facts = BuildFacts()
        side = BuildSide(self._shape(), task.settings, facts)
        for batch in stream:
            facts.see(batch, self.build_keys)
            before = side.table.nbytes
            side.add(batch)
            reservation.grow(batch.nbytes + max(0, side.table.nbytes - before))
        side.finish()
        return side

    def _probe(self, side: BuildSide, batch: pa.RecordBatch) -> Batches:
        needs_flags = self.kind in PROBE_FLAGS
        matched: list[pa.Array] | None = [] if needs_flags else None
        yield from probe(side, batch, matched)
        if matched is not None:
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
        side = BuildSide(self._shape(), task.settings, facts)
        held = 0
        stream = iter(build_stream)
        for batch in stream:
            facts.see(batch, self.build_keys)
            batch = compact(batch)
            before = side.table.nbytes
            # Rows twice: finishing the table copies them into one piece.
            size = 2 * batch.nbytes
            if not reservation.try_grow(size):
                rest = _chain(side.batches, batch, stream)
                del side
                reservation.shrink(held)
                yield from self._partitioned(probe_stream, rest, facts, reservation, task, level)
                return
            held += size
            side.add(batch)
            more = max(0, side.table.nbytes - before)
            if reservation.try_grow(more):
                held += more
            else:
                rest = _chain(side.batches, None, stream)
                del side
                reservation.shrink(held)
                yield from self._partitioned(probe_stream, rest, facts, reservation, task, level)
                return
        side.finish()
        try:
            for batch in probe_stream:
                yield from self._probe(side, batch)
            yield from build_output(side)
        finally:
            reservation.shrink(held)

    def _partitioned(
        self,
        probe_stream: Iterator[pa.RecordBatch],
        build_stream: Iterator[pa.RecordBatch],
        facts: BuildFacts,
        reservation: Reservation,
        task: Task,
        level: int,
    ) -> Batches:
        split = level <= _MAX_LEVEL
        count = _SPILL_PARTITIONS if split else 1
        builds = self._buffer(1, count, reservation, task, level)
        probes = self._buffer(0, count, reservation, task, level)
        try:
            for batch in build_stream:
                facts.see(batch, self.build_keys)
                builds.add(batch, self.build_keys)
            builds.finish()
            builds.spill()
            for batch in probe_stream:
                probes.add(batch, self.probe_keys)
            probes.finish()
            probes.spill()
            metrics = task.metrics(self)
            metrics.spilled_bytes += builds.spilled_bytes + probes.spilled_bytes
            metrics.spill_files += 2
            for number in range(count):
                if not builds.rows(number) and not probes.rows(number):
                    continue
                if split:
                    yield from self._alone(
                        probes.read(number, consume=True), builds.read(number, consume=True), facts, reservation, task,
                        level + 1,
                    )  # fmt: skip
                else:
                    yield from self._in_pieces(probes, builds, facts, reservation, task)
        finally:
            builds.close()
            probes.close()

    def _buffer(self, side: int, count: int, reservation: Reservation, task: Task, level: int) -> PartitionedBuffer:
        schema = self.inputs[side].schema
        return PartitionedBuffer(schema, count, reservation, task.spill, task.settings, "HashJoin", level)

    def _in_pieces(
        self,
        probes: PartitionedBuffer,
        builds: PartitionedBuffer,
        facts: BuildFacts,
        reservation: Reservation,
        task: Task,
    ) -> Batches:
        matched = [pa.repeat(pa.scalar(False), batch.num_rows) for batch in probes.read(0)]
        needs_flags = self.kind in PROBE_FLAGS
        stream = builds.read(0)
        pending = next(stream, None)
        side = BuildSide(self._shape(), task.settings, facts)
        while pending is not None:
            task.cancel.check()
            side = BuildSide(self._shape(), task.settings, facts)
            held = 0
            # One batch always goes in: it is within the floor.
            while pending is not None and (not held or reservation.try_grow(3 * pending.nbytes)):
                if not held:
                    reservation.grow(3 * pending.nbytes)
                held += 3 * pending.nbytes
                side.add(compact(pending))
                pending = next(stream, None)
            side.finish()
            for number, batch in enumerate(probes.read(0)):
                found: list[pa.Array] | None = [] if needs_flags else None
                yield from probe(side, batch, found)
                if found is not None:
                    now = flags(batch.num_rows, found)
                    if self.kind == "single":
                        both = pc.and_(now, matched[number])
                        check_single([*found, *([found[0]] if found and pc.any(both).as_py() else [])])
                    matched[number] = pc.or_(matched[number], now)
            yield from build_output(side)
            reservation.shrink(held)
        if needs_flags:
            side.finish()
            for number, batch in enumerate(probes.read(0)):
                yield from unmatched_output(side, batch, matched[number])

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 8 * settings.batch_bytes
        ideal = floor + int(inputs[1].bytes * 1.6 + inputs[1].rows * 32)
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

    def describe(self) -> str:
        pairs = ", ".join(f"{a} = {b}" for a, b in zip(self.probe_keys, self.build_keys, strict=True))
        how = "shared table" if self.shared else "partitioned"
        return f"{self.kind} on {pairs}{' and more' if self.residual is not None else ''}, {how}"


def _chain(
    held: list[pa.RecordBatch], current: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    held.reverse()
    while held:
        yield held.pop()
    if current is not None:
        yield current
    yield from rest
