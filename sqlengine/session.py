"""A session: settings, tables, one memory budget, and the spine that every query passes along."""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from sqlengine.access import refuse_if_safe
from sqlengine.backends.choice import Backends
from sqlengine.backends.local import QueryContext
from sqlengine.caller_names import Scopes, caller, functions_of, given_functions, scopes_of, variables_of
from sqlengine.catalog import Catalog, RegisteredTable, StoredTable, View
from sqlengine.dbapi import Cursor
from sqlengine.errors import FileError, InterfaceError, Interrupted, MemoryLimitError, ParseError
from sqlengine.expr.nodes import Literal
from sqlengine.formats.base import Source
from sqlengine.formats.memory import memory_source
from sqlengine.formats.stored import store_schema
from sqlengine.operators.base import Operator
from sqlengine.optimizer.rules import optimize
from sqlengine.parameters import Params, bound_parameters
from sqlengine.physical.coded_keys import with_coded_keys
from sqlengine.physical.distribute import distribute
from sqlengine.physical.explain import analyzed_text, logical_text, physical_text
from sqlengine.physical.explain_memory import explain_measured_memory, explain_memory
from sqlengine.physical.fit import resolved, room
from sqlengine.physical.forecast import MemoryForecast, Planner, forecast
from sqlengine.physical.lower import lower
from sqlengine.plan.nodes import Plan
from sqlengine.relation import Relation
from sqlengine.runtime import history
from sqlengine.runtime.allocators import choose_allocators
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.guard import MemoryGuard, QueryPeaks
from sqlengine.runtime.memory import Holder, MemoryPool
from sqlengine.runtime.process_watch import default_memory_limit, operator_budget, process_rss, tree_rss
from sqlengine.runtime.progress import Progress, QueryProgress
from sqlengine.runtime.row_store import RowStore
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings, format_bytes, initial_settings, setting_field, settings_rows
from sqlengine.sql.binder import BoundQuery
from sqlengine.sql.decorrelate import decorrelate
from sqlengine.sql.parse import Parsed, parse
from sqlengine.statement_runner import Surroundings, as_table, function_table, run_statement
from sqlengine.user_functions import UserFunctions

if TYPE_CHECKING:
    from sqlengine.dry_run import PlannedQuery


Udfs = Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]] | None


@dataclass(frozen=True)
class MemoryInfo:
    """All in bytes. `limit` bounds the process, and `source` says where it comes from; operators share `capacity`, of
    which `used` is taken now and `peak` was the most; `spilled` is on disk now; `holders` have it, the largest
    first."""

    limit: int
    source: str
    rss: int
    capacity: int
    used: int
    peak: int
    spilled: int
    holders: tuple[Holder, ...]


