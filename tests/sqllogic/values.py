"""Values and types of an Arrow table as the text of a `.test` file."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pyarrow as pa


def type_letter(type_: pa.DataType) -> str:
    """One letter for a family of types, as in the head of a `query` record."""
    if pa.types.is_null(type_) or pa.types.is_integer(type_):
        return "I"  # DuckDB gives an untyped NULL the type INTEGER
    families = {
        "R": pa.types.is_floating,
        "N": pa.types.is_decimal,
        "B": pa.types.is_boolean,
        "D": lambda t: pa.types.is_temporal(t),
        "L": pa.types.is_nested,
        "T": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
    }
    return next((letter for letter, belongs in families.items() if belongs(type_)), "X")


def text(value: Any) -> str:
    """A value on one line: NULL, (empty) for the empty string, 12 digits of floats, tabs and newlines escaped."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case "":
            return "(empty)"
        case str():
            return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        case float():
            return f"{value:.12g}" if value else "0"
        case decimal.Decimal():
            return f"{value:f}"
        case datetime.datetime() | datetime.time():
            return value.isoformat(*[" "] if isinstance(value, datetime.datetime) else [])
        case list():
            return "[" + ", ".join(map(text, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{key}: {text(item)}" for key, item in value.items()) + "}"
        case tuple():
            return "(" + ", ".join(map(text, value)) + ")"
    return str(value)


def rows_of(table: pa.Table) -> list[str]:
    """One line per row, columns parted by tabs."""
    columns = [[text(value) for value in column.to_pylist()] for column in table.columns]
    return ["\t".join(row) for row in zip(*columns, strict=True)] if columns else []


def types_of(table: pa.Table) -> str:
    return "".join(map(type_letter, table.schema.types))
