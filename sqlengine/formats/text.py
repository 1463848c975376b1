"""Rows as text: the cells of CSV and the objects of JSON, for files and for the terminal."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.cast import cast_array


def text_of(column: pa.Array) -> pa.Array:
    """The values as SQL text (what CAST to VARCHAR gives); NULL stays NULL."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_binary(column.type):
        return pa.array([None if v is None else blob_text(v) for v in column.to_pylist()], pa.string())
    return cast_array(column, pa.string(), safe=False)


def blob_text(value: bytes) -> str:
    """Printable ASCII as it is, other bytes as `\\xFF`."""
    return "".join(chr(b) if 32 <= b < 127 and b not in (34, 39, 92) else f"\\x{b:02X}" for b in value)


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
    special = "[" + "".join(re.escape(c) for c in {delimiter[:1], quote, "\n", "\r"}) + "]"
    cells = []
    for column in batch.columns:
        text = text_of(column)
        if force or _may_need_quotes(column.type):
            mask = pc.match_substring_regex(text, special)
            mask = pc.or_(mask, pc.equal(text, null))
            if force:
                mask = pc.is_valid(text)
            if pc.any(mask).as_py():
                inner = text if escape == quote else pc.replace_substring(text, escape, escape + escape)
                inner = pc.replace_substring(inner, quote, escape + quote)
                quoted = pc.binary_join_element_wise(quote, inner, quote, "")
                text = pc.if_else(mask, quoted, text)
        cells.append(pc.fill_null(text, null))
    if not cells:
        return b"\n" * int(batch.num_rows)
    lines = pc.binary_join_element_wise(*cells, delimiter) if len(cells) > 1 else cells[0]
    lines = pc.binary_join_element_wise(lines, "", "\n")
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "")
    found: bytes = joined[0].as_buffer().to_pybytes()
    return found


def _may_need_quotes(type_: pa.DataType) -> bool:
    return not (pa.types.is_integer(type_) or pa.types.is_boolean(type_) or pa.types.is_floating(type_))


def json_values(batch: pa.RecordBatch) -> list[str]:
    """Each row as a JSON object on one line."""
    if not batch.num_columns:
        return ["{}"] * batch.num_rows
    names = [json.dumps(name, ensure_ascii=False) for name in batch.schema.names]
    columns = [json_texts(column) for column in batch.columns]
    return [
        "{" + ",".join(f"{n}:{v}" for n, v in zip(names, row, strict=True)) + "}" for row in zip(*columns, strict=True)
    ]


def json_texts(column: pa.Array) -> list[str]:
    """Each value as JSON: numbers as numbers (decimals exactly), times as SQL text, structs and maps as objects, blobs
    as text. Infinity and NaN, which JSON lacks, are null."""
    t = pa.types
    type_ = column.type
    if t.is_integer(type_) or t.is_boolean(type_) or t.is_decimal(type_):
        return pc.fill_null(column.cast(pa.string()), "null").to_pylist()  # type: ignore[no-any-return]
    if t.is_floating(type_):
        return [_number(v) for v in column.to_pylist()]
    if t.is_string(type_):
        return ["null" if v is None else json.dumps(v, ensure_ascii=False) for v in column.to_pylist()]
    if t.is_list(type_) or t.is_fixed_size_list(type_):
        flat = json_texts(column.flatten())
        lengths = column.value_lengths() if t.is_list(type_) else pc.list_value_length(column)
        out, at = [], 0
        for length in lengths.to_pylist():
            out.append("null" if length is None else "[" + ",".join(flat[at : at + length]) + "]")
            at += length or 0
        return out
    if t.is_map(type_):
        return ["null" if v is None else _map(v, type_) for v in column.to_pylist()]
    if t.is_struct(type_):
        fields = pa.RecordBatch.from_arrays(column.flatten(), names=[f.name for f in type_])
        objects = json_values(fields) if len(type_) else ["{}"] * len(column)
        return [text if valid else "null" for text, valid in zip(objects, column.is_valid().to_pylist(), strict=True)]
    return ["null" if v is None else json.dumps(v, ensure_ascii=False) for v in text_of(column).to_pylist()]


def _number(value: float | None) -> str:
    return "null" if value is None or not math.isfinite(value) else repr(value)


def _map(items: list[tuple[Any, Any]], type_: Any) -> str:
    values = json_texts(pa.array([v for _, v in items], type_.item_type))
    return (
        "{"
        + ",".join(f"{json.dumps(str(k), ensure_ascii=False)}:{v}" for (k, _), v in zip(items, values, strict=True))
        + "}"
    )
