"""JSON: values travel as text. Paths (`$.a[0].b`, `/a/0`, a bare key, a number), types, building and merging.

Each distinct text is read once. Numbers with a fraction or an exponent are DOUBLEs.
"""

from __future__ import annotations

import decimal
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.cast import cast_array
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BOOL, INT, TEXT, Types, by_row, is_list, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.expr.text_forms import to_text
from sqlengine.functions.lists import counts_of, list_column, starts_of
from sqlengine.functions.maps import entries
from sqlengine.functions.moves import column
from sqlengine.settings import Settings

_TEXTS = pa.list_(TEXT)
_MISSING = object()


def read(text: str) -> Any:
    """The value of a JSON text. DataError when it is not JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        shown = str(error).split(":")[0][:80]
        raise DataError(
            f"not JSON ({shown}): {text[:40]!r}", code="invalid_json", hint="json_valid tells, TRY(...) gives NULL"
        ) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def write(value: Any) -> str:
    """A JSON value as compact text."""
    match value:
        case float():
            return _number(value)
        case dict():
            return "{" + ",".join(f"{_quoted(k)}:{write(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(map(write, value)) + "]"
        case str():
            return _quoted(value)
        case _:
            return json.dumps(value)


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        text = format(decimal.Decimal(text), "f")
        return text if "." in text else text + ".0"
    return text.replace("e+", "e")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@functools.lru_cache(maxsize=256)
def steps_of(path: str) -> tuple[Any, ...]:
    """A path as keys (str), places (int, negative from the end) and `*` (None: all elements; True: all values)."""
    if not path:
        return ()
    if path.startswith("/"):
        parts = path[1:].split("/")
        return tuple(int(p) if p.isdigit() else p.replace("~1", "/").replace("~0", "~") for p in parts)
    if not path.startswith("$"):
        return (path,)
    steps: list[Any] = []
    at = 1
    while at < len(path):
        found = re.compile(
            r'\.\*|\.(?:"([^"]*)"|([^."\[\]]+))|\[(\*|#-\d+|-?\d+)\]|\[(?:"([^"]*)"|\'([^\']*)\')\]'
        ).match(path, at)
        if not found:
            raise DataError(f"cannot read the JSON path {path!r}", code="invalid_json_path", hint="such as '$.a[0].b'")
        key = next((g for g in (found[1], found[2], found[4], found[5]) if g is not None), None)
        if key is not None:
            steps.append(key)
        elif found[0] == ".*":
            steps.append(True)
        else:
            steps.append(None if found[3] == "*" else int(found[3].replace("#", "")))
        at = found.end()
    return tuple(steps)


def _walk(value: Any, steps: tuple[Any, ...]) -> Any:
    for at, step in enumerate(steps):
        if step is None or step is True:
            items = (
                value
                if step is None and isinstance(value, list)
                else list(value.values())
                if step is True and isinstance(value, dict)
                else []
            )
            found = [_walk(item, steps[at + 1 :]) for item in items]
            return [f for f in found if f is not _MISSING]
        if isinstance(step, int):
            if isinstance(value, dict) and str(step) in value:
                value = value[str(step)]
                continue
            if not isinstance(value, list) or not -len(value) <= step < len(value):
                return _MISSING
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return _MISSING
    return value


def _many(path: str | int) -> bool:
    return isinstance(path, str) and any(s is None or s is True for s in steps_of(path))


def _at(text: str, path: str | int) -> Any:
    return _walk(read(text), (path,) if isinstance(path, int) else steps_of(path))


def _as_json(value: Any) -> str | None:
    return None if value is _MISSING else write(value)


def _as_string(value: Any) -> str | None:
    if value is _MISSING or value is None:
        return None
    return str(value) if isinstance(value, str) else write(value)


def _json(arg: Expr) -> None:
    if not (pa.types.is_string(arg.type) or pa.types.is_null(arg.type)):
        raise NoMatch("it takes JSON text: to_json makes it from other values")


def _path_types(gives: pa.DataType, optional: bool = False) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2 and not (optional and len(args) == 1):
            raise NoMatch("it takes JSON and a path")
        _json(args[0])
        if len(args) == 1:
            return (TEXT,), gives
        path = args[1]
        if is_list(path.type):
            return (TEXT, _TEXTS), pa.list_(gives)
        if pa.types.is_integer(path.type):
            return (TEXT, INT), gives
        value = getattr(path, "value", None)
        return (TEXT, TEXT), pa.list_(gives) if isinstance(value, str) and value.startswith("$") and _many(
            value
        ) else gives

    return infer


def _found(
    name: str,
    gives: pa.DataType,
    pick: Callable[[Any], Any],
    doc: str,
    aliases: tuple[str, ...] = (),
    optional: bool = False,
) -> None:
    @scalar(name, _path_types(gives, optional), doc, category="json", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        def one(text: str, path: Any = "$") -> Any:
            if isinstance(path, list):
                return [pick(_at(text, p)) for p in path]
            value = _at(text, path)
            if is_list(call.type) and call.type.value_type == gives and isinstance(path, str) and _many(path):
                return [] if value is _MISSING else [pick(v) for v in value]
            return pick(value)

        return by_row(one, args, rows, call.type)


def kind_of(value: Any) -> str | None:
    match value:
        case None:
            return "NULL"
        case bool():
            return "BOOLEAN"
        case float():
            return "DOUBLE"
        case int():
            return "UBIGINT" if value >= 0 else "BIGINT"
        case str():
            return "VARCHAR"
        case dict():
            return "OBJECT"
        case list():
            return "ARRAY"
    return None


_found("json_extract", TEXT, _as_json, "The JSON at a path.", ("json_extract_path",))
_found("json_extract_string", TEXT, _as_string, "The text at a path.", ("json_extract_path_text",))
_found(
    "json_value",
    TEXT,
    lambda v: None if isinstance(v, dict | list) else _as_json(v),
    "The JSON at a path, no list or object.",
)
_found("json_exists", BOOL, lambda v: v is not _MISSING, "Whether there is something at a path.")
_found("json_type", TEXT, kind_of, "The type of JSON.", optional=True)
_found("json_array_length", pa.uint64(), lambda v: None if v is _MISSING else len(v) if isinstance(v, list) else 0,
       "The number of elements.", optional=True)  # fmt: skip
_found(
    "json_keys",
    _TEXTS,
    lambda v: None if v is _MISSING else list(v) if isinstance(v, dict) else [],
    "The keys of an object.",
    optional=True,
)


def _valid(text: str) -> bool:
    try:
        read(text)
    except DataError:
        return False
    return True


@scalar("json_valid", takes(TEXT, gives=BOOL), "Whether a text is JSON.", category="json")
def _json_valid(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_valid, args, rows, BOOL)


def _cast_types(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes one value")
    return (args[0].type,), TEXT


@scalar("json", takes(TEXT, gives=TEXT), "JSON without blanks between its parts.", category="json")
def _minified(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda text: write(read(text)), args, rows, TEXT)


@scalar("as_json", _cast_types, "CAST to JSON: text is checked, other values are converted.", category="json")
def _to_json_cast(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if args[0].type != TEXT:
        return json_of(column(args[0], rows), settings)

    def one(text: str) -> str:
        read(text)
        return text

    return by_row(one, args, rows, TEXT)


def json_of(array: pa.Array, settings: Settings) -> pa.Array:
    """Values of any type as JSON texts; NULL stays NULL."""
    t, type_ = pa.types, array.type
    if t.is_string(type_) or t.is_binary(type_) or t.is_temporal(type_) or t.is_interval(type_):
        return by_row(_quoted, [to_text(array, settings.timezone)], len(array), TEXT)
    if is_list(type_):
        lists = list_column(array, len(array))
        return _bracketed(lists, pc.fill_null(json_of(pc.list_flatten(lists), settings), "null"), "[", "]")
    if t.is_map(type_):
        counts, keys, items, valid = entries(array, len(array))
        names = by_row(_quoted, [cast_array(keys, TEXT, False)], len(keys), TEXT)
        pairs = pc.binary_join_element_wise(names, pc.fill_null(json_of(items, settings), "null"), ":")
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(counts).cast(pa.int32())])
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, pairs), ",")
        return pc.if_else(valid, pc.binary_join_element_wise("{", joined, "}", ""), pa.scalar(None, TEXT))
    if t.is_struct(type_):
        parts: list[Any] = []
        for at, field in enumerate(type_):
            parts += [
                ("," if at else "") + _quoted(field.name) + ":",
                pc.fill_null(json_of(pc.struct_field(array, at), settings), "null"),
            ]
        text = pc.binary_join_element_wise("{", *parts, "}", "")
        return pc.if_else(array.is_valid(), column(text, len(array)), pa.scalar(None, TEXT))
    if t.is_null(type_):
        return pa.nulls(len(array), TEXT)
    if t.is_floating(type_) or (t.is_decimal(type_) and type_.scale > 0):
        return by_row(_number, [cast_array(array, pa.float64(), False)], len(array), TEXT)
    return to_text(array, settings.timezone)


def _bracketed(lists: pa.ListArray, texts: pa.Array, left: str, right: str) -> pa.Array:
    counts = counts_of(lists)
    offsets = pa.concat_arrays([starts_of(counts), pa.array([len(texts)], INT)]).cast(pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ",")
    return pc.if_else(lists.is_valid(), pc.binary_join_element_wise(left, joined, right, ""), pa.scalar(None, TEXT))


@scalar("to_json", _cast_types, "A value as JSON.", category="json",
        aliases=("json_quote", "row_to_json", "array_to_json"))  # fmt: skip
def _to_json(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return json_of(column(args[0], rows), settings)


@scalar("json_array", lambda args: ([a.type for a in args], TEXT), "A JSON array of the arguments.", category="json",
        strict=False)  # fmt: skip
def _json_array(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not args:
        return pa.scalar("[]")
    parts = [pc.fill_null(json_of(column(a, rows), settings), "null") for a in args]
    return pc.binary_join_element_wise("[", pc.binary_join_element_wise(*parts, ","), "]", "")


def _object_types(args: Sequence[Expr]) -> Types:
    if len(args) % 2:
        raise NoMatch("it takes keys and values in turn")
    return [TEXT if at % 2 == 0 else a.type for at, a in enumerate(args)], TEXT


@scalar("json_object", _object_types, "A JSON object of keys and values in turn.", category="json", strict=False)
def _json_object(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not args:
        return pa.scalar("{}")
    pairs = []
    for key, value in zip(args[::2], args[1::2], strict=True):
        name = by_row(_quoted, [column(key, rows)], rows, TEXT)
        pairs.append(
            pc.binary_join_element_wise(name, pc.fill_null(json_of(column(value, rows), settings), "null"), ":")
        )
    joined = pc.binary_join_element_wise(*pairs, ",")
    return pc.binary_join_element_wise("{", joined, "}", "")


def _patched(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = _patched(result.get(key), item)
    return result


def _merged(a: str | None, b: str | None) -> str | None:
    if a is None or b is None:
        return b
    value, patch = read(a), read(b)
    # What is no object is replaced as a whole, NULLs of the patch included.
    return write(_patched(value, patch) if isinstance(value, dict) else patch)


@scalar("json_merge_patch", takes(TEXT, TEXT, gives=TEXT, more=True), "JSON changed by other JSON (RFC 7396).",
        category="json", strict=False)  # fmt: skip
def _merge_patch(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    columns = (column(a, rows).to_pylist() for a in args)
    return pa.array([functools.reduce(_merged, texts) for texts in zip(*columns, strict=True)], TEXT)


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, dict) and isinstance(part, dict):
        if all(k in value and _contains(value[k], v) for k, v in part.items()):
            return True
        return any(_contains(v, part) for v in value.values())
    if isinstance(value, list) and isinstance(part, list):
        return all(any(_contains(v, p) for v in value) for p in part)
    if isinstance(value, list):
        return any(_contains(v, part) for v in value)
    if isinstance(value, dict):
        return any(_contains(v, part) for v in value.values())
    return type(value) is type(part) and bool(value == part)


@scalar("json_contains", takes(TEXT, TEXT, gives=BOOL), "Whether JSON contains other JSON.", category="json")
def _json_contains(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda a, b: _contains(read(a), read(b)), args, rows, BOOL)


def _structure(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _structure(v) for k, v in value.items()} or "JSON"
    if isinstance(value, list):
        kinds = [_structure(v) for v in value]
        first = kinds[0] if kinds else "NULL"
        same = all(k == first for k in kinds)
        return [first if same else "JSON"]
    return kind_of(value)


@scalar("json_structure", takes(TEXT, gives=TEXT), "The shape of JSON: keys and types.", category="json")
def _json_structure(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda text: write(_structure(read(text))), args, rows, TEXT)


@scalar("json_pretty", takes(TEXT, gives=TEXT), "JSON on several lines.", category="json")
def _json_pretty(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(value: Any, margin: str) -> str:
        inner = margin + "    "
        if isinstance(value, dict) and value:
            return (
                "{\n" + ",\n".join(f"{inner}{_quoted(k)}: {one(v, inner)}" for k, v in value.items()) + f"\n{margin}}}"
            )
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(inner + one(v, inner) for v in value) + f"\n{margin}]"
        return write(value)

    return by_row(lambda text: one(read(text), ""), args, rows, TEXT)


# into typed values


def _shape(structure: Any) -> pa.DataType:
    """The type that a structure such as {"a": "INTEGER", "b": ["VARCHAR"]} names."""
    if isinstance(structure, dict):
        return pa.struct([pa.field(k, _shape(v)) for k, v in structure.items()])
    if isinstance(structure, list) and len(structure) == 1:
        return pa.list_(_shape(structure[0]))
    known = {
        "BOOLEAN": pa.bool_(), "TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(), "INT": pa.int32(),
        "BIGINT": INT, "UTINYINT": pa.uint8(), "USMALLINT": pa.uint16(), "UINTEGER": pa.uint32(),
        "UBIGINT": pa.uint64(), "HUGEINT": pa.decimal128(38, 0), "FLOAT": pa.float32(),
        "DOUBLE": pa.float64(), "VARCHAR": TEXT, "TEXT": TEXT, "DATE": pa.date32(),
        "TIME": pa.time64("us"), "TIMESTAMP": pa.timestamp("us"), "JSON": TEXT, "NULL": TEXT,
    }  # fmt: skip
    if isinstance(structure, str):
        text = structure.upper().strip()
        if text.endswith("[]"):
            return pa.list_(_shape(structure[:-2]))
        number = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", text)
        if number:
            return pa.decimal128(int(number[1]), int(number[2]))
        if text in known:
            return known[text]
    raise NoMatch(f"{structure!r} names no type")


def _transform_types(args: Sequence[Expr]) -> Types:
    shape = getattr(args[1], "value", None) if len(args) == 2 else None
    if not isinstance(shape, str):
        raise NoMatch('it takes JSON and a constant structure such as \'{"a": "INTEGER"}\'')
    _json(args[0])
    try:
        structure = json.loads(shape)
    except ValueError:
        raise NoMatch("the structure is not JSON") from None
    return (TEXT, TEXT), _shape(structure)


def typed(values: list[Any], type_: pa.DataType, strict: bool) -> pa.Array:
    """JSON values as a column of a type; what does not fit is NULL, or an error when `strict`."""
    if is_list(type_):
        lists = [v if isinstance(v, list) else _misfit(v, type_, strict) for v in values]
        flat = typed([item for v in lists if v is not None for item in v], type_.value_type, strict)
        ends, total = [0], 0
        for v in lists:
            total += len(v or [])
            ends.append(total)
        mask = pa.array([v is None for v in lists], pa.bool_())
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat, type=type_, mask=mask)
    if pa.types.is_struct(type_):
        objects = [v if isinstance(v, dict) else None if v is None else _misfit(v, type_, strict) or {} for v in values]
        children = [typed([None if o is None else o.get(f.name) for o in objects], f.type, strict) for f in type_]
        mask = pa.array([o is None for o in objects], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=list(type_), mask=mask)
    texts = pa.array([None if v is None else v if isinstance(v, str) else write(v) for v in values], TEXT)
    return cast_array(texts, type_, not strict)


def _misfit(value: Any, type_: pa.DataType, strict: bool) -> Any:
    """NULL in the place of a value of another shape."""
    if strict and value is not None:
        raise DataError(f"JSON {write(value)[:40]} does not fit {type_}", code="invalid_json")
    return None


def _transformer(name: str, strict: bool, alias: str) -> None:
    @scalar(name, _transform_types, "JSON as typed values of a structure.", category="json", aliases=(alias,))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        texts = column(args[0], rows).to_pylist()
        return typed([None if text is None else read(text) for text in texts], call.type, strict)


_transformer("json_transform", False, "from_json")
_transformer("json_transform_strict", True, "from_json_strict")
