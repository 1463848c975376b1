"""Running the records of a file, and filling in the oracle's answers."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from sqlengine.errors import Error, InternalError, NotSupportedError
from tests.sqllogic.engines import Engine
from tests.sqllogic.records import Record, read_records, write_records
from tests.sqllogic.values import rows_of, types_of


def failures(path: Path, engine: Engine) -> list[str]:
    """What is wrong, one text per record that fails."""
    found = []
    for record in read_records(path):
        if record.kind == "comment":
            continue
        code, problem = outcome(record, engine)
        if record.known is None and problem:
            found.append(f"{path.name}:{record.line}: {problem}\n  {record.text}")
        elif record.known is not None and code != record.known:
            found.append(
                f"{path.name}:{record.line}: known to fail as {record.known!r}, now {code}: {problem}\n  {record.text}"
            )
    return found


def outcome(record: Record, engine: Engine) -> tuple[str, str]:
    """("passed", "") or the code of the failure and its description."""
    try:
        table = engine.run(record.text)
    except Error as error:
        expected = record.error is not None and (
            error.code == record.error or record.error.lower() in str(error).lower()
        )
        # Our own bugs and missing parts never count as the error that was expected.
        if expected and not isinstance(error, InternalError | NotSupportedError):
            return "passed", ""
        return error.code, f"{type(error).__name__}: {error}"
    except Exception as error:  # an exception that is not ours is a failure of this record, not of the whole file
        return "crash", f"{type(error).__name__}: {error}"
    if record.kind == "statement":
        return ("passed", "") if record.error is None else ("wrong", f"expected the error {record.error!r}, it ran")
    types, rows = types_of(table), rows_of(table)
    if types != record.types:
        return "wrong", f"types {types}, expected {record.types}"
    expected = record.rows
    if record.order == "rowsort":
        rows, expected = sorted(rows), sorted(expected)
    if rows != expected:
        extra = [row for row in rows if row not in expected][:5]
        missing = [row for row in expected if row not in rows][:5]
        return "wrong", f"{len(rows)} rows, expected {len(expected)}; not expected {extra}, missing {missing}"
    return "passed", ""


def update(path: Path, oracle: Engine, engine: Engine) -> None:
    """Fill types and rows of the queries from the oracle, and bring marks up to date. New marks are made by hand."""
    records = read_records(path)
    for record in records:
        if record.kind == "query":
            try:
                table = oracle.run(record.text)
            except Exception as error:
                raise ValueError(f"{path}:{record.line}: the oracle refuses {record.text!r}: {error}") from error
            record.order = record.order or ("nosort" if _is_ordered(record.text) else "rowsort")
            record.types, record.rows = types_of(table), rows_of(table)
            if record.order == "rowsort":
                record.rows.sort()
        if record.kind == "statement" and record.error is None:
            with contextlib.suppress(Exception):  # what only the engine has (settings) is no matter for the oracle
                oracle.run(record.text)
        if record.known is not None or record.kind == "statement":
            code, _ = outcome(record, engine)
            if record.known is not None:
                record.known = None if code == "passed" else code
    write_records(path, records)


def _is_ordered(query: str) -> bool:
    """Whether an ORDER BY stands outside all parentheses."""
    flat = query
    while "(" in flat and (shorter := re.sub(r"\([^()]*\)", "", flat)) != flat:
        flat = shorter
    return re.search(r"\border\s+by\b", flat, re.IGNORECASE) is not None
