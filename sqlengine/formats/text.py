"""Rows as text: the cells of CSV and the objects of JSON, for files and for the terminal."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.cast import cast_array
from sqlengine.kernels.text_lines import JSON_TEXT, QUOTE_ALWAYS, QUOTE_IF_NEEDED, RAW, lines
from sqlengine.types import is_image


def text_of(column: pa.Array) -> pa.Array:
    """The values as SQL text (what CAST to VARCHAR gives); NULL stays NULL."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_string(column.type):
        return column
    return cast_array(column, pa.string(), safe=False)


def csv_lines(
    batch: pa.RecordBatch,
    delimiter: str = ",",
    quote: str = '"',
    escape: str = '"',
    null: str = "",
    force: bool = False,
) -> bytes:
    """The rows as CSV, each ended by a line feed. A cell is quoted when it holds a delimiter, quote or line break, or
    when it would otherwise read as NULL."""
    t = pa.types
    columns, kinds = [], []
    for column in batch.columns:
        whole = t.is_integer(column.type)
        plain = not quote or whole or t.is_boolean(column.type) or t.is_floating(column.type)
        columns.append(column if whole and not force else text_of(column))
        kinds.append(QUOTE_ALWAYS if force and quote else RAW if plain else QUOTE_IF_NEEDED)
    before = [b"" if number == 0 else delimiter.encode() for number in range(len(columns))]
    found = lines(
        columns, kinds, before, batch.num_rows, null=null.encode(), after=b"\n", quote=(quote or '"').encode()[:1],
        escape=(escape or quote or '"').encode()[:1], special=(delimiter[:1] + quote + "\n\r").encode(),
    )  # fmt: skip
    return _bytes(found)


def json_lines(batch: pa.RecordBatch, before: bytes = b"", after: bytes = b"\n") -> bytes:
    """The rows as JSON objects, each between `before` and `after`."""
    columns = [_json_cell(column) for column in batch.columns]
    names = [json.dumps(name, ensure_ascii=False).encode() + b":" for name in batch.schema.names]
    starts = [before + b"{" + names[0], *(b"," + name for name in names[1:])] if names else []
    if not names:
        return (before + b"{}" + after) * int(batch.num_rows)
    return _bytes(
        lines(
            [c for c, _ in columns], [k for _, k in columns], starts, batch.num_rows, null=b"null", after=b"}" + after
        )
    )


def _bytes(texts: pa.Array) -> bytes:
    """All texts of an array that was just made, one behind the other."""
    found: bytes = texts.buffers()[2].to_pybytes()
    return found


def _json_cell(column: pa.Array) -> tuple[pa.Array, int]:
    """A column of texts or whole numbers, and how each of them becomes JSON: numbers as numbers (decimals exactly),
    times as SQL text, structs and maps as objects, blobs as text. Infinity and NaN, which JSON lacks, are null."""
    t = pa.types
    type_ = column.type
    if t.is_integer(type_):
        return column, RAW
    if t.is_boolean(type_) or t.is_decimal(type_):
        return text_of(column), RAW
    if t.is_floating(type_):
        return pc.if_else(pc.is_finite(column), text_of(column), pa.scalar(None, pa.string())), RAW
    if t.is_fixed_size_list(type_):
        column, type_ = column.cast(pa.list_(type_.value_type)), pa.list_(type_.value_type)
    if t.is_list(type_):
        lengths = pc.fill_null(pc.list_value_length(column), 0)
        ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
        joined = pc.binary_join(pa.ListArray.from_arrays(ends, json_texts(column.flatten())), ",")
        return _unless_null(column, lines([joined], [RAW], [b"["], len(column), null=b"", after=b"]")), RAW
    if t.is_map(type_):
        return pa.array([None if v is None else _map(v, type_) for v in column.to_pylist()], pa.string()), RAW
    if t.is_struct(type_) and not is_image(type_):
        fields = [_json_cell(field) for field in column.flatten()]
        names = [json.dumps(field.name, ensure_ascii=False).encode() + b":" for field in type_]
        starts = [(b"," if number else b"{") + name for number, name in enumerate(names)]
        if not fields:
            return _unless_null(column, pa.array(["{}"] * len(column), pa.string())), RAW
        objects = lines([c for c, _ in fields], [k for _, k in fields], starts, len(column), null=b"null", after=b"}")
        return _unless_null(column, objects), RAW
    return text_of(column), JSON_TEXT


def json_texts(column: pa.Array) -> pa.Array:
    """Each value as JSON, without NULLs."""
    cell, kind = _json_cell(column)
    return lines([cell], [kind], [b""], len(column), null=b"null", after=b"")


def _unless_null(column: pa.Array, texts: pa.Array) -> pa.Array:
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string())) if column.null_count else texts


def _map(items: list[tuple[Any, Any]], type_: Any) -> str:
    values = json_texts(pa.array([v for _, v in items], type_.item_type)).to_pylist()
    return (
        "{"
        + ",".join(f"{json.dumps(str(k), ensure_ascii=False)}:{v}" for (k, _), v in zip(items, values, strict=True))
        + "}"
    )
