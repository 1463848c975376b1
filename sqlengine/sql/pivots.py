"""PIVOT and UNPIVOT, as statements and after a table in FROM: both become a SELECT over the rows below.

PIVOT groups by what is left and has one aggregate with a FILTER for every combination of the values of its ON
expressions. Values that are not listed are asked for when the statement is bound: the distinct texts of the expression,
in their order. UNPIVOT takes lists of its columns apart, side by side with the list of their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.coercion import cast_to, common_of
from sqlengine.expr.nodes import ColumnRef, Expr, and_all, literal
from sqlengine.expr.registry import bind_call, find_aggregate
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import outer_refs
from sqlengine.sql.bind_context import BoundQuery
from sqlengine.sql.bound_rows import rows_as_table
from sqlengine.sql.calls import call_name
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.ctes import with_definitions
from sqlengine.sql.scope import Scope
from sqlengine.sql.stars import chosen_columns, output_name
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names

_MOST_COLUMNS = 10_000


@dataclass(frozen=True)
class _Choice:
    """One value that a column of PIVOT can have: its text (None is NULL) and what the output column is called."""

    text: str | None
    name: str


@dataclass(frozen=True)
class _Field:
    """One item of ON or FOR: expressions that are compared together, and their values."""

    exprs: tuple[exp.Expression, ...]
    choices: tuple[tuple[_Choice, ...], ...]


@dataclass(frozen=True)
class _Entry:
    """One name of UNPIVOT, and the expression for each value column."""

    name: str
    values: tuple[exp.Expression, ...]


def bind_pivot(
    binder: Binder, node: exp.Pivot, plan: p.Plan, scope: Scope, outer: Scope | None
) -> tuple[p.Plan, Names]:
    """The rows of PIVOT or UNPIVOT over a plan whose columns `scope` sees."""
    check_consumed(node, binder.text)
    if node.args.get("unpivot"):
        return _unpivoted(binder, node, plan, scope)
    select = _pivoted(binder, node, plan, scope)
    select.set("from_", exp.From(this=rows_as_table(plan, scope)))
    return binder.query(select, outer)


def finds_values(tree: exp.Expression) -> bool:
    """Whether the columns of a query depend on the data: a PIVOT in it lists no values."""
    return any(
        not node.args.get("unpivot") and any(not _lists_values(on) for on in _on(node))
        for node in tree.find_all(exp.Pivot)
    )


def _on(node: exp.Pivot) -> list[Any]:
    """The items of ON (the statement) or FOR (in FROM)."""
    return list(node.args.get("fields") or node.expressions or ())


def _lists_values(on: Any) -> bool:
    """Whether an item says its values. Of anything but columns IN is a condition, true or false."""
    return isinstance(on, exp.In) and isinstance(on.this, exp.Column | exp.Tuple | exp.Identifier)


# ---- PIVOT


def _pivoted(binder: Binder, node: exp.Pivot, plan: p.Plan, scope: Scope) -> exp.Select:
    in_from = bool(node.args.get("fields"))
    aggregates = list(node.expressions if in_from else node.args.get("using") or ())
    fields = [_field(binder, on, plan, scope) for on in _on(node)]
    group = node.args.get("group")
    if group is not None and not group.expressions:
        raise NotSupportedError("GROUP BY of PIVOT takes columns", location=binder.text.of(group))
    keys = list(group.expressions) if group is not None else _left_over(scope, aggregates, fields)
    if not aggregates and (fields or not keys):
        aggregates = [exp.Anonymous(this="count", expressions=[exp.Star()])]
    count = len(aggregates)
    for field in fields:
        count *= len(field.choices)
    if count > _MOST_COLUMNS:
        raise BindError(
            f"PIVOT would make {count:,} columns, more than {_MOST_COLUMNS:,}", code="pivot_columns",
            hint="list the values with IN (...), or group instead", location=binder.text.of(node),
        )  # fmt: skip
    items: list[exp.Expression] = list(keys)
    plain = len(aggregates) == 1 and not isinstance(aggregates[0], exp.Alias)
    for chosen in product(*(field.choices for field in fields)):
        conditions = [
            _equal(expr, choice)
            for field, values in zip(fields, chosen, strict=True)
            for expr, choice in zip(field.exprs, values, strict=True)
        ]
        shown = [choice.name for values in chosen for choice in values if choice.name]
        for aggregate in aggregates:
            value = aggregate.this if isinstance(aggregate, exp.Alias) else aggregate
            own = aggregate.alias if isinstance(aggregate, exp.Alias) else output_name(value)
            name = "_".join(shown if plain and shown else [*shown, own])
            made = _filtered(binder, value, conditions) if conditions else value.copy()
            items.append(exp.Alias(this=made, alias=exp.to_identifier(name, quoted=True)))
    select = exp.Select(expressions=items)
    if keys:
        select.set("group", exp.Group(expressions=[key.this if isinstance(key, exp.Alias) else key for key in keys]))
    return select


def _field(binder: Binder, on: exp.Expression, plan: p.Plan, scope: Scope) -> _Field:
    if not (isinstance(on, exp.In) and _lists_values(on)):
        return _Field((on,), tuple((c,) for c in _found(binder, on, plan, scope)))
    subject = on.this
    exprs = tuple(subject.expressions) if isinstance(subject, exp.Tuple) else (subject,)
    listed: list[exp.Expression] = on.expressions
    query: Any = on.args.get("query") or next((e for e in listed if isinstance(e, exp.Query)), None)
    if on.args.get("field") is not None:
        kind = on.args["field"]
        named = exp.Anonymous(
            this="enum_range", expressions=[exp.Cast(this=exp.Null(), to=exp.DataType.build(kind.name, udt=True))]
        )
        return _Field(exprs, tuple((_Choice(text, text),) for text in binder.constant(named)))
    if query is not None:
        found, _ = binder.query(query.this if isinstance(query, exp.Subquery) else query, None)
        rows = _run(binder, _as_text(binder, found))
        return _Field(exprs, tuple((_choice(row[0]),) for row in rows))
    choices = []
    for item in listed:
        if isinstance(item, exp.PivotAny):
            return _Field(exprs, tuple((c,) for c in _found(binder, exprs[0], plan, scope)))
        value, alias = (item.this, item.args["alias"].name) if isinstance(item, exp.PivotAlias) else (item, None)
        cells: list[exp.Expression] = value.expressions if isinstance(value, exp.Tuple) and len(exprs) > 1 else [value]
        if len(cells) != len(exprs):
            raise BindError(
                f"PIVOT compares {len(exprs)} expressions with {len(cells)} values", code="pivot_values",
                location=binder.text.of(item),
            )  # fmt: skip
        row = [_choice(_text_of(binder, cell)) for cell in cells]
        if alias is not None:
            row = [_Choice(row[0].text, alias), *(_Choice(c.text, "") for c in row[1:])]
        choices.append(tuple(row))
    return _Field(exprs, tuple(choices))


def _choice(text: str | None) -> _Choice:
    return _Choice(text, "NULL" if text is None else text)


def _text_of(binder: Binder, cell: exp.Expression) -> str | None:
    """The text of a constant; a bare word is a text, as in `IN (x, y)`."""
    if isinstance(cell, exp.Column) and not cell.table:
        return str(cell.name)
    value = binder.constant(_texts(cell))
    return None if value is None else str(value)


def _texts(expr: exp.Expression) -> exp.Expression:
    return exp.Cast(this=expr.copy(), to=exp.DataType.build("varchar"))


def _found(binder: Binder, on: exp.Expression, plan: p.Plan, scope: Scope) -> list[_Choice]:
    """The texts that the expression has in the data, in order."""
    if outer_refs(plan):
        raise NotSupportedError("a PIVOT of columns of an enclosing query needs its values listed with IN (...)")
    select = exp.Select(
        expressions=[exp.Alias(this=_texts(on), alias=exp.to_identifier("value"))],
        distinct=exp.Distinct(),
        where=exp.Where(this=exp.Not(this=exp.Is(this=on.copy(), expression=exp.Null()))),
        order=exp.Order(expressions=[exp.Ordered(this=exp.Column(this=exp.to_identifier("value")))]),
        from_=exp.From(this=rows_as_table(plan, scope)),
    )
    return [_choice(row[0]) for row in _run(binder, binder.query(select, None)[0])]


def _run(binder: Binder, plan: p.Plan) -> list[tuple[Any, ...]]:
    return binder.context.rows(BoundQuery(with_definitions(binder, plan), ("value",)), _MOST_COLUMNS + 1)


def _as_text(binder: Binder, plan: p.Plan) -> p.Plan:
    first = plan.schema.field(0)
    return p.Project(plan, ((binder.keys.make("value"), cast_to(ColumnRef(first.type, first.name), pa.string())),))


def _left_over(scope: Scope, aggregates: list[Any], fields: list[_Field]) -> list[exp.Expression]:
    """The columns that neither an aggregate nor ON reads: they are the groups."""
    read = [*aggregates, *(expr for field in fields for expr in field.exprs)]
    used = {c.name.lower() for tree in read for c in tree.find_all(exp.Column)}
    return [
        exp.Column(this=exp.to_identifier(c.name, quoted=True))
        for c in scope.columns
        if c.key not in scope.hidden and c.name.lower() not in used
    ]


def _equal(expr: exp.Expression, choice: _Choice) -> exp.Expression:
    value = exp.Null() if choice.text is None else exp.Literal.string(choice.text)
    return exp.NullSafeEQ(this=_texts(expr), expression=value)


def _filtered(binder: Binder, value: exp.Expression, conditions: list[exp.Expression]) -> exp.Expression:
    """The expression with each aggregate in it restricted to the rows that meet the conditions."""
    found = 0

    def change(node: exp.Expression) -> exp.Expression:
        nonlocal found
        if isinstance(node, exp.Filter):
            found += 1
            wanted = [node.expression.this, *conditions]
            return exp.Filter(this=node.this, expression=exp.Where(this=exp.and_(*wanted)))
        if isinstance(node, exp.WithinGroup | exp.Anonymous) and _is_aggregate(binder, node):
            found += 1
            return exp.Filter(this=node, expression=exp.Where(this=exp.and_(*conditions)))
        for key, part in list(node.args.items()):
            if isinstance(part, exp.Expression):
                node.set(key, change(part))
            elif isinstance(part, list):
                node.set(key, [change(e) if isinstance(e, exp.Expression) else e for e in part])
        return node

    made = change(value.copy())
    if not found:
        raise BindError(
            "PIVOT needs an aggregate", code="pivot_aggregate", hint="such as USING sum(amount)",
            location=binder.text.of(value),
        )  # fmt: skip
    return made


def _is_aggregate(binder: Binder, node: exp.Expression) -> bool:
    call = node.this if isinstance(node, exp.WithinGroup) else node
    return isinstance(call, exp.Anonymous) and bool(find_aggregate(call_name(call)))


# ---- UNPIVOT


def _unpivoted(binder: Binder, node: exp.Pivot, plan: p.Plan, scope: Scope) -> tuple[p.Plan, Names]:
    name, values, listed = _shape(node)
    entries = [entry for item in listed for entry in _entries(binder, item, scope)]
    location = binder.text.of(node)
    if not entries:
        raise BindError("UNPIVOT has no columns to take apart", code="unpivot_columns", location=location)
    for entry in entries:
        if len(entry.values) != len(values):
            raise BindError(
                f"UNPIVOT has {len(values)} value columns, {entry.name} gives {len(entry.values)}",
                code="unpivot_columns", location=location,
            )  # fmt: skip
    expressions = binder.expressions(scope, "UNPIVOT")
    texts = [literal(entry.name) for entry in entries]
    lists: list[tuple[str, Expr]] = [(binder.keys.make(name), bind_call("list_value", texts))]
    for place, value_name in enumerate(values):
        cells = [expressions.bind(entry.values[place]) for entry in entries]
        kinds = {pa.types.is_string(cell.type) for cell in cells if not pa.types.is_null(cell.type)}
        type_ = common_of(cells)
        if type_ is None or len(kinds) > 1:
            shown = ", ".join(dict.fromkeys(sql_name(cell.type) for cell in cells))
            raise BindError(
                f"UNPIVOT of columns of types {shown}", code="type_mismatch", hint="cast them to one type",
                location=location,
            )  # fmt: skip
        lists.append((binder.keys.make(value_name), bind_call("list_value", [cast_to(c, type_) for c in cells])))
    used = {c.name.lower() for entry in entries for value in entry.values for c in value.find_all(exp.Column)}
    rest = [c for c in scope.columns if c.key not in scope.hidden and c.name.lower() not in used]
    plan = p.Unnest(plan, tuple(lists))
    made = [ColumnRef(value.type.value_type, key) for key, value in lists]
    if not node.args.get("include_nulls"):
        plan = p.Filter(plan, and_all([bind_call("is_not_null", [column]) for column in made[1:]]))
    columns = [*(ColumnRef(c.type, c.key) for c in rest), *made]
    plan = p.Project(plan, tuple((column.key, column) for column in columns))
    return plan, (*(c.name for c in rest), name, *values)


def _shape(node: exp.Pivot) -> tuple[str, list[str], list[Any]]:
    """The name column, the value columns, and the items of UNPIVOT."""
    if node.args.get("fields"):
        (target,) = node.expressions
        values = [e.name for e in target.expressions] if isinstance(target, exp.Tuple) else [target.name]
        (field,) = node.args["fields"]
        return field.this.name, values, field.expressions
    into = node.args.get("into")
    name = into.this.name if into is not None and into.this else "name"
    values = [e.name for e in into.expressions] if into is not None and into.expressions else ["value"]
    return name, values, node.expressions


def _entries(binder: Binder, item: exp.Expression, scope: Scope) -> list[_Entry]:
    alias = item.args["alias"] if isinstance(item, exp.PivotAlias | exp.Alias) else None
    inner = item.this if alias is not None else item
    if isinstance(inner, exp.Star | exp.Columns):
        columns = inner if isinstance(inner, exp.Columns) else exp.Columns(this=inner)
        return [_Entry(name, (value,)) for name, value in chosen_columns(binder, columns, scope)[0]]
    values = tuple(inner.expressions) if isinstance(inner, exp.Tuple) else (inner,)
    name = alias.name if alias is not None else "_".join(output_name(value) for value in values)
    return [_Entry(name, values)]
