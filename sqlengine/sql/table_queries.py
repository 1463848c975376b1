"""Queries that statements about tables stand for: what DELETE keeps, what UPDATE and ALTER make of every row."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from sqlengine.sql.statements import ColumnSpec, UpdateRows


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


def kept_rows(table: str, alias: str, where: exp.Expression) -> exp.Expression:
    """The rows for which the condition is not true."""
    unknown = _call("coalesce", exp.Paren(this=where.copy()), exp.Boolean(this=False))
    return exp.Select(expressions=[exp.Star()], from_=_from(table, alias), where=exp.Where(this=exp.Not(this=unknown)))


def matching_count(table: str, alias: str, where: exp.Expression) -> exp.Expression:
    count = _call("count", exp.Star())
    return exp.Select(expressions=[count], from_=_from(table, alias), where=exp.Where(this=where.copy()))


def updated_rows(statement: UpdateRows, columns: Sequence[str]) -> exp.Expression:
    """All rows with the assigned columns changed where the condition is true."""
    new = {name.lower(): value for name, value in statement.assignments}
    chosen: list[exp.Expression] = []
    for name in columns:
        value = new.get(name.lower())
        if value is None:
            chosen.append(_column(name))
            continue
        changed = exp.Paren(this=value.copy())
        if statement.where is None:
            chosen.append(_named(changed, name))
            continue
        branch = exp.If(this=statement.where.copy(), true=changed)
        chosen.append(_named(exp.Case(ifs=[branch], default=_column(name)), name))
    return exp.Select(expressions=chosen, from_=_from(statement.table, statement.alias))


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
