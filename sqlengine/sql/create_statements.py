"""CREATE and ALTER: tables, views, macros and functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlglot import exp

from sqlengine.errors import NotSupportedError, ParseError
from sqlengine.sql import statements as s
from sqlengine.sql.token_reader import TokenReader

_KEYS = ("PRIMARY KEY", "PRIMARY", "UNIQUE", "CHECK", "CONSTRAINT")
_NOT_YET = ("FOREIGN KEY", "REFERENCES", "FOREIGN", "GENERATED", "COLLATE")
_OF_COLUMN = ("NOT", "NULL", "DEFAULT", *_KEYS, *_NOT_YET)
_TYPES = ("INTEGER", "INT", "TEXT", "VARCHAR")  # after these even `check` is a column's name


def create(reader: TokenReader) -> s.Statement:
    """What follows CREATE."""
    head: dict[str, Any] = {"replace": reader.accept("OR", "REPLACE")}
    head["temporary"] = reader.accept("TEMP") or reader.accept("TEMPORARY")
    word = reader.word()
    if word not in ("TABLE", "VIEW", "MACRO", "FUNCTION"):
        if word in ("SCHEMA", "INDEX", "SEQUENCE", "TYPE", "SECRET", "UNIQUE", "DATABASE", "TRIGGER", "RECURSIVE"):
            raise NotSupportedError(f"CREATE {word} is not supported", location=reader.place)
        raise reader.error("expected TABLE, VIEW or MACRO")
    reader.accept(word)
    head["if_not_exists"] = reader.accept("IF", "NOT", "EXISTS")
    if head["replace"] and head["if_not_exists"]:
        raise ParseError("OR REPLACE and IF NOT EXISTS exclude each other", location=reader.place)
    name, place = reader.qualified(f"the name of the {word.lower()}")
    head |= {"name": name, "place": place}
    if word == "TABLE":
        return _table(reader, head)
    if word == "VIEW":
        return _view(reader, head)
    if reader.word() == "LANGUAGE":
        return _function(reader, head)
    return _macro(reader, head)


def _table(reader: TokenReader, head: dict[str, Any]) -> s.Statement:
    if reader.accept("AS"):
        return _table_as(reader, head, ())
    if reader.word() != "(":
        raise reader.error("expected columns in parentheses, or AS and a query")
    mark = reader.at
    if reader.word(2) in (",", ")"):  # names alone: AS must follow
        names, _ = reader.names()
        if reader.accept("AS"):
            return _table_as(reader, head, names)
        reader.at = mark
    reader.expect("(")
    columns: list[s.ColumnSpec] = []
    constraints: list[s.Constraint] = []
    while not columns or not reader.accept(")"):
        if reader.word() in (*_KEYS, *_NOT_YET) and reader.word(1) not in _TYPES:
            constraints.append(_constraint(reader, ()))
        else:
            columns.append(_column(reader, constraints))
        if not reader.accept(","):
            reader.expect(")")
            break
    low = [column.name.lower() for column in columns]
    for number, name in enumerate(low):
        if name in low[:number]:
            raise ParseError(f'the column "{columns[number].name}" is named twice', location=head["place"])
    keys = {c.lower() for constraint in constraints if constraint.kind == "primary key" for c in constraint.columns}
    for constraint in constraints:
        for column in constraint.columns:
            if column.lower() not in low:
                raise ParseError(f'the table has no column "{column}"', location=head["place"])
    if sum(constraint.kind == "primary key" for constraint in constraints) > 1:
        raise ParseError("a table has one PRIMARY KEY at most", location=head["place"])
    specs = tuple(replace(c, nullable=c.nullable and c.name.lower() not in keys) for c in columns)
    return s.CreateTable(columns=specs, constraints=tuple(constraints), **head)


def _constraint(reader: TokenReader, column: tuple[str, ...]) -> s.Constraint:
    """PRIMARY KEY, UNIQUE or CHECK, of one column or (`column` is empty) with its columns in parentheses."""
    if reader.accept("CONSTRAINT"):
        reader.name("the constraint's name")
    place = reader.place
    if reader.accept("CHECK"):
        reader.expect("(")
        check = reader.expression()
        reader.expect(")")
        return s.Constraint("check", check=check)
    for word in ("PRIMARY KEY", "UNIQUE"):
        if reader.accept(word) or reader.accept(*word.split()):
            return s.Constraint(word.lower(), column or reader.names()[0])
    raise NotSupportedError(f"the constraint {reader.word() or 'here'} is not supported", location=place)


def _table_as(reader: TokenReader, head: dict[str, Any], names: tuple[str, ...]) -> s.Statement:
    start = reader.at
    reader.until("WITH")
    if reader.word() == "WITH" and reader.word(1) in ("NO", "DATA"):
        raise NotSupportedError("WITH [NO] DATA is not supported", location=reader.place)
    reader.at = start
    return s.CreateTable(query=reader.query(), names=names, **head)


def _column(reader: TokenReader, constraints: list[s.Constraint] | None = None) -> s.ColumnSpec:
    """A column with its type; its constraints other than NOT NULL are added to the table's."""
    name = reader.name("a column name")
    type_ = reader.data_type(*_OF_COLUMN)
    nullable, default = True, None
    while reader.word() not in (",", ")", ""):
        if reader.word() in (*_KEYS, *_NOT_YET):
            place = reader.place
            made = _constraint(reader, (name,))
            if constraints is None:
                raise NotSupportedError(f"{made.kind.upper()} of an added column is not supported", location=place)
            constraints.append(made)
            continue
        if reader.accept("NOT", "NULL"):
            nullable = False
        elif reader.accept("NULL"):
            nullable = True
        elif reader.accept("DEFAULT"):
            default = reader.expression("NOT", "NULL", *_KEYS, *_NOT_YET) if reader.word() != "NULL" else None
            if default is None:
                reader.accept("NULL")
        else:
            raise reader.error("expected a constraint, a comma or the end of the columns")
    return s.ColumnSpec(name, type_, nullable, default)


