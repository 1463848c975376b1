"""A call over one group that does not fit in memory: its rows are kept in pages and read again in the call's order.

1. Rows that do not count (FILTER, NULL) are left out. Where the call wants an order, the rest is sorted (`SortedRuns`);
   DISTINCT keeps the first of equals that come together. Values wanted in the order of the input are brought back to it
   by a second sort.
2. Folds take batch after batch. A quantile counts first and then reads the pages in which its values are; the median of
   distances sorts them in turn. `mode`, `entropy` and `histogram` look at runs of equal values.
3. Lists and texts are as large as what they are made of: they must fit, twice (their parts, and the whole).

Held: a page, and what the sort holds. Worst case: the rows are written three times (pages, runs, sorted pages).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import MemoryLimitError, NotSupportedError
from sqlengine.kernels.sorting import SortKeys
from sqlengine.operators.aggregate_spec import AggregateSpec, State
from sqlengine.operators.holistic import (
    FIRSTS,
    LISTS,
    QUANTILES,
    TEXTS,
    distances,
    gives_several,
    how_many,
    middle_type,
    parameter,
    quantiles,
    separator,
)
from sqlengine.operators.ordered_values import ROW, call_order, has_state, rows_that_count, sorts_repeats
from sqlengine.operators.paged_rows import PagedRows
from sqlengine.operators.user_aggregate import folded, result_array, user_function
from sqlengine.operators.whole_groups import without_repeats
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import SortedRuns, sort_keys
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings, format_bytes

_MOST = (1 << 31) - 1  # bytes or elements of one value of Arrow
Batches = Generator[pa.RecordBatch, None, None]


@dataclass
class Room:
    """Where large groups hold and spill their rows."""

    reservation: Reservation
    spill: SpillDirectory
    settings: Settings
    owner: str
    spilled_bytes: int = 0
    open: PagedRows | None = None  # the pages of the group

    def pages(self, schema: pa.Schema) -> PagedRows:
        # Sorting and values need room beside the pages.
        return PagedRows(schema, self.reservation, self.spill, self.owner, 4 * self.settings.batch_bytes)

    def sorted(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch], by: tuple[SortColumn, ...]) -> Batches:
        runs = SortedRuns(schema, by, self.reservation, self.spill, self.settings, self.owner)
        try:
            for batch in rows:
                runs.add(batch)
            yield from runs.merged()
        finally:
            self.spilled_bytes += runs.spilled_bytes
            runs.close()

    def _found(self, size: int) -> bool:
        """Take bytes for a value: the pages of its group give way to it, then finished stages."""
        while not self.reservation.try_grow(size):
            if not (self.open is not None and self.open.spill()) and not self.reservation.evict_others():
                return False
        return True

    def grow(self, spec: AggregateSpec, size: int, total: int) -> None:
        if total > _MOST or not self._found(size):
            limit = "what one value can hold" if total > _MOST else "the memory that the limit leaves"
            raise MemoryLimitError(
                f"the value of {spec.name} for one group has more than {format_bytes(total)}, which is beyond {limit}",
                hint="raise memory_limit, or group more finely",
            )


class PagedGroup:
    """All rows of one group."""

    def __init__(self, schema: pa.Schema, keys: tuple[str, ...], columns: list[str], room: Room) -> None:
        self.keys: list[pa.Array] = []
        self._key_names = keys
        self._room = room
        self._columns = columns or schema.names[:1]
        self.pages = room.open = room.pages(pa.schema([schema.field(name) for name in self._columns]))

    def add(self, batch: pa.RecordBatch) -> None:
        if not self.keys:
            self.keys = [batch.column(key).take(pa.array([0])) for key in self._key_names]
        size = self._room.settings.batch_bytes // 2
        step = max(1, size * batch.num_rows // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, step):
            self.pages.add(batch.slice(start, step).select(self._columns))

    def finish(self) -> None: ...

    def value(self, spec: AggregateSpec, in_order: bool) -> pa.Array:
        """The call over the group; `in_order`: the rows came in the order of the call."""
        rows = _prepared(spec, self.pages, in_order, self._room)
        with closing(rows):
            value = _value(spec, rows, self._room)
        return value if value.type == spec.type else value.cast(spec.type)

    def close(self) -> None:
        self._room.spilled_bytes += self.pages.spilled_bytes
        self._room.open = None
        self.pages.close()


def _prepared(spec: AggregateSpec, pages: PagedRows, in_order: bool, room: Room) -> Batches:
    """The arguments of the rows that count, in the order of the call, without repeats if DISTINCT."""
    order = () if in_order else call_order(spec)
    names = list(dict.fromkeys([*spec.args, *(c.key for c in order)])) or pages.schema.names[:1]
    back = spec.distinct and bool(spec.args) and not sorts_repeats(spec)
    numbered = back or spec.name == "mode"
    fields = [pages.schema.field(name) for name in names]
    schema = pa.schema([*fields, pa.field(ROW, pa.int64())] if numbered else fields)

    def counted() -> Batches:
        for number, page in enumerate(pages):
            keep = rows_that_count(spec, page)
            columns = page.select(names).columns
            if numbered:
                first = pages.firsts[number]
                columns.append(pa.arange(first, first + page.num_rows))
            batch = pa.RecordBatch.from_arrays(columns, schema=schema)
            batch = batch if keep is None else batch.filter(keep)
            if batch.num_rows:
                yield batch

    rows = counted()
    if back:
        args = tuple(SortColumn(key) for key in spec.args)
        rows = room.sorted(schema, without_repeats(room.sorted(schema, rows, args), args), (*order, SortColumn(ROW)))
    elif order:
        rows = room.sorted(schema, rows, order)
    if spec.distinct and spec.args and not back:
        rows = without_repeats(rows, tuple(SortColumn(key) for key in spec.args))
    yield from rows


def _value(spec: AggregateSpec, rows: Batches, room: Room) -> pa.Array:
    name = spec.name
    if has_state(spec):
        state = State(replace(spec, filter=None, distinct=False, order_by=()))
        for batch in rows:
            state.update(batch, pa.repeat(pa.scalar(0, pa.int32()), batch.num_rows), 1)
        state.update(_nothing(spec), pa.array([], pa.int32()), 1)
        return state.results(1)
    function = user_function(spec)
    if function is not None:
        return result_array(function, [folded(function, ([b.column(key) for key in spec.args] for b in rows))])
    if name in LISTS or name in TEXTS:
        return _gathered(spec, rows, room)
    if gives_several(spec):
        return _gathered(spec, _first_rows(spec, rows), room)
    if name in FIRSTS or name == "last":
        found = None
        for batch in rows:
            column = batch.column(spec.args[0])
            found = column.take(pa.array([0 if name != "last" else len(column) - 1]))
            if name != "last":
                break
        return pa.nulls(1, spec.type) if found is None else found
    if name in QUANTILES or name == "mad":
        return _counted_value(spec, rows, room)
    if name in ("mode", "entropy", "histogram"):
        return _frequencies(spec, rows, room)
    raise NotSupportedError(f"the aggregate {name} is not supported with ORDER BY, DISTINCT or a window frame")


def _nothing(spec: AggregateSpec) -> pa.RecordBatch:
    if not spec.args:
        return pa.RecordBatch.from_arrays([pa.array([], pa.int8())], ["none"])
    return pa.RecordBatch.from_arrays([pa.array([], t) for t in spec.arg_types], list(spec.args))


def _first_rows(spec: AggregateSpec, rows: Batches) -> Batches:
    """As many of the rows as the last argument says."""
    left: int | None = None
    for batch in rows:
        if left is None:
            left = how_many(spec, batch.column(spec.args[-1]).slice(0, 1))[0].as_py()
        yield batch.slice(0, left)
        left -= min(left, batch.num_rows)
        if not left:
            return


def _gathered(spec: AggregateSpec, rows: Batches, room: Room) -> pa.Array:
    """A list or a text of all values. Its parts go away while they are copied to their place, so that a text, or a list
    of plain numbers, is held once; other elements twice."""
    parts: list[pa.Buffer] = []
    columns: list[pa.Array] = []
    text = spec.name in TEXTS
    plain = text or _is_plain(spec.arg_types[0])
    between: bytes | None = None
    held = total = count = 0
    try:
        for batch in rows:
            column = batch.column(spec.args[0])
            if text:
                if between is None:
                    own = batch.column(spec.args[1])[0].as_py() if len(spec.args) > 1 else separator(spec)
                    if own is None:
                        return pa.nulls(1, spec.type)
                    between = str(own).encode()
                size = column.nbytes + len(column) * len(between)
            else:
                size = column.nbytes
            plain = plain and (text or not column.null_count)
            total += size
            count += len(column)
            room.grow(spec, size if plain else 2 * size, max(total, count))
            held += size if plain else 2 * size
            if between is not None:
                whole = pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), column.cast(pa.string()))
                if parts:
                    parts.append(pa.py_buffer(between))
                parts.append(pc.binary_join(whole, between.decode())[0].as_buffer())
            else:
                # A copy: the batch has other columns too.
                columns.append(pa.concat_arrays([column, column.slice(0, 0)]))
        if between is not None:
            data = _moved(parts)
            return pa.Array.from_buffers(
                pa.string(), 1, [None, pa.array([0, data.size], pa.int32()).buffers()[1], data]
            )
        if not columns:
            return pa.nulls(1, spec.type)
        if plain:
            parts = [column.buffers()[1].slice(0, column.nbytes) for column in columns]
            columns.clear()
            items = pa.Array.from_buffers(spec.arg_types[0], count, [None, _moved(parts)])
        else:
            items = pa.concat_arrays(columns)
        return pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items, type=spec.type)
    finally:
        room.reservation.shrink(held)


def _is_plain(type_: pa.DataType) -> bool:
    """Whether values are so many bytes each, in one buffer."""
    t = pa.types
    return bool(t.is_integer(type_) or t.is_floating(type_) or t.is_date(type_) or t.is_timestamp(type_))


def _moved(parts: list[pa.Buffer]) -> pa.Buffer:
    """The parts one after the other; each is let go when it has been copied."""
    whole = pa.allocate_buffer(sum(part.size for part in parts))
    at = 0
    with memoryview(whole) as view:
        while parts:
            part = parts.pop(0)
            view[at : at + part.size] = memoryview(part)
            at += part.size
    return whole


def _counted_value(spec: AggregateSpec, rows: Batches, room: Room) -> pa.Array:
    """A quantile, from the places where its values are once their number is known."""
    key = spec.args[0]
    type_ = spec.arg_types[0]
    q = None
    with closing(room.pages(pa.schema([pa.field(key, type_)]))) as pages:
        for batch in rows:
            if q is None:
                q = parameter(spec, [batch.column(name) for name in spec.args])
            pages.add(batch.select([key]))
        start, size = pa.array([0], pa.int64()), pa.array([pages.rows], pa.int64())
        if spec.name != "mad":
            return quantiles(spec, q, lambda places: pages.take(key, places), start, size)
        if not pages.rows:
            return pa.nulls(1, spec.type)
        half = AggregateSpec("median", "half", (key,), (type_,), middle_type(type_))
        middle = quantiles(half, 0.5, lambda places: pages.take(key, places), start, size)
        away = distances(pages.read(0).column(key).slice(0, 1), middle).type
        schema = pa.schema([pa.field(key, away)])

        def far() -> Batches:
            for page in pages:
                column = page.column(key)
                centre = middle.take(pa.repeat(pa.scalar(0, pa.int32()), len(column)))
                yield pa.RecordBatch.from_arrays([distances(column, centre)], schema=schema)

        whole = AggregateSpec("median", spec.output, (key,), (away,), spec.type)
        with closing(room.sorted(schema, far(), (SortColumn(key),))) as ordered:
            return _counted_value(whole, ordered, room)


def _runs(rows: Batches, key: str) -> Generator[tuple[pa.RecordBatch, pa.Array], None, None]:
    """Runs of equal values: their first rows, and how many rows each has (int64)."""
    by = (SortColumn(key),)
    open_row: pa.RecordBatch | None = None
    open_count = 0
    for batch in rows:
        keys = sort_keys(batch, by)
        starts = keys.starts().cast(pa.int64())
        ends = pa.concat_arrays([starts.slice(1), pa.array([batch.num_rows], pa.int64())])
        counts = pc.subtract(ends, starts)
        firsts = batch.take(starts)
        if open_row is not None:
            if keys.compare(0, sort_keys(open_row, by), 0) == 0:
                firsts = pa.concat_batches([open_row, firsts.slice(1)])
                counts = pa.concat_arrays([pa.array([open_count + counts[0].as_py()], pa.int64()), counts.slice(1)])
            else:
                firsts = pa.concat_batches([open_row, firsts])
                counts = pa.concat_arrays([pa.array([open_count], pa.int64()), counts])
        done = firsts.num_rows - 1
        open_row, open_count = firsts.slice(done).take(pa.array([0])), counts[done].as_py()
        if done:
            yield firsts.slice(0, done), counts.slice(0, done)
    if open_row is not None:
        yield open_row, pa.array([open_count], pa.int64())


def _frequencies(spec: AggregateSpec, rows: Batches, room: Room) -> pa.Array:
    key = spec.args[0]
    best: tuple[int, int] | None = None
    value = pa.nulls(1, spec.type) if spec.name == "mode" else None
    parts: list[tuple[pa.Array, pa.Array]] = []
    amount, total = 0.0, 0
    held = size = 0
    try:
        for firsts, counts in _runs(rows, key):
            if spec.name == "mode":
                order = SortKeys([counts, firsts.column(ROW)], [True, False], [False, False]).order().slice(0, 1)
                here = (-counts.take(order)[0].as_py(), firsts.column(ROW).take(order)[0].as_py())
                if best is None or here < best:
                    best, value = here, firsts.column(key).take(order)
            elif spec.name == "entropy":
                many = counts.cast(pa.float64())
                amount += pc.sum(pc.multiply(many, pc.log2(many))).as_py()
                total += pc.sum(counts).as_py()
            else:
                column = firsts.column(key)
                more = 2 * (column.nbytes + 8 * len(column))
                size += more // 2
                room.grow(spec, more, size)
                held += more
                parts.append((pa.concat_arrays([column, column.slice(0, 0)]), counts))
        if spec.name == "mode":
            return value
        if spec.name == "entropy":
            return pa.array([max(0.0, math.log2(total) - amount / total) if total else 0.0], pa.float64())
        if not parts:
            return pa.nulls(1, spec.type)
        keys = pa.concat_arrays([column for column, _ in parts])
        counts = pa.concat_arrays([counts for _, counts in parts]).cast(spec.type.item_type)
        return pa.MapArray.from_arrays(pa.array([0, len(keys)], pa.int32()), keys, counts)
    finally:
        room.reservation.shrink(held)
