"""Cutting a sorted stream where a group ends, so that what follows sees whole groups."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from sqlengine.kernels.sorting import SortKeys
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys


class LargeGroup(Protocol):
    """A group for which no memory is left: takes its rows batch by batch."""

    def add(self, batch: pa.RecordBatch) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


Large = TypeVar("Large", bound=LargeGroup)


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def whole_groups(
    rows: Iterator[pa.RecordBatch],
    keys: Sequence[str],
    cost: Callable[[pa.RecordBatch], int],
    reservation: Reservation,
    room: int,
    large: Callable[[], Large],
) -> Iterator[pa.RecordBatch | Large]:
    """The rows of a stream that is sorted by `keys`, in pieces that each hold whole groups (without keys one group): a
    batch, or a `large` group where the reservation has no room. `cost`: the bytes that a batch takes while it is worked
    with, of which `room` is reserved already; it has to be enough for one batch of the stream."""
    by = tuple(SortColumn(key) for key in keys)
    pending: list[pa.RecordBatch] = []  # of one group, all rows so far
    group: Large | None = None
    last: SortKeys | None = None
    held = used = 0
    try:
        for batch in _cut(rows, cost, max(1, room // 2)):
            # `first`: where the first new group begins; `cut`: where the last one does.
            first, cut = 0, 0
            if by:
                found = sort_keys(batch, by)
                starts = found.starts()
                continues = last is not None and found.compare(0, last, 0) == 0
                cut = starts[-1].as_py()
                if continues:
                    first = starts[1].as_py() if len(starts) > 1 else batch.num_rows
                last = sort_keys(batch.slice(batch.num_rows - 1), by)
            elif pending or group is not None:
                first = batch.num_rows
            if group is not None:
                if first:
                    group.add(batch.slice(0, first))
                if first == batch.num_rows:
                    continue
                group.finish()
                yield group
                group = None
                batch, cut = batch.slice(first), cut - first
            elif first == 0 and pending:
                yield joined(pending)
                pending, used = [], 0
            if cut:
                yield joined([*pending, batch.slice(0, cut)])
                pending, used = [], 0
                batch = batch.slice(cut)
            if not pending:
                reservation.shrink(held)
                held = 0
            used += cost(batch)
            more = max(0, used - room - held)
            if more and not reservation.try_grow(more):
                group = large()
                for part in pending:
                    group.add(part)
                group.add(batch)
                pending, used = [], 0
                reservation.shrink(held)
                held = 0
                continue
            held += more
            pending.append(batch)
        if group is not None:
            group.finish()
            yield group
            group = None
        elif pending:
            yield joined(pending)
    finally:
        reservation.shrink(held)
        if group is not None:
            group.close()


def _cut(rows: Iterator[pa.RecordBatch], cost: Callable[[pa.RecordBatch], int], most: int) -> Iterator[pa.RecordBatch]:
    """The rows in batches that cost about `most` at most."""
    for batch in rows:
        step = max(1, batch.num_rows // -(-cost(batch) // most))
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def bounded(batch: pa.RecordBatch, rows: int, size: int) -> Iterator[pa.RecordBatch]:
    """A batch in slices of at most `rows` rows and about `size` bytes."""
    step = max(1, min(rows, size * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def without_repeats(
    rows: Iterator[pa.RecordBatch], by: tuple[SortColumn, ...]
) -> Generator[pa.RecordBatch, None, None]:
    """The first row of each run of equals in a stream that is sorted by these columns."""
    last: SortKeys | None = None
    for batch in rows:
        keys = sort_keys(batch, by)
        starts = keys.starts()
        if last is not None and keys.compare(0, last, 0) == 0:
            starts = starts.slice(1)
        last = sort_keys(batch.slice(batch.num_rows - 1), by)
        if len(starts):
            yield batch.take(starts)
