"""The heads of statements: everything but queries, expressions and types is parsed here, one function per kind.

sqlglot keeps many of these as text, loses places, or takes nonsense; their grammar is small.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from sqlglot import Token, exp

from sqlengine.errors import Location, NotSupportedError, ParseError
from sqlengine.sql import statements as s
from sqlengine.sql.create_statements import alter_table, create
from sqlengine.sql.source_text import Text
from sqlengine.sql.strict import shown
from sqlengine.sql.token_reader import TokenReader


def parse_statement(tokens: Sequence[Token], text: Text) -> s.Statement:
    """One statement from all of its tokens."""
    reader = TokenReader(tokens, text)
    if reader.starts_query():
        return s.SelectRows(reader.query())
    word = reader.word()
    parser = _PARSERS.get(word)
    if parser is None:
        raise _unknown(reader, word)
    reader.accept(word)
    statement = parser(reader)
    reader.end()
    return statement


def _unknown(reader: TokenReader, word: str) -> Exception:
    if word in _FOREIGN:
        return NotSupportedError(f"{word} is not supported", hint=_FOREIGN[word], location=reader.place)
    close = difflib.get_close_matches(word, [*_PARSERS, "SELECT", "WITH", "FROM", "VALUES"], 1, 0.6)
    hint = f"did you mean {close[0]}?" if close else "a statement begins with a word such as SELECT or CREATE"
    return ParseError(f"unexpected {shown(reader.tokens[0])}", hint=hint, location=reader.place)


_FOREIGN = {
    "BEGIN": "statements take effect one by one, there are no transactions",
    "COMMIT": "statements take effect one by one, there are no transactions",
    "ROLLBACK": "statements take effect one by one, there are no transactions",
    "START": "statements take effect one by one, there are no transactions",
    "ABORT": "statements take effect one by one, there are no transactions",
    "ATTACH": "name files in FROM: FROM 'data.parquet'",
    "DETACH": "name files in FROM: FROM 'data.parquet'",
    "USE": "there is one schema",
    "PRAGMA": "settings are changed by SET name = value",
    "INSTALL": "there are no extensions",
    "MERGE": "use INSERT, UPDATE and DELETE",
    "VACUUM": "there is nothing to vacuum",
    "CHECKPOINT": "tables live as long as the session; write files with COPY",
    "ANALYZE": "statistics come from the files",
    "COMMENT": None,
    "EXPORT": "write files with COPY",
    "IMPORT": "read files with FROM 'file'",
    "CALL": "write SELECT * FROM function(...)",
    "GRANT": None,
    "REVOKE": None,
}


def _rest(reader: TokenReader) -> s.Statement:
    """The statement inside EXPLAIN or PREPARE."""
    if reader.done:
        raise reader.error("expected a statement")
    rest = reader.tokens[reader.at :]
    reader.at = len(reader.tokens)
    return parse_statement(rest, reader.text)


def _explain(reader: TokenReader) -> s.Statement:
    kind, analyze, format_ = "physical", False, "text"
    settings: list[tuple[str, exp.Expression]] = []
    while True:
        if reader.accept("ANALYZE") or reader.accept("ANALYSE"):
            analyze = True
        elif reader.word() in ("LOGICAL", "PHYSICAL", "MEMORY"):
            kind = reader.word().lower()
            reader.accept(reader.word())
        elif reader.word() == "(" and not reader.starts_query():
            reader.accept("(")
            while not reader.accept(")"):
                name = reader.name("an option").lower()
                if name == "analyze":
                    analyze = True
                elif name in ("logical", "physical", "memory"):
                    kind = name
                elif name == "format":
                    place = reader.place
                    format_ = (reader.string("a format") if not reader.word() else reader.name("a format")).lower()
                    if format_ not in ("text", "json"):
                        raise ParseError(f"EXPLAIN has no format {format_!r}", hint="text or json", location=place)
                else:
                    reader.accept("=")
                    settings.append((name, reader.expression()))
                if reader.word() != ")":
                    reader.expect(",")
        else:
            break
    if analyze:
        kind = "analyze memory" if kind == "memory" else "analyze"
    return s.ExplainPlan(_rest(reader), kind, format_, tuple(settings))


def _set(reader: TokenReader) -> s.Statement:
    variable = reader.word() == "VARIABLE" and reader.word(1) not in ("=", "TO")
    if variable or reader.word() in ("SESSION", "GLOBAL", "LOCAL"):
        reader.accept(reader.word())
    place = reader.place
    name = _dotted(reader)
    zone = name == "timezone" and reader.text.sql[: reader.last.end + 1].lower().endswith("zone")
    if not reader.accept("=") and not reader.accept("TO") and not zone:
        raise reader.error('expected "="', "write SET name = value")
    if reader.accept("DEFAULT") and not variable:
        return s.SetValue(name, None, False, place)
    return s.SetValue(name, reader.expression(), variable, place)


def _dotted(reader: TokenReader) -> str:
    """A setting's name: `threads`, `udf.resize.batch_bytes`, `time zone`."""
    if reader.accept("TIME", "ZONE"):
        return "timezone"
    parts = [reader.name("the name of a setting")]
    while reader.accept("."):
        parts.append(reader.name("the name of a setting"))
    return ".".join(parts).lower()


