"""Tables about files: which there are (`glob`), and what their Parquet footers say."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.formats.memory import MemorySource
from sqlengine.formats.parquet_footer import Layout, layout_of
from sqlengine.types import sql_name

_SCHEMA = pa.schema(
    [
        ("file_name", pa.string()), ("name", pa.string()), ("type", pa.string()), ("type_length", pa.string()),
        ("repetition_type", pa.string()), ("converted_type", pa.string()), ("scale", pa.int64()),
        ("precision", pa.int64()), ("logical_type", pa.string()), ("duckdb_type", pa.string()),
        ("column_id", pa.int64()),
    ]
)  # fmt: skip
_CHUNKS = pa.schema(
    [
        ("file_name", pa.string()), ("row_group_id", pa.int64()), ("row_group_num_rows", pa.int64()),
        ("row_group_num_columns", pa.int64()), ("row_group_bytes", pa.int64()), ("column_id", pa.int64()),
        ("num_values", pa.int64()), ("path_in_schema", pa.string()), ("type", pa.string()),
        ("stats_min_value", pa.string()), ("stats_max_value", pa.string()), ("stats_null_count", pa.int64()),
        ("compression", pa.string()), ("encodings", pa.string()),
        ("dictionary_page_offset", pa.int64()), ("data_page_offset", pa.int64()),
        ("total_compressed_size", pa.int64()), ("total_uncompressed_size", pa.int64()),
    ]
)  # fmt: skip
_FILES = pa.schema(
    [
        ("file_name", pa.string()), ("created_by", pa.string()), ("num_rows", pa.int64()),
        ("num_row_groups", pa.int64()), ("format_version", pa.string()), ("file_size_bytes", pa.int64()),
        ("footer_size", pa.int64()),
    ]
)  # fmt: skip


def file_names(patterns: Sequence[str]) -> MemorySource:
    """The files that match, none being no error."""
    found = [f for pattern in patterns for f in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]
    return MemorySource(pa.table({"file": pa.array([f for f in found if os.path.isfile(f)], pa.string())}))


def parquet_schema(paths: Sequence[str]) -> MemorySource:
    return _table(_SCHEMA, (row for path in paths for row in _leaves(layout_of(path))))


def parquet_metadata(paths: Sequence[str]) -> MemorySource:
    return _table(_CHUNKS, (row for path in paths for row in _chunks(layout_of(path))))


def parquet_file_metadata(paths: Sequence[str]) -> MemorySource:
    def row(path: str) -> list[Any]:
        footer = layout_of(path).footer
        return [
            path, footer.created_by, footer.num_rows, footer.num_row_groups, footer.format_version,
            os.path.getsize(path), footer.serialized_size,
        ]  # fmt: skip

    return _table(_FILES, map(row, paths))


def _table(schema: pa.Schema, rows: Iterator[list[Any]]) -> MemorySource:
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [() for _ in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return MemorySource(pa.Table.from_arrays(arrays, schema=schema))


def _leaves(layout: Layout) -> Iterator[list[Any]]:
    for number, leaf in enumerate(layout.leaves, 1):
        decimal = leaf.precision > 0
        name = leaf.path
        yield [
            layout.path, name, leaf.physical_type,
            str(leaf.length) if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else None,
            "REPEATED" if leaf.max_repetition_level else "OPTIONAL" if leaf.max_definition_level else "REQUIRED",
            None if leaf.converted_type == "NONE" else leaf.converted_type,
            leaf.scale if decimal else None, leaf.precision if decimal else None,
            None if str(leaf.logical_type) == "None" else str(leaf.logical_type),
            sql_name(layout.fields[name]) if name in layout.fields else None, number,
        ]  # fmt: skip


def _chunks(layout: Layout) -> Iterator[list[Any]]:
    for number in range(len(layout.groups)):
        group = layout.footer.row_group(number)
        for place in range(group.num_columns):
            column, facts = group.column(place), layout.chunk(number, place)
            yield [
                layout.path, number, group.num_rows, group.num_columns, group.total_byte_size, place, facts.values,
                column.path_in_schema, column.physical_type, _text(facts.low), _text(facts.high), facts.nulls,
                facts.codec, ", ".join(column.encodings), column.dictionary_page_offset, column.data_page_offset,
                facts.stored, facts.size,
            ]  # fmt: skip


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return None if value is None else str(value)