class Session:
    """Runs queries under one budget. Safe from many threads; a context manager.

    Parameters
    ----------
    config : path, optional
        A TOML file with settings. What is given here comes before the environment (`SQLENGINE_THREADS=2`), and that
        before
        the file.
    settings
        As in `SHOW ALL`, such as `memory_limit="2GB"`, `threads=4`.

    Examples
    --------
    >>> with Session(memory_limit="500MB", threads=2) as session:
    ...     session.sql("create table t as select i, i * i as square from range(4) r(i)").changed
    ...     session.sql("select sum(square) as total from t where i > ?", [1]).fetchall()
    ...     session.register("people", [{"name": "Ada"}, {"name": "Alan"}])
    ...     session.sql("select upper(name) as name from people").to_pylist()
    ...     session.tables()
    4
    [(13,)]
    [{'name': 'ADA'}, {'name': 'ALAN'}]
    ['people', 't']
    """

    def __init__(self, *, config: str | os.PathLike[str] | None = None, **settings: Any) -> None:
        self._settings = initial_settings(settings, config)
        self.catalog = Catalog()
        self.user_functions = UserFunctions()
        self._running: dict[Cancel, tuple[QueryProgress, int]] = {}  # with what had been spilled before
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._closed = False
        self._backends = Backends()
        self.input_taken = ""  # what standard input is for, where SQL cannot read it
        self._input: str | None = None
        choose_allocators()
        history.keep_in(history.default_path() if self._settings.history else None)
        self._spill = SpillDirectory.open(self._settings)
        self._earlier_spill: list[SpillDirectory] = []  # where tables were spilled before spill_dir changed
        # Every import that a query needs is done by now, so this is what the process weighs before any work.
        self._weight = process_rss()
        self._pool = MemoryPool(self._capacity())
        self._guard = self._new_guard()

    def _capacity(self) -> int:
        limit, _ = self._limit()
        capacity = operator_budget(limit, self._weight)
        if limit <= self._weight or capacity <= 0:
            raise MemoryLimitError(
                f"memory_limit {format_bytes(limit)} is below what the process weighs already, "
                f"{format_bytes(self._weight)}",
                hint=f"set memory_limit to at least {format_bytes(self._weight + (64 << 20))}",
            )
        return capacity

    def _new_guard(self) -> MemoryGuard:
        """Workers of a cluster that runs on this machine have budgets of their own, they are no part of this one."""
        measure = tree_rss if self._settings.backend == "local" else process_rss
        return MemoryGuard(self._limit()[0], self._weight, self._pool, measure=measure)

    def _limit(self) -> tuple[int, str]:
        if self._settings.memory_limit:
            return self._settings.memory_limit, "set"
        found = default_memory_limit()
        return found.bytes, found.source

    # statements

    def sql(
        self,
        query: str,
        params: Params = None,
        *,
        tables: Mapping[str, Any] | None = None,
        udfs: Udfs = None,
        capture: bool = True,
        timeout: float | None = None,
        source: str = "<command>",
    ) -> Relation:
        """Bind one or more statements. A query gives a lazy relation; any other statement runs at the call. Of several
        statements the last one's relation is returned, the others have run.

        Parameters
        ----------
        params : sequence or mapping, optional
            Values of `?`, `$1` (a sequence) or `$name`, `:name` (a mapping).
        tables : mapping, optional
            Rows by name, for this call only.
        udfs : sequence or mapping, optional
            Functions for this call only: made with `@udf`, or plain ones with hints.
        capture : bool
            Whether names that are no tables of the session are looked up among the caller's variables.
        timeout : float, optional
            Seconds that each read may take; then `QueryTimeout`.

        Returns
        -------
        Relation

        Raises
        ------
        ParseError, BindError
            The text is wrong; with the place and a hint.
        InterfaceError
            The parameters are not those of the statements.

        Examples
        --------
        >>> rows = {"n": [1, 2, 3]}
        >>> def half(x: int) -> float:
        ...     return x / 2
        >>> with Session() as session:
        ...     session.sql("select half(n) as h from rows where n >= $least", {"least": 2}, udfs=[half]).fetchall()
        [(1.0,), (1.5,)]
        """
        scopes = scopes_of(caller() if capture else None)
        return self._sql(query, params, tables, udfs, scopes, timeout, source)

    def sql_among(
        self, variables: Mapping[str, Any], query: str, params: Params = None, *, source: str = "<command>"
    ) -> Relation:
        """As `sql`, for the variables of a notebook instead of those of the calling code."""
        return self._sql(query, params, None, None, lambda: iter((variables,)), None, source)

    def _sql(
        self,
        query: str,
        params: Params,
        tables: Mapping[str, Any] | None,
        udfs: Udfs,
        scopes: Scopes,
        timeout: float | None,
        source: str,
    ) -> Relation:
        statements = parse(query, source)
        if not statements:
            raise InterfaceError("there is no statement in the text", code="empty_statement")
        around = self._surroundings(statements, params, tables, udfs, scopes, timeout)
        relation: Relation | None = None
        for parsed in statements:
            if relation is not None and not relation.is_status:
                for _ in relation.batches():  # runs, and may fail, as it would by itself
                    pass
            relation = self._statement(parsed, around)
        assert relation is not None
        return relation

    def script(
        self,
        text: str,
        source: str = "<command>",
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Iterator[Relation]:
        """The statements of a script one by one; all are parsed before the first one runs."""
        around = Surroundings(bound_parameters(params), timeout=timeout)
        for parsed in parse(text, source):
            yield self._statement(parsed, around)

    def run_parsed(
        self,
        parsed: Parsed,
        params: Mapping[str, Literal],
        timeout: float | None = None,
        tables: Mapping[str, Any] | None = None,
    ) -> Relation:
        """One statement that is parsed already, for those who run scripts."""
        given = {name.lower(): as_table(rows) for name, rows in (tables or {}).items()}
        return self._statement(parsed, Surroundings(params, given, timeout=timeout))

    def execute(self, query: str, params: Params = None, *, timeout: float | None = None) -> Cursor:
        """Run at once; a DB-API cursor over the rows."""
        return Cursor(self).execute(query, params, timeout=timeout)

    def _surroundings(
        self,
        statements: Sequence[Parsed],
        params: Params,
        tables: Mapping[str, Any] | None,
        udfs: Udfs,
        scopes: Scopes,
        timeout: float | None,
    ) -> Surroundings:
        values = bound_parameters(params)
        if params is not None:
            wanted = {name.lower() for parsed in statements for name in parsed.parameters}
            for name in values:
                if name not in wanted:
                    listed = ", ".join(f"${w}" for w in sorted(wanted))
                    raise InterfaceError(
                        f"a value is given for ${name}, which the statement does not have",
                        code="parameter_unused",
                        hint=f"it has {listed}" if listed else "it has no parameters",
                    )
        given = {name.lower(): as_table(rows) for name, rows in (tables or {}).items()}
        if self._settings.safe:
            scopes = scopes_of(None)
        variables = variables_of(scopes, lambda value: isinstance(value, Relation))
        functions = functions_of(scopes, given_functions(udfs))
        return Surroundings(values, given, variables, functions, timeout)

    def _statement(self, parsed: Parsed, around: Surroundings) -> Relation:
        self.check_open()
        try:
            return run_statement(self, parsed, around)
        except RecursionError:
            location = parsed.text.location(parsed.start, parsed.start + 1)
            raise ParseError("the statement is nested too deeply", location=location) from None

    # tables and settings

    def register(self, name: str, rows: Any) -> None:
        """Make a pyarrow table, dict of columns, list of dicts, Arrow stream, relation or source a table of this
        session."""
        if isinstance(rows, Relation):
            self.catalog.put(View(name, BoundQuery(rows.plan, tuple(rows.columns)), rows.schema))
        else:
            self.register_source(name, rows if isinstance(rows, Source) else memory_source(rows))

    def register_source(self, name: str, source: Source) -> None:
        """Make files (`sqlengine.formats.open_source`) a table of this session."""
        self.catalog.put(RegisteredTable(name, source))

    def unregister(self, name: str) -> None:
        self.catalog.remove(name)

    def tables(self) -> list[str]:
        return self.catalog.names()

    def udf(self, target: Callable[..., Any] | None = None, /, *, name: str | None = None, **settings: Any) -> Any:
        """Make a function callable from this session's SQL, as call or decorator; settings as in `sqlengine.udf`."""
        if target is None:
            return functools.partial(self.udf, name=name, **settings)
        self.user_functions.add(target, name, **settings)
        return target

    register_udf = udf

    def load(self, place: str) -> list[str]:
        """Register the functions of a file (`udfs/text.py`) or module (`package.module:name`); gives their names."""
        return self.user_functions.load(place)

    def functions(self) -> pa.Table:
        """Name, kind and description of every function."""
        return function_table(self.catalog.macros(), self.user_functions.all())

    @property
    def current(self) -> Settings:
        return self._settings

    def standard_input(self) -> str:
        """The path of a file with all of standard input: read once, at the first use, to disk, as a query may read it
        more than once."""
        with self._reading:
            if self._input is None:
                if self.input_taken:
                    raise FileError(
                        f"'-' cannot be read: standard input is {self.input_taken}", code="input_taken",
                        hint="give the statements with -c or -f, and the rows on standard input",
                    )  # fmt: skip
                self._input = str(self._spill.copy("stdin", sys.stdin.buffer))
            return self._input

    def set(self, name: str, value: Any) -> None:
        """Change a setting; None gives it its default back. A new memory limit needs all queries to have ended.
        `udf.NAME.OPTION` is an option of a user function. In a safe session nothing can be changed."""
        refuse_if_safe(self._settings, "changing settings")
        if name.lower().startswith("udf."):
            self.user_functions.set_option(name, value)
            return
        key = setting_field(name).name
        if value is None:
            changed = replace(self._settings, **{key: setting_field(name).default})
        else:
            changed = self._settings.with_value(name, value)
        with self._lock:
            if key == "memory_limit" and self._running:
                raise InterfaceError("memory_limit cannot change while a query runs", code="query_running")
            before, self._settings = self._settings, changed
        if key == "memory_limit":
            try:
                capacity = self._capacity()
            except MemoryLimitError:
                self._settings = before
                raise
            self._spill_tables(capacity)
            self._pool.capacity = self._pool.ceiling = capacity
            self._guard = self._new_guard()
        if key == "history":
            history.keep_in(history.default_path() if changed.history else None)
        if key == "backend" and changed.backend != before.backend:
            self._guard = self._new_guard()
        if key.startswith("spill_"):
            self._earlier_spill.append(self._spill)
            self._spill = SpillDirectory.open(changed)

    def _spill_tables(self, capacity: int) -> None:
        """Push stored tables to disk if they hold more than what operators may share from now on."""
        if self._pool.used > capacity:
            for entry in self.catalog.entries():
                if isinstance(entry, StoredTable):
                    for store in entry.source.stores:
                        store.spill()

    def settings(self) -> pa.Table:
        """Name, value and meaning of every setting."""
        limit, origin = self._limit()
        return pa.Table.from_pylist(settings_rows(self._settings, f"{format_bytes(limit)} ({origin})"))

    @property
    def memory(self) -> MemoryInfo:
        limit, source = self._limit()
        pool = self._pool
        spilled = self._spill.bytes + sum(directory.bytes for directory in self._earlier_spill)
        return MemoryInfo(
            limit, source, process_rss(), pool.capacity, pool.used, pool.peak, spilled, tuple(pool.holders())
        )

    def new_store(self, types: Sequence[pa.DataType], owner: str) -> RowStore:
        """An empty container for rows that outlive their query."""
        return RowStore(store_schema(types), self._pool, self._spill, owner)

    # running

    @property
    def weight(self) -> int:
        """Resident bytes of the process before any work."""
        return self._weight

    def forecast(self, plan: Plan, settings: Settings | None = None) -> MemoryForecast:
        """What a bound plan will take; `settings` may differ from those of the session."""
        chosen = settings or self._settings
        return forecast(self.planner(plan), chosen, chosen.memory_limit or self._guard.limit, self._weight)

    def dry_run(
        self,
        query: str,
        params: Params = None,
        *,
        tables: Mapping[str, Any] | None = None,
        capture: bool = True,
        source: str = "<command>",
    ) -> list[PlannedQuery]:
        """Bind and forecast every query of a script, in order; arguments as those of `sql`. Nothing is read, written
        or changed."""
        from sqlengine.dry_run import DrySession

        statements = parse(query, source)
        with DrySession.like(self) as dry:
            scopes = scopes_of(caller() if capture else None)
            around = self._surroundings(statements, params, tables, None, scopes, None)
            for parsed in statements:
                dry._statement(parsed, around)
            return dry.planned

    def run(
        self, plan: Plan, relation: Relation | None = None, timeout: float | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Optimize and run a bound plan; the batches have the plan's keys as column names."""
        context = self._context(timeout)
        self._refuse_over(plan, context.settings)
        started = time.perf_counter()
        rows = 0
        spilled = self._spill.written
        with self._lock:
            self._running[context.cancel] = context.progress, spilled
        peaks = QueryPeaks()
        try:
            with self._guard.watching(context.cancel) as peaks:
                for batch in self._backends.run(context, self._operators(plan, context.settings)):
                    rows += batch.num_rows
                    yield batch
        finally:
            history.save()
            with self._lock:
                self._running.pop(context.cancel, None)
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

    def _refuse_over(self, plan: Plan, settings: Settings) -> None:
        """MemoryLimitError if the query is predicted to take more than `fail_over_memory`."""
        if not settings.fail_over_memory:
            return
        found = self.forecast(plan)
        if found.peak > settings.fail_over_memory:
            raise MemoryLimitError(
                f"the query is predicted to take {format_bytes(found.peak)}, over fail_over_memory of "
                f"{format_bytes(settings.fail_over_memory)}",
                code="over_memory",
                hint="a lower memory_limit makes it spill; EXPLAIN MEMORY shows what takes it",
            )

    def _operators(self, plan: Plan, settings: Settings) -> Operator:
        logical = optimize(decorrelate(plan), settings)
        return with_coded_keys(distribute(lower(logical), settings.partitions, room(settings)))

    def _context(self, timeout: float | None = None, settings: Settings | None = None) -> QueryContext:
        self.check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        return QueryContext(
            resolved(settings or self._settings, self._pool.capacity),
            self._pool,
            self._spill,
            Cancel(deadline, timeout),
            self._weight,
        )

    def explain(self, plan: Plan, kind: str, settings: Settings | None = None, format: str = "text") -> str:
        """A plan as text: `logical` (optimized), `physical`, `memory` (a forecast; `settings` may differ from those of
        the session), `analyze` or `analyze memory`, which run it. As JSON with the format `json`."""
        if format not in ("text", "json"):
            raise InterfaceError(f"unknown format {format!r} of a plan", hint="text or json")
        text = self._explained(plan, kind, settings, format)
        if format == "json" and "memory" not in kind:
            return json.dumps({"kind": kind, "plan": text.split("\n")}, ensure_ascii=False)
        return text

    def _explained(self, plan: Plan, kind: str, settings: Settings | None, format: str) -> str:
        context = self._context(None, settings)
        match kind:
            case "logical":
                return logical_text(optimize(decorrelate(plan), context.settings))
            case "physical":
                root = self._operators(plan, context.settings)
                return self._backends.explain(context, root) or physical_text(root)
            case "memory":
                chosen = settings or self._settings
                limit = chosen.memory_limit or self._guard.limit
                if context.settings.backend != "local":
                    return self._backends.explain_memory(context, self._operators(plan, context.settings), format)
                return explain_memory(self.planner(plan), chosen, limit, self._weight, format)
            case "analyze" | "analyze memory":
                spilled = self._spill.written
                with self._guard.watching(context.cancel) as peaks:
                    for _ in self._backends.run(context, self._operators(plan, context.settings)):
                        pass
                profile = context.profile
                if kind == "analyze":
                    return "\n".join([analyzed_text(profile.stages, profile.metrics), *profile.notes])
                return explain_measured_memory(
                    self.forecast(plan, settings),
                    profile.stages,
                    profile.metrics,
                    profile.outputs,
                    peaks,
                    self._spill.written - spilled,
                    format,
                )
        raise InterfaceError(
            f"unknown kind of plan {kind!r}", hint="one of logical, physical, memory, analyze, analyze memory"
        )

    def planner(self, plan: Plan) -> Planner:
        """Operators for other settings; planned again only when something that planning looks at has changed."""
        made: dict[tuple[object, ...], Operator] = {}

        def operators(settings: Settings) -> Operator:
            key = (*astuple(replace(settings, memory_limit=0, batch_bytes=0)), room(settings))
            if key not in made:
                made[key] = self._operators(plan, settings)
            return made[key]

        return operators

    def backend_summary(self) -> str:
        """One line on where queries run; connects to the cluster if that is the setting."""
        self.check_open()
        return self._backends.summary(self._context())

    def interrupt(self) -> int:
        """Cancel all running queries of this session, from any thread; they raise `Interrupted`. How many they were."""
        with self._lock:
            for cancel in self._running:
                cancel.cancel(Interrupted("query cancelled"))
            return len(self._running)

    def progress(self) -> list[Progress]:
        """How far the running queries are, in the order they began. From any thread."""
        with self._lock:
            running = list(self._running.values())
        rss = self._guard.rss
        return [
            progress.look(rss, self._guard.limit, max(0, self._spill.written - spilled))
            for progress, spilled in running
        ]

    def close(self) -> None:
        """Cancel what runs, forget all tables and remove all spill files."""
        self.interrupt()
        self._closed = True
        self.catalog.clear()
        self._backends.close()
        for directory in (self._spill, *self._earlier_spill):
            directory.close()

    def check_open(self) -> None:
        """Raise InterfaceError if the session was closed."""
        if self._closed:
            raise InterfaceError("the session is closed", code="session_closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