def _reset(reader: TokenReader) -> s.Statement:
    variable = reader.accept("VARIABLE")
    place = reader.place
    return s.SetValue(_dotted(reader), None, variable, place)


def _show(reader: TokenReader) -> s.Statement:
    if reader.accept("ALL", "TABLES"):
        return s.ShowRows("all tables")
    for word in ("ALL", "TABLES", "FUNCTIONS", "VARIABLES", "SETTINGS"):
        if reader.word() == word and reader.at + 1 == len(reader.tokens):
            reader.accept(word)
            return s.ShowRows("settings" if word in ("ALL", "SETTINGS") else word.lower())
    if reader.done:
        return s.ShowRows("tables")
    place = reader.place
    if not reader.word() and reader.tokens[reader.at].token_type.name == "STRING":
        return s.ShowRows("name", reader.string("a name"), place)
    return s.ShowRows("name", _dotted(reader), place)


def _describe(reader: TokenReader) -> s.Statement:
    if reader.done:
        return s.ShowRows("all tables")
    return s.DescribeRows(_table_or_query(reader))


def _summarize(reader: TokenReader) -> s.Statement:
    return s.DescribeRows(_table_or_query(reader), True)


def _table_or_query(reader: TokenReader) -> exp.Expression:
    """A query, or the rows of a table, file or table function."""
    if reader.word() != "TABLE" and reader.starts_query():
        return reader.query()
    reader.accept("TABLE")
    start = reader.at
    tree = reader.expression()
    if isinstance(tree, exp.Column | exp.Literal | exp.Identifier | exp.Func | exp.Dot):
        # FROM x, with the tokens where they stand.
        first = reader.tokens[start]
        from_ = Token(first.token_type.FROM, "FROM", first.line, first.col, first.start, first.start)
        reader.at = start
        rest = [from_, *reader.tokens[start:]]
        reader.at = len(reader.tokens)
        return TokenReader(rest, reader.text).query()
    raise ParseError("expected a table or a query", location=reader.text.of(tree))


def _prepare(reader: TokenReader) -> s.Statement:
    name = reader.name("the statement's name")
    reader.expect("AS")
    return s.PrepareStatement(name.lower(), _rest(reader))


def _execute(reader: TokenReader) -> s.Statement:
    place = reader.place
    name = reader.name("the name of a prepared statement").lower()
    arguments: list[exp.Expression] = []
    named: list[tuple[str, exp.Expression]] = []
    if reader.accept("("):
        while not reader.accept(")"):
            if reader.word(1) == ":=":
                key = reader.name("a parameter").lower()
                reader.expect(":=")
                named.append((key, reader.expression()))
            else:
                arguments.append(reader.expression())
            if reader.word() != ")":
                reader.expect(",")
    return s.ExecutePrepared(name, tuple(arguments), tuple(named), place)


