"""Joins without an equality: every row of one side against every row of the other, block by block.

1. The build side is held (spillable, replayable).
2. For each probe batch the build side is replayed; pairs are made in pieces that fit a batch, and tested.
3. Which probe rows (and build rows) have a match is remembered for the outer, semi, anti and mark kinds.

Held: the build rows, one piece of pairs, flags for one probe batch and (kinds that give build rows) one per build row.
Worst case: the product of both sides in time, a replay of the build side per probe batch in reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import InternalError
from sqlengine.expr.evaluate import evaluate
from sqlengine.expr.nodes import Expr
from sqlengine.expr.selectivity import conjunction
from sqlengine.expr.statistics import Stats
from sqlengine.kernels.selection import product_rows, row_flags
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.operators.join_table import check_single, pairs_at_once
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class NestedLoopJoin(Operator):
    """`inputs` = (probe, build); kinds as in `HashJoin` without the build_ ones. The condition is any predicate; with
    `null_aware` (mark, probe_anti) a comparison that is NULL counts as unknown, as IN and NOT IN want it."""

    kind: str
    residual: Expr | None
    null_aware: bool = False
    mark: str | None = None

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        held = PartitionedBuffer(self.inputs[1].schema, 1, reservation, task.spill, task.settings, "NestedLoopJoin")
        try:
            for batch in inputs[1]:
                held.add(batch)
            held.finish()
            build_seen = [pa.repeat(pa.scalar(False), b.num_rows) for b in held.read(0)] if self.kind == "full" else []
            for batch in inputs[0]:
                yield from self._probe(batch, held, build_seen, task)
            if self.kind == "full":
                for number, build in enumerate(held.read(0)):
                    rows = pc.indices_nonzero(pc.invert(build_seen[number]))
                    if len(rows):
                        yield self._output(None, build, rows, rows)
        finally:
            task.metrics(self).spilled_bytes += held.spilled_bytes
            held.close()

    def _probe(self, batch: pa.RecordBatch, held: PartitionedBuffer, build_seen: list[pa.Array], task: Task) -> Batches:
        rows = batch.num_rows
        matched = pa.repeat(pa.scalar(False), rows)
        unknown = matched
        gives_pairs = self.kind in ("inner", "probe_outer", "full", "single")
        for number, build in enumerate(held.read(0)):
            at_once = pairs_at_once(batch, build, task.settings)
            step = max(1, at_once // build.num_rows)
            build_step = min(build.num_rows, at_once)
            for start in range(0, rows, step):
                for build_start in range(0, build.num_rows, build_step):
                    task.cancel.check()
                    n = min(step, rows - start)
                    m = min(build_step, build.num_rows - build_start)
                    left, right = product_rows(start, n, build_start, m)
                    truth = self._truth(batch, build, left, right, task.settings)
                    if truth is not None:
                        if self.null_aware and truth.null_count:
                            unknown = pc.or_(unknown, row_flags(left.filter(truth.is_null()), rows))
                        mask = pc.fill_null(truth, False)
                        left, right = left.filter(mask), right.filter(mask)
                    if not len(left):
                        continue
                    if self.kind != "inner":
                        now = row_flags(left, rows)
                        if self.kind == "single":
                            again = pc.any(pc.and_(matched, now)).as_py()
                            check_single([left, left] if again else [left])
                        matched = pc.or_(matched, now)
                    if self.kind == "full":
                        build_seen[number] = pc.or_(build_seen[number], row_flags(right, build.num_rows))
                    if gives_pairs:
                        yield self._output(batch, build, left, right)
        yield from self._whole(batch, matched, unknown)

    def _truth(
        self, batch: pa.RecordBatch, build: pa.RecordBatch, left: pa.Array, right: pa.Array, settings: Settings
    ) -> pa.Array | None:
        if self.residual is None:
            return None
        columns = [*batch.take(left).columns, *build.take(right).columns]
        pairs = pa.RecordBatch.from_arrays(columns, [*batch.schema.names, *build.schema.names])
        return evaluate(self.residual, pairs, settings)

    def _whole(self, batch: pa.RecordBatch, matched: pa.Array, unknown: pa.Array) -> Batches:
        match self.kind:
            case "inner":
                return
            case "probe_outer" | "full" | "single":
                rows = pc.indices_nonzero(pc.invert(matched))
                if len(rows):
                    yield self._output(batch, None, rows, rows)
            case "probe_semi":
                kept = batch.filter(matched)
                if kept.num_rows:
                    yield kept.select(self.schema.names)
            case "probe_anti":
                keep = pc.invert(matched)
                if self.null_aware:
                    keep = pc.and_(keep, pc.invert(unknown))
                kept = batch.filter(keep)
                if kept.num_rows:
                    yield kept.select(self.schema.names)
            case "mark":
                value = matched
                if self.null_aware:
                    value = pc.if_else(pc.and_(unknown, pc.invert(matched)), pa.scalar(None, pa.bool_()), matched)
                columns = [value if f.name == self.mark else batch.column(f.name) for f in self.schema]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
            case _:
                raise InternalError(f"no nested loop join of kind {self.kind}")

    def _output(
        self, batch: pa.RecordBatch | None, build: pa.RecordBatch | None, left: pa.Array, right: pa.Array
    ) -> pa.RecordBatch:
        columns = []
        for item in self.schema:
            source, rows = (batch, left) if item.name in self.inputs[0].schema.names else (build, right)
            columns.append(
                source.column(item.name).take(rows) if source is not None else pa.nulls(len(left), item.type)
            )
        if not columns:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(left), pa.struct([])))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 6 * settings.batch_bytes
        return MemoryNeed(
            floor,
            2 * settings.batch_bytes + int(inputs[1].bytes),
            True,
            "the inner side, replayed per batch of the outer",
        )

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE, SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        left, right = inputs
        if self.kind not in ("inner", "full"):
            return left
        both = Stats(max(left.rows, right.rows), 0.0, {**left.columns, **right.columns})
        share = 1.0 if self.residual is None else conjunction([self.residual], both)
        rows = max(1.0, left.rows * right.rows * share)
        width = left.bytes / max(1.0, left.rows) + right.bytes / max(1.0, right.rows)
        return Stats(rows, rows * width, {**left.columns, **right.columns})

    def describe(self) -> str:
        return self.kind
