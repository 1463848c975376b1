"""Running statements: one function per kind; queries become lazy relations, everything else happens at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.access import TRIED_SETTINGS, open_allowed, refuse_if_safe
from sqlengine.catalog import RegisteredTable, StoredTable, View
from sqlengine.errors import BindError, FileError, InterfaceError, Location, NotSupportedError
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import Literal
from sqlengine.expr.registry import all_functions
from sqlengine.formats.base import Source
from sqlengine.formats.memory import memory_source
from sqlengine.plan.nodes import Limit, Scan
from sqlengine.relation import Relation
from sqlengine.row_changes import delete_rows, insert_rows, update_rows
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.settings import Settings, setting_field
from sqlengine.sql import statements as s
from sqlengine.sql.binder import BindContext, Binder, BoundQuery, ViewQuery
from sqlengine.sql.call_time import CallTime, Macro
from sqlengine.sql.parse import Parsed
from sqlengine.sql.pivots import finds_values
from sqlengine.sql.source_text import Text
from sqlengine.sql.table_queries import bare_word
from sqlengine.summary import describe_columns, summarize
from sqlengine.table_changes import alter_table, copy_from, copy_to, create_table
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.session import Session


@dataclass(frozen=True)
class Surroundings:
    """What one call gives its statements besides the session: parameters, tables for this call, the caller's
    variables."""

    parameters: Mapping[str, Literal] = field(default_factory=dict)
    tables: Mapping[str, Source | BoundQuery] = field(default_factory=dict)
    variables: Callable[[str], Any] | None = None
    functions: Callable[[str], UserFunction | None] | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Running:
    """One statement with all that it can see."""

    session: Session
    around: Surroundings
    text: Text

    def find_table(self, name: str) -> Source | ViewQuery | BoundQuery | None:
        """Tables of the call, then the catalog, then the caller's variables."""
        given = self.around.tables.get(name.lower())
        if given is not None:
            return given
        match self.session.catalog.find(name):
            case RegisteredTable(source=registered):
                return registered
            case StoredTable(source=stored):
                return stored
            case View(query=query):
                return query
        if self.around.variables is None:
            return None
        found = self.around.variables(name)
        return None if found is None else as_table(found)

    def context(self, settings: Settings | None = None) -> BindContext:
        session = self.session
        settings = settings or session.current
        catalog = session.catalog
        call_time = CallTime(
            self.around.parameters, catalog.variables(), catalog.find_macro, catalog.find_table_macro, settings
        )
        names = [*self.around.tables, *catalog.names()]
        return BindContext(
            self.find_table, self.open_files, lambda: sorted(names), settings, call_time, self.find_function, self.rows
        )

    def rows(self, query: BoundQuery, most: int) -> list[tuple[Any, ...]]:
        """The first rows of a query that decides how a statement is bound."""
        return self.relation(BoundQuery(Limit(query.plan, most), query.names)).fetchall()

    def open_files(
        self, paths: str | Sequence[str], format: str | None = None, options: dict[str, Any] | None = None
    ) -> Source:
        """The rows of files that this session may read; `-` is standard input."""
        given = [paths] if isinstance(paths, str) else list(paths)
        piped = None
        if "-" in given and format != "glob":
            piped = self.session.standard_input()
            given = [piped if path == "-" else path for path in given]
        return open_allowed(self.session.current, given, format, options, piped)

    def find_function(self, name: str) -> UserFunction | None:
        """Functions of the session, then those that the caller's code made with `@udf`."""
        found = self.session.user_functions.find(name)
        if found is None and self.around.functions is not None:
            found = self.around.functions(name)
        return found

    def binder(self) -> Binder:
        return Binder(self.context(), self.text)

    def bind(self, tree: Any) -> BoundQuery:
        return self.binder().bind(tree)

    def constant(self, tree: Any) -> Any:
        """The value of an expression without columns."""
        return evaluate_constant(self.binder().expression(tree, "this clause"))

    def relation(self, bound: BoundQuery) -> Relation:
        return Relation(self.session, bound.plan, bound.names, self.around.timeout)

    def rows_of(self, table: pa.Table) -> Relation:
        """A result that is here already."""
        columns = tuple((name, f"{name}#{i}") for i, name in enumerate(table.column_names))
        return Relation(self.session, Scan(memory_source(table), "result", columns), tuple(table.column_names))

    def status(self, count: int | None = None) -> Relation:
        """Nothing to show; `Count` for programs where rows were changed."""
        table = (
            pa.table({"ok": pa.array([True])}) if count is None else pa.table({"Count": pa.array([count], pa.int64())})
        )
        relation = self.rows_of(table)
        relation.is_status = True
        relation.changed = count
        return relation


