"""A partition that does not fit in memory, cut into pages: what its rows say about rows elsewhere.

1. The sorted rows of the partition are added page by page. Pages stay in memory while the reservation allows, then they
   go to disk. Of each page a few numbers are kept: where its peers start, how many values it has, and for every call
   with a tree the state of the whole page.
2. Then the pages are read again in order. The frame of a row is the end of one page, whole pages (a tree over their
   states), and the beginning of another one; what a page is asked is answered by the tree of that page.

Held: about 64 bytes a page and call; the last pages used with their trees. Frames move forward with their rows, so that
a page is read a few times; offsets that jump about cost a read per jump. Source: the in-memory trees of Leis et al.
(VLDB 2015), cut at a page as in a B-tree with aggregates.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.sorting import SortKeys
from sqlengine.kernels.windows import counts_before, places_of, running_numbers, segments
from sqlengine.operators.aggregate_spec import AggregateSpec, State
from sqlengine.operators.frame_tree import FrameTree, StateTree, merged_states, state_results
from sqlengine.operators.paged_rows import PagedRows
from sqlengine.operators.window_source import Span, WindowSource, order_keys
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys

_CACHED = 4


class _Page:
    """A page that was asked something, with what was made of it to answer."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self.rows = rows
        self.trees: dict[AggregateSpec, FrameTree] = {}
        self.valid: dict[str, tuple[pa.Array, pa.Array]] = {}

    def tree(self, spec: AggregateSpec) -> FrameTree:
        if spec not in self.trees:
            self.trees[spec] = FrameTree(spec, self.rows)
        return self.trees[spec]

    def valid_rows(self, key: str) -> tuple[pa.Array, pa.Array]:
        if key not in self.valid:
            mask = self.rows.column(key).is_valid()
            self.valid[key] = (counts_before(mask), pc.indices_nonzero(mask).cast(pa.int64()))
        return self.valid[key]