def _view(reader: TokenReader, head: dict[str, Any]) -> s.Statement:
    names = reader.names()[0] if reader.word() == "(" else ()
    reader.expect("AS")
    return s.CreateView(query=reader.query(), names=names, **head)


def _macro(reader: TokenReader, head: dict[str, Any]) -> s.Statement:
    forms: list[s.MacroForm] = []
    table: bool | None = None
    while True:
        parameters, defaults = _parameters(reader)
        reader.expect("AS")
        is_table = reader.accept("TABLE")
        if table is not None and table != is_table:
            raise ParseError("the forms of a macro are all values or all tables", location=reader.place)
        table = is_table
        if is_table and reader.word() == "(":
            body = reader.query_in_parentheses()
        elif is_table:
            body = reader.query()
        else:
            body = reader.expression()
        forms.append(s.MacroForm(parameters, defaults, body))
        if not reader.accept(","):
            break
    counts = [len(form.parameters) for form in forms]
    if len(set(counts)) != len(counts):
        raise ParseError("two forms of the macro have the same number of parameters", location=head["place"])
    return s.CreateMacro(forms=tuple(forms), table=bool(table), **head)


def _parameters(reader: TokenReader) -> tuple[tuple[str, ...], tuple[tuple[str, exp.Expression], ...]]:
    reader.expect("(")
    names: list[str] = []
    defaults: list[tuple[str, exp.Expression]] = []
    while not reader.accept(")"):
        name = reader.name("a parameter").lower()
        if reader.accept(":="):
            defaults.append((name, reader.expression()))
        elif defaults:
            raise reader.error("parameters without a default stand before those with one")
        names.append(name)
        if reader.word() != ")":
            reader.expect(",")
    return tuple(names), tuple(defaults)


def _function(reader: TokenReader, head: dict[str, Any]) -> s.Statement:
    reader.expect("LANGUAGE")
    if not reader.accept("PYTHON"):
        raise NotSupportedError("functions are written in python", location=reader.place)
    reader.expect("AS")
    source = reader.string("file.py:function")
    options = _options(reader) if reader.accept("WITH") else ()
    return s.CreateFunction(head["name"], source, options, head["replace"], head["place"])


