"""Rows into a Parquet file, row group by row group.

1. Batches are gathered until they make a row group of the wanted rows or bytes, and encoded at once.
2. The first row group decides how each column is written: codes of a dictionary only where values repeat (looking for
   those of a column without repetitions costs more than all else), minimum and maximum only of short values (their
   copies are held while a row group is encoded).

Held: the batches of one row group. Encoding takes `ENCODING` times the bytes of its largest column beside them (the
page, its parts in one piece, and that compressed), of which Arrow keeps `KEPT` until the next row group begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ENCODING, KEPT = 3.5, 2.25
# Values of a column that are looked at, and the share of different ones above which a dictionary does not pay.
_SAMPLE = 4096
_TOO_MANY = 0.5
_LONG_WORD, _LONG_BOUND = 256, 1024  # mean bytes of a value


class ParquetRows:
    """Row groups of at most `most_rows` rows and `most_bytes` bytes in Arrow form; a larger row is one by itself."""

    def __init__(
        self, path: str, schema: pa.Schema, codec: str, level: int | None, most_rows: int, most_bytes: int
    ) -> None:
        self._schema = schema
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._options: dict[str, Any] = {"compression": codec, "compression_level": level, "write_page_checksum": True}
        self._writer: pq.ParquetWriter | None = None
        pq.ParquetWriter(pa.BufferOutputStream(), schema).close()  # for the error it gives
        self._sink = pa.OSFile(path, "wb")

    def write(self, batch: pa.RecordBatch) -> None:
        step = max(1, min(self._most_rows, int(self._most_bytes * batch.num_rows / max(1, batch.nbytes))))
        for start in range(0, batch.num_rows, step):
            piece = batch.slice(start, step)
            if self._held and (
                self._rows + piece.num_rows > self._most_rows or self._bytes + piece.nbytes > self._most_bytes
            ):
                self._flush()
            self._held.append(piece)
            self._rows += piece.num_rows
            self._bytes += piece.nbytes
            if self._rows >= self._most_rows or self._bytes >= self._most_bytes:
                self._flush()

    def _flush(self) -> None:
        writer = self._writer or self._open(self._held)
        if self._held:
            writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=max(1, self._rows))
        self._held = []
        self._rows = self._bytes = 0

    def _open(self, first: list[pa.RecordBatch]) -> pq.ParquetWriter:
        coded, bounded = [], []
        for number, field in enumerate(self._schema):
            for path, values in _leaves(field.name, field.type, [batch.column(number) for batch in first]):
                width = sum(array.nbytes for array in values) / max(1, sum(map(len, values)))
                if width <= _LONG_BOUND:
                    bounded.append(path)
                if width <= _LONG_WORD and _repeats(values):
                    coded.append(path)
        self._writer = pq.ParquetWriter(
            self._sink, self._schema, use_dictionary=coded, write_statistics=bounded, **self._options
        )
        return self._writer

    def close(self) -> None:
        try:
            if self._held or self._writer is None:
                self._flush()
            if self._writer is not None:
                self._writer.close()
        finally:
            self._sink.close()


def _leaves(path: str, type_: pa.DataType, arrays: list[pa.Array]) -> Iterator[tuple[str, list[pa.Array]]]:
    """The columns that Parquet makes of one, by their paths in the file, with the values that are there."""
    if pa.types.is_map(type_):
        yield from _leaves(f"{path}.key_value.key", type_.key_type, [_items(array).field(0) for array in arrays])
        yield from _leaves(f"{path}.key_value.value", type_.item_type, [_items(array).field(1) for array in arrays])
    elif pa.types.is_list(type_) or pa.types.is_large_list(type_):
        yield from _leaves(f"{path}.list.element", type_.value_type, [_items(array) for array in arrays])
    elif pa.types.is_fixed_size_list(type_):
        yield from _leaves(f"{path}.list.element", type_.value_type, [array.flatten() for array in arrays])
    elif pa.types.is_struct(type_):
        for number, field in enumerate(type_):
            yield from _leaves(f"{path}.{field.name}", field.type, [array.field(number) for array in arrays])
    else:
        yield path, arrays


def _items(array: pa.Array) -> pa.Array:
    """What the lists of a column hold, those hidden below NULLs included."""
    if not len(array):
        return array.values
    start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
    return array.values.slice(start, end - start)


def _repeats(arrays: list[pa.Array]) -> bool:
    """Whether values come again, by a sample."""
    total = sum(map(len, arrays))
    if not total:
        return True
    step = -(-total // _SAMPLE)
    sample = pa.concat_arrays([array.take(pa.array(range(0, len(array), step), pa.int64())) for array in arrays])
    if pa.types.is_null(sample.type) or pa.types.is_boolean(sample.type):
        return True
    values = sample.storage if isinstance(sample.type, pa.BaseExtensionType) else sample
    return bool(pc.count_distinct(values).as_py() <= _TOO_MANY * len(values) + 16)
