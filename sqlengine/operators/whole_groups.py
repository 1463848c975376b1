"""Cutting a sorted stream where a group ends, so that what follows sees whole groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from sqlengine.kernels.sorting import SortKeys
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.sorted_runs import sort_keys


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def whole_groups(
    stream: Iterator[pa.RecordBatch], keys: Sequence[str], reservation: Reservation, factor: int = 3
) -> Iterator[pa.RecordBatch]:
    """The rows of a stream that is sorted by `keys`, in pieces that each hold whole groups; without keys one piece.

    Reserves `factor` times the bytes of a piece until the next is asked for; raises MemoryLimitError if one group does
    not fit.
    """
    by = [SortColumn(key) for key in keys]
    pending: list[pa.RecordBatch] = []
    last: SortKeys | None = None
    held = 0
    try:
        for batch in stream:
            reservation.grow(factor * batch.nbytes)
            held += factor * batch.nbytes
            if not by:
                pending.append(batch)
                continue
            found = sort_keys(batch, by)
            cut = found.starts()[-1].as_py()
            if cut == 0 and last is not None and found.compare(0, last, 0) == 0:
                pending.append(batch)
                continue
            if cut:
                pending.append(batch.slice(0, cut))
            if pending:
                yield joined(pending)
            kept = batch.slice(cut)
            pending = [kept]
            last = sort_keys(batch.slice(batch.num_rows - 1), by)
            reservation.shrink(max(0, held - factor * kept.nbytes))
            held = min(held, factor * kept.nbytes)
        if pending:
            yield joined(pending)
    finally:
        reservation.shrink(held)


def bounded(batch: pa.RecordBatch, rows: int, size: int) -> Iterator[pa.RecordBatch]:
    """A batch in slices of at most `rows` rows and about `size` bytes."""
    step = max(1, min(rows, size * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)
