"""A small description of an answer by which two engines' answers are compared: rows, and facts of each column.

It does not depend on the order of the rows or on the names and widths of types: numbers are summed as doubles, texts
and dates by a checksum of their text, so engines that give DECIMAL and DOUBLE, or DATE and TIMESTAMP, compare equal.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_CLOSE = 2e-5  # some engines round the mean of a DECIMAL to six places

Fingerprint = dict[str, Any]


def fingerprint(table: pa.Table) -> Fingerprint:
    """`{"rows": n, "columns": [[kind, nulls, sum, smallest, largest], ...]}`, made of JSON values.

    >>> fingerprint(pa.table({"a": [1, 2], "b": ["x", None]}))["columns"][0]
    ['number', 0, 3.0, 1.0, 2.0]
    """
    return {"rows": table.num_rows, "columns": [_column(table.column(i)) for i in range(table.num_columns)]}


def _column(column: pa.ChunkedArray) -> list[Any]:
    type_ = column.type
    if pa.types.is_dictionary(type_):
        column = column.cast(type_.value_type)
        type_ = column.type
    t = pa.types
    if t.is_boolean(type_) or t.is_integer(type_) or t.is_floating(type_) or t.is_decimal(type_):
        numbers = column.cast(pa.float64(), safe=False)
        ends = pc.min_max(numbers).as_py()
        return ["number", column.null_count, pc.sum(numbers).as_py() or 0.0, ends["min"], ends["max"]]
    if t.is_date(type_) or t.is_timestamp(type_):
        column = column.cast(pa.timestamp("us")).cast(pa.string())
    total, low, high = 0, None, None
    for value in column.to_pylist():
        if value is not None:
            text = str(value).removesuffix(" 00:00:00.000000")
            total += zlib.crc32(text.encode())
            low = text if low is None else min(low, text)
            high = text if high is None else max(high, text)
    return ["text", column.null_count, total, low, high]


def same(a: Fingerprint, b: Fingerprint) -> bool:
    """
    >>> one = fingerprint(pa.table({"a": [0.1 + 0.2]}))
    >>> same(one, fingerprint(pa.table({"b": [0.3]}))), same(one, fingerprint(pa.table({"b": [0.31]})))
    (True, False)
    """
    if a["rows"] != b["rows"] or len(a["columns"]) != len(b["columns"]):
        return False
    return all(
        len(x) == len(y) and all(map(_same_value, x, y)) for x, y in zip(a["columns"], b["columns"], strict=True)
    )


def _same_value(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE) or (a != a and b != b)
    return bool(a == b)
