"""SQL text to sqlglot trees, one per statement, with the places that errors point to.

sqlglot is lenient and its errors vary; here every failure becomes a `ParseError` with a location.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError as GlotParseError
from sqlglot.errors import SqlglotError

from sqlengine.errors import Location, ParseError
from sqlengine.sql.dialect import SqlengineDialect

# sqlglot warns about statements it keeps as text; this module handles those itself.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Text:
    """A SQL text and where it came from, for error locations."""

    sql: str
    source: str = "<command>"

    def location(self, start: int, end: int) -> Location:
        """Of the characters from `start` up to `end` (offsets)."""
        line = self.sql.count("\n", 0, start) + 1
        begin = self.sql.rfind("\n", 0, start) + 1
        stop = self.sql.find("\n", begin)
        text = self.sql[begin:] if stop < 0 else self.sql[begin:stop]
        col = start - begin + 1
        return Location(line, col, min(col + max(1, end - start), len(text) + 1), text, self.source)

    def of(self, node: Any) -> Location | None:
        """Of the first token below a sqlglot node that knows its place."""
        for found in node.walk():
            if "start" in found.meta:
                return self.location(found.meta["start"], found.meta["end"] + 1)
        return None


@dataclass(frozen=True)
class Parsed:
    """A statement: its tree, or for EXPLAIN the tree below and what to explain (`logical`, `physical`, `analyze`)."""

    tree: exp.Expression
    text: Text
    explain: str | None = None


def parse(sql: str, source: str = "<command>") -> list[Parsed]:
    """All statements of a text; raises ParseError at the first wrong one."""
    text = Text(sql, source)
    try:
        trees = sqlglot.parse(sql, dialect=SqlengineDialect)
    except GlotParseError as error:
        raise _failure(text, error) from None
    except SqlglotError as error:
        raise ParseError(str(error).splitlines()[0]) from None
    except RecursionError:
        raise ParseError("the statement is nested too deeply") from None
    except IndexError:
        raise ParseError("the statement is incomplete") from None
    return [_statement(tree, text) for tree in trees if tree is not None]


def _statement(tree: exp.Expression, text: Text) -> Parsed:
    if isinstance(tree, exp.Command) and tree.name.upper() == "EXPLAIN":
        tail = tree.args.get("expression") or ""
        rest = tail if isinstance(tail, str) else tail.name
        kind = "physical"
        for word, meant in (("ANALYZE", "analyze"), ("LOGICAL", "logical")):
            if rest.strip().upper().startswith(word + " "):
                kind, rest = meant, rest.strip()[len(word) :]
        inner = parse(rest, text.source)
        if len(inner) != 1:
            raise ParseError("EXPLAIN needs one statement")
        return Parsed(inner[0].tree, inner[0].text, kind)
    return Parsed(tree, text)


def _failure(text: Text, error: GlotParseError) -> ParseError:
    first = error.errors[0] if error.errors else {}
    message = str(first.get("description") or error).rstrip(".")
    line, highlight = first.get("line"), first.get("highlight") or ""
    location = None
    if line is not None:
        # sqlglot gives the column of the last character of the token.
        begin = 0
        for _ in range(line - 1):
            begin = text.sql.find("\n", begin) + 1
        start = begin + max(0, int(first.get("col") or 1) - max(1, len(highlight)))
        location = text.location(start, start + max(1, len(highlight)))
    return ParseError(message[:1].lower() + message[1:], location=location)