class PagedPartition(WindowSource):
    """One partition. `asked`: the columns that calls look at; `trees`: the calls that are answered by trees; `counted`:
    columns of which rows with a value are counted; `whole`: evaluates a call over a stream of all rows."""

    def __init__(
        self,
        schema: pa.Schema,
        order_by: tuple[SortColumn, ...],
        asked: Sequence[str],
        trees: Sequence[AggregateSpec],
        counted: Sequence[str],
        page_rows: int,
        page_bytes: int,
        open_pages: Callable[[pa.Schema], PagedRows],
        whole: Callable[[AggregateSpec, pa.Schema, Iterator[pa.RecordBatch]], pa.Array],
    ) -> None:
        self.schema = schema
        self.order_by = order_by
        self.count = 0
        self._asked = [name for name in schema.names if name in set(asked)] or schema.names[:1]
        self._rest = [name for name in schema.names if name not in self._asked]
        self._pages = open_pages(pa.schema([schema.field(name) for name in self._asked]))
        self._beside = open_pages(pa.schema([schema.field(name) for name in self._rest])) if self._rest else None
        self._page_rows, self._page_bytes = page_rows, page_bytes
        self._whole = whole
        self._firsts = [0]  # the first row of each page, then the number of all
        self._peers = [0]  # groups of peers that start before each page, then all
        self._last_start: list[int] = []  # where the peers of the row before each page start
        self._starts: list[int | None] = []  # the first row of a page that starts peers
        self._last_of_peers = 0
        self._last_key: SortKeys | None = None
        self._heads: list[pa.Array] = []  # the order value of the first row of each page
        self._states = {spec: State(spec) for spec in trees}
        self._trees: dict[AggregateSpec, StateTree] = {}
        self._counted: dict[str, list[int]] = {key: [0] for key in counted}
        self._wholes: dict[AggregateSpec, pa.Array] = {}
        self._cache: OrderedDict[int, _Page] = OrderedDict()

    def add(self, batch: pa.RecordBatch) -> None:
        step = max(1, min(self._page_rows, self._page_bytes * batch.num_rows // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, step):
            self._add_page(batch.slice(start, step))

    def _add_page(self, page: pa.RecordBatch) -> None:
        number, rows, first = len(self._pages), page.num_rows, self.count
        starts = self._peer_starts(page)
        self._last_start.append(self._last_of_peers if number else 0)
        self._starts.append(first + starts[0].as_py() if len(starts) else None)
        if len(starts):
            self._last_of_peers = first + starts[-1].as_py()
        self._peers.append(self._peers[-1] + len(starts))
        if len(self.order_by) == 1:
            head = page.column(self.order_by[0].key).slice(0, 1)
            self._heads.append(pa.concat_arrays([head, head.slice(0, 0)]))  # a copy: a slice holds its page
        groups = pa.repeat(pa.scalar(number, pa.int32()), rows)
        for state in self._states.values():
            state.update(page, groups, number + 1)
        for key, counts in self._counted.items():
            counts.append(counts[-1] + rows - page.column(key).null_count)
        self.count += rows
        self._firsts.append(self.count)
        self._pages.add(page.select(self._asked))
        if self._beside is not None:
            self._beside.add(page.select(self._rest))

    def _peer_starts(self, page: pa.RecordBatch) -> pa.Array:
        if not self.order_by:
            return pa.array([0] if self.count == 0 else [], pa.int32())
        keys = sort_keys(page, self.order_by)
        starts = keys.starts()
        if self._last_key is not None and keys.compare(0, self._last_key, 0) == 0:
            starts = starts.slice(1)
        self._last_key = sort_keys(page.slice(page.num_rows - 1), self.order_by)
        return starts

    def finish(self) -> None:
        """No more rows will come."""
        self._next_start = [self.count] * len(self._pages)
        following = self.count
        for number in reversed(range(len(self._pages))):
            self._next_start[number] = following
            start = self._starts[number]
            following = following if start is None else start
        for spec, state in self._states.items():
            self._trees[spec] = StateTree(spec, state.states(len(self._pages)))
        self._head_values = pa.concat_arrays(self._heads) if self._heads else None

    def spans(self) -> Iterator[Span]:
        for number in range(len(self._pages)):
            rows = self._page(number).rows
            if self._beside is not None:
                columns = {**dict(zip(self._asked, rows.columns, strict=True))}
                columns.update(zip(self._rest, self._beside.read(number).columns, strict=True))
                rows = pa.RecordBatch.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)
            n, first = rows.num_rows, self._firsts[number]
            low, high, peers = self._local_peers(number)
            yield Span(
                rows,
                pa.arange(first, first + n),
                pa.repeat(pa.scalar(0, pa.int64()), n),
                pa.repeat(pa.scalar(self.count, pa.int64()), n),
                low,
                high,
                peers,
            )

    def _local_peers(self, number: int) -> tuple[pa.Array, pa.Array, pa.Array]:
        """First row, end and number of the peers of each row of a page."""
        rows = self._page(number).rows
        n, first = rows.num_rows, self._firsts[number]
        starts = sort_keys(rows, self.order_by).starts() if self.order_by else pa.array([0], pa.int32())
        continues = self._starts[number] != first
        low, high = segments(starts, n)
        low, high = pc.add(low, first), pc.add(high, first)
        if continues:
            low = pc.if_else(pc.equal(low, first), self._last_start[number], low)
        high = pc.if_else(pc.equal(high, first + n), self._next_start[number], high)
        marks = running_numbers(pc.equal(pc.add(pa.arange(0, n), first), low))
        return low, high, pc.add(marks, self._peers[number])

    def _page(self, number: int) -> _Page:
        page = self._cache.pop(number, None)
        if page is None:
            while len(self._cache) >= _CACHED:
                self._cache.popitem(last=False)
            page = _Page(self._pages.read(number))
        self._cache[number] = page
        return page

    def _by_page(self, pages: pa.Array, answer: Callable[[int, pa.Array | None], list[pa.Array]]) -> list[pa.Array]:
        """Columns of answers, one row per element of `pages` (int32): `answer(page, indices)` gives those of one page
        (indices None: all)."""
        numbers = pc.unique(pages).to_pylist()
        if len(numbers) == 1:
            return answer(numbers[0], None)
        chosen, parts = [], []
        for number in sorted(numbers):
            here = pc.indices_nonzero(pc.equal(pages, pa.scalar(number, pa.int32())))
            chosen.append(here)
            parts.append(answer(number, here))
        back = pc.array_sort_indices(pa.concat_arrays(chosen))
        return [pa.concat_arrays(columns).take(back) for columns in zip(*parts, strict=True)]

    def take(self, keys: Sequence[str], positions: pa.Array) -> pa.RecordBatch:
        if not len(positions):
            return self._page(0).rows.select(keys).slice(0, 0)
        pages, rows = places_of(positions, self._firsts)
        rows = pc.if_else(pc.less(rows, 0), pa.scalar(None, pa.int32()), rows)
        if rows.null_count and rows.null_count < len(rows):
            # Rows that are nowhere need no page of their own.
            pages = pc.if_else(rows.is_valid(), pages, pages.filter(rows.is_valid())[0])

        def answer(number: int, here: pa.Array | None) -> list[pa.Array]:
            page = self._page(number).rows
            wanted = rows if here is None else rows.take(here)
            return [page.column(key).take(wanted) for key in keys]

        columns = self._by_page(pages, answer)
        return pa.RecordBatch.from_arrays(columns, list(keys))

    def peer_start(self, numbers: pa.Array) -> pa.Array:
        beyond = pc.greater_equal(numbers, self._peers[-1])
        safe = pc.min_element_wise(pc.max_element_wise(numbers, 0), self._peers[-1] - 1)
        # The last page that has as few peers before it is the one in which these peers start.
        pages = _pages_of(self._peers, safe)

        def answer(number: int, here: pa.Array | None) -> list[pa.Array]:
            low, _, peers = self._local_peers(number)
            wanted = safe if here is None else safe.take(here)
            keys, targets = SortKeys([peers], [False], [False]), SortKeys([wanted], [False], [False])
            n = len(wanted)
            zeros, ends = pa.repeat(pa.scalar(0, pa.int64()), n), pa.repeat(pa.scalar(len(peers), pa.int64()), n)
            return [low.take(keys.search(targets, zeros, ends, False))]

        return pc.if_else(beyond, self.count, self._by_page(pages, answer)[0])

    def search(self, targets: pa.Array, first: pa.Array, end: pa.Array, after: bool) -> pa.Array:
        by = self.order_by[0]
        heads, wanted = order_keys(by, self._head_values, targets)
        n = len(targets)
        zeros = pa.repeat(pa.scalar(0, pa.int64()), n)
        behind = heads.search(wanted, zeros, pa.repeat(pa.scalar(len(self._pages), pa.int64()), n), after)
        pages = pc.max_element_wise(pc.subtract(behind, 1), 0).cast(pa.int32())

        def answer(number: int, here: pa.Array | None) -> list[pa.Array]:
            column = self._page(number).rows.column(by.key)
            mine = targets if here is None else targets.take(here)
            keys, sought = order_keys(by, column, mine)
            m = len(mine)
            low, high = pa.repeat(pa.scalar(0, pa.int64()), m), pa.repeat(pa.scalar(len(column), pa.int64()), m)
            return [pc.add(keys.search(sought, low, high, after), self._firsts[number])]

        return self._by_page(pages, answer)[0]

    def counts(self, key: str, positions: pa.Array) -> pa.Array:
        pages, rows = places_of(positions, self._firsts)

        def answer(number: int, here: pa.Array | None) -> list[pa.Array]:
            inside = self._page(number).valid_rows(key)[0].take(rows if here is None else rows.take(here))
            return [pc.add(inside, self._counted[key][number])]

        return self._by_page(pages, answer)[0]

    def nth_valid(self, key: str, numbers: pa.Array) -> pa.Array:
        counts = self._counted[key]
        if numbers.null_count == len(numbers):
            return numbers
        least = pc.min(numbers).as_py()
        pages = _pages_of(counts, pc.fill_null(numbers, least))

        def answer(number: int, here: pa.Array | None) -> list[pa.Array]:
            rows = self._page(number).valid_rows(key)[1]
            wanted = pc.subtract(numbers if here is None else numbers.take(here), counts[number])
            return [pc.add(rows.take(wanted), self._firsts[number])]

        return self._by_page(pages, answer)[0]

    def frame_states(self, spec: AggregateSpec, starts: pa.Array, ends: pa.Array) -> list[pa.Array]:
        ends = pc.max_element_wise(starts, ends)
        start_pages, start_rows = places_of(starts, self._firsts)
        end_pages, end_rows = places_of(ends, self._firsts)
        same = pc.equal(start_pages, end_pages)
        # A frame that starts where a page does has no beginning apart from its whole pages.
        whole = pc.and_(pc.equal(start_rows, 0), pc.invert(same))
        sizes = pa.array([b - a for a, b in zip(self._firsts, self._firsts[1:], strict=False)], pa.int64())
        start_rows, end_rows = start_rows.cast(pa.int64()), end_rows.cast(pa.int64())
        stops = pc.if_else(same, end_rows, sizes.take(start_pages))
        stops = pc.if_else(whole, start_rows, stops)
        parts = []
        for pages, low, high in (
            (start_pages, start_rows, stops),
            (end_pages, pa.repeat(pa.scalar(0, pa.int64()), len(starts)), pc.if_else(same, 0, end_rows)),
        ):
            some = pc.greater(high, low)
            if pc.any(some).as_py():
                # Empty ranges are asked of a page that is asked anyway.
                pages = pc.if_else(some, pages, pages.filter(some)[0])
                low, high = pc.if_else(some, low, 0), pc.if_else(some, high, 0)
                parts.append(self._page_states(spec, pages, low, high))
        inner = pc.add(start_pages, pc.if_else(whole, 0, 1)).cast(pa.int64())
        parts.append(self._trees[spec].states(inner, pc.max_element_wise(inner, end_pages.cast(pa.int64()))))
        return merged_states(spec, parts)

    def _page_states(self, spec: AggregateSpec, pages: pa.Array, low: pa.Array, high: pa.Array) -> list[pa.Array]:
        def answer(number: int, here: pa.Array | None) -> list[pa.Array]:
            tree = self._page(number).tree(spec)
            if here is None:
                return tree.states(low, high)
            return tree.states(low.take(here), high.take(here))

        return self._by_page(pages, answer)

    def partition_values(self, spec: AggregateSpec, span: Span) -> pa.Array:
        if spec not in self._wholes:
            if spec in self._trees:
                ends = (pa.array([0], pa.int64()), pa.array([len(self._pages)], pa.int64()))
                self._wholes[spec] = state_results(spec, self._trees[spec].states(*ends))
            else:
                self._wholes[spec] = self._whole(spec, self._pages.schema, iter(self._pages))
        return self._wholes[spec].take(pa.repeat(pa.scalar(0, pa.int32()), span.count))

    @property
    def spilled_bytes(self) -> int:
        return self._pages.spilled_bytes + (self._beside.spilled_bytes if self._beside is not None else 0)

    def close(self) -> None:
        self._cache.clear()
        self._pages.close()
        if self._beside is not None:
            self._beside.close()


def _pages_of(counts: list[int], numbers: pa.Array) -> pa.Array:
    """int32 page that has each of these things numbered over all pages; `counts`: those before each page, then all."""
    before, wanted = pa.array(counts[1:], pa.int64()), SortKeys([numbers], [False], [False])
    n = len(numbers)
    zeros = pa.repeat(pa.scalar(0, pa.int64()), n)
    ends = pa.repeat(pa.scalar(len(before) - 1, pa.int64()), n)
    return SortKeys([before], [False], [False]).search(wanted, zeros, ends, True).cast(pa.int32())