def _options(reader: TokenReader) -> tuple[tuple[str, object], ...]:
    """(name = value, ...)"""
    options: list[tuple[str, object]] = []
    reader.expect("(")
    while not reader.accept(")"):
        options.append(_option(reader))
        if reader.word() != ")":
            reader.expect(",")
    return tuple(options)


def _option(reader: TokenReader) -> tuple[str, object]:
    name = reader.name("an option").lower()
    reader.accept("=")
    return name, reader.expression()


def _alter_function(reader: TokenReader) -> s.Statement:
    reader.expect("FUNCTION")
    place = reader.place
    name = reader.name("a function")
    if reader.accept("RENAME", "TO"):
        return s.AlterFunction(name, new_name=reader.name("the new name"), place=place)
    if reader.accept("WITH"):
        return s.AlterFunction(name, _options(reader), place=place)
    if reader.accept("SET"):
        if reader.word() == "(":
            return s.AlterFunction(name, _options(reader), place=place)
        options = [_option(reader)]
        while reader.accept(","):
            options.append(_option(reader))
        return s.AlterFunction(name, tuple(options), place=place)
    if reader.accept("RESET"):
        reset = [reader.name("an option").lower()]
        while reader.accept(","):
            reset.append(reader.name("an option").lower())
        return s.AlterFunction(name, reset=tuple(reset), place=place)
    raise reader.error("expected SET, WITH, RESET or RENAME TO")


def alter_table(reader: TokenReader) -> s.Statement:
    """What follows ALTER."""
    if reader.word() == "FUNCTION":
        return _alter_function(reader)
    if reader.word() != "TABLE":
        raise NotSupportedError(f"ALTER {reader.word()} is not supported", location=reader.place)
    reader.expect("TABLE")
    if_exists = reader.accept("IF", "EXISTS")
    table, place = reader.qualified("a table")
    head: dict[str, Any] = {"table": table, "place": place, "if_exists": if_exists}
    if reader.accept("RENAME"):
        if reader.accept("TO"):
            return s.AlterTable(action="rename", new_name=reader.name("the new name"), **head)
        reader.accept("COLUMN")
        column = reader.name("a column")
        reader.expect("TO")
        return s.AlterTable(action="rename column", column=column, new_name=reader.name("the new name"), **head)
    if reader.accept("ADD"):
        reader.accept("COLUMN")
        missing_ok = reader.accept("IF", "NOT", "EXISTS")
        return s.AlterTable(action="add column", spec=_column(reader), missing_ok=missing_ok, **head)
    if reader.accept("DROP"):
        reader.accept("COLUMN")
        missing_ok = reader.accept("IF", "EXISTS")
        column = reader.name("a column")
        if not reader.accept("CASCADE"):
            reader.accept("RESTRICT")
        return s.AlterTable(action="drop column", column=column, missing_ok=missing_ok, **head)
    if reader.accept("ALTER"):
        reader.accept("COLUMN")
        return _alter_column(reader, head | {"column": reader.name("a column")})
    raise reader.error("expected RENAME, ADD, DROP or ALTER")


def _alter_column(reader: TokenReader, head: dict[str, Any]) -> s.Statement:
    if reader.accept("TYPE") or reader.accept("SET", "DATA", "TYPE") or reader.accept("SET", "TYPE"):
        type_ = reader.data_type("USING")
        using = reader.expression() if reader.accept("USING") else None
        return s.AlterTable(action="set type", spec=s.ColumnSpec(head["column"], type_), using=using, **head)
    if reader.accept("SET", "DEFAULT"):
        return s.AlterTable(action="set default", using=reader.expression(), **head)
    for words in (("DROP", "DEFAULT"), ("SET", "NOT", "NULL"), ("DROP", "NOT", "NULL")):
        if reader.accept(*words):
            return s.AlterTable(action=" ".join(words).lower(), **head)
    raise reader.error("expected TYPE, SET DEFAULT, DROP DEFAULT, SET NOT NULL or DROP NOT NULL")
