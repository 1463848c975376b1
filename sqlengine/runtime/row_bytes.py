"""How many bytes each row of a batch takes, so that pieces can be cut by bytes before they are made."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def row_bytes(batch: pa.RecordBatch) -> tuple[int, pa.Array | None]:
    """Bytes that every row takes, and for each row what it takes beside (int64; None where nothing varies)."""
    fixed, varying = 0, None
    for column in batch.columns:
        same, more = _sizes(column)
        fixed += same
        varying = _added(varying, more)
    return fixed, varying


def _sizes(array: pa.Array) -> tuple[int, pa.Array | None]:
    t, type_ = pa.types, array.type
    if t.is_null(type_):
        return 0, None
    if t.is_boolean(type_):
        return 1, None
    if t.is_string(type_) or t.is_binary(type_) or t.is_large_string(type_) or t.is_large_binary(type_):
        return 4, pc.fill_null(pc.binary_length(array), 0).cast(pa.int64())
    if t.is_struct(type_):
        fixed, varying = 0, None
        for number in range(type_.num_fields):
            same, more = _sizes(array.field(number))
            fixed += same
            varying = _added(varying, more)
        return fixed, varying
    if t.is_fixed_size_list(type_):
        width = type_.list_size
        same, more = _sizes(array.values.slice(array.offset * width, len(array) * width))
        if more is None:
            return same * width, None
        starts = pc.multiply(_numbers(len(array) + 1), width)
        return same * width, _between(_sums(more), starts)
    if t.is_map(type_):
        parts = [_sizes(array.keys), _sizes(array.items)]
        return 4, _items(array, sum(same for same, _ in parts), _added(*(more for _, more in parts)))
    if t.is_list(type_) or t.is_large_list(type_):
        return 4, _items(array, *_sizes(array.values))
    try:
        return (type_.bit_width + 7) // 8, None
    except ValueError:
        return array.nbytes // max(1, len(array)) + 1, None


def _items(array: pa.Array, same: int, more: pa.Array | None) -> pa.Array:
    """Bytes of the elements of each list."""
    offsets = array.offsets.slice(0, len(array) + 1).cast(pa.int64())
    counts = pc.subtract(offsets.slice(1), offsets.slice(0, len(array)))
    total = pc.multiply(counts, same)
    return total if more is None else pc.add(total, _between(_sums(more), offsets))


def _sums(sizes: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)])


def _between(sums: pa.Array, places: pa.Array) -> pa.Array:
    found = sums.take(places)
    return pc.subtract(found.slice(1), found.slice(0, len(found) - 1))


def _numbers(count: int) -> pa.Array:
    return pa.arange(0, count)


def _added(left: pa.Array | None, right: Any) -> pa.Array | None:
    if left is None or right is None:
        return right if left is None else left
    return pc.add(left, right)
