"""The FROM clause: tables, files, derived tables and table functions, each giving a plan and its visible columns."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.registry import find_table_function
from sqlengine.formats.base import Source
from sqlengine.plan import nodes as p
from sqlengine.sql.joins import bind_join
from sqlengine.sql.scope import Column, Scope
from sqlengine.sql.values_rows import bind_values

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names

_READERS = {"read_parquet": "parquet", "parquet_scan": "parquet", "read_csv": "csv", "read_csv_auto": "csv"}


def bind_from(binder: Binder, tree: exp.Select, outer: Scope | None) -> tuple[p.Plan, Scope]:
    first = tree.args.get("from_") or tree.args.get("from")
    if first is None:
        return p.ONE_ROW, Scope([], outer)
    plan, columns = bind_table(binder, first.this, outer)
    scope = Scope(columns, outer)
    for join in (*(first.this.args.get("joins") or ()), *(tree.args.get("joins") or ())):
        right, more = bind_table(binder, join.this, outer)
        plan = bind_join(binder, join, plan, scope, right, more)
    return plan, scope


def bind_table(binder: Binder, node: exp.Expression, outer: Scope | None) -> tuple[p.Plan, list[Column]]:
    alias = node.args.get("alias")
    renamed = [c.name for c in alias.args.get("columns") or ()] if alias is not None else []
    match node:
        case exp.Subquery():
            plan, names = binder.query(node.this, outer)
            label = node.alias or "subquery"
        case exp.Values():
            plan, names = bind_values(binder, node)
            label = node.alias or "values"
        case exp.Table() if isinstance(node.this, exp.Func):
            plan, names, label = _table_function(binder, node)
        case exp.Table():
            plan, names = _named_table(binder, node)
            label = node.alias or node.name.rsplit("/", 1)[-1].split(".")[0]
        case _:
            raise NotSupportedError(f"{node.key.upper()} in FROM is not supported", location=binder.text.of(node))
    if len(renamed) > len(names):
        raise BindError(
            f"table {label} has {len(names)} columns, the alias names {len(renamed)}", code="alias_columns",
            location=binder.text.of(node),
        )  # fmt: skip
    names = (*renamed, *names[len(renamed) :])
    columns = [Column(label, n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)]
    return plan, columns


def _named_table(binder: Binder, node: exp.Table) -> tuple[p.Plan, Names]:
    name = node.name
    cte = binder.ctes[-1].get(name.lower())
    if cte is not None and not node.db:
        # A CTE sees only those before it.
        before: dict[str, exp.CTE] = {}
        for key, other in binder.ctes[-1].items():
            if other is cte:
                break
            before[key] = other
        binder.ctes.append(before)
        try:
            plan, names = binder.query(cte.this, None)
        finally:
            binder.ctes.pop()
        columns = [c.name for c in cte.args["alias"].args.get("columns") or ()]
        return plan, (*columns, *names[len(columns) :])
    source = binder.context.find_table(name)
    if source is None and ("." in name or "/" in name):
        source = binder.context.open_file(name, None, {})
    if source is None:
        close = difflib.get_close_matches(name, binder.context.table_names(), 1)
        raise BindError(
            f'table "{name}" does not exist', code="table_not_found",
            hint=f'did you mean "{close[0]}"?' if close else "register a table, or name a file in quotes",
            location=binder.text.of(node),
        )  # fmt: skip
    return _scan(binder, source, name)


def _scan(binder: Binder, source: Source, name: str) -> tuple[p.Plan, Names]:
    names = tuple(source.schema.names)
    return p.Scan(source, name, tuple((n, binder.keys.make(n)) for n in names)), names


def _table_function(binder: Binder, node: exp.Table) -> tuple[p.Plan, Names, str]:
    call = node.this
    name = (call.name if isinstance(call, exp.Anonymous) else call.sql_names()[0]).lower()
    if isinstance(call, exp.ReadCSV):
        name = "read_csv"
    elif isinstance(call, exp.ReadParquet):
        name = "read_parquet"
    elif isinstance(call, exp.GenerateSeries):
        name = "range" if call.args.get("is_end_exclusive") else "generate_series"
    location = binder.text.of(node)
    plain = [a for a in call.args.values() if isinstance(a, exp.Expression)] + list(call.expressions or [])
    options: dict[str, Any] = {}
    args: list[Any] = []
    for arg in plain:
        if isinstance(arg, exp.PropertyEQ | exp.EQ | exp.Kwarg):
            options[arg.this.name.lower()] = binder.constant(arg.expression)
        else:
            args.append(binder.constant(arg))
    label = node.alias or name
    if name in _READERS:
        source = binder.context.open_file(args[0], _READERS[name], options)
        plan, names = _scan(binder, source, name)
        return plan, names, label
    function = find_table_function(name)
    if function is None:
        raise BindError(f"table function {name} does not exist", code="function_not_found", location=location)
    columns = function.columns(tuple(args), options)
    keyed = tuple((binder.keys.make(n), t) for n, t in columns)
    return p.TableFunction(name, tuple(args), tuple(options.items()), keyed), tuple(n for n, _ in columns), label
