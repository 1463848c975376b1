"""Results as text: a box for people, csv and JSON lines for programs (streamed, every row)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import IO, Any

import pyarrow as pa

from sqlengine.relation import Relation
from sqlengine.types import sql_name


def box(relation: Relation, out: IO[str], max_rows: int) -> None:
    """At most `max_rows` rows, the first and the last ones, and a footer that says what was left out."""
    head: list[tuple[Any, ...]] = []
    tail: list[tuple[Any, ...]] = []
    count = 0
    first = max(1, max_rows // 2 + max_rows % 2)
    for batch in relation.batches():
        count += batch.num_rows
        if len(head) < first:
            head += _rows(batch.slice(0, first - len(head)))
        tail = [*tail, *_rows(batch.slice(max(0, batch.num_rows - max_rows)))][-max_rows:]
    if count <= max_rows:
        rows: list[tuple[Any, ...]] = tail
        cut = 0
    else:
        last = max_rows - first
        rows, cut = [*head, *(tail[-last:] if last else [])], count - max_rows
    names = [_text(name) for name in relation.columns]
    types = [sql_name(type_).lower() for type_ in relation.dtypes]
    cells = [[_text(_cell(value)) for value in row] for row in rows]
    widths = [max(_width(text) for text in column) for column in zip(names, types, *cells, strict=True)]
    numeric = [pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t) for t in relation.dtypes]

    def line(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (w + 2) for w in widths) + right + "\n"

    def row(texts: Sequence[str], right: Sequence[bool]) -> str:
        padded = [
            " " * (w - _width(t)) + t if r else t + " " * (w - _width(t))
            for t, w, r in zip(texts, widths, right, strict=True)
        ]
        return "│ " + " │ ".join(padded) + " │\n"

    if names:
        out.write(line("┌", "┬", "┐") + row(names, numeric) + row(types, numeric) + line("├", "┼", "┤"))
        for number, texts in enumerate(cells):
            if cut and number == first:
                out.write(row(["·" for _ in texts], numeric))
            out.write(row(texts, numeric))
        out.write(line("└", "┴", "┘"))
    left_out = f" ({cut} not shown)" if cut else ""
    out.write(f"{count} row{'' if count == 1 else 's'}{left_out}\n")


def csv(relation: Relation, out: IO[str], max_rows: int) -> None:
    """A header and every row; NULL is empty, empty text is \"\"."""
    out.write(",".join(_quoted(name) for name in relation.columns) + "\n")
    for batch in relation.batches():
        for row in _rows(batch):
            out.write(",".join("" if value is None else _quoted(_plain(value)) for value in row) + "\n")


def jsonl(relation: Relation, out: IO[str], max_rows: int) -> None:
    """One JSON object a row."""
    for batch in relation.batches():
        for row in _rows(batch):
            out.write(
                json.dumps(dict(zip(relation.columns, row, strict=True)), default=_plain, ensure_ascii=False) + "\n"
            )


FORMATS: dict[str, Callable[[Relation, IO[str], int], None]] = {"box": box, "csv": csv, "jsonl": jsonl}


def _rows(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _cell(value: Any) -> str:
    return "NULL" if value is None else _plain(value)


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in value)
        case _:
            return str(value)


def _quoted(text: str) -> str:
    if not text or any(c in text for c in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _text(text: str) -> str:
    """Control characters would move the cursor: they are shown as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)