def _deallocate(reader: TokenReader) -> s.Statement:
    reader.accept("PREPARE")
    place = reader.place
    return s.Deallocate(reader.name("the name of a prepared statement").lower(), place)


def _drop(reader: TokenReader) -> s.Statement:
    word = reader.word()
    kinds = {"TABLE": "table", "VIEW": "view", "MACRO": "macro", "FUNCTION": "macro"}
    if word not in kinds:
        if word in ("SCHEMA", "INDEX", "SEQUENCE", "TYPE", "SECRET", "DATABASE"):
            raise NotSupportedError(f"DROP {word} is not supported", location=reader.place)
        raise reader.error("expected TABLE, VIEW or MACRO")
    reader.accept(word)
    kind = kinds[word]
    if kind == "macro" and reader.accept("TABLE"):
        kind = "macro table"
    if_exists = reader.accept("IF", "EXISTS")
    name, place = reader.qualified(f"the name of a {kind}")
    # Nothing depends on a table by more than its name, so both words change nothing.
    if not reader.accept("CASCADE"):
        reader.accept("RESTRICT")
    return s.DropObject(kind, name, if_exists, place)


def _insert(reader: TokenReader) -> s.Statement:
    if reader.word() == "OR":
        raise NotSupportedError(
            "INSERT OR REPLACE and INSERT OR IGNORE are not supported",
            hint="UPDATE what is there, then INSERT what is not", location=reader.place,
        )  # fmt: skip
    reader.expect("INTO")
    table, place = reader.qualified("a table")
    columns: tuple[str, ...] | None = None
    places: tuple[Location, ...] = ()
    if reader.word() == "(" and not reader.starts_query():
        columns, places = reader.names()
    by_name = reader.accept("BY", "NAME")
    if not by_name:
        reader.accept("BY", "POSITION")
    if reader.accept("DEFAULT", "VALUES"):
        return s.InsertRows(table, columns, None, by_name, _returning(reader), place, places)
    start = reader.at
    while not reader.done:
        reader.until("RETURNING", "ON")
        if reader.word() == "ON" and reader.word(1) == "CONFLICT":
            raise NotSupportedError(
                "ON CONFLICT is not supported", hint="UPDATE what is there, then INSERT what is not",
                location=reader.place,
            )  # fmt: skip
        if reader.word() == "RETURNING":
            break
        reader.at += not reader.done
    rows, rest = reader.tokens[start : reader.at], reader.tokens[reader.at :]
    reader.at = start
    if not reader.starts_query():
        raise reader.error("expected VALUES or a query")
    query = TokenReader(rows, reader.text).query()
    reader.at = len(reader.tokens) - len(rest)
    return s.InsertRows(table, columns, query, by_name, _returning(reader), place, places)


def _returning(reader: TokenReader) -> tuple[exp.Expression, ...]:
    return reader.select_list() if reader.accept("RETURNING") else ()


def _delete(reader: TokenReader) -> s.Statement:
    reader.expect("FROM")
    table, place = reader.qualified("a table")
    alias = _alias(reader, "WHERE", "USING", "RETURNING")
    using = reader.other_tables("WHERE", "RETURNING") if reader.accept("USING") else None
    where = reader.expression("RETURNING") if reader.accept("WHERE") else None
    return s.DeleteRows(table, where, alias, using, _returning(reader), place)


def _alias(reader: TokenReader, *clauses: str) -> str:
    if reader.accept("AS") or (not reader.done and reader.word() not in clauses):
        return reader.name("an alias")
    return ""


def _truncate(reader: TokenReader) -> s.Statement:
    reader.accept("TABLE")
    table, place = reader.qualified("a table")
    return s.DeleteRows(table, place=place)


def _update(reader: TokenReader) -> s.Statement:
    table, place = reader.qualified("a table")
    alias = _alias(reader, "SET")
    reader.expect("SET")
    found: list[tuple[str, exp.Expression | None]] = []
    places: list[Location] = []
    while True:
        start = reader.place
        several = reader.word() == "("
        columns, own = reader.names() if several else ((reader.name("a column"),), (start,))
        reader.expect("=")
        places += own
        found += zip(columns, _assigned(reader, len(columns), several), strict=True)
        if not reader.accept(","):
            break
    using = reader.other_tables("WHERE", "RETURNING") if reader.accept("FROM") else None
    where = reader.expression("RETURNING") if reader.accept("WHERE") else None
    return s.UpdateRows(table, tuple(found), where, alias, using, _returning(reader), place, tuple(places))


