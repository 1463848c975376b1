"""Statements about the session itself: SET, RESET, SHOW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from sqlengine.errors import NotSupportedError, ParseError
from sqlengine.sql.parse import Parsed


@dataclass(frozen=True)
class SessionStatement:
    """`kind`: set, reset, show, show all, show tables."""

    kind: str
    name: str = ""
    value: Any = None


def session_statement(parsed: Parsed) -> SessionStatement | None:
    """The statement, if it is one of these."""
    tree = parsed.tree
    if isinstance(tree, exp.Set):
        if len(tree.expressions) != 1 or not isinstance(tree.expressions[0].this, exp.EQ):
            raise ParseError("write SET name = value", location=parsed.text.of(tree))
        pair = tree.expressions[0].this
        value = pair.expression
        text = (
            value.name
            if isinstance(value, exp.Literal | exp.Column | exp.Identifier | exp.Var)
            else value.sql("duckdb")
        )
        return SessionStatement("set", pair.this.name, text)
    if isinstance(tree, exp.Show):
        name = str(tree.name or tree.this)
        return SessionStatement("show tables") if name.upper() == "TABLES" else SessionStatement("show", name)
    if isinstance(tree, exp.Command):
        rest = tree.args.get("expression") or ""
        words = f"{tree.name} {rest if isinstance(rest, str) else rest.name}".split()
        match [word.upper() for word in words]:
            case ["SHOW", "TABLES"]:
                return SessionStatement("show tables")
            case ["SHOW", "ALL"]:
                return SessionStatement("show all")
            case ["SHOW", _]:
                return SessionStatement("show", words[1])
            case ["RESET", _]:
                return SessionStatement("reset", words[1])
        raise NotSupportedError(f"{words[0].upper()} statements are not supported yet")
    return None
