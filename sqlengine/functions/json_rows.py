"""JSON as rows: what `json_each` and `json_tree` give in FROM is a list of structs here.

Values are numbered as they stand in the text: every key and every value takes a number, the whole has 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import TEXT, Types, by_row
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.json_text import kind_of, read, steps_of, write
from sqlengine.settings import Settings

_NUMBER = pa.uint64()
ROW = pa.struct([
    pa.field("key", TEXT), pa.field("value", TEXT), pa.field("type", TEXT), pa.field("atom", TEXT),
    pa.field("id", _NUMBER), pa.field("parent", _NUMBER), pa.field("fullkey", TEXT), pa.field("path", TEXT),
])  # fmt: skip
Row = dict[str, Any]


def _row(key: str | None, value: Any, number: int, parent: int | None, path: str, holder: str) -> Row:
    text = write(value)
    atom = None if value is None or isinstance(value, dict | list) else text
    return {
        "key": key, "value": text, "type": kind_of(value), "atom": atom,
        "id": number, "parent": parent, "fullkey": path, "path": holder,
    }  # fmt: skip


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if key and all(c.isalnum() or c == "_" for c in key) else f'."{key}"'


def _size(value: Any) -> int:
    """How many numbers a value takes."""
    if isinstance(value, dict):
        return 1 + sum(1 + _size(item) for item in value.values())
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1


def _children(value: Any, number: int) -> Iterator[tuple[str | int, Any, int]]:
    """Key or place, value and number of what an object or list holds directly."""
    named = isinstance(value, dict)
    number += 1
    for key, item in value.items() if named else enumerate(value):
        number += named
        yield key, item, number
        number += _size(item)


def _found(text: str, path: str) -> tuple[Any, int] | None:
    """What is at a path, and its number."""
    value, number = read(text), 0
    for step in steps_of(path):
        if isinstance(step, int) and step < 0 and isinstance(value, list):
            step += len(value)
        if not isinstance(value, dict | list):
            return None
        child = next((c for c in _children(value, number) if c[0] == step), None)
        if child is None:
            return None
        _, value, number = child
    return value, number


def _each(text: str, path: str = "$") -> list[Row]:
    found = _found(text, path)
    if found is None:
        return []
    value, number = found
    if not isinstance(value, dict | list):
        return [_row(None, value, number, None, path, path)]
    return [_row(str(key), item, at, None, path + _step(key), path) for key, item, at in _children(value, number)]


def _tree(text: str, path: str = "$") -> list[Row]:
    found = _found(text, path)
    rows: list[Row] = []
    todo: list[tuple[str | None, Any, int, int | None, str, str]] = []
    if found is not None:
        todo.append((None, found[0], found[1], None, path, path))
    while todo:
        key, value, number, parent, where, holder = todo.pop()
        rows.append(_row(key, value, number, parent, where, holder))
        if isinstance(value, dict | list):
            inner = list(_children(value, number))
            todo += [(str(k), item, at, number, where + _step(k), where) for k, item, at in reversed(inner)]
    return rows


def _types(args: Sequence[Expr]) -> Types:
    if len(args) not in (1, 2) or not all(pa.types.is_string(a.type) or pa.types.is_null(a.type) for a in args):
        raise NoMatch("it takes JSON and a path")
    return (TEXT, TEXT)[: len(args)], pa.list_(ROW)


for _name, _function, _doc in (
    ("json_each", _each, "What a JSON object or list holds, a row each."),
    ("json_tree", _tree, "A JSON value and all that it holds, a row each."),
):

    def _run(call: Call, args: list[Any], rows: int, settings: Settings, function: Any = _function) -> Any:
        return by_row(function, args, rows, call.type)

    scalar(_name, _types, _doc, category="json")(_run)
