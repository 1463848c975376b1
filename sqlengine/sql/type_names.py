"""SQL type names to Arrow types."""

from __future__ import annotations

import difflib

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.types import HUGEINT, IMAGE, INTERVAL

_Kind = exp.DataType.Type
_PLAIN = {
    _Kind.BOOLEAN: pa.bool_(), _Kind.TINYINT: pa.int8(), _Kind.SMALLINT: pa.int16(), _Kind.INT: pa.int32(),
    _Kind.BIGINT: pa.int64(), _Kind.UTINYINT: pa.uint8(), _Kind.USMALLINT: pa.uint16(), _Kind.UINT: pa.uint32(),
    _Kind.UBIGINT: pa.uint64(), _Kind.INT128: HUGEINT, _Kind.FLOAT: pa.float32(), _Kind.DOUBLE: pa.float64(),
    _Kind.TEXT: pa.string(), _Kind.VARCHAR: pa.string(), _Kind.CHAR: pa.string(), _Kind.VARBINARY: pa.binary(),
    _Kind.BINARY: pa.binary(), _Kind.DATE: pa.date32(), _Kind.TIME: pa.time64("us"),
    _Kind.TIMESTAMP: pa.timestamp("us"),
    _Kind.TIMESTAMPNTZ: pa.timestamp("us"), _Kind.DATETIME: pa.timestamp("us"),
    _Kind.TIMESTAMPTZ: pa.timestamp("us", "UTC"), _Kind.TIMESTAMP_S: pa.timestamp("s"),
    _Kind.TIMESTAMP_MS: pa.timestamp("ms"), _Kind.TIMESTAMP_NS: pa.timestamp("ns"), _Kind.INTERVAL: INTERVAL,
    _Kind.NULL: pa.null(),
}  # fmt: skip
_COMMON = (
    "INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "DECIMAL", "TEXT", "STRING", "SMALLINT",
    "TINYINT", "HUGEINT", "FLOAT", "REAL", "BLOB", "TIME", "TIMESTAMPTZ", "INTERVAL", "UUID", "JSON",
)  # fmt: skip
# Types whose values travel as text; a cast to them is a function that checks (and for UUID normalises) the text.
TEXT_KINDS = {_Kind.JSON: "as_json", _Kind.UUID: "as_uuid", _Kind.BIT: "as_bit"}


def type_from_text(text: str) -> pa.DataType:
    """The Arrow type of a SQL type as text: `type_from_text("DECIMAL(9, 2)")`."""
    try:
        tree = exp.DataType.build(text, dialect="duckdb")
    except SqlglotError:
        raise BindError(f"{text!r} is not a type", code="invalid_type", hint="such as BIGINT or VARCHAR[]") from None
    return arrow_type(tree)


def arrow_type(type_: exp.DataType) -> pa.DataType:
    """The Arrow type of a type in a CAST."""
    kind = type_.this
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in TEXT_KINDS:
        return pa.string()
    if kind == _Kind.DECIMAL:
        if not all(p.name.isdigit() for p in type_.expressions):
            raise BindError("DECIMAL takes its digits as numbers", code="invalid_type", hint="such as DECIMAL(9, 2)")
        sizes = [int(p.name) for p in type_.expressions]
        digits, scale = sizes if len(sizes) == 2 else (sizes[0], 0) if sizes else (18, 3)
        if not (1 <= digits <= 38 and 0 <= scale <= digits):
            raise BindError(
                f"DECIMAL({digits},{scale}) does not exist", code="invalid_type",
                hint="at most 38 digits, of which not more after the point than in all",
            )  # fmt: skip
        return pa.decimal128(digits, scale)
    if kind in (_Kind.LIST, _Kind.ARRAY) and type_.expressions:
        inner = arrow_type(type_.expressions[0])
        size = type_.args.get("values")
        return pa.list_(inner, int(size[0].name)) if size else pa.list_(inner)
    if kind == _Kind.STRUCT and type_.expressions:
        return pa.struct([pa.field(f.name, arrow_type(f.args["kind"])) for f in type_.expressions])
    if kind == _Kind.MAP and len(type_.expressions) == 2:
        key, item = type_.expressions
        return pa.map_(arrow_type(key), arrow_type(item))
    if kind == _Kind.USERDEFINED and str(type_.args.get("kind")).upper() == "IMAGE":
        return IMAGE
    name = type_.sql("duckdb")
    if kind == _Kind.USERDEFINED:
        close = difflib.get_close_matches(name.upper(), _COMMON, 1)
        hint = f"did you mean {close[0]}?" if close else f"such as {', '.join(_COMMON[:6])}"
        raise BindError(f"type {name} does not exist", code="type_not_found", hint=hint)
    raise NotSupportedError(f"type {name} is not supported")
