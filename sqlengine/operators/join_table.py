"""The build side of a hash join in memory, and probing it: pairs of rows, the residual condition, the kinds of joins.

A `BuildSide` is made by one thread and probed by many. Everything that depends on the kind of join is here, so that the
operator only decides where rows are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.evaluate import predicate_mask
from sqlengine.expr.nodes import Expr
from sqlengine.kernels.grouping import JoinTable
from sqlengine.kernels.selection import has_repeats, row_flags
from sqlengine.settings import Settings

# Kinds by what they give, from the probe's side.
PAIRS = frozenset({"inner", "probe_outer", "build_outer", "full", "single"})
BUILD_ROWS = frozenset({"build_outer", "full", "build_semi", "build_anti"})
PROBE_FLAGS = frozenset({"probe_outer", "full", "probe_semi", "probe_anti", "mark", "single"})


@dataclass(frozen=True)
class JoinShape:
    """What a join computes, apart from where its rows are."""

    kind: str
    schema: pa.Schema
    probe_schema: pa.Schema
    build_schema: pa.Schema
    probe_keys: tuple[str, ...]
    build_keys: tuple[str, ...]
    residual: Expr | None
    null_aware: bool
    mark: str | None
    null_equal: bool


@dataclass
class BuildFacts:
    """Of the whole build side, also where only a part of it is in memory: NOT IN depends on them."""

    empty: bool = True
    has_null: bool = False

    def see(self, batch: pa.RecordBatch, keys: Sequence[str]) -> None:
        self.empty = False
        self.has_null = self.has_null or any(batch.column(key).null_count for key in keys)


@dataclass
class BuildSide:
    """Rows of the build side with their table. `nbytes` counts rows and table."""

    shape: JoinShape
    settings: Settings
    facts: BuildFacts
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: pa.RecordBatch | None = None

    def __post_init__(self) -> None:
        types = [self.shape.build_schema.field(key).type for key in self.shape.build_keys]
        self.table = JoinTable(types, self.shape.null_equal)

    def add(self, batch: pa.RecordBatch) -> None:
        self.table.add([batch.column(key) for key in self.shape.build_keys])
        self.batches.append(batch)

    def finish(self) -> None:
        """No more rows: make the table ready for probing."""
        self.table.finish()
        if self.batches:
            self.rows = pa.concat_batches(self.batches) if len(self.batches) > 1 else self.batches[0]
        else:
            self.rows = _empty(self.shape.build_schema)
        self.batches = []

    def groups(self, batch: pa.RecordBatch) -> pa.Array:
        """int32 key number of each probe row in the table, -1 for no match."""
        columns = [batch.column(key) for key in self.shape.probe_keys]
        groups = self.table.find(columns)
        if not self.shape.null_equal:
            for column in columns:
                if column.null_count:
                    groups = pc.if_else(column.is_valid(), groups, pa.scalar(-1, pa.int32()))
        return groups

    def pairs(self, batch: pa.RecordBatch, groups: pa.Array) -> Iterator[tuple[pa.Array, pa.Array]]:
        """Matching (probe rows, build rows) in bounded pieces, the residual applied."""
        assert self.rows is not None
        start = skip = 0
        limit = pairs_at_once(batch, self.rows, self.settings)
        while start < batch.num_rows:
            left, right, start, skip = self.table.expand(groups, start, limit, skip)
            if self.shape.residual is not None and len(left):
                mask = predicate_mask(self.shape.residual, self.joined(batch, left, right), self.settings)
                left, right = left.filter(mask), right.filter(mask)
            if len(left):
                yield left, right

    def joined(self, batch: pa.RecordBatch, probe_rows: pa.Array, build_rows: pa.Array) -> pa.RecordBatch:
        """All columns of both sides for some pairs: what a residual may read."""
        assert self.rows is not None
        columns = [*batch.take(probe_rows).columns, *self.rows.take(build_rows).columns]
        return pa.RecordBatch.from_arrays(columns, [*batch.schema.names, *self.rows.schema.names])

    def output(self, batch: pa.RecordBatch | None, probe_rows: pa.Array, build_rows: pa.Array | None) -> pa.RecordBatch:
        """The result columns for pairs; a side that is None is NULL."""
        assert self.rows is not None
        count = len(probe_rows) if batch is not None else len(build_rows) if build_rows is not None else 0
        columns = []
        for item in self.shape.schema:
            if item.name in self.shape.probe_schema.names:
                source, rows = batch, probe_rows
            else:
                source, rows = (self.rows if build_rows is not None else None), build_rows
            columns.append(source.column(item.name).take(rows) if source is not None else pa.nulls(count, item.type))
        return _batch(columns, self.shape.schema, count)


def pairs_at_once(probe_rows: pa.RecordBatch, build_rows: pa.RecordBatch, settings: Settings) -> int:
    """How many pairs of rows of these two make about one batch."""
    width = sum(b.nbytes // max(1, b.num_rows) for b in (probe_rows, build_rows)) + 1
    return max(1, min(settings.batch_rows, settings.batch_bytes // width))


def probe(side: BuildSide, batch: pa.RecordBatch, matched: list[pa.Array] | None) -> Iterator[pa.RecordBatch]:
    """The pairs of a probe batch, for kinds that give pairs; build rows are marked where the kind needs it. The probe rows
    with a match are appended to `matched` (unless None)."""
    kind = side.shape.kind
    groups = side.groups(batch)
    only_flags = kind in ("probe_semi", "probe_anti", "mark") and side.shape.residual is None
    if only_flags:
        if matched is not None:
            matched.append(pc.indices_nonzero(pc.greater_equal(groups, 0)).cast(pa.int32()))
        return
    for probe_rows, build_rows in side.pairs(batch, groups):
        if kind in BUILD_ROWS:
            side.table.mark(build_rows)
        if matched is not None:
            matched.append(probe_rows)
        if kind in PAIRS:
            yield from bounded(side.output(batch, probe_rows, build_rows), side.settings)


def flags(count: int, matched: Sequence[pa.Array]) -> pa.Array:
    """Booleans for the rows of a batch: which of them are in `matched`."""
    if not matched:
        return pa.repeat(pa.scalar(False), count)
    return row_flags(pa.concat_arrays(matched) if len(matched) > 1 else matched[0], count)


def unmatched_output(side: BuildSide, batch: pa.RecordBatch, has_match: pa.Array) -> Iterator[pa.RecordBatch]:
    """What the kind gives for whole probe rows once it is known which have a match (all of them for `mark`)."""
    shape = side.shape
    match shape.kind:
        case "probe_outer" | "full" | "single":
            rows = pc.indices_nonzero(pc.invert(has_match))
            if len(rows):
                yield side.output(batch, rows, None)
        case "probe_semi":
            yield from _rows(batch, has_match, shape.schema)
        case "probe_anti":
            keep = pc.invert(has_match)
            if shape.null_aware and not side.facts.empty:
                if side.facts.has_null:
                    return
                keep = pc.and_(keep, batch.column(shape.probe_keys[0]).is_valid())
            yield from _rows(batch, keep, shape.schema)
        case "mark":
            value = has_match
            if shape.null_aware and not side.facts.empty:
                unknown = batch.column(shape.probe_keys[0]).is_null()
                if side.facts.has_null:
                    unknown = pa.repeat(pa.scalar(True), batch.num_rows)
                value = pc.if_else(pc.and_(unknown, pc.invert(has_match)), pa.scalar(None, pa.bool_()), has_match)
            columns = [value if f.name == shape.mark else batch.column(f.name) for f in shape.schema]
            yield pa.RecordBatch.from_arrays(columns, schema=shape.schema)


def check_single(matched: Sequence[pa.Array]) -> None:
    """A scalar subquery may match each row once."""
    rows = pa.concat_arrays(matched) if matched else None
    if rows is not None and has_repeats(rows):
        raise DataError(
            "a subquery used as a value returned more than one row",
            code="more_than_one_row",
            hint="add LIMIT 1, or an aggregate such as max(), to the subquery",
        )


def build_output(side: BuildSide) -> Iterator[pa.RecordBatch]:
    """What the kind gives for whole build rows after all probing."""
    kind = side.shape.kind
    if kind not in BUILD_ROWS:
        return
    assert side.rows is not None
    rows = side.table.marked(kind == "build_semi")
    limit = side.settings.batch_rows
    for start in range(0, len(rows), limit):
        part = rows.slice(start, limit)
        if kind in ("build_semi", "build_anti"):
            taken = side.rows.take(part)
            out = _batch([taken.column(n) for n in side.shape.schema.names], side.shape.schema, len(part))
        else:
            out = side.output(None, part, part)
        yield from bounded(out, side.settings)


def bounded(batch: pa.RecordBatch, settings: Settings) -> Iterator[pa.RecordBatch]:
    if batch.nbytes <= 2 * settings.batch_bytes:
        yield batch
        return
    step = max(1, int(batch.num_rows * settings.batch_bytes / batch.nbytes))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _rows(batch: pa.RecordBatch, mask: pa.Array, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    kept = batch.filter(mask)
    if kept.num_rows:
        yield kept.select(schema.names)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def _batch(columns: list[pa.Array], schema: pa.Schema, count: int) -> pa.RecordBatch:
    if columns:
        return pa.RecordBatch.from_arrays(columns, schema=schema)
    return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
