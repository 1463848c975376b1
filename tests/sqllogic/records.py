"""The text form of the SQL tests: reading `.test` files into records and writing them back.

    statement ok                    the statement runs
    statement error not_grouped     it fails, and this is the error's code or part of its text
    query IT rowsort                rows are compared; one letter per column says what type it has
    select a, b from t
    ----
    1	one

Letters: I integers, R floats, N decimals, T text, B booleans, D dates and times, L nested, X anything else. `rowsort`
compares rows in any order, `nosort` as they come. `known <code>` before a query says that it is right and that the
engine fails with that code (`known wrong`: gives another answer); such a record fails as soon as the engine passes, so
that the mark goes away. Blank lines end a record; `#` starts a comment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Record:
    """One test. `kind` is comment, statement or query; `line` is 1-based."""

    kind: str
    line: int
    text: str
    types: str = ""
    order: str = ""
    error: str | None = None
    known: str | None = None
    rows: list[str] = field(default_factory=list)

    def render(self) -> str:
        if self.kind == "comment":
            return self.text
        mark = f"known {self.known}\n" if self.known else ""
        if self.kind == "statement":
            head = "statement ok" if self.error is None else f"statement error {self.error}"
            return f"{mark}{head}\n{self.text}"
        return "\n".join([f"{mark}query {self.types} {self.order}".rstrip(), self.text, "----", *self.rows])


def read_records(path: Path) -> list[Record]:
    records = []
    lines = path.read_text().split("\n")
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and lines[end].strip():
            end += 1
        if end > start:
            records.append(_record(lines[start:end], start + 1, path))
        start = end + 1
    return records


def write_records(path: Path, records: list[Record]) -> None:
    path.write_text("\n\n".join(record.render() for record in records) + "\n")


def _record(lines: list[str], number: int, path: Path) -> Record:
    if all(line.startswith("#") for line in lines):
        return Record("comment", number, "\n".join(lines))
    known = lines[0].split(maxsplit=1)[1] if lines[0].startswith("known ") else None
    head, *body = lines[1:] if known else lines
    match head.split(maxsplit=2):
        case ["statement", "ok"]:
            return Record("statement", number, "\n".join(body), known=known)
        case ["statement", "error", error]:
            return Record("statement", number, "\n".join(body), error=error, known=known)
        case ["query", *rest]:
            cut = body.index("----") if "----" in body else len(body)
            order = rest.pop() if rest and rest[-1] in ("rowsort", "nosort") else ""
            return Record(
                "query", number, "\n".join(body[:cut]), "".join(rest), order, known=known, rows=body[cut + 1 :]
            )
    raise ValueError(f"{path}:{number}: not a record: {head!r}")
