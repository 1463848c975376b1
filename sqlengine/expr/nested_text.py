"""Lists, structs and maps written as text: `[1, NULL, 2]`, `{'a': 1, 'b': x}`, `{k=v}`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

Caster = Callable[[pa.Array, pa.DataType, str], pa.Array]
_OPEN, _CLOSE = "[{(", "]})"


def parse_nested(text: str, type_: pa.DataType, timezone: str, cast: Caster) -> Any:
    """A Python value for `pa.array(..., type_)`; ValueError when the text has another shape."""
    text = text.strip()
    t = pa.types

    def value(piece: str, inner: pa.DataType) -> Any:
        piece = piece.strip()
        if piece.upper() == "NULL":
            return None
        if t.is_nested(inner):
            return parse_nested(piece, inner, timezone, cast)
        return cast(pa.array([_bare(piece)], pa.string()), inner, timezone)[0].as_py()

    left, right = ("[", "]") if t.is_list(type_) or t.is_fixed_size_list(type_) else ("{", "}")
    if not (text.startswith(left) and text.endswith(right)):
        raise ValueError(text)
    pieces = _split(text[1:-1], ",")
    if t.is_struct(type_):
        found = {}
        for piece in pieces:
            name, colon, rest = _cut(piece, ":")
            if not colon:
                raise ValueError(text)
            found[_bare(name.strip()).lower()] = rest
        if not set(found) <= {f.name.lower() for f in type_}:
            raise ValueError(text)
        return {f.name: value(found.get(f.name.lower(), "NULL"), f.type) for f in type_}
    if t.is_map(type_):
        pairs = [_cut(piece, "=") for piece in pieces]
        if not all(sign for _, sign, _ in pairs):
            raise ValueError(text)
        return [(value(k, type_.key_type), value(v, type_.item_type)) for k, _, v in pairs]
    return [value(piece, type_.value_type) for piece in pieces]


def _split(text: str, mark: str) -> list[str]:
    """Parts between marks that stand outside quotes and brackets."""
    if not text.strip():
        return []
    parts, depth, quote, start, at = [], 0, "", 0, 0
    while at < len(text):
        c = text[at]
        if quote:
            if c == "\\":
                at += 1
            elif c == quote:
                quote = ""
        elif c in "'\"":
            quote = c
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif c == mark and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    if quote or depth:
        raise ValueError(text)
    return [*parts, text[start:]]


def _cut(text: str, mark: str) -> tuple[str, str, str]:
    first = _split(text, mark)[0] if text else ""
    return first, text[len(first) : len(first) + 1], text[len(first) + 1 :]


def _bare(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        inner, plain, at = text[1:-1], "", 0
        while at < len(inner):
            at += inner[at] == "\\" and at + 1 < len(inner)
            plain += inner[at]
            at += 1
        return plain
    return text
