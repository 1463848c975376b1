"""Read the splits of a source and keep the rows that pass the scan's filters.

Source operator: the tasks of a stage take splits from one queue, in the order of the source. Memory: what the source
says that reading one split holds, plus the batch given out. `bounds` are conditions for skipping row groups; `filters`
are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.evaluate import predicate_mask
from sqlengine.expr.nodes import Expr, columns_of, display_name
from sqlengine.expr.selectivity import filtered, table_stats, with_bytes
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, Source
from sqlengine.operators.base import ANY, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ScanSplits(Operator):
    """`columns` pairs the source's names with the keys given out (in `schema` order, filter-only columns last)."""

    source: Source
    name: str
    columns: tuple[tuple[str, str], ...]
    filters: tuple[Expr, ...] = ()
    bounds: tuple[Bounds, ...] = ()
    limit: int | None = None

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        names = [name for name, _ in self.columns]
        read_schema = pa.schema([pa.field(key, self.source.schema.field(name).type) for name, key in self.columns])
        keep = self.schema.names
        whole = read_schema.names == keep
        for split in task.take(self, lambda: self.source.splits(names, self.bounds)):
            limits = ReadLimits(
                task.settings.batch_rows, task.settings.batch_bytes // (4 if task.memory.pool.slow else 1)
            )
            task.position = split.index
            left = self.limit
            for raw in self.source.read(split, names, self.bounds, limits):
                task.cancel.check()
                batch = pa.RecordBatch.from_arrays(raw.columns, schema=read_schema)
                for predicate in self.filters:
                    batch = batch.filter(predicate_mask(predicate, batch, task.settings))
                    if not batch.num_rows:
                        break
                if not whole:
                    batch = batch.select(keep)
                if left is not None:
                    batch = batch.slice(0, left)
                    left -= batch.num_rows
                if batch.num_rows:
                    yield batch
                if left == 0:
                    break

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        limits = ReadLimits(settings.batch_rows, settings.batch_bytes)
        read = self.source.read_floor([name for name, _ in self.columns], limits)
        floor = read + 2 * settings.batch_bytes
        return MemoryNeed(floor, floor, False, "decoding one split and two batches")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        raw = self.source.stats([name for name, _ in self.columns])
        return with_bytes(filtered(table_stats(raw, self.columns), self.filters), self.schema)

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return ANY

    def describe(self) -> str:
        text = self.source.describe()
        used = sorted({display_name(k) for f in self.filters for k in columns_of(f)})
        if used:
            text += f" filter on {', '.join(used)}"
        return text