def as_table(value: Any) -> Source | BoundQuery:
    """Something that holds rows, for the binder."""
    if isinstance(value, Relation):
        return BoundQuery(value.plan, tuple(value.columns))
    return memory_source(value)


def run_statement(session: Session, parsed: Parsed, around: Surroundings) -> Relation:
    """Bind a query, or do what another statement says."""
    run = Running(session, around, parsed.text)
    return _run(run, parsed.statement)


def _run(run: Running, statement: s.Statement) -> Relation:
    session = run.session
    match statement:
        case s.SelectRows():
            return run.relation(run.bind(statement.tree))
        case s.ExplainPlan():
            return _explain(run, statement)
        case s.SetValue():
            return _set(run, statement)
        case s.ShowRows():
            return _show(run, statement)
        case s.DescribeRows(summary=True):
            return run.rows_of(summarize(run, run.bind(statement.tree)))
        case s.DescribeRows():
            bound = run.bind(statement.tree)
            return run.rows_of(describe_columns(bound.names, bound.plan.schema.types))
        case s.PrepareStatement():
            session.catalog.put_prepared(statement.name, Parsed(statement.of, run.text, 0, len(run.text.sql)))
            return run.status()
        case s.ExecutePrepared():
            return _execute(run, statement)
        case s.Deallocate():
            session.catalog.remove_prepared(statement.name, statement.place)
            return run.status()
        case s.CopyTo():
            with _placed(statement.place):
                return copy_to(run, statement)
        case s.LoadFunctions() | s.CreateFunction():
            return _load_functions(run, statement)
        case s.AlterFunction():
            return _alter_function(run, statement)
    with session.catalog.writing:
        match statement:
            case s.CreateTable():
                return create_table(run, statement)
            case s.CreateView():
                return _create_view(run, statement)
            case s.CreateMacro():
                return _create_macro(run, statement)
            case s.DropObject():
                return _drop(run, statement)
            case s.InsertRows():
                return insert_rows(run, statement)
            case s.DeleteRows():
                return delete_rows(run, statement)
            case s.UpdateRows():
                return update_rows(run, statement)
            case s.AlterTable():
                return alter_table(run, statement)
            case s.CopyFrom():
                with _placed(statement.place):
                    return copy_from(run, statement)
    raise AssertionError(statement)


@contextlib.contextmanager
def _placed(place: Location | None) -> Iterator[None]:
    """Errors about files get the place of the statement that names them."""
    try:
        yield
    except (FileError, NotSupportedError, BindError) as error:
        error.location = error.location or place
        raise


def _explain(run: Running, statement: s.ExplainPlan) -> Relation:
    match statement.of:
        case s.SelectRows():
            plan = run.bind(statement.of.tree).plan
        case s.CreateTable(query=query) if query is not None:
            plan = run.bind(query).plan
        case s.InsertRows(query=query) if query is not None:
            plan = run.bind(query).plan
        case s.CopyTo():
            plan = run.bind(statement.of.query).plan
        case _:
            raise BindError("EXPLAIN needs a statement with a query")
    settings = run.session.current
    for name, tree in statement.settings:
        if name.lower() not in TRIED_SETTINGS:
            refuse_if_safe(run.session.current, f"trying {name}")
        settings = settings.with_value(name, run.constant(tree))
    text = run.session.explain(plan, statement.kind, settings if statement.settings else None, statement.format)
    return run.rows_of(pa.table({"plan": pa.array(text.split("\n"), pa.string())}))


