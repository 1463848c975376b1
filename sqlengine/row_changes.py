"""INSERT, UPDATE and DELETE, each with RETURNING."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.catalog import StoredTable
from sqlengine.errors import BindError, Location, NotSupportedError
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import ColumnRef, Expr, null_of
from sqlengine.formats.base import Source
from sqlengine.formats.stored import StoredSource
from sqlengine.optimizer.traits import is_volatile
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import walk_all, walk_exprs
from sqlengine.plan.nodes import Plan
from sqlengine.relation import Relation
from sqlengine.sql import statements as s
from sqlengine.sql.binder import BoundQuery
from sqlengine.sql.table_queries import (
    changed_rows,
    deleted_rows,
    kept_rows,
    matching_count,
    returned,
    updated_rows,
)
from sqlengine.table_rows import (
    appended,
    column_positions,
    nonempty,
    put_rows,
    required_columns,
    stored_rows,
    with_table_types,
)

if TYPE_CHECKING:
    from sqlengine.statement_runner import Running


def insert_rows(run: Running, statement: s.InsertRows) -> Relation:
    table = run.session.catalog.stored(statement.table, statement.place)
    if statement.query is None:
        return insert_plan(run, table, BoundQuery(p.ONE_ROW, ()), (), statement.returning)
    bound = run.bind(statement.query)
    columns: Sequence[str] = statement.columns if statement.columns is not None else table.source.schema.names
    if statement.by_name:
        columns = bound.names
    positions = column_positions(table, columns, statement.column_places)
    if len(columns) != len(bound.names):
        raise BindError(
            f'table "{table.name}" takes {len(columns)} values here, the query gives {len(bound.names)}',
            code="insert_columns", hint=f"the columns are {', '.join(columns)}", location=statement.place,
        )  # fmt: skip
    return insert_plan(run, table, bound, positions, statement.returning)


def insert_plan(
    run: Running, table: StoredTable, bound: BoundQuery, positions: Sequence[int], returning: tuple[Any, ...] = ()
) -> Relation:
    """Append the rows of a query, whose columns are those at `positions`."""
    schema = table.source.schema
    bound = replace(bound, plan=_typed_values(bound.plan, [schema.types[at] for at in positions]))
    given = dict(zip(positions, bound.plan.schema, strict=True))
    columns: list[tuple[str, Expr]] = []
    binder = run.binder()
    for number, field in enumerate(schema):
        default = table.specs[number].default
        if number in given:
            value: Expr = ColumnRef(given[number].type, given[number].name)
        elif default is not None:
            value = binder.expression(default, "DEFAULT")
        else:
            value = null_of(field.type)
        columns.append((f"{field.name}'{number}", cast_to(value, field.type)))
    store = stored_rows(run, p.Project(bound.plan, tuple(columns)), table.name, required_columns(table))
    result = _returned(run, table, "", StoredSource((store,), schema), returning)
    put_rows(run, table, appended(run, table, store), (store,))
    return result or run.status(store.rows)


def _typed_values(plan: Plan, types: Sequence[pa.DataType]) -> Plan:
    """The cells of VALUES in the types of the table (a NULL among them has no type of its own)."""
    if not isinstance(plan, p.Values) or not plan.columns:
        return plan
    rows = tuple(tuple(cast_to(cell, t) for cell, t in zip(row, types, strict=True)) for row in plan.rows)
    return p.Values(tuple((key, t) for (key, _), t in zip(plan.columns, types, strict=True)), rows)


def _returned(
    run: Running, table: StoredTable, alias: str, rows: Source | BoundQuery, items: tuple[Any, ...]
) -> Relation | None:
    """The select list of RETURNING over rows under the table's name, if there is one. It is bound before anything
    changes: an error in it is one of the whole statement."""
    if not items:
        return None
    name = alias or table.name
    inner = replace(run, around=replace(run.around, tables={**run.around.tables, name.lower(): rows}))
    return inner.relation(inner.bind(returned(name, items)))


def _refuse_volatile(bound: BoundQuery, place: Location | None) -> None:
    """RETURNING of UPDATE and DELETE reads the rows anew: they must be the same ones."""
    if any(is_volatile(expr) for node in walk_all(bound.plan) for expr in walk_exprs(node)):
        raise NotSupportedError("RETURNING of rows that random values decide is not supported", location=place)


def delete_rows(run: Running, statement: s.DeleteRows) -> Relation:
    table = run.session.catalog.stored(statement.table, statement.place)
    before = table.source.rows
    result = None
    if statement.returning:
        rows = run.bind(deleted_rows(statement))
        _refuse_volatile(rows, statement.place)
        result = _returned(run, table, statement.alias, rows, statement.returning)
    if statement.where is None and statement.using is None:
        put_rows(run, table, ())
        return result or run.status(before)
    store = stored_rows(run, run.bind(kept_rows(statement)).plan, table.name, ())
    put_rows(run, table, nonempty(store))
    return result or run.status(before - store.rows)


def update_rows(run: Running, statement: s.UpdateRows) -> Relation:
    table = run.session.catalog.stored(statement.table, statement.place)
    columns = table.source.schema.names
    places = column_positions(table, [name for name, _ in statement.assignments], statement.column_places)
    defaults = [table.specs[at].default for at in places]
    assigned = tuple(
        (name, value if value is not None else default)
        for (name, value), default in zip(statement.assignments, defaults, strict=True)
    )
    statement = replace(statement, assignments=assigned)
    types = table.source.schema.types
    result = None
    if statement.returning:
        rows = run.bind(changed_rows(statement, columns))
        _refuse_volatile(rows, statement.place)
        rows = BoundQuery(with_table_types(rows.plan, types), rows.names)
        result = _returned(run, table, statement.alias, rows, statement.returning)
    count = table.source.rows
    if statement.where is not None or statement.using is not None:
        counted = run.relation(run.bind(matching_count(statement)))
        count = sum(batch.column(0)[0].as_py() for batch in counted.batches())
    plan = with_table_types(run.bind(updated_rows(statement, columns)).plan, types)
    store = stored_rows(run, plan, table.name, required_columns(table))
    put_rows(run, table, nonempty(store), (store,))
    return result or run.status(count)
