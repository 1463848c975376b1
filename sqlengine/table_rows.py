"""The rows of tables made by SQL: held by the session, put in place when they are complete and keep the constraints.

A table's rows never change in place: INSERT adds a store, the others write all rows anew. So a failed statement changes
nothing, and a query that runs meanwhile keeps what it saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.catalog import StoredTable
from sqlengine.errors import BindError, DataError, Location
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import ColumnRef
from sqlengine.formats.stored import StoredSource
from sqlengine.plan import nodes as p
from sqlengine.plan.nodes import Plan
from sqlengine.runtime.row_store import RowStore
from sqlengine.sql import statements as s
from sqlengine.sql.table_queries import broken_check, repeated_key

if TYPE_CHECKING:
    from sqlengine.statement_runner import Running

_SMALL = 256 << 10  # stores in memory below this size are merged, so that many INSERTs make few stores


def with_table_types(plan: Plan, types: Sequence[pa.DataType]) -> Plan:
    """The plan's columns in the types of a table."""
    if list(plan.schema.types) == list(types):
        return plan
    keys = [f"{field.name}'" for field in plan.schema]
    exprs = [cast_to(ColumnRef(f.type, f.name), t) for f, t in zip(plan.schema, types, strict=True)]
    return p.Project(plan, tuple(zip(keys, exprs, strict=True)))


def stored_rows(run: Running, plan: Plan, table: str, required: Sequence[int]) -> RowStore:
    """The rows of a plan, held by the session. `required`: positions of the columns that may not be NULL."""
    session = run.session
    store = session.new_store(plan.schema.types, f"table {table}")
    for batch in session.run(plan, timeout=run.around.timeout):
        for number in required:
            if batch.column(number).null_count:
                raise DataError(
                    f'a column of table "{table}" that is NOT NULL would be NULL', code="not_null",
                    hint="give a value for every NOT NULL column, or a DEFAULT",
                )  # fmt: skip
        store.add(batch)
    store.finish()
    return store


def nonempty(*stores: RowStore) -> tuple[RowStore, ...]:
    return tuple(store for store in stores if store.rows)


def appended(run: Running, table: StoredTable, new: RowStore) -> tuple[RowStore, ...]:
    """The table's stores and a new one; small ones become one, so that a row is copied a logarithmic number of
    times."""
    stores = list(table.source.stores)
    while (
        stores and stores[-1].in_memory and stores[-1].bytes <= 2 * new.bytes and stores[-1].bytes + new.bytes <= _SMALL
    ):
        merged = run.session.new_store(new.schema.types, new.owner)
        for store in (stores.pop(), new):
            for number in range(len(store.chunks)):
                merged.add(store.read(number, new.schema.names))
        merged.finish()
        new = merged
    return nonempty(*stores, new)


def required_columns(table: StoredTable) -> list[int]:
    return [number for number, spec in enumerate(table.specs) if not spec.nullable]


def column_positions(table: StoredTable, columns: Sequence[str], places: Sequence[Location]) -> list[int]:
    low = [name.lower() for name in table.source.schema.names]
    found: list[int] = []
    for number, name in enumerate(columns):
        place = places[number] if number < len(places) else None
        if name.lower() not in low:
            raise BindError(
                f'table "{table.name}" has no column "{name}"', code="column_not_found",
                hint=f"it has {', '.join(table.source.schema.names)}", location=place,
            )  # fmt: skip
        at = low.index(name.lower())
        if at in found:
            raise BindError(f'the column "{name}" is named twice', code="duplicate_column", location=place)
        found.append(at)
    return found


def put_rows(run: Running, table: StoredTable, stores: tuple[RowStore, ...], new: Sequence[RowStore] = ()) -> None:
    """Make these the table's rows. `new` are those that no constraint has seen yet."""
    changed = replace(table, source=StoredSource(stores, table.source.schema))
    check_constraints(run, changed, table.constraints, StoredSource(tuple(new), table.source.schema))
    run.session.catalog.put(changed)


def check_constraints(run: Running, table: StoredTable, constraints: Sequence[s.Constraint], new: StoredSource) -> None:
    """DataError if a new row breaks a CHECK or any two rows of the table have the same key."""
    if not new.rows:
        return
    for constraint in constraints:
        check = constraint.check
        seen = new if check is not None else table.source
        query = broken_check(table.name, check) if check is not None else repeated_key(table.name, constraint.columns)
        inner = replace(run, around=replace(run.around, tables={**run.around.tables, table.name.lower(): seen}))
        if not inner.relation(inner.bind(query)).fetchall():
            continue
        if check is not None:
            raise DataError(f'a row of table "{table.name}" would break {check.sql("duckdb")}', code="check")
        raise DataError(
            f'table "{table.name}" would have a {constraint.kind.upper()} twice: {", ".join(constraint.columns)}',
            code="unique", hint="UPDATE the rows that are there, or leave out what is there already",
        )  # fmt: skip
