"""The build side of a hash join in memory, and probing it: pairs of rows, the residual condition, the kinds of joins.

A `BuildSide` is made by one thread and probed by many. Build rows stay in the batches they came in; the table numbers
them through, and the columns of a result are gathered from there. Everything that depends on the kind of join is here,
so that the operator only decides where rows are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.evaluate import predicate_mask
from sqlengine.expr.nodes import Expr, columns_of
from sqlengine.kernels.joining import JoinTable
from sqlengine.kernels.row_chunks import Rows, all_rows
from sqlengine.kernels.selection import has_repeats, row_flags
from sqlengine.runtime.allocators import release_free_memory
from sqlengine.settings import Settings

# Kinds by what they give, from the probe's side.
PAIRS = frozenset({"inner", "probe_outer", "build_outer", "full", "single"})
BUILD_ROWS = frozenset({"build_outer", "full", "build_semi", "build_anti"})
PROBE_FLAGS = frozenset({"probe_outer", "full", "probe_semi", "probe_anti", "mark", "single"})
_WITH_UNMATCHED = frozenset({"probe_outer", "full", "single"})
# Batches in flight while probing: one of probe rows, the numbers of pairs, and the columns gathered for them.
_WORKING_BATCHES = 3
_LARGE_TABLE = 4 << 20


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
    """Rows of the build side with their table. With `whole` these are all the build rows that a probe row may match."""

    shape: JoinShape
    settings: Settings
    facts: BuildFacts
    whole: bool = True
    row_bytes: int = 0
    rows: Rows = field(init=False)
    table: JoinTable = field(init=False)

    def __post_init__(self) -> None:
        shape = self.shape
        names = [key for key in shape.build_schema.names if key in self._needed()]
        self.rows = Rows(pa.schema([shape.build_schema.field(name) for name in names]))
        build = [shape.build_schema.field(key).type for key in shape.build_keys]
        probe = [shape.probe_schema.field(key).type for key in shape.probe_keys]
        self.table = JoinTable(build, probe, shape.null_equal)
        own = set(shape.build_schema.names)
        self._given = [f.name for f in shape.schema if f.name in own]
        self._passed = [f.name for f in shape.schema if f.name not in own and f.name in shape.probe_schema.names]
        self._drops_nulls = not shape.null_equal and shape.kind not in ("build_outer", "full", "build_anti")

    def _needed(self) -> set[str]:
        """The build columns that are held: keys, and what the result or the residual reads."""
        shape = self.shape
        names = {*shape.build_keys, *(columns_of(shape.residual) if shape.residual is not None else ())}
        if shape.kind in PAIRS | BUILD_ROWS:
            names |= set(shape.schema.names)
        return names & set(shape.build_schema.names)

    @property
    def held(self) -> list[str]:
        names: list[str] = self.rows.schema.names
        return names

    def narrowed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """What of a build batch has to be held."""
        batch = batch.select(self.held)
        if self._drops_nulls:
            for key in self.shape.build_keys:
                if batch.column(key).null_count:
                    batch = batch.filter(batch.column(key).is_valid())
        return batch

    def size_with(self, batch: pa.RecordBatch | None) -> int:
        """Bytes in use while probing, once a (narrowed) batch has been added: rows, their table, batches in flight."""
        more, rows = (0, 0) if batch is None else (batch.nbytes, batch.num_rows)
        table = self.table.table_bytes(self.table.rows + rows)
        return self.row_bytes + more + table + _WORKING_BATCHES * self.settings.batch_bytes

    def add(self, batch: pa.RecordBatch) -> None:
        """Hold a narrowed batch."""
        if batch.num_rows:
            self.table.add([batch.column(key) for key in self.shape.build_keys])
            self.rows.add(batch)
            self.row_bytes += batch.nbytes

    def finish(self) -> None:
        """No more rows: make the table ready for probing."""
        if self.table.table_bytes(self.table.rows) > _LARGE_TABLE:
            release_free_memory()  # the table is not made by Arrow's allocator
        self.table.finish(self.shape.kind in BUILD_ROWS)

    def keys(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return [batch.column(key) for key in self.shape.probe_keys]

    def output(
        self, batch: pa.RecordBatch | None, left: pa.Array | None, right: pa.Array | None
    ) -> Iterator[pa.RecordBatch]:
        """The result columns for pairs of rows, in bounded batches; a side whose rows are None is NULL."""
        shape, limit = self.shape, self.settings.batch_bytes
        count = len(left) if left is not None else len(right) if right is not None else 0
        source = None
        if batch is not None and left is not None and not all_rows(left, batch.num_rows):
            source = Rows(pa.schema([shape.probe_schema.field(name) for name in self._passed]))
            source.add(batch.select(self._passed))
        start = 0
        while start < count:
            rest = count - start
            built: list[pa.Array] = []
            if right is not None:
                built = self.rows.take(right.slice(start), self._given, limit)
                rest = len(built[0]) if built else rest
            if batch is None or left is None:
                passed = [pa.nulls(rest, shape.schema.field(name).type) for name in self._passed]
            elif source is None:
                passed = [batch.column(name).slice(start, rest) for name in self._passed]
            else:
                passed = source.take(left.slice(start, rest), self._passed, limit)
                rest = len(passed[0]) if passed else rest
            if right is None:
                built = [pa.nulls(rest, shape.schema.field(name).type) for name in self._given]
            columns = dict(zip(self._given, (column.slice(0, rest) for column in built), strict=True))
            columns |= dict(zip(self._passed, passed, strict=True))
            out = _batch([columns[f.name] for f in shape.schema], shape.schema, rest)
            yield from bounded(out, self.settings)
            start += rest

    def fulfil(self, batch: pa.RecordBatch, left: pa.Array, right: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The pairs for which the residual holds."""
        residual = self.shape.residual
        assert residual is not None
        read = columns_of(residual)
        mine = [name for name in self.held if name in read]
        theirs = [name for name in batch.schema.names if name in read]
        source = Rows(pa.schema([batch.schema.field(name) for name in theirs]))
        source.add(batch.select(theirs))
        columns = [*source.take(left, theirs), *self.rows.take(right, mine)]
        # A residual of constants reads no column, but has as many rows.
        schema = pa.schema([pa.field(n, c.type) for n, c in zip([*theirs, *mine], columns, strict=True)])
        mask = predicate_mask(residual, _batch(columns, schema, len(left)), self.settings)
        return left.filter(mask), right.filter(mask)


