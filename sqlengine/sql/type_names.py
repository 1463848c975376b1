"""SQL type names to Arrow types."""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import NotSupportedError
from sqlengine.types import HUGEINT, INTERVAL

_Kind = exp.DataType.Type
_PLAIN = {
    _Kind.BOOLEAN: pa.bool_(), _Kind.TINYINT: pa.int8(), _Kind.SMALLINT: pa.int16(), _Kind.INT: pa.int32(),
    _Kind.BIGINT: pa.int64(), _Kind.UTINYINT: pa.uint8(), _Kind.USMALLINT: pa.uint16(), _Kind.UINT: pa.uint32(),
    _Kind.UBIGINT: pa.uint64(), _Kind.INT128: HUGEINT, _Kind.FLOAT: pa.float32(), _Kind.DOUBLE: pa.float64(),
    _Kind.TEXT: pa.string(), _Kind.VARCHAR: pa.string(), _Kind.CHAR: pa.string(), _Kind.VARBINARY: pa.binary(),
    _Kind.DATE: pa.date32(), _Kind.TIME: pa.time64("us"), _Kind.TIMESTAMP: pa.timestamp("us"),
    _Kind.DATETIME: pa.timestamp("us"), _Kind.TIMESTAMPTZ: pa.timestamp("us", "UTC"), _Kind.TIMESTAMP_S: pa.timestamp("s"),
    _Kind.TIMESTAMP_MS: pa.timestamp("ms"), _Kind.TIMESTAMP_NS: pa.timestamp("ns"), _Kind.INTERVAL: INTERVAL,
}  # fmt: skip


def arrow_type(type_: exp.DataType) -> pa.DataType:
    """The Arrow type of a type in a CAST."""
    kind = type_.this
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == _Kind.DECIMAL:
        sizes = [int(p.name) for p in type_.expressions]
        return pa.decimal128(*(sizes if len(sizes) == 2 else [sizes[0], 0] if sizes else [18, 3]))
    if kind in (_Kind.LIST, _Kind.ARRAY) and type_.expressions:
        return pa.list_(arrow_type(type_.expressions[0]))
    raise NotSupportedError(f"type {type_.sql('duckdb')} is not supported")
