"""What a session knows by name: tables, views, macros, prepared statements and variables.

Tables and views share one namespace; names are found in any case and shown as they were written. An entry is
immutable: a
change puts a new one in its place, so a query that runs keeps what it was bound to. Changes by SQL take `writing`, one
at a
time; looking up never waits for them.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.errors import BindError, Location
from sqlengine.expr.nodes import Literal
from sqlengine.formats.base import Source
from sqlengine.formats.stored import StoredSource
from sqlengine.sql.binder import BoundQuery, ViewQuery
from sqlengine.sql.call_time import Macro
from sqlengine.sql.parse import Parsed
from sqlengine.sql.statements import ColumnSpec, Constraint


@dataclass(frozen=True)
class RegisteredTable:
    """Rows that belong to somebody else: files, Arrow tables."""

    name: str
    source: Source


@dataclass(frozen=True)
class StoredTable:
    """A table made by SQL. `specs` has what a schema does not say: defaults and NOT NULL; `constraints` the others."""

    name: str
    source: StoredSource
    specs: tuple[ColumnSpec, ...]
    temporary: bool = False
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True)
class View:
    """`query`: of CREATE VIEW, bound anew at each use; or of a registered relation, bound already."""

    name: str
    query: ViewQuery | BoundQuery
    schema: pa.Schema
    temporary: bool = False


Entry = RegisteredTable | StoredTable | View


class Catalog:
    """Thread-safe: each look-up or change is one step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.writing = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._macros: dict[tuple[bool, str], Macro] = {}
        self._prepared: dict[str, Parsed] = {}
        self._variables: dict[str, Literal] = {}

    def find(self, name: str) -> Entry | None:
        return self._entries.get(name.lower())

    def put(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.name.lower()] = entry

    def remove(self, name: str) -> None:
        with self._lock:
            self._entries.pop(name.lower(), None)

    def names(self) -> list[str]:
        with self._lock:
            return sorted((entry.name for entry in self._entries.values()), key=str.lower)

    def entries(self) -> Iterator[Entry]:
        for name in self.names():
            entry = self.find(name)
            if entry is not None:
                yield entry

    def stored(self, name: str, place: Location | None) -> StoredTable:
        """A table that SQL may change; BindError for anything else."""
        entry = self.find(name)
        if isinstance(entry, StoredTable):
            return entry
        if entry is None:
            raise self.missing("table", name, place)
        what = "is a view" if isinstance(entry, View) else "was registered, its rows belong to somebody else"
        raise BindError(
            f'"{entry.name}" {what}', code="not_a_table", hint=f"CREATE TABLE ... AS FROM {entry.name} makes a copy",
            location=place,
        )  # fmt: skip

    def missing(self, kind: str, name: str, place: Location | None) -> BindError:
        known = {
            "macro": [m.name for (table, _), m in self._macros.items() if not table],
            "macro table": [m.name for (table, _), m in self._macros.items() if table],
            "prepared statement": list(self._prepared),
        }.get(kind, self.names())
        close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], 1)
        code = {"table": "table_not_found", "view": "table_not_found"}.get(kind, "not_found")
        hint = f'did you mean "{close[0]}"?' if close else None
        return BindError(f'{kind} "{name}" does not exist', code=code, hint=hint, location=place)

    def find_macro(self, name: str) -> Macro | None:
        return self._macros.get((False, name.lower()))

    def find_table_macro(self, name: str) -> Macro | None:
        return self._macros.get((True, name.lower()))

    def put_macro(self, macro: Macro) -> None:
        with self._lock:
            self._macros[macro.table, macro.name.lower()] = macro

    def remove_macro(self, name: str, table: bool) -> bool:
        with self._lock:
            return self._macros.pop((table, name.lower()), None) is not None

    def macros(self) -> list[Macro]:
        with self._lock:
            return sorted(self._macros.values(), key=lambda macro: macro.name.lower())

    def put_prepared(self, name: str, statement: Parsed) -> None:
        with self._lock:
            self._prepared[name] = statement

    def prepared(self, name: str, place: Location | None) -> Parsed:
        found = self._prepared.get(name)
        if found is None:
            raise self.missing("prepared statement", name, place)
        return found

    def remove_prepared(self, name: str, place: Location | None) -> None:
        self.prepared(name, place)
        with self._lock:
            self._prepared.pop(name, None)

    def variables(self) -> dict[str, Literal]:
        with self._lock:
            return dict(self._variables)

    def set_variable(self, name: str, value: Literal | None) -> None:
        with self._lock:
            if value is None:
                self._variables.pop(name, None)
            else:
                self._variables[name] = value

    def copy(self) -> Catalog:
        """One with the same entries; changes of either are not seen by the other."""
        made = Catalog()
        with self._lock:
            made._entries, made._macros = dict(self._entries), dict(self._macros)
            made._prepared, made._variables = dict(self._prepared), dict(self._variables)
        return made

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._prepared.clear()
