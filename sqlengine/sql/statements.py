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
class Constraint:
    """`kind`: primary key, unique (both of `columns`) or check (`check` is not false for any row)."""

    kind: str
    columns: tuple[str, ...] = ()
    check: exp.Expression | None = None

    def reads(self, column: str) -> bool:
        """Whether the constraint is about a column."""
        inside = [c.name for c in self.check.find_all(exp.Column)] if self.check is not None else []
        return column.lower() in (name.lower() for name in (*self.columns, *inside))

    def renamed(self, column: str, new: str) -> Constraint:
        """The constraint when the column has another name."""
        check = self.check.copy() if self.check is not None else None
        for node in check.find_all(exp.Column) if check is not None else ():
            if node.name.lower() == column.lower():
                node.set("this", exp.to_identifier(new, quoted=True))
        columns = tuple(new if name.lower() == column.lower() else name for name in self.columns)
        return Constraint(self.kind, columns, check)


@dataclass(frozen=True)
class CreateTable(Statement):
    """With `query` it is CREATE TABLE AS, whose columns may be renamed by `names`."""

    name: str
    columns: tuple[ColumnSpec, ...] = ()
    constraints: tuple[Constraint, ...] = ()
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
    """`columns`: the named ones, or None for all in order. No `query`: one row of defaults. `returning`: a select list
    over the new rows."""

    table: str
    columns: tuple[str, ...] | None
    query: exp.Expression | None
    by_name: bool = False
    returning: tuple[exp.Expression, ...] = ()
    place: Location | None = None
    column_places: tuple[Location, ...] = ()


@dataclass(frozen=True)
class DeleteRows(Statement):
    """No `where`: all rows (also TRUNCATE). `using`: `SELECT * FROM` the other tables that the condition reads.
    `returning`: a select list over the deleted rows."""

    table: str
    where: exp.Expression | None = None
    alias: str = ""
    using: exp.Select | None = None
    returning: tuple[exp.Expression, ...] = ()
    place: Location | None = None


@dataclass(frozen=True)
class UpdateRows(Statement):
    """A value None is the column's default. `using`: `SELECT * FROM` the tables of FROM. `returning`: a select list
    over the changed rows."""

    table: str
    assignments: tuple[tuple[str, exp.Expression | None], ...]
    where: exp.Expression | None = None
    alias: str = ""
    using: exp.Select | None = None
    returning: tuple[exp.Expression, ...] = ()
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


@dataclass(frozen=True)
class AlterFunction(Statement):
    """ALTER FUNCTION name SET option = value | WITH (...) | RESET option | RENAME TO name; `reset`: options that get
    their default back."""

    name: str
    options: tuple[tuple[str, object], ...] = ()
    reset: tuple[str, ...] = ()
    new_name: str = ""
    place: Location | None = None


def is_query(statement: Statement) -> bool:
    """Whether a statement gives rows lazily; the others run when they are met."""
    return isinstance(statement, SelectRows)
