"""SQL text to statements. All of a script is parsed before any of it runs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from sqlengine.errors import NotSupportedError
from sqlengine.sql.grammar import tokenize
from sqlengine.sql.source_text import Text as Text
from sqlengine.sql.statement_parser import parse_statement
from sqlengine.sql.statements import SelectRows, Statement


@dataclass(frozen=True)
class Parsed:
    """A statement, and where it stands in its text: the offsets of its first and behind its last character."""

    statement: Statement
    text: Text
    start: int
    end: int

    @property
    def tree(self) -> exp.Expression:
        """The tree of a query."""
        if not isinstance(self.statement, SelectRows):
            raise NotSupportedError("this statement is not a query")
        return self.statement.tree

    @property
    def sql(self) -> str:
        """The statement as it was written, without the semicolon."""
        return self.text.sql[self.start : self.end]


def parse(sql: str, source: str = "<command>") -> list[Parsed]:
    """All statements of a text; raises ParseError at the first wrong one. A byte order mark and a first line `#!` are
    left out."""
    text = Text(sql.removeprefix("\ufeff"), source)
    return [
        Parsed(parse_statement(tokens, text), text, tokens[0].start, tokens[-1].end + 1)
        for tokens in _statements(tokenize(text))
    ]


def _statements(tokens: list[Token]) -> list[list[Token]]:
    """The tokens between semicolons; empty statements are nothing."""
    found: list[list[Token]] = [[]]
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            found.append([])
        else:
            found[-1].append(token)
    return [tokens for tokens in found if tokens]
