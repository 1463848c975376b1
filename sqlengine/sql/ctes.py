"""WITH: common tables are bound at their first reading; one that is read several times is computed once and held.

Each reading is a `SharedRef`. When the query below WITH is bound, a table that is read once (or that is NOT
MATERIALIZED) takes the place of its readings; any other becomes a `SharedPlan` around the query. A recursive table is a
`Recursion`, whose step reads the rows of the last step through a `SharedRef` of the recursion's name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.nodes import ColumnRef
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import map_plan_tree, walk_all, with_fresh_keys
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.scope import Scope, distinct_names
from sqlengine.sql.set_operations import with_types

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names


@dataclass(eq=False)
class CommonTable:
    """One table of a WITH clause: its text, what it may see, and its plan once it is bound."""

    tree: exp.CTE
    name: str  # unique in the statement
    visible: dict[str, CommonTable]
    outer: Scope | None
    recursive: bool
    plan: p.Plan | None = None
    names: Names = ()
    working: str = ""  # of the rows that the last step of a recursion made, while the step is bound
    columns: list[tuple[str, pa.DataType]] = field(default_factory=list)  # of those rows
    binding: bool = False


def bind_with(
    binder: Binder, with_: exp.With, outer: Scope | None, body: Callable[[], tuple[p.Plan, Names]]
) -> tuple[p.Plan, Names]:
    """The query below WITH, with the tables that it and other tables read."""
    check_consumed(with_, binder.text)
    visible = dict(binder.ctes)
    tables: list[CommonTable] = []
    own: set[str] = set()
    for tree in with_.expressions:
        check_consumed(tree, binder.text)
        name = tree.alias.lower()
        if name in own:
            raise BindError(f'WITH defines "{tree.alias}" twice', code="cte_twice", location=binder.text.of(tree))
        own.add(name)
        table = CommonTable(tree, binder.keys.make(tree.alias), dict(visible), outer, bool(with_.args.get("recursive")))
        visible[name] = table
        tables.append(table)
    before, binder.ctes = binder.ctes, visible
    try:
        plan, names = body()
    finally:
        binder.ctes = before
    for table in reversed(tables):
        if table.plan is not None:
            plan = _placed(binder, table, plan)
    return plan, names


def with_definitions(binder: Binder, plan: p.Plan) -> p.Plan:
    """The plan with all tables of WITH that it reads, for running it before the statement is bound."""
    for table in reversed(binder.ctes.values()):
        if table.plan is not None:
            plan = _placed(binder, table, plan)
    return plan


def read_common_table(binder: Binder, table: CommonTable, node: exp.Expression) -> tuple[p.Plan, Names]:
    """One reading of the table."""
    if table.plan is None and not table.columns:
        if table.binding:
            raise BindError(
                f'"{table.tree.alias}" reads itself where it may not', code="recursion",
                hint="write WITH RECURSIVE name AS (base UNION ALL step), with the reading in the step",
                location=binder.text.of(node),
            )  # fmt: skip
        _define(binder, table)
    if table.plan is None:
        name, fields = table.working, table.columns
    else:
        name, fields = table.name, [(f.name, f.type) for f in table.plan.schema]
    columns = tuple((key, binder.keys.make(n), type_) for (key, type_), n in zip(fields, table.names, strict=True))
    return p.SharedRef(name, columns), table.names


def _define(binder: Binder, table: CommonTable) -> None:
    tree = table.tree.this
    table.binding = True
    before, binder.ctes = binder.ctes, table.visible
    try:
        if table.recursive and isinstance(tree, exp.SetOperation) and _reads(tree, table.tree.alias):
            table.plan = _recursion(binder, table, tree)
        else:
            if table.tree.args.get("key_expressions"):
                raise BindError("USING KEY needs a recursive table", code="recursion", location=binder.text.of(tree))
            table.plan, names = binder.query(tree, table.outer)
            table.names = _named(binder, table, names)
    finally:
        binder.ctes = before
        table.binding = False
        table.columns = []


def _reads(tree: exp.Expression, name: str) -> bool:
    return any(t.name.lower() == name.lower() and not t.db for t in tree.find_all(exp.Table))


def _recursion(binder: Binder, table: CommonTable, tree: exp.SetOperation) -> p.Plan:
    location = binder.text.of(table.tree)
    if table.tree.args.get("key_expressions"):
        raise NotSupportedError("WITH RECURSIVE ... USING KEY is not supported", location=location)
    if not isinstance(tree, exp.Union):
        raise BindError("a recursive table is a UNION of a base and a step", code="recursion", location=location)
    check_consumed(tree, binder.text)
    for clause in ("with_", "order", "limit", "offset", "by_name"):
        if tree.args.get(clause):
            raise NotSupportedError(
                f"{clause.strip('_').replace('_', ' ').upper()} of the UNION of a recursive table is not supported",
                hint="put it into the query that reads the table", location=location,
            )  # fmt: skip
    binder.ctes = {**table.visible, table.tree.alias.lower(): table}
    base, names = binder.query(tree.this, table.outer)
    table.names = _named(binder, table, names)
    keys = tuple(binder.keys.make(name) for name in table.names)
    table.working = binder.keys.make(table.tree.alias)
    table.columns = list(zip(keys, base.schema.types, strict=True))
    step, others = binder.query(tree.expression, table.outer)
    if len(others) != len(names):
        raise BindError(
            f"the base of the recursive table has {len(names)} columns, its step {len(others)}", code="set_columns",
            location=location,
        )  # fmt: skip
    step = with_types(binder, step, list(base.schema.types))
    return p.Recursion(table.working, base, step, keys, bool(tree.args.get("distinct")))


def _named(binder: Binder, table: CommonTable, names: Names) -> Names:
    columns = [c.name for c in table.tree.args["alias"].args.get("columns") or ()]
    if len(columns) > len(names):
        raise BindError(
            f"table {table.tree.alias} has {len(names)} columns, WITH names {len(columns)}", code="alias_columns",
            location=binder.text.of(table.tree),
        )  # fmt: skip
    return distinct_names((*columns, *names[len(columns) :]))


def _placed(binder: Binder, table: CommonTable, plan: p.Plan) -> p.Plan:
    """The query with the table's plan in the place of its readings, or held around it."""
    definition = table.plan
    assert definition is not None
    reads = sum(isinstance(n, p.SharedRef) and n.name == table.name for n in walk_all(plan))
    if not reads:
        return plan
    hint = table.tree.args.get("materialized")
    repeated = any(
        isinstance(n, p.Recursion)
        and any(isinstance(m, p.SharedRef) and m.name == table.name for m in walk_all(n.step))
        for n in walk_all(plan)
    )
    if hint or (hint is None and (reads > 1 or repeated)):
        return p.SharedPlan(table.name, definition, plan)
    used = False

    def inlined(node: p.Plan) -> p.Plan:
        nonlocal used
        if not (isinstance(node, p.SharedRef) and node.name == table.name):
            return node
        copy, new = with_fresh_keys(definition, binder.keys) if used else (definition, {})
        used = True
        return p.Project(copy, tuple((key, ColumnRef(t, new.get(old, old))) for old, key, t in node.columns))

    return map_plan_tree(plan, inlined)
