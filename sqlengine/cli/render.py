"""Results as text: a box for people, csv and JSON lines for programs (streamed, every row)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import IO, Any

import pyarrow as pa

from sqlengine.relation import Relation
from sqlengine.text_box import box


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