def _set(run: Running, statement: s.SetValue) -> Relation:
    session = run.session
    if statement.variable:
        value = None
        if statement.value is not None:
            bound = run.binder().expression(statement.value, "SET VARIABLE")
            value = bound if isinstance(bound, Literal) else Literal(bound.type, evaluate_constant(bound))
        session.catalog.set_variable(statement.name, value)
        return run.status()
    try:
        if statement.value is None:
            session.set(statement.name, None)
        else:
            session.set(statement.name, _setting_value(run, statement.value))
    except InterfaceError as error:
        raise InterfaceError(error.message, code=error.code, hint=error.hint, location=statement.place) from None
    return run.status()


def _load_functions(run: Running, statement: s.LoadFunctions | s.CreateFunction) -> Relation:
    functions = run.session.user_functions
    refuse_if_safe(run.session.current, "loading Python code", statement.place)
    try:
        if isinstance(statement, s.LoadFunctions):
            functions.load(statement.path)
        else:
            options = {name.lower(): _setting_value(run, tree) for name, tree in statement.options}
            functions.create(statement.name, statement.source, options, statement.replace)
    except (InterfaceError, FileError) as error:
        raise type(error)(error.message, code=error.code, hint=error.hint, location=statement.place) from error
    return run.status()


def _alter_function(run: Running, statement: s.AlterFunction) -> Relation:
    refuse_if_safe(run.session.current, "changing functions", statement.place)
    functions = run.session.user_functions
    values = {name: _setting_value(run, tree) for name, tree in statement.options}
    try:
        if statement.new_name:
            functions.rename(statement.name, statement.new_name)
        else:
            functions.change(statement.name, values | dict.fromkeys(statement.reset))
    except InterfaceError as error:
        error.location = statement.place
        raise
    return run.status()


def _setting_value(run: Running, tree: Any) -> Any:
    """A constant; a bare word is a text, as in SET default_order = desc."""
    word = bare_word(tree)
    return word if word is not None else run.constant(tree)


def _show(run: Running, statement: s.ShowRows) -> Relation:
    session = run.session
    catalog = session.catalog
    match statement.what:
        case "tables":
            return run.rows_of(pa.table({"name": pa.array(session.tables(), pa.string())}))
        case "all tables":
            return run.rows_of(_all_tables(run))
        case "settings":
            return run.rows_of(session.settings())
        case "variables":
            found = sorted(catalog.variables().items())
            return run.rows_of(
                pa.table(
                    {
                        "name": pa.array([name for name, _ in found], pa.string()),
                        "value": pa.array([None if v.value is None else str(v.value) for _, v in found], pa.string()),
                        "type": pa.array([sql_name(v.type) for _, v in found], pa.string()),
                    }
                )
            )
        case "functions":
            return run.rows_of(session.functions())
    entry = catalog.find(statement.name)
    if entry is not None:
        schema = entry.source.schema if not isinstance(entry, View) else entry.schema
        return run.rows_of(describe_columns(schema.names, schema.types))
    try:
        setting_field(statement.name)
    except InterfaceError as error:
        raise InterfaceError(error.message, code=error.code, hint=error.hint, location=statement.place) from None
    rows = [row for row in session.settings().to_pylist() if row["name"] == statement.name.lower()]
    return run.rows_of(pa.Table.from_pylist(rows, session.settings().schema))


def _all_tables(run: Running) -> pa.Table:
    rows = []
    for entry in run.session.catalog.entries():
        schema = entry.schema if isinstance(entry, View) else entry.source.schema
        kind = {RegisteredTable: "registered", StoredTable: "table", View: "view"}[type(entry)]
        rows.append(
            {
                "name": entry.name,
                "kind": kind,
                "column_names": schema.names,
                "column_types": [sql_name(type_) for type_ in schema.types],
                "temporary": not isinstance(entry, RegisteredTable) and entry.temporary,
            }
        )
    texts = pa.list_(pa.string())
    return pa.Table.from_pylist(
        rows,
        pa.schema({"name": pa.string(), "kind": pa.string(), "column_names": texts, "column_types": texts, "temporary":
        pa.bool_()}),
    )  # fmt: skip


