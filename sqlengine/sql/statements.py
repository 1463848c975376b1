"""What a statement says: one frozen dataclass per kind.

Queries and expressions inside are still sqlglot trees, which only this package reads; everything else is plain values.
`place` is where the name that the statement is about stands in the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from sqlengine.errors import Location


@dataclass(frozen=True)
class Statement:
    """Base of all kinds."""


@dataclass(frozen=True)
class SelectRows(Statement):
    """A query: SELECT, VALUES, FROM, WITH, set operations."""

    tree: exp.Expression


@dataclass(frozen=True)
class ExplainPlan(Statement):
    """`kind`: logical, physical, memory, or analyze, which runs `of`. `settings` hold for this plan only."""

    of: Statement
    kind: str
    format: str = "text"
    settings: tuple[tuple[str, exp.Expression], ...] = ()


@dataclass(frozen=True)
class SetValue(Statement):
    """SET name = value, or SET VARIABLE name = value. No value: RESET."""

    name: str
    value: exp.Expression | None
    variable: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class ShowRows(Statement):
    """`what`: settings, tables, all tables, functions, variables, or `name` for one setting or table."""

    what: str
    name: str = ""
    place: Location | None = None


@dataclass(frozen=True)
class DescribeRows(Statement):
    """The columns of a query; with `summary` their statistics (SUMMARIZE)."""

    tree: exp.Expression
    summary: bool = False


@dataclass(frozen=True)
class PrepareStatement(Statement):
    name: str
    of: Statement


@dataclass(frozen=True)
class ExecutePrepared(Statement):
    """`named` are arguments of the form `name := value`."""

    name: str
    arguments: tuple[exp.Expression, ...] = ()
    named: tuple[tuple[str, exp.Expression], ...] = ()
    place: Location | None = None


@dataclass(frozen=True)
class Deallocate(Statement):
    name: str
    place: Location | None = None


@dataclass(frozen=True)
class ColumnSpec:
    """A column of a table; `type` is None where a query gave it."""

    name: str
    type: exp.DataType | None = None
    nullable: bool = True
    default: exp.Expression | None = None


@dataclass(frozen=True)
class CreateTable(Statement):
    """With `query` it is CREATE TABLE AS, whose columns may be renamed by `names`."""

    name: str
    columns: tuple[ColumnSpec, ...] = ()
    query: exp.Expression | None = None
    names: tuple[str, ...] = ()
    replace: bool = False
    if_not_exists: bool = False
    temporary: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class CreateView(Statement):
    name: str
    query: exp.Expression
    names: tuple[str, ...] = ()
    replace: bool = False
    if_not_exists: bool = False
    temporary: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class MacroForm:
    """One form of a macro: its parameters, their defaults, and the body (a query if the macro gives a table)."""

    parameters: tuple[str, ...]
    defaults: tuple[tuple[str, exp.Expression], ...]
    body: exp.Expression


@dataclass(frozen=True)
class CreateMacro(Statement):
    name: str
    forms: tuple[MacroForm, ...]
    table: bool
    replace: bool = False
    if_not_exists: bool = False
    temporary: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class DropObject(Statement):
    """`kind`: table, view, macro, macro table."""

    kind: str
    name: str
    if_exists: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class InsertRows(Statement):
    """`columns`: the named ones, or None for all in order. No `query`: one row of defaults."""

    table: str
    columns: tuple[str, ...] | None
    query: exp.Expression | None
    by_name: bool = False
    place: Location | None = None
    column_places: tuple[Location, ...] = ()


@dataclass(frozen=True)
class DeleteRows(Statement):
    """No `where`: all rows (also TRUNCATE)."""

    table: str
    where: exp.Expression | None = None
    alias: str = ""
    place: Location | None = None


@dataclass(frozen=True)
class UpdateRows(Statement):
    table: str
    assignments: tuple[tuple[str, exp.Expression], ...]
    where: exp.Expression | None = None
    alias: str = ""
    place: Location | None = None
    column_places: tuple[Location, ...] = ()


@dataclass(frozen=True)
class AlterTable(Statement):
    """`action`: rename, rename column, add column, drop column, set type, set default, drop default, set not null,
    drop not null. `missing_ok` is the inner IF EXISTS (or IF NOT EXISTS)."""

    table: str
    action: str
    column: str = ""
    new_name: str = ""
    spec: ColumnSpec | None = None
    using: exp.Expression | None = None
    if_exists: bool = False
    missing_ok: bool = False
    place: Location | None = None


@dataclass(frozen=True)
class CopyTo(Statement):
    query: exp.Expression
    path: exp.Expression
    options: tuple[tuple[str, object], ...] = ()
    place: Location | None = None


@dataclass(frozen=True)
class CopyFrom(Statement):
    table: str
    columns: tuple[str, ...] | None
    path: exp.Expression
    options: tuple[tuple[str, object], ...] = ()
    place: Location | None = None
    column_places: tuple[Location, ...] = ()


@dataclass(frozen=True)
class LoadFunctions(Statement):
    """LOAD 'file.py'."""

    path: str
    place: Location | None = None


@dataclass(frozen=True)
class CreateFunction(Statement):
    """CREATE FUNCTION name LANGUAGE python AS 'file.py:function' WITH (...)."""

    name: str
    source: str
    options: tuple[tuple[str, object], ...] = field(default=())
    replace: bool = False
    place: Location | None = None


def is_query(statement: Statement) -> bool:
    """Whether a statement gives rows lazily; the others run when they are met."""
    return isinstance(statement, SelectRows)