def pairs_at_once(probe_rows: pa.RecordBatch, build_rows: pa.RecordBatch, settings: Settings) -> int:
    """How many pairs of rows of these two make about one batch."""
    return _pairs(sum(b.nbytes // max(1, b.num_rows) for b in (probe_rows, build_rows)) + 1, settings)


def _pairs(width: int, settings: Settings) -> int:
    return max(1, min(settings.batch_rows, settings.batch_bytes // width))


def probe(side: BuildSide, batch: pa.RecordBatch, matched: list[pa.Array]) -> Iterator[pa.RecordBatch]:
    """The pairs of a probe batch, for kinds that give pairs; build rows are marked where the kind needs it. Where the
    kind needs to know the probe rows that have a match, `matched` gets arrays of them, or booleans for all rows."""
    shape = side.shape
    kind, residual = shape.kind, shape.residual
    keys = side.keys(batch)
    if residual is None and kind in ("probe_semi", "probe_anti", "mark"):
        matched.append(side.table.contains(keys)[0])
        return
    if residual is None and kind in ("build_semi", "build_anti"):
        side.table.mark_matches(keys)
        return
    outer = gives_unmatched(side)
    tells = kind in PROBE_FLAGS and not outer
    width = batch.nbytes // batch.num_rows + side.row_bytes // max(1, side.table.rows) + 9
    limit = _pairs(width, side.settings)
    row, build = 0, -1
    seen: pa.Array | None = None
    while row < batch.num_rows:
        left, right, row, build = side.table.pairs(keys, row, build, limit, outer)
        if residual is not None and len(left):
            left, right = side.fulfil(batch, left, right)
        if not len(left):
            continue
        if kind in BUILD_ROWS:
            side.table.mark(right)
        if kind == "single" and outer and not side.table.unique:
            check_single([left] if seen is None else [seen, left])
            seen = left.slice(len(left) - 1)  # rows come in order: only the last may come again
        if tells:
            matched.append(left)
        if kind in PAIRS:
            yield from side.output(batch, left, right)


def gives_unmatched(side: BuildSide) -> bool:
    """Whether `probe` itself gives the probe rows without a match: it can tell when no other condition and no other
    build rows have a say."""
    return side.whole and side.shape.residual is None and side.shape.kind in _WITH_UNMATCHED


def flags(count: int, matched: Sequence[pa.Array]) -> pa.Array:
    """Booleans for the rows of a batch: which of them `matched` tells of."""
    if not matched:
        return pa.repeat(pa.scalar(False), count)
    if pa.types.is_boolean(matched[0].type):
        return matched[0]
    return row_flags(pa.concat_arrays(matched) if len(matched) > 1 else matched[0], count)


def unmatched_output(side: BuildSide, batch: pa.RecordBatch, has_match: pa.Array) -> Iterator[pa.RecordBatch]:
    """What the kind gives for whole probe rows once it is known which have a match (all of them for `mark`)."""
    shape = side.shape
    match shape.kind:
        case "probe_outer" | "full" | "single":
            rows = pc.indices_nonzero(pc.invert(has_match)).cast(pa.int32())
            if len(rows):
                yield from side.output(batch, rows, None)
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
    if side.shape.kind not in BUILD_ROWS:
        return
    row = 0
    while row < side.table.rows:
        rows, row = side.table.marked(side.shape.kind == "build_semi", row, side.settings.batch_rows)
        if len(rows):
            yield from side.output(None, None, rows)


def bounded(batch: pa.RecordBatch, settings: Settings) -> Iterator[pa.RecordBatch]:
    if batch.nbytes <= 2 * settings.batch_bytes:
        yield batch
        return
    step = max(1, int(batch.num_rows * settings.batch_bytes / batch.nbytes))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _rows(batch: pa.RecordBatch, mask: pa.Array, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    kept = (batch.select(schema.names) if schema.names else batch).filter(mask)
    if kept.num_rows:
        yield kept.select(schema.names)


def _batch(columns: list[pa.Array], schema: pa.Schema, count: int) -> pa.RecordBatch:
    if columns:
        return pa.RecordBatch.from_arrays(columns, schema=schema)
    return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