def function_table(macros: list[Macro], functions: list[UserFunction]) -> pa.Table:
    """Name, kind and description of every function and macro; of the user's also their settings."""
    rows = [{"name": f.name, "kind": f"user {f.kind}", "description": f.summary} for f in functions]
    for entry in all_functions():
        kind = type(entry).__name__.removesuffix("Function").lower()
        kind = "scalar" if kind == "lifted" else kind
        rows.append({"name": entry.name, "kind": kind, "description": entry.doc})
    for macro in macros:
        shapes = "; ".join(f"{macro.name}({', '.join(form.parameters)})" for form in macro.forms)
        rows.append({"name": macro.name, "kind": "table macro" if macro.table else "macro", "description": shapes})
    return pa.Table.from_pylist(rows, pa.schema({name: pa.string() for name in ("name", "kind", "description")}))


def _execute(run: Running, statement: s.ExecutePrepared) -> Relation:
    prepared = run.session.catalog.prepared(statement.name, statement.place)
    values: dict[str, Literal] = {}
    given = [(str(n), tree) for n, tree in enumerate(statement.arguments, 1)] + list(statement.named)
    for name, tree in given:
        bound = run.binder().expression(tree, "EXECUTE")
        values[name] = bound if isinstance(bound, Literal) else Literal(bound.type, evaluate_constant(bound))
    around = replace(run.around, parameters=values)
    return run_statement(run.session, prepared, around)


def _create_view(run: Running, statement: s.CreateView) -> Relation:
    catalog = run.session.catalog
    entry = catalog.find(statement.name)
    if entry is not None and statement.if_not_exists:
        return run.status()
    if entry is not None and not (statement.replace and isinstance(entry, View)):
        raise exists(entry.name, statement.place)
    if finds_values(statement.query):
        raise BindError(
            "the columns of this PIVOT depend on the data, a view's may not", code="pivot_in_view",
            hint="list the values: PIVOT ... ON x IN (1, 2)", location=statement.place,
        )  # fmt: skip
    bound = run.bind(statement.query)
    if len(statement.names) > len(bound.names):
        raise BindError(
            f"the query has {len(bound.names)} columns, the view names {len(statement.names)}", code="alias_columns",
            location=statement.place,
        )  # fmt: skip
    names = (*statement.names, *bound.names[len(statement.names) :])
    text = Text(run.text.sql, f"{run.text.source} (view {statement.name})")
    schema = pa.schema([pa.field(n, t) for n, t in zip(names, bound.plan.schema.types, strict=True)])
    catalog.put(View(statement.name, ViewQuery(statement.query, text, statement.names), schema, statement.temporary))
    return run.status()


def exists(name: str, place: Any) -> BindError:
    return BindError(
        f'"{name}" exists already',
        code="already_exists",
        hint="use CREATE OR REPLACE, IF NOT EXISTS, or DROP it first",
        location=place,
    )


def _create_macro(run: Running, statement: s.CreateMacro) -> Relation:
    catalog = run.session.catalog
    find = catalog.find_table_macro if statement.table else catalog.find_macro
    if find(statement.name) is not None:
        if statement.if_not_exists:
            return run.status()
        if not statement.replace:
            raise exists(statement.name, statement.place)
    catalog.put_macro(Macro(statement.name, statement.forms, statement.table))
    return run.status()


def _drop(run: Running, statement: s.DropObject) -> Relation:
    catalog = run.session.catalog
    if statement.kind == "macro" and run.session.user_functions.remove(statement.name):
        return run.status()
    if statement.kind in ("macro", "macro table"):
        if not catalog.remove_macro(statement.name, statement.kind == "macro table") and not statement.if_exists:
            raise catalog.missing(statement.kind, statement.name, statement.place)
        return run.status()
    entry = catalog.find(statement.name)
    if entry is None:
        if statement.if_exists:
            return run.status()
        raise catalog.missing(statement.kind, statement.name, statement.place)
    is_view = isinstance(entry, View)
    if is_view != (statement.kind == "view"):
        what = "view" if is_view else "table"
        raise BindError(
            f'"{entry.name}" is a {what}', code="wrong_kind", hint=f"use DROP {what.upper()}", location=statement.place
        )
    catalog.remove(statement.name)
    return run.status()
