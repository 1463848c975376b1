"""CREATE TABLE, ALTER TABLE and COPY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.access import refuse_if_safe
from sqlengine.catalog import StoredTable
from sqlengine.errors import BindError, DataError, Location, NotSupportedError
from sqlengine.formats import format_of
from sqlengine.formats.stored import StoredSource, store_schema
from sqlengine.plan import nodes as p
from sqlengine.relation import Relation
from sqlengine.row_changes import insert_plan
from sqlengine.sql import statements as s
from sqlengine.sql.binder import BoundQuery
from sqlengine.sql.table_queries import (
    bare_word,
    broken_check,
    chosen_columns,
    with_column,
    with_type,
)
from sqlengine.sql.type_names import arrow_type
from sqlengine.table_rows import column_positions, nonempty, stored_rows, with_table_types

if TYPE_CHECKING:
    from sqlengine.statement_runner import Running


def create_table(run: Running, statement: s.CreateTable) -> Relation:
    catalog = run.session.catalog
    entry = catalog.find(statement.name)
    if entry is not None:
        if statement.if_not_exists:
            return run.status()
        if not statement.replace or not isinstance(entry, StoredTable):
            raise BindError(
                f'"{entry.name}" exists already', code="already_exists",
                hint="use CREATE OR REPLACE, IF NOT EXISTS, or DROP it first", location=statement.place,
            )  # fmt: skip
    if statement.query is None:
        schema = pa.schema([pa.field(spec.name, _type(spec)) for spec in statement.columns])
        table = StoredTable(
            statement.name, StoredSource((), schema), statement.columns, statement.temporary, statement.constraints
        )
        for constraint in statement.constraints:
            if constraint.check is not None:
                given = {**run.around.tables, table.name.lower(): table.source}
                replace(run, around=replace(run.around, tables=given)).bind(broken_check(table.name, constraint.check))
        catalog.put(table)
        return run.status()
    bound = run.bind(statement.query)
    names = _column_names(statement, bound)
    types = [pa.int32() if pa.types.is_null(t) else t for t in bound.plan.schema.types]
    store = stored_rows(run, with_table_types(bound.plan, types), statement.name, ())
    schema = pa.schema([pa.field(name, type_) for name, type_ in zip(names, types, strict=True)])
    specs = tuple(s.ColumnSpec(name) for name in names)
    catalog.put(StoredTable(statement.name, StoredSource(nonempty(store), schema), specs, statement.temporary))
    return run.status(store.rows)


def _type(spec: s.ColumnSpec) -> pa.DataType:
    assert spec.type is not None
    return arrow_type(spec.type)


def _column_names(statement: s.CreateTable, bound: BoundQuery) -> tuple[str, ...]:
    if len(statement.names) > len(bound.names):
        raise BindError(
            f"the query has {len(bound.names)} columns, the table names {len(statement.names)}", code="alias_columns",
            location=statement.place,
        )  # fmt: skip
    names = (*statement.names, *bound.names[len(statement.names) :])
    found: list[str] = []
    for name in names:
        unique, number = name, 1
        while unique.lower() in (f.lower() for f in found):
            unique, number = f"{name}_{number}", number + 1
        found.append(unique)
    return tuple(found)


def alter_table(run: Running, statement: s.AlterTable) -> Relation:
    catalog = run.session.catalog
    if statement.if_exists and catalog.find(statement.table) is None:
        return run.status()
    table = catalog.stored(statement.table, statement.place)
    names = table.source.schema.names
    if statement.action == "rename":
        if catalog.find(statement.new_name) is not None:
            raise BindError(f'"{statement.new_name}" exists already', code="already_exists", location=statement.place)
        catalog.put(replace(table, name=statement.new_name))
        catalog.remove(table.name)
        return run.status()
    if statement.action == "add column":
        return _add_column(run, table, statement)
    at = next((n for n, name in enumerate(names) if name.lower() == statement.column.lower()), None)
    if at is None:
        if statement.missing_ok:
            return run.status()
        raise BindError(
            f'table "{table.name}" has no column "{statement.column}"', code="column_not_found",
            hint=f"it has {', '.join(names)}", location=statement.place,
        )  # fmt: skip
    spec = table.specs[at]
    if statement.action in ("drop column", "set type"):
        for constraint in table.constraints:
            if constraint.reads(statement.column):
                raise NotSupportedError(
                    f"{statement.action.upper()} of a column with a {constraint.kind.upper()} constraint",
                    hint="make a new table with CREATE TABLE and INSERT", location=statement.place,
                )  # fmt: skip
    match statement.action:
        case "rename column":
            if statement.new_name.lower() in (name.lower() for name in names):
                raise BindError(
                    f'the column "{statement.new_name}" exists', code="already_exists", location=statement.place
                )
            renamed = [statement.new_name if n == at else name for n, name in enumerate(names)]
            fields = [field.with_name(name) for field, name in zip(table.source.schema, renamed, strict=True)]
            source = StoredSource(table.source.stores, pa.schema(fields))
            changed = replace(table, source=source, specs=_with(table, at, replace(spec, name=statement.new_name)))
            catalog.put(
                replace(
                    changed,
                    constraints=tuple(c.renamed(statement.column, statement.new_name) for c in table.constraints),
                )
            )
        case "drop column":
            if len(names) == 1:
                raise BindError("a table needs at least one column", code="last_column", location=statement.place)
            rest = [name for n, name in enumerate(names) if n != at]
            specs = tuple(spec for n, spec in enumerate(table.specs) if n != at)
            _rewrite(run, table, chosen_columns(table.name, rest), specs)
        case "set type":
            assert statement.spec is not None and statement.spec.type is not None
            tree = with_type(table.name, names, statement.column, statement.spec.type, statement.using)
            _rewrite(run, table, tree, table.specs)
        case "set default" | "drop default":
            catalog.put(replace(table, specs=_with(table, at, replace(spec, default=statement.using))))
        case "set not null":
            if any(store.facts[at].nulls for store in table.source.stores):
                raise DataError(f'the column "{spec.name}" has NULLs', code="not_null", location=statement.place)
            catalog.put(replace(table, specs=_with(table, at, replace(spec, nullable=False))))
        case "drop not null":
            catalog.put(replace(table, specs=_with(table, at, replace(spec, nullable=True))))
    return run.status()


def _with(table: StoredTable, at: int, spec: s.ColumnSpec) -> tuple[s.ColumnSpec, ...]:
    return tuple(spec if n == at else old for n, old in enumerate(table.specs))


def _add_column(run: Running, table: StoredTable, statement: s.AlterTable) -> Relation:
    assert statement.spec is not None
    if statement.spec.name.lower() in (name.lower() for name in table.source.schema.names):
        if statement.missing_ok:
            return run.status()
        raise BindError(f'the column "{statement.spec.name}" exists', code="already_exists", location=statement.place)
    _rewrite(run, table, with_column(table.name, statement.spec), (*table.specs, statement.spec))
    return run.status()


def _rewrite(run: Running, table: StoredTable, tree: Any, specs: tuple[s.ColumnSpec, ...]) -> None:
    """The table with the rows of a query over itself."""
    bound = run.bind(tree)
    required = [number for number, spec in enumerate(specs) if not spec.nullable]
    store = stored_rows(run, bound.plan, table.name, required)
    names = [spec.name for spec in specs]
    schema = pa.schema([pa.field(n, t) for n, t in zip(names, bound.plan.schema.types, strict=True)])
    run.session.catalog.put(replace(table, source=StoredSource(nonempty(store), schema), specs=specs))


def _path(run: Running, tree: Any, place: Location | None) -> str:
    word = bare_word(tree)
    path = word if word is not None else run.constant(tree)
    if not isinstance(path, str):
        raise BindError("COPY needs the name of a file in quotes", code="bad_option", location=place)
    return path


def _options(run: Running, given: Sequence[tuple[str, object]]) -> dict[str, Any]:
    plain = (bool, str, list)
    return {name: value if isinstance(value, plain) else run.constant(value) for name, value in given}


def copy_to(run: Running, statement: s.CopyTo) -> Relation:
    """Write the rows; one row says how many."""
    refuse_if_safe(run.session.current, "writing files", statement.place)
    path = _path(run, statement.path, statement.place)
    options = _options(run, statement.options)
    format_ = str(options.pop("format", None) or format_of(path) or "csv").lower()
    bound = run.bind(statement.query)
    if options.get("partition_by") == "*":
        raise NotSupportedError("PARTITION_BY * is not supported", location=statement.place)
    count = write_rows(run.session, bound, path, format_, options, run.around.timeout)
    return run.status(count)


def write_rows(
    session: Any, bound: BoundQuery, path: str, format_: str, options: dict[str, Any], timeout: float | None = None
) -> int:
    """Run a query into a file; the number of rows."""
    plan = p.Write(bound.plan, bound.names, path, format_, tuple(options.items()), "Count#w")
    return sum(batch.column(0)[0].as_py() for batch in session.run(plan, timeout=timeout))


def copy_from(run: Running, statement: s.CopyFrom) -> Relation:
    """Insert the rows of files, column by column in their order."""
    table = run.session.catalog.stored(statement.table, statement.place)
    path = _path(run, statement.path, statement.place)
    options = _options(run, statement.options)
    format_ = str(options.pop("format", None) or format_of(path) or "csv").lower()
    columns: Sequence[str] = statement.columns if statement.columns is not None else table.source.schema.names
    positions = column_positions(table, columns, statement.column_places)
    source = run.open_files(path, format_, options)
    if len(source.schema) != len(columns):
        raise BindError(
            f"{path} has {len(source.schema)} columns, {len(columns)} are wanted", code="insert_columns",
            location=statement.place,
        )  # fmt: skip
    if format_ == "csv" and not {"types", "dtypes", "columns", "all_varchar"} & options.keys():
        # Texts such as 007 stay texts where the table has texts.
        wanted = [table.source.schema.types[at] for at in positions]
        types = {n: t for n, t in zip(source.schema.names, wanted, strict=True) if not pa.types.is_nested(t)}
        source = run.open_files(path, format_, {**options, "types": types})
    names = tuple(source.schema.names)
    plan = p.Scan(source, path, tuple((name, f"{name}#{n}") for n, name in enumerate(names)))
    return insert_plan(run, table, BoundQuery(plan, names), positions)


def materialized(session: Any, relation: Relation) -> Relation:
    """The rows of a relation, held by the session (spillable), as a relation."""
    store = session.new_store(relation.plan.schema.types, "a result")
    for batch in session.run(relation.plan, relation):
        store.add(batch)
    store.finish()
    schema = pa.schema([pa.field(str(n), t) for n, t in enumerate(relation.plan.schema.types)])
    assert store.schema == store_schema(schema.types)
    source = StoredSource((store,), schema)
    plan = p.Scan(source, "result", tuple((str(n), f"{name}#{n}") for n, name in enumerate(relation.columns)))
    return Relation(session, plan, tuple(relation.columns))
