"""Read the splits of a source and keep the rows that pass the scan's filters.

Source operator: the tasks of a stage take splits from one queue, in the order of the source.

1. The filters on the same columns become one test; so does each bound that a join's build side gave at run time.
2. A source that can (Parquet) decodes the tested columns first and the others for the rows that pass. The rows of any
   other source are tested batch by batch, each filter on what the one before it left.

Memory: what the source says that reading one split holds, plus the batch given out. `bounds` are conditions for
skipping row groups; `filters` are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.evaluate import is_volatile, predicate_mask
from sqlengine.expr.nodes import Expr, and_all, columns_of, conjuncts, display_name
from sqlengine.expr.selectivity import filtered, table_stats, with_bytes
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Bounds, ReadLimits, RowTest, SelectiveSource, Source, Split
from sqlengine.operators.base import ANY, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

# While memory is short batches are a quarter, but not smaller than this: very small ones cost more than they save.
_SLOW_BATCH = 256 << 10


@dataclass(frozen=True)
class ScanSplits(Operator):
    """`columns` pairs the source's names with the keys given out (in `schema` order, filter-only columns last). Keys in
    `coded` may come as dictionaries instead of what the schema says: who reads them has agreed."""

    source: Source
    name: str
    columns: tuple[tuple[str, str], ...]
    filters: tuple[Expr, ...] = ()
    bounds: tuple[Bounds, ...] = ()
    limit: int | None = None
    coded: frozenset[str] = frozenset()

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        parts = [part for predicate in self.filters for part in conjuncts(predicate)]
        simple = [part for part in parts if columns_of(part) and not is_volatile(part)]
        alike: dict[frozenset[str], list[Expr]] = {}
        for part in simple:
            alike.setdefault(frozenset(columns_of(part)), []).append(part)
        tests = [self._filter_test(and_all(group), task.settings) for group in alike.values()]
        tests += [test for bound in self.bounds if bound.dynamic and (test := self._bound_test(bound)) is not None]
        tests = [RowTest(test.columns, _interruptible(test.mask, task.cancel)) for test in tests]
        selective = self.source if isinstance(self.source, SelectiveSource) else None
        if selective is None:
            tests, others = tests[len(alike) :], parts
        else:
            others = [part for part in parts if part not in simple]
        reservation = task.reservation(self)
        reservation.grow(max(0, reservation.floor - reservation.size))  # what decoding takes
        for split in task.take(self, lambda: self.source.splits([name for name, _ in self.columns], self.bounds)):
            task.position = split.index
            left = self.limit
            for batch in self._read(selective, split, tests, others, task):
                if left is not None:
                    batch = batch.slice(0, left)
                    left -= batch.num_rows
                if batch.num_rows:
                    yield batch
                if left == 0:
                    break

    def _read(
        self, selective: SelectiveSource | None, split: Split, tests: list[RowTest], others: list[Expr], task: Task
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a split that pass, in the operator's schema."""
        size = task.settings.batch_bytes
        if task.memory.pool.slow:
            size = max(size // 4, min(size, _SLOW_BATCH))
        reservation = task.reservation(self)
        kept = 0

        def keep(n: int) -> bool:
            """Pages that are held from batch to batch: with room for them nothing is decompressed twice."""
            nonlocal kept
            if n <= 0:
                reservation.shrink(-n)
            elif not reservation.try_grow(n):
                return False
            kept += n
            return True

        needed = {key for part in others for key in columns_of(part)}
        coded = frozenset(name for name, key in self.columns if key in self.coded - needed)
        limits = ReadLimits(task.settings.batch_rows, size, keep, coded)
        read = [(name, key) for name, key in self.columns if key in needed or key in self.schema.names]
        if selective is None:
            read += [(name, key) for name, key in self.columns if (name, key) not in read and name in _tested(tests)]
        names = [name for name, _ in read]
        schema = pa.schema([pa.field(key, self.source.schema.field(name).type) for name, key in read])
        if selective is not None:
            stream, tests = selective.read_selected(split, names, tests, self.bounds, limits), []
        else:
            stream = self.source.read(split, names, self.bounds, limits)
        for raw in stream:
            task.cancel.check()
            if coded:
                batch = pa.RecordBatch.from_arrays(raw.columns, names=schema.names)
            else:
                batch = pa.RecordBatch.from_arrays(raw.columns, schema=schema) if read else raw
            for test in tests:
                keys = [schema.names[names.index(name)] for name in test.columns]
                asked = pa.RecordBatch.from_arrays([batch.column(key) for key in keys], names=list(test.columns))
                batch = batch.filter(test.mask(asked))
            for predicate in others:
                if not batch.num_rows:
                    break
                batch = batch.filter(predicate_mask(predicate, batch, task.settings))
            yield batch if schema.names == self.schema.names else batch.select(self.schema.names)

    def _filter_test(self, predicate: Expr, settings: Settings) -> RowTest:
        used = columns_of(predicate)
        pairs = [(name, key) for name, key in self.columns if key in used]
        schema = pa.schema([pa.field(key, self.source.schema.field(name).type) for name, key in pairs])

        def mask(batch: pa.RecordBatch) -> pa.Array:
            return predicate_mask(predicate, pa.RecordBatch.from_arrays(batch.columns, schema=schema), settings)

        return RowTest(tuple(name for name, _ in pairs), mask)

    def _bound_test(self, bound: Bounds) -> RowTest | None:
        """Rows outside the bound have no match in the join above. None where Arrow's order is not SQL's."""
        members = bound.members if bound.dynamic else None
        if members is not None and bound.not_null:
            return RowTest((bound.column,), lambda batch: members.contains(batch.column(0)))
        type_ = self.source.schema.field(bound.column).type
        t = pa.types
        ordered = (t.is_integer, t.is_date, t.is_timestamp, t.is_string, t.is_decimal)
        if not any(is_kind(type_) for is_kind in ordered):
            return None
        checks: list[Callable[[pa.Array], pa.Array]] = []
        try:
            if bound.values is not None:
                allowed = pa.array(list(bound.values), type_)
                checks.append(lambda column: pc.is_in(column, allowed))
            else:
                if bound.low is not None:
                    low = pa.scalar(bound.low, type_)
                    above = pc.greater if bound.low_open else pc.greater_equal
                    checks.append(lambda column: above(column, low))
                if bound.high is not None:
                    high = pa.scalar(bound.high, type_)
                    below = pc.less if bound.high_open else pc.less_equal
                    checks.append(lambda column: below(column, high))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return None  # the other side's values are of another kind
        if not checks:
            return None

        def mask(batch: pa.RecordBatch) -> pa.Array:
            column = batch.column(0)
            found = checks[0](column)
            for check in checks[1:]:
                found = pc.and_(found, check(column))
            return found if bound.not_null else pc.or_kleene(found, pc.is_null(column))

        return RowTest((bound.column,), mask)

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


def _interruptible(mask: Callable[[pa.RecordBatch], pa.Array], cancel: Cancel) -> Callable[[pa.RecordBatch], pa.Array]:
    """A source that looks for rows may test many before it has one to give."""

    def checked(batch: pa.RecordBatch) -> pa.Array:
        cancel.check()
        return mask(batch)

    return checked


def _tested(tests: list[RowTest]) -> set[str]:
    return {name for test in tests for name in test.columns}
