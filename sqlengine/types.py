"""Arrow types as the engine's types: which ones travel inside the engine, and their SQL names."""

from __future__ import annotations

import pyarrow as pa

from sqlengine.without_pandas import leave_pandas_out

leave_pandas_out()  # every module that makes Arrow values comes here first

HUGEINT = pa.decimal128(38, 0)
INTERVAL = pa.month_day_nano_interval()
# A decoded image: rows of pixels from the top, channels side by side. `format` and `size` are of the file it came from.
IMAGE = pa.struct([("width", pa.int32()), ("height", pa.int32()), ("mode", pa.string()), ("format", pa.string()),
                   ("size", pa.int64()), ("pixels", pa.binary())])  # fmt: skip


def is_image(type_: pa.DataType) -> bool:
    return bool(type_ == IMAGE)


def canonical(type_: pa.DataType) -> pa.DataType:
    """The type under which values of `type_` travel inside the engine; sources convert to it.

    One text type (`string`), one blob type (`binary`), one list type (`list`): the other layouts (large, view,
    dictionary, run-end encoded, fixed size) carry the same values. decimal32/64 become decimal128, decimal256 stays
    only if it must. Instants are in microseconds of UTC; extension types are their storage, UUIDs their text.
    """
    t = pa.types
    if isinstance(type_, pa.BaseExtensionType):
        return pa.string() if type_.extension_name == "arrow.uuid" else canonical(type_.storage_type)
    if t.is_large_string(type_) or t.is_string_view(type_):
        return pa.string()
    if t.is_large_binary(type_) or t.is_binary_view(type_) or t.is_fixed_size_binary(type_):
        return pa.binary()
    if t.is_dictionary(type_) or t.is_run_end_encoded(type_):
        return canonical(type_.value_type)
    if t.is_decimal(type_) and type_.precision <= 38:
        return pa.decimal128(type_.precision, type_.scale)
    if t.is_float16(type_):
        return pa.float32()
    if t.is_date64(type_):
        return pa.date32()
    if t.is_duration(type_):
        return INTERVAL
    if t.is_timestamp(type_) and type_.tz:
        return pa.timestamp("us", "UTC")
    if t.is_time(type_):
        return pa.time64("us") if type_ != pa.time64("ns") else type_
    if t.is_fixed_size_list(type_):
        return pa.list_(canonical(type_.value_type), type_.list_size)
    if t.is_list(type_) or t.is_large_list(type_) or t.is_list_view(type_) or t.is_large_list_view(type_):
        return pa.list_(canonical(type_.value_type))
    if t.is_struct(type_):
        return pa.struct([pa.field(f.name, canonical(f.type)) for f in type_])
    if t.is_map(type_):
        return pa.map_(canonical(type_.key_type), canonical(type_.item_type))
    return type_


def canonical_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(f.name, canonical(f.type)) for f in schema])


_NAMES = {
    pa.bool_(): "BOOLEAN", pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT", pa.uint32(): "UINTEGER", pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR", pa.binary(): "BLOB", pa.date32(): "DATE",
    pa.time64("us"): "TIME", pa.time64("ns"): "TIME_NS", pa.timestamp("s"): "TIMESTAMP_S",
    pa.timestamp("ms"): "TIMESTAMP_MS", pa.timestamp("us"): "TIMESTAMP", pa.timestamp("ns"): "TIMESTAMP_NS",
    INTERVAL: "INTERVAL", pa.null(): '"NULL"', HUGEINT: "HUGEINT",
    IMAGE: "IMAGE",
}  # fmt: skip


def sql_name(type_: pa.DataType) -> str:
    """The SQL (DuckDB) name of an Arrow type: `BIGINT`, `DECIMAL(15,2)`, `VARCHAR[]`, `STRUCT(a INTEGER)`."""
    t = pa.types
    if type_ in _NAMES:
        return _NAMES[type_]
    if t.is_decimal(type_):
        return f"DECIMAL({type_.precision},{type_.scale})"
    if t.is_timestamp(type_) and type_.tz:
        return "TIMESTAMP WITH TIME ZONE"
    if t.is_fixed_size_list(type_):
        return f"{sql_name(type_.value_type)}[{type_.list_size}]"
    if t.is_list(type_):
        return f"{sql_name(type_.value_type)}[]"
    if is_tuple(type_):
        return "TUPLE(" + ", ".join(sql_name(f.type) for f in type_) + ")"
    if t.is_struct(type_):
        return "STRUCT(" + ", ".join(f"{_quoted(f.name)} {sql_name(f.type)}" for f in type_) + ")"
    if t.is_map(type_):
        return f"MAP({sql_name(type_.key_type)}, {sql_name(type_.item_type)})"
    return str(type_).upper()


def is_tuple(type_: pa.DataType) -> bool:
    """Whether a struct is one without names, as `row(1, 2)` makes it."""
    return bool(pa.types.is_struct(type_) and len(type_)) and all(
        f.name == f"element{i}" for i, f in enumerate(type_, 1)
    )


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'
