"""A result as a box: the first and the last rows, and a footer that says what was left out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from sqlengine.types import sql_name
from sqlengine.value_text import cut, is_right, one_line, padded, row_texts, widths

if TYPE_CHECKING:
    from sqlengine.relation import Relation

_NARROWEST = 4
_DRAWN = ("┌┬┐", "├┼┤", "└┴┘", "│", "─")
_BOLD, _DIM, _PLAIN_AGAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_PLAIN = ("+++", "+++", "+++", "|", "-")


def box(
    relation: Relation,
    out: IO[str],
    max_rows: int = 40,
    *,
    null: str = "NULL",
    header: bool = True,
    footer: bool = True,
    max_width: int = 0,
    plain: bool = False,
    color: bool = False,
) -> int:
    """Write the box, at most `max_width` columns wide (0: no bound), `plain` in ASCII, `color` with bold names and dim
    types and NULLs; the number of rows."""
    top, middle, bottom, bar, dash = _PLAIN if plain else _DRAWN
    count, rows, first = ends(relation, max_rows)
    hidden = count - len(rows)
    right = [is_right(type_) for type_ in relation.dtypes]
    heads = [[one_line(name) for name in relation.columns]]
    heads.append([sql_name(type_).lower() for type_ in relation.dtypes])
    cells = [[null if value is None else one_line(value) for value in row] for row in rows]
    if not relation.columns:
        heads = []
    if heads:
        size = widths([*(heads if header else []), *cells]) if header or cells else [0] * len(right)
        size = _fitted(size, max_width)
        out.write(_line(size, top, dash))
        if header:
            for style, texts in zip((_BOLD, _DIM), heads, strict=True):
                out.write(_row(texts, size, right, bar, [style if color else ""] * len(size)))
            out.write(_line(size, middle, dash))
        for number, texts in enumerate(cells):
            if hidden and number == first:
                out.write(_row(["." if plain else "·"] * len(size), size, right, bar))
            dim = [_DIM if color and value is None else "" for value in rows[number]]
            out.write(_row(texts, size, right, bar, dim))
        out.write(_line(size, bottom, dash))
    if footer:
        left_out = f" ({hidden:,} not shown)" if hidden else ""
        out.write(f"{count:,} row{'' if count == 1 else 's'}{left_out}\n")
    return count


def ends(relation: Relation, max_rows: int) -> tuple[int, list[tuple[str | None, ...]], int]:
    """The number of rows, at most `max_rows` of them as texts, and how many of these are the first ones."""
    first = max(1, max_rows - max_rows // 2)
    head: list[tuple[str | None, ...]] = []
    tail: list[tuple[str | None, ...]] = []
    count = 0
    for batch in relation.batches():
        count += batch.num_rows
        if len(head) < first:
            head += row_texts(batch.slice(0, first - len(head)))
        tail = [*tail, *row_texts(batch.slice(max(0, batch.num_rows - max_rows)))][-max_rows:]
    if count <= max_rows:
        return count, tail, count
    last = max_rows - first
    return count, [*head, *(tail[-last:] if last > 0 else [])], first


def terminal_width() -> int:
    return shutil.get_terminal_size((0, 0)).columns


def _fitted(size: list[int], most: int) -> list[int]:
    """Widest columns made narrower until the box fits."""
    size = list(size)
    while most and sum(size) + 3 * len(size) + 1 > most and max(size) > _NARROWEST:
        widest = size.index(max(size))
        others = max((w for n, w in enumerate(size) if n != widest), default=0)
        over = sum(size) + 3 * len(size) + 1 - most
        size[widest] = max(_NARROWEST, min(size[widest] - 1, max(others, size[widest] - over)))
    return size


def _line(size: Sequence[int], ends: str, dash: str) -> str:
    return ends[0] + ends[1].join(dash * (w + 2) for w in size) + ends[2] + "\n"


def _row(texts: Sequence[str], size: Sequence[int], right: Sequence[bool], bar: str, styles: Sequence[str] = ()) -> str:
    shown = [padded(cut(text, w), w, r) for text, w, r in zip(texts, size, right, strict=True)]
    if any(styles):
        shown = [f"{style}{text}{_PLAIN_AGAIN}" if style else text for style, text in zip(styles, shown, strict=True)]
    return f"{bar} " + f" {bar} ".join(shown) + f" {bar}\n"
