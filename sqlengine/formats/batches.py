"""From batches as a reader yields them to batches as the engine wants them: bounded, in canonical types."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.formats.base import ReadLimits
from sqlengine.kernels.selection import decoded, decoded_bytes

_MOST_TEXT = (1 << 31) - (1 << 16)


def empty_rows(count: int) -> pa.RecordBatch:
    """A batch of rows without columns."""
    return pa.RecordBatch.from_struct_array(pa.StructArray.from_buffers(pa.struct([]), count, [None]))


def bounded(batch: pa.RecordBatch, limits: ReadLimits) -> Iterator[pa.RecordBatch]:
    """Slices of the batch within the limits, by the size they have once dictionaries are decoded."""
    if not batch.num_rows:
        return
    width = 0.0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            # What one row may take: the longest value may be every row's.
            width += longest(column) + 4
        elif pa.types.is_run_end_encoded(column.type):
            width += column.values.nbytes / max(1, len(column.values))
        else:
            width += column.nbytes / batch.num_rows
    step = max(1, min(limits.batch_rows, int(limits.batch_bytes / max(width, 1e-9))))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def longest(column: pa.Array) -> int:
    """Bytes of the longest value in the dictionary of a dictionary column; 0 for another column."""
    if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
        return 0
    kind = column.dictionary.type
    if (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    ):
        return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return int(column.dictionary.nbytes // len(column.dictionary)) + 1


def decoded_size(column: pa.Array) -> int:
    """Bytes of the texts of a dictionary column once they are written out; 0 for another column."""
    if not pa.types.is_dictionary(column.type):
        return 0
    kind = column.dictionary.type
    if pa.types.is_int32(column.indices.type) and (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return int(decoded_bytes(_with_codes(column), column.dictionary))
    return longest(column) * len(column)


def _with_codes(column: pa.Array) -> pa.Array:
    """The codes, those of NULLs too inside the dictionary."""
    indices = column.indices
    return indices if not indices.null_count else pc.fill_null(indices, 0)


def _decoded(array: pa.Array) -> pa.Array:
    kind = array.dictionary.type
    t = pa.types
    text = t.is_string(kind) or t.is_binary(kind)
    fixed = t.is_primitive(kind) and kind.bit_width % 8 == 0
    if (
        not t.is_int32(array.indices.type)
        or not (text or fixed or t.is_decimal128(kind))
        or array.dictionary.null_count
    ):
        return array.dictionary_decode()
    if text and decoded_size(array) > _MOST_TEXT:
        return array.dictionary_decode()
    codes = _with_codes(array)
    if not len(array.dictionary):
        return pa.nulls(len(array), kind)
    buffers = decoded(codes, array.dictionary, 0 if text else kind.bit_width // 8)
    valid = None
    if array.null_count:
        valid = pc.and_(array.indices.is_valid(), True).buffers()[1]  # a bitmap of its own, without an offset
    return pa.Array.from_buffers(kind, len(array), [valid, *buffers])


def plain(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """The values in their canonical type, decoded."""
    if array.type == type_:
        return array
    t = pa.types
    if t.is_dictionary(array.type):
        array = _decoded(array)
    elif t.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    elif isinstance(array, pa.ExtensionArray):
        array = _uuid_text(array.storage) if array.type.extension_name == "arrow.uuid" else array.storage
    elif t.is_duration(array.type):
        nanoseconds = array.cast(pa.duration("ns")).cast(pa.int64())
        return pa.array([None if n is None else (0, 0, n) for n in nanoseconds.to_pylist()], type_)
    elif t.is_list_view(array.type) or t.is_large_list_view(array.type):
        array = _list_of(array)
    elif t.is_struct(array.type) and t.is_struct(type_):
        fields = [plain(field, type_.field(i).type) for i, field in enumerate(array.flatten())]
        return pa.StructArray.from_arrays(fields, fields=list(type_), mask=array.is_null())
    elif (t.is_list(array.type) or t.is_large_list(array.type)) and t.is_list(type_):
        array = _list_of(array, type_.value_type)
    if array.type == type_:
        return array
    if not t.is_nested(array.type) or t.is_map(array.type) or t.is_fixed_size_list(array.type):
        # Finer instants than a microsecond lose their rest.
        return array.cast(type_, safe=not t.is_timestamp(type_))
    return plain(array, type_)


def _list_of(array: pa.Array, value_type: pa.DataType | None = None) -> pa.Array:
    """The same lists, one behind the other."""
    ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    values = array.flatten()
    if value_type is not None:
        values = plain(values, value_type)
    return pa.ListArray.from_arrays(offsets, values, mask=array.is_null() if array.null_count else None)


def _uuid_text(storage: pa.Array) -> pa.Array:
    return pa.array([None if v is None else str(UUID(bytes=v)) for v in storage.to_pylist()], pa.string())


def canonical_batches(batch: pa.RecordBatch, schema: pa.Schema, limits: ReadLimits) -> Iterator[pa.RecordBatch]:
    """The columns of `schema` from the batch, bounded, in canonical types."""
    if not len(schema):
        for start in range(0, batch.num_rows, limits.batch_rows):
            yield empty_rows(min(limits.batch_rows, batch.num_rows - start))
        return
    for piece in bounded(batch.select(schema.names), limits):
        arrays = [plain(column, field.type) for column, field in zip(piece.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