def _assigned(reader: TokenReader, count: int, several: bool) -> list[exp.Expression | None]:
    """What stands behind `column =` (None for DEFAULT) or `(column, ...) =`."""
    place = reader.place
    if not several:
        return [None if reader.accept("DEFAULT") else reader.expression("WHERE", "FROM", "RETURNING")]
    row = reader.expression("WHERE", "FROM", "RETURNING")
    values = row.expressions if isinstance(row, exp.Tuple) else [row.this] if isinstance(row, exp.Paren) else None
    if values is None:
        raise NotSupportedError("several columns are set from a row (a, b), not from a query", location=place)
    if len(values) != count:
        raise ParseError(f"{count} columns are set from {len(values)} values", location=place)
    return list(values)


def _copy(reader: TokenReader) -> s.Statement:
    place = reader.place
    if reader.word() == "(":
        query = reader.query_in_parentheses()
        reader.expect("TO")
        path = reader.expression("(", "WITH")
        return s.CopyTo(query, path, _copy_options(reader), place)
    first = reader.at
    table, place = reader.qualified("a table or a query in parentheses")
    columns: tuple[str, ...] | None = None
    places: tuple[Location, ...] = ()
    if reader.word() == "(":
        columns, places = reader.names()
    if reader.accept("FROM"):
        path = reader.expression("(", "WITH")
        return s.CopyFrom(table, columns, path, _copy_options(reader), place, places)
    if not reader.accept("TO"):
        raise reader.error("expected TO or FROM")
    path = reader.expression("(", "WITH")
    node = exp.to_identifier(table, quoted=True)
    token = reader.tokens[first]
    node.update_positions(token)
    chosen: list[exp.Expression] = [exp.Star()]
    if columns is not None:
        chosen = [exp.Column(this=exp.to_identifier(name, quoted=True)) for name in columns]
    query = exp.Select(expressions=chosen, from_=exp.From(this=exp.Table(this=node)))
    return s.CopyTo(query, path, _copy_options(reader), place)


def _copy_options(reader: TokenReader) -> tuple[tuple[str, object], ...]:
    """(FORMAT csv, HEADER, PARTITION_BY (a, b), DELIMITER '|'): a name alone is true, names are texts."""
    reader.accept("WITH")
    found: list[tuple[str, object]] = []
    if not reader.accept("("):
        return ()
    while not reader.accept(")"):
        name = reader.name("an option").lower()
        reader.accept("=")
        if reader.word() in (",", ")"):
            found.append((name, True))
        elif reader.word() == "(":
            found.append((name, list(reader.names()[0])))
        elif reader.word() == "*":
            reader.accept("*")
            found.append((name, "*"))
        else:
            tree = reader.expression()
            plain = isinstance(tree, exp.Column) and not tree.table
            found.append((name, tree.name if plain else tree))
        if reader.word() != ")":
            reader.expect(",")
    return tuple(found)


def _load(reader: TokenReader) -> s.Statement:
    place = reader.place
    return s.LoadFunctions(reader.string("a Python file"), place)


_PARSERS: dict[str, Callable[[TokenReader], s.Statement]] = {
    "EXPLAIN": _explain,
    "SET": _set,
    "RESET": _reset,
    "SHOW": _show,
    "DESCRIBE": _describe,
    "DESC": _describe,
    "SUMMARIZE": _summarize,
    "PREPARE": _prepare,
    "EXECUTE": _execute,
    "DEALLOCATE": _deallocate,
    "CREATE": create,
    "DROP": _drop,
    "INSERT": _insert,
    "DELETE": _delete,
    "TRUNCATE": _truncate,
    "UPDATE": _update,
    "ALTER": alter_table,
    "COPY": _copy,
    "LOAD": _load,
}
