"""JSON changed: values set and removed by path, differences, deep merges, NULLs dropped, keys in order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import TEXT, Types, by_row, each_value, is_list, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.json_text import json_of, read, steps_of, write
from sqlengine.functions.moves import column
from sqlengine.settings import Settings


def _place(value: Any, steps: tuple[Any, ...], make: bool) -> tuple[Any, Any]:
    """What holds the last step of a path, and that step as a key or place in it; (None, None) where nothing is."""
    for at, step in enumerate(steps):
        last = at == len(steps) - 1
        if step is None or step is True:
            raise DataError("a path with * names no single place", code="invalid_json_path")
        if isinstance(value, list) and isinstance(step, int):
            step = step + len(value) if step < 0 else step
            if not 0 <= step < len(value) + (last and make):
                return None, None
        elif isinstance(value, dict) and not isinstance(step, int):
            if step not in value:
                if not make:
                    return None, None
                if not last:
                    value[step] = {}
        else:
            return None, None
        if last:
            return value, step
        value = value[step]
    return None, None


def _set_types(args: Sequence[Expr]) -> Types:
    if len(args) != 3:
        raise NoMatch("it takes JSON, a path and a value in JSON")
    value = args[2].type
    if is_list(args[1].type):
        return (TEXT, pa.list_(TEXT), pa.list_(TEXT)), TEXT
    return (TEXT, TEXT, TEXT if pa.types.is_null(value) else value), TEXT


def _setter(name: str, insert: bool, replace: bool, doc: str) -> None:
    def put(value: Any, path: str, new: Any) -> Any:
        steps = steps_of(path)
        if not steps:
            return new if replace else value
        holder, step = _place(value, steps, insert)
        if holder is None:
            return value
        there = step in holder if isinstance(holder, dict) else step < len(holder)
        if there and replace:
            holder[step] = new
        elif not there and insert:
            if isinstance(holder, dict):
                holder[step] = new
            else:
                holder.append(new)
        return value

    def one(text: str, path: Any, new: Any) -> str:
        value = read(text)
        pairs = [(path, new)] if isinstance(path, str) else zip(path, new, strict=True)
        for where, what in pairs:
            value = put(value, where, read(what))
        return write(value)

    @scalar(name, _set_types, doc, category="json")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        text, path, new = args
        if not (pa.types.is_string(new.type) or is_list(new.type)):
            new = json_of(column(new, rows), settings)
        return by_row(one, [text, path, new], rows, TEXT)


_setter("json_set", True, True, "JSON with the value at a path set.")
_setter("json_insert", True, False, "JSON with a value added at a path where there is none.")
_setter("json_replace", False, True, "JSON with the value at a path replaced where there is one.")


def _removed(text: str, path: Any) -> str | None:
    value = read(text)
    for where in [path] if isinstance(path, str) else path:
        if not steps_of(where):
            return None  # the whole
        holder, step = _place(value, steps_of(where), False)
        if holder is not None:
            del holder[step]
    return write(value)


def _remove_types(args: Sequence[Expr]) -> Types:
    if len(args) == 2 and is_list(args[1].type):
        return (TEXT, pa.list_(TEXT)), TEXT
    return takes(TEXT, TEXT, gives=TEXT)(args)


@scalar("json_remove", _remove_types, "JSON without what is at a path.", category="json")
def _json_remove(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_removed, args, rows, TEXT)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _in_order(value[k]) for k in sorted(value)}
    return [_in_order(v) for v in value] if isinstance(value, list) else value


def _deep(a: Any, b: Any) -> Any:
    if b is None:
        return a
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return b
    merged = dict(a)
    for key, item in b.items():
        if item is not None:
            merged[key] = _deep(a[key], item) if key in a else item
    return merged


_NOTHING = object()


def _difference(a: Any, b: Any) -> Any:
    """The merge patch that makes `b` of `a`; _NOTHING where they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        patch: dict[str, Any] = {}
        for key in a:
            change = _difference(a[key], b[key]) if key in b else None
            if change is not _NOTHING:
                patch[key] = change
        patch.update({key: item for key, item in b.items() if key not in a})
        return patch if patch else _NOTHING
    return _NOTHING if type(a) is type(b) and a == b else b


def _patch_between(a: str | None, b: str | None) -> str | None:
    if a is None or b is None:
        return None if b is None else write(read(b))
    patch = _difference(read(a), read(b))
    if patch is not _NOTHING:
        return write(patch)
    after = read(b)
    return write({} if isinstance(after, dict) else after)


def _rewritten(change: Callable[[Any], Any]) -> Callable[[str], str]:
    return lambda text: write(change(read(text)))


each_value("json_strip_nulls", (TEXT,), TEXT, _rewritten(_without_nulls), "JSON without keys that are null.", "json")
each_value("json_normalize", (TEXT,), TEXT, _rewritten(_in_order), "JSON with the keys of objects in order.", "json")


@scalar("json_merge_patch_diff", takes(TEXT, TEXT, gives=TEXT), "The patch that makes one JSON of another.",
        category="json", strict=False)  # fmt: skip
def _json_merge_patch_diff(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    pairs = zip(*(column(a, rows).to_pylist() for a in args), strict=True)
    return pa.array([_patch_between(a, b) for a, b in pairs], TEXT)


@scalar("json_deep_merge", takes(TEXT, TEXT, gives=TEXT, more=True), "JSON objects merged at every level.",
        category="json", strict=False)  # fmt: skip
def _json_deep_merge(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def two(a: str | None, b: str | None) -> str | None:
        return b if a is None or b is None else write(_deep(read(a), read(b)))

    columns = (column(a, rows).to_pylist() for a in args)
    return pa.array([functools.reduce(two, row) for row in zip(*columns, strict=True)], TEXT)
