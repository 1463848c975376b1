"""How results look: streams of rows written in one of the formats, all of them but boxes with bounded memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlengine.expr.text_forms import to_text
from sqlengine.formats.text import csv_lines, json_lines
from sqlengine.relation import Relation
from sqlengine.text_box import box
from sqlengine.value_text import is_right, one_line, padded, row_texts, widths

_STEP = 8192
_TEXT_STEP = 1 << 16
_GROUP_BYTES = 16 << 20


@dataclass
class Look:
    """How results are shown. `null`: None is the format's own."""

    format: str = "csv"
    header: bool = True
    footer: bool = True
    null: str | None = None
    max_rows: int = 40
    max_width: int = 0
    color: bool = False


class Out:
    """Where bytes go; knows how many there were, as encoders of files ask. `clear` is called before bytes reach a
    terminal, on which something else may stand."""

    def __init__(self, stream: IO[bytes], terminal: bool = False) -> None:
        self._stream = stream
        self._size = 0
        self.closed = False
        self.terminal = terminal
        self.clear: Callable[[], None] | None = None

    def write(self, data: bytes | str) -> int:
        if self.terminal and self.clear is not None:
            self.clear()
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        self._stream.write(raw)
        self._size += len(raw)
        return len(raw)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


Writer = Callable[[Relation, Out, Look], int]  # gives the number of rows


def render(relation: Relation, out: Out, look: Look) -> int:
    """Run a query and write its rows; how many there were."""
    zone = relation.timezone
    if look.format not in ("parquet", "arrow") and zone != "UTC" and any(map(_is_zoned, relation.dtypes)):
        relation = _InZone(relation, zone)
    return WRITERS[look.format](relation, out, look)


def _is_zoned(type_: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(type_) and type_.tz)


class _InZone(Relation):
    """A relation whose instants are given as texts of the session's time zone."""

    def __init__(self, of: Relation, zone: str) -> None:
        self.__dict__.update(of.__dict__)
        self._of = of
        self._zone = zone

    def batches(self, *, timeout: float | None = None) -> Iterator[pa.RecordBatch]:
        for batch in self._of.batches(timeout=timeout):
            columns = [to_text(c, self._zone) if _is_zoned(c.type) else c for c in batch.columns]
            yield pa.RecordBatch.from_arrays(columns, batch.schema.names)

    __iter__ = batches


def _boxed(plain: bool) -> Writer:
    def write(relation: Relation, out: Out, look: Look) -> int:
        text = io.StringIO()
        null = "NULL" if look.null is None else look.null
        count = box(
            relation, text, look.max_rows, null=null, header=look.header, footer=look.footer, max_width=look.max_width,
            plain=plain, color=look.color,
        )  # fmt: skip
        out.write(text.getvalue())
        return count

    return write


def _markdown(relation: Relation, out: Out, look: Look) -> int:
    """All rows; the columns are as wide as the first rows want them."""
    null = "" if look.null is None else look.null
    right = [is_right(type_) for type_ in relation.dtypes]
    names = [_escaped(name) for name in relation.columns]
    size: list[int] = []
    count = 0

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(padded(t, w, r) for t, w, r in zip(texts, size, right, strict=True)) + " |\n"

    def begin(cells: list[list[str]]) -> None:
        size.extend(max(3, w) for w in widths([names, *cells]))
        if look.header:
            marks = ("-" * (w - 1) + ":" if r else "-" * w for w, r in zip(size, right, strict=True))
            out.write(line(names) + "| " + " | ".join(marks) + " |\n")

    for batch in _pieces(relation):
        count += batch.num_rows
        if names:
            cells = [[_escaped(null if v is None else v) for v in row] for row in row_texts(batch)]
            if not size:
                begin(cells)
            out.write("".join(map(line, cells)))
    if names and not size:
        begin([])
    return count


def _escaped(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def _line(relation: Relation, out: Out, look: Look) -> int:
    """Each column on a line of its own."""
    null = "NULL" if look.null is None else look.null
    size = max((len(name) for name in relation.columns), default=0)
    count = 0
    for batch in _pieces(relation):
        for row in row_texts(batch):
            count += 1
            if look.header:
                out.write(f"-[ {count} ]-\n")
            for name, value in zip(relation.columns, row, strict=True):
                out.write(f"{one_line(name).rjust(size)} = {null if value is None else one_line(value)}\n")
    return count


def _separated(delimiter: str) -> Writer:
    def write(relation: Relation, out: Out, look: Look) -> int:
        null = look.null or ""
        names = pa.record_batch([pa.array([name]) for name in relation.columns], relation.columns)
        # Not before the first rows are there: a query that fails at once leaves nothing.
        header = csv_lines(names, delimiter) if look.header and relation.columns else b""
        count = 0
        for batch in _pieces(relation, _TEXT_STEP):
            out.write(header + csv_lines(batch, delimiter, null=null))
            header = b""
            count += batch.num_rows
        out.write(header)
        return count

    return write


def _json(relation: Relation, out: Out, look: Look) -> int:
    """One array of objects."""
    out.write("[")
    count = 0
    for batch in _pieces(relation, _TEXT_STEP):
        text = json_lines(batch, b",\n ", b"")
        out.write(text if count else text[3:])
        count += batch.num_rows
    out.write("]\n")
    return count


def _jsonl(relation: Relation, out: Out, look: Look) -> int:
    count = 0
    for batch in _pieces(relation, _TEXT_STEP):
        out.write(json_lines(batch))
        count += batch.num_rows
    return count


def _parquet(relation: Relation, out: Out, look: Look) -> int:
    count, held, size = 0, [], 0
    with pq.ParquetWriter(out, relation.schema) as writer:
        for batch in relation.batches():
            held.append(batch)
            count += batch.num_rows
            size += batch.nbytes
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held, relation.schema))
                held, size = [], 0
        if held:
            writer.write_table(pa.Table.from_batches(held, relation.schema))
    return count


def _arrow(relation: Relation, out: Out, look: Look) -> int:
    """The stream format, which needs no end of the file to be read."""
    count = 0
    with pa.ipc.new_stream(out, relation.schema) as writer:
        for batch in relation.batches():
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _nothing(relation: Relation, out: Out, look: Look) -> int:
    """Runs the query all the same."""
    return sum(batch.num_rows for batch in relation.batches())


def _pieces(relation: Relation, step: int = _STEP) -> Iterator[pa.RecordBatch]:
    """Batches of a size at which their text is small."""
    for batch in relation.batches():
        rows = max(1, min(step, int(batch.num_rows * (4 << 20) / max(1, batch.nbytes))))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


WRITERS: dict[str, Writer] = {
    "box": _boxed(False), "table": _boxed(True), "markdown": _markdown, "line": _line, "csv": _separated(","),
    "tsv": _separated("\t"), "json": _json, "jsonl": _jsonl, "parquet": _parquet, "arrow": _arrow, "none": _nothing,
}  # fmt: skip


def error_json(error: Any) -> str:
    """An error as one JSON object on a line."""
    place = error.location
    found = {
        "code": error.code,
        "message": error.message,
        "file": place.source if place is not None else None,
        "line": place.line if place is not None else None,
        "col": place.col if place is not None else None,
        "end": place.end if place is not None else None,
        "hint": error.hint,
    }
    return json.dumps(found, ensure_ascii=False)
