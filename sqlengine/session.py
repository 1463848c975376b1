"""A session: settings, tables, one memory budget, and the spine that every query passes along."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pyarrow as pa

from sqlengine.backends.local import LocalBackend, QueryContext
from sqlengine.errors import InterfaceError, MemoryLimitError
from sqlengine.formats import open_source
from sqlengine.formats.base import Source
from sqlengine.formats.memory import memory_source
from sqlengine.operators.base import Operator
from sqlengine.optimizer.rules import optimize
from sqlengine.physical.distribute import distribute
from sqlengine.physical.explain import analyzed_text, as_table, logical_text, physical_text
from sqlengine.physical.fit import resolved
from sqlengine.physical.lower import lower
from sqlengine.plan.nodes import Plan, Scan
from sqlengine.relation import Relation
from sqlengine.runtime.allocators import choose_allocators
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.guard import MemoryGuard, QueryPeaks
from sqlengine.runtime.memory import MemoryPool
from sqlengine.runtime.process_watch import default_memory_limit, operator_budget, process_rss
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings, format_bytes, setting_field
from sqlengine.sql.binder import BindContext, Binder
from sqlengine.sql.decorrelate import decorrelate
from sqlengine.sql.parse import Parsed, parse
from sqlengine.sql.session_statements import SessionStatement, session_statement


class Session:
    """Runs queries under one budget. Safe from many threads; a context manager."""

    def __init__(self, **settings: Any) -> None:
        chosen = Settings()
        for name, value in settings.items():
            if value is not None:
                chosen = chosen.with_value(name, value)
        self._settings = chosen
        self._tables: dict[str, Source] = {}
        self._running: set[Cancel] = set()
        self._lock = threading.Lock()
        self._closed = False
        choose_allocators()
        self._spill = SpillDirectory.open(chosen)
        # Every import that a query needs is done by now, so this is what the process weighs before any work.
        self._weight = process_rss()
        self._guard = self._new_guard()
        self._pool = self._guard.pool

    def _new_guard(self) -> MemoryGuard:
        limit, _ = self._limit()
        capacity = operator_budget(limit, self._weight)
        if limit <= self._weight or capacity <= 0:
            raise MemoryLimitError(
                f"memory_limit {format_bytes(limit)} is below what the process weighs already, "
                f"{format_bytes(self._weight)}",
                hint=f"set memory_limit to at least {format_bytes(self._weight + (64 << 20))}",
            )
        return MemoryGuard(limit, self._weight, MemoryPool(capacity))

    def _limit(self) -> tuple[int, str]:
        if self._settings.memory_limit:
            return self._settings.memory_limit, "set"
        found = default_memory_limit()
        return found.bytes, found.source

    def sql(self, query: str, *, source: str = "<command>") -> Relation:
        """Bind one or more statements. A query gives a lazy relation; other statements run at once. The relation of
        the last statement is returned."""
        relations = [self._statement(parsed) for parsed in parse(query, source)]
        if not relations:
            raise InterfaceError("there is no statement in the text", code="empty_statement")
        return relations[-1]

    def script(self, text: str, source: str = "<command>") -> Iterator[Relation]:
        """The statements of a script one by one; all are parsed before the first one runs."""
        for parsed in parse(text, source):
            yield self._statement(parsed)

    def _statement(self, parsed: Parsed) -> Relation:
        self._check_open()
        other = session_statement(parsed)
        if other is not None:
            relation = self._table_relation(self._session_statement(other))
            relation.is_status = other.kind in ("set", "reset")
            return relation
        context = BindContext(self._tables_by_name, open_source, lambda: sorted(self._tables), self._settings)
        bound = Binder(context, parsed.text).bind(parsed.tree)
        if parsed.explain is not None:
            return self._table_relation(as_table(self.explain(bound.plan, parsed.explain)))
        return Relation(self, bound.plan, bound.names)

    def _session_statement(self, statement: SessionStatement) -> pa.Table:
        match statement.kind:
            case "set":
                self.set(statement.name, statement.value)
            case "reset":
                self.set(statement.name, None)
            case "show tables":
                return pa.table({"name": pa.array(sorted(self._tables), pa.string())})
            case "show all":
                return self.settings()
            case "show":
                setting_field(statement.name)
                rows = self.settings().to_pylist()
                return pa.Table.from_pylist([row for row in rows if row["name"] == statement.name.lower()])
        return pa.table({"ok": pa.array([True])})

    def _table_relation(self, table: pa.Table) -> Relation:
        source = memory_source(table)
        columns = tuple((name, f"{name}#{i}") for i, name in enumerate(table.column_names))
        return Relation(self, Scan(source, "result", columns), tuple(table.column_names))

    def _tables_by_name(self, name: str) -> Source | None:
        return self._tables.get(name.lower())

    def register(self, name: str, rows: Any) -> None:
        """Make a pyarrow table, dict of columns, list of dicts or Arrow stream a table of this session."""
        self._tables[name.lower()] = memory_source(rows)

    def register_source(self, name: str, source: Source) -> None:
        """Make files (`sqlengine.formats.open_source`) a table of this session."""
        self._tables[name.lower()] = source

    def unregister(self, name: str) -> None:
        self._tables.pop(name.lower(), None)

    def tables(self) -> list[str]:
        return sorted(self._tables)

    def set(self, name: str, value: Any) -> None:
        """Change a setting; None gives it its default back. A new memory limit needs all queries to have ended."""
        default = setting_field(name).default
        changed = (
            replace(self._settings, **{name.lower(): default})
            if value is None
            else self._settings.with_value(name, value)
        )
        with self._lock:
            if name.lower() == "memory_limit" and self._running:
                raise InterfaceError("memory_limit cannot change while a query runs", code="query_running")
            before, self._settings = self._settings, changed
        try:
            if name.lower() == "memory_limit":
                self._guard = self._new_guard()
                self._pool = self._guard.pool
        except MemoryLimitError:
            self._settings = before
            raise
        if name.lower().startswith("spill_"):
            self._spill.close()
            self._spill = SpillDirectory.open(changed)

    def settings(self) -> pa.Table:
        """Name, value and meaning of every setting."""
        limit, origin = self._limit()
        rows = []
        for item in fields(Settings):
            value = getattr(self._settings, item.name)
            text = f"{format_bytes(limit)} ({origin})" if item.name == "memory_limit" else str(value)
            rows.append({"name": item.name, "value": text, "description": item.metadata["help"]})
        return pa.Table.from_pylist(rows)

    def run(
        self, plan: Plan, relation: Relation | None = None, timeout: float | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Optimize and run a bound plan; the batches have the plan's keys as column names."""
        context = self._context(timeout)
        started = time.perf_counter()
        rows = 0
        spilled = self._spill.written
        with self._lock:
            self._running.add(context.cancel)
        peaks = QueryPeaks()
        try:
            with self._guard.watching(context.cancel) as peaks:
                for batch in LocalBackend(context).run(self._operators(plan, context)):
                    rows += batch.num_rows
                    yield batch
        finally:
            with self._lock:
                self._running.discard(context.cancel)
            if relation is not None:
                relation.stats = {
                    "rows": rows,
                    "seconds": time.perf_counter() - started,
                    "pool_peak": context.pool.peak,
                    "peak_rss": peaks.rss,
                    "unattributed": peaks.unattributed,
                    "memory_limit": self._guard.limit,
                    "spilled": self._spill.written - spilled,
                }

    def _operators(self, plan: Plan, context: QueryContext) -> Operator:
        logical = optimize(decorrelate(plan), context.settings)
        return distribute(lower(logical), context.settings.partitions)

    def _context(self, timeout: float | None = None) -> QueryContext:
        self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        return QueryContext(
            resolved(self._settings, self._pool.capacity),
            self._pool,
            self._spill,
            Cancel(deadline, timeout),
            self._weight,
        )

    def explain(self, plan: Plan, kind: str) -> str:
        """A plan as text: `logical` (optimized), `physical`, or `analyze`, which runs it."""
        context = self._context()
        match kind:
            case "logical":
                return logical_text(optimize(decorrelate(plan), context.settings))
            case "physical":
                return physical_text(self._operators(plan, context))
            case "analyze":
                for _ in LocalBackend(context).run(self._operators(plan, context)):
                    pass
                return analyzed_text(context.profile.stages, context.profile.metrics)
        raise InterfaceError(f"unknown kind of plan {kind!r}", hint="one of logical, physical, analyze")

    def interrupt(self) -> None:
        """Cancel all running queries of this session."""
        with self._lock:
            for cancel in self._running:
                cancel.cancel()

    def close(self) -> None:
        """Cancel what runs and remove all spill files."""
        self.interrupt()
        self._closed = True
        self._spill.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the session is closed", code="session_closed")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
