"""Queries that statements about tables stand for: what DELETE keeps, what UPDATE and ALTER make of every row."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from sqlengine.sql.statements import ColumnSpec, DeleteRows, UpdateRows


def _from(table: str, alias: str = "") -> exp.From:
    node = exp.Table(this=exp.to_identifier(table, quoted=True))
    if alias:
        node.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return exp.From(this=node)


def _column(name: str) -> exp.Expression:
    return exp.Column(this=exp.to_identifier(name, quoted=True))


def _named(value: exp.Expression, name: str) -> exp.Expression:
    return exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True))


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=list(arguments))


_ROW, _HIT, _NEW = "row of the table", "a pair", "new value"  # names that no column has


def _numbered(statement: UpdateRows | DeleteRows) -> exp.Subquery:
    """The table with a number for each row, under its name in the statement."""
    number = exp.Window(this=_call("row_number"))
    inner = exp.Select(expressions=[exp.Star(), _named(number, _ROW)], from_=_from(statement.table))
    alias = exp.to_identifier(statement.alias or statement.table, quoted=True)
    return exp.Subquery(this=inner, alias=exp.TableAlias(this=alias))


def _pairs(statement: UpdateRows | DeleteRows, values: Sequence[exp.Expression]) -> exp.Subquery:
    """The numbers of the rows that find a partner among the other tables, each with the values for its first one."""
    assert statement.using is not None
    others = statement.using.copy()
    joins = [exp.Join(this=others.args["from_"].this, kind="COMMA"), *(others.args.get("joins") or ())]
    chosen = [_column(_ROW), _named(exp.Boolean(this=True), _HIT)]
    chosen += [_named(_call("first", value.copy()), f"{_NEW} {n}") for n, value in enumerate(values)]
    where = exp.Where(this=statement.where.copy()) if statement.where is not None else None
    inner = exp.Select(
        expressions=chosen, from_=exp.From(this=_numbered(statement)), joins=joins, where=where,
        group=exp.Group(expressions=[_column(_ROW)]),
    )  # fmt: skip
    return exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier("pairs", quoted=True)))


def _with_pairs(
    statement: UpdateRows | DeleteRows, chosen: Sequence[exp.Expression], values: Sequence[exp.Expression], how: str
) -> exp.Select:
    """A select list over the table beside its pairs. `how`: left (all rows), semi (with a partner), anti (without)."""
    using = [exp.to_identifier(_ROW, quoted=True)]
    join = exp.Join(this=_pairs(statement, values), using=using)
    join.set("side" if how == "left" else "kind", how.upper())
    return exp.Select(expressions=list(chosen), from_=exp.From(this=_numbered(statement)), joins=[join])


def _all_but_number() -> exp.Star:
    return exp.Star(except_=[_column(_ROW)])


def _selected(
    statement: UpdateRows | DeleteRows, condition: exp.Expression | None, *chosen: exp.Expression
) -> exp.Select:
    where = exp.Where(this=condition.copy()) if condition is not None else None
    return exp.Select(expressions=list(chosen), from_=_from(statement.table, statement.alias), where=where)


def kept_rows(statement: DeleteRows) -> exp.Expression:
    """The rows for which the condition is not true."""
    if statement.using is not None:
        return _with_pairs(statement, [_all_but_number()], (), "anti")
    assert statement.where is not None
    unknown = _call("coalesce", exp.Paren(this=statement.where.copy()), exp.Boolean(this=False))
    return _selected(statement, exp.Not(this=unknown), exp.Star())


def deleted_rows(statement: DeleteRows) -> exp.Expression:
    if statement.using is not None:
        return _with_pairs(statement, [_all_but_number()], (), "semi")
    return _selected(statement, statement.where, exp.Star())


def matching_count(statement: UpdateRows) -> exp.Expression:
    """How many rows UPDATE changes."""
    if statement.using is not None:
        return _with_pairs(statement, [_call("count", exp.Star())], (), "semi")
    return _selected(statement, statement.where, _call("count", exp.Star()))


def _values(statement: UpdateRows) -> dict[str, exp.Expression]:
    """The new value of each assigned column; a default that is not there is NULL."""
    return {
        name.lower(): exp.Null() if value is None else exp.Paren(this=value.copy())
        for name, value in statement.assignments
    }


def updated_rows(statement: UpdateRows, columns: Sequence[str]) -> exp.Expression:
    """All rows with the assigned columns changed where the condition is true."""
    new = _values(statement)
    if statement.using is not None:
        condition: exp.Expression | None = exp.Is(this=_column(_HIT), expression=exp.Boolean(this=True))
        shown = {name: _column(f"{_NEW} {n}") for n, name in enumerate(new)}
    else:
        condition, shown = statement.where, new
    chosen: list[exp.Expression] = []
    for name in columns:
        value = shown.get(name.lower())
        if value is not None and condition is not None:
            value = exp.Case(ifs=[exp.If(this=condition.copy(), true=value)], default=_own(statement, name))
        chosen.append(_own(statement, name) if value is None else _named(value, name))
    if statement.using is None:
        return _selected(statement, None, *chosen)
    tree = _with_pairs(statement, chosen, list(new.values()), "left")
    tree.set("order", exp.Order(expressions=[exp.Ordered(this=_column(_ROW))]))
    return tree


def changed_rows(statement: UpdateRows, columns: Sequence[str]) -> exp.Expression:
    """The rows that UPDATE changes, as they are afterwards."""
    if statement.using is None:
        new = _values(statement)
        chosen = [_named(new[c.lower()], c) if c.lower() in new else _own(statement, c) for c in columns]
        return _selected(statement, statement.where, *chosen)
    tree = updated_rows(statement, columns)
    tree.set("where", exp.Where(this=exp.Is(this=_column(_HIT), expression=exp.Boolean(this=True))))
    return tree


def _own(statement: UpdateRows, name: str) -> exp.Expression:
    table = exp.to_identifier(statement.alias or statement.table, quoted=True)
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=table)


def returned(table: str, items: Sequence[exp.Expression]) -> exp.Expression:
    """The select list of RETURNING."""
    return exp.Select(expressions=[item.copy() for item in items], from_=_from(table))


def broken_check(table: str, check: exp.Expression) -> exp.Expression:
    """A row for which the condition is false, if there is one."""
    false = exp.Is(this=exp.Paren(this=check.copy()), expression=exp.Boolean(this=False))
    limit = exp.Limit(expression=exp.Literal.number(1))
    return exp.Select(expressions=[exp.Star()], from_=_from(table), where=exp.Where(this=false), limit=limit)


def repeated_key(table: str, columns: Sequence[str]) -> exp.Expression:
    """A key that several rows have, if there is one; keys with a NULL are never the same."""
    keys = [_column(name) for name in columns]
    known = [exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null())) for key in keys]
    many = exp.GT(this=_call("count", exp.Star()), expression=exp.Literal.number(1))
    return exp.Select(
        expressions=list(keys), from_=_from(table), where=exp.Where(this=exp.and_(*known)),
        group=exp.Group(expressions=[key.copy() for key in keys]), having=exp.Having(this=many),
        limit=exp.Limit(expression=exp.Literal.number(1)),
    )  # fmt: skip


def with_column(table: str, spec: ColumnSpec) -> exp.Expression:
    """All rows with one more column."""
    assert spec.type is not None
    value = spec.default.copy() if spec.default is not None else exp.Null()
    added = _named(exp.Cast(this=value, to=spec.type.copy()), spec.name)
    return exp.Select(expressions=[exp.Star(), added], from_=_from(table))


def chosen_columns(table: str, columns: Sequence[str]) -> exp.Expression:
    return exp.Select(expressions=[_column(name) for name in columns], from_=_from(table))


def with_type(
    table: str, columns: Sequence[str], name: str, type_: exp.DataType, using: exp.Expression | None
) -> exp.Expression:
    """All rows with one column cast, or computed by `using` and cast."""
    chosen = []
    for column in columns:
        if column.lower() != name.lower():
            chosen.append(_column(column))
            continue
        value = using.copy() if using is not None else _column(column)
        chosen.append(_named(exp.Cast(this=value, to=type_.copy()), column))
    return exp.Select(expressions=chosen, from_=_from(table))


def bare_word(tree: exp.Expression) -> str | None:
    """The text of a name that stands for itself (SET default_order = desc), or None."""
    if isinstance(tree, exp.Column) and not tree.table:
        return str(tree.name)
    return str(tree.name) if isinstance(tree, exp.Identifier | exp.Var) else None


def summary_query(source: str, columns: Sequence[tuple[str, bool, bool]]) -> exp.Expression:
    """One row with the statistics of every column; (name, is a number, is ordered) says which make sense."""
    chosen: list[exp.Expression] = [_call("count", exp.Star())]
    for name, number, ordered in columns:
        column = _column(name)
        text = exp.DataType.build("varchar", dialect="duckdb")
        double = exp.DataType.build("double", dialect="duckdb")
        chosen.append(_call("count", column.copy()))
        if ordered:
            chosen += [exp.Cast(this=_call("min", column.copy()), to=text.copy()),
                       exp.Cast(this=_call("max", column.copy()), to=text.copy()),
                       _call("count", exp.Distinct(expressions=[column.copy()]))]  # fmt: skip
        if number:
            value = exp.Cast(this=column.copy(), to=double)
            chosen += [_call("avg", value.copy()), _call("stddev_samp", value.copy())]
    named = [_named(value, f"c{n}") for n, value in enumerate(chosen)]
    return exp.Select(expressions=named, from_=_from(source))
