"""SQL text to statements. All of a script is parsed before any of it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from sqlglot import Token, Tokenizer, TokenType, exp

from sqlengine.errors import NotSupportedError
from sqlengine.sql.call_time import parameter_names
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
    def parameters(self) -> list[str]:
        """Names and numbers of the parameters, once each, in the order they stand."""
        return list(dict.fromkeys(name for tree in _trees(self.statement) for name in parameter_names(tree)))

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


def _trees(value: object) -> Iterator[exp.Expression]:
    """Every tree inside a statement."""
    if isinstance(value, exp.Expression):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _trees(item)
    elif is_dataclass(value):
        for item in fields(value):
            yield from _trees(getattr(value, item.name))


def _statements(tokens: list[Token]) -> list[list[Token]]:
    """The tokens between semicolons; empty statements are nothing."""
    found: list[list[Token]] = [[]]
    count = 0
    for number, token in enumerate(tokens):
        after = tokens[number + 1] if number + 1 < len(tokens) else None
        if token.token_type is TokenType.SEMICOLON:
            found.append([])
            count = 0
        elif token.token_type is TokenType.PLACEHOLDER and token.text == "?":
            # A question mark is the next number, and :name is $name.
            count += 1
            for kind, shown in ((TokenType.PARAMETER, "$"), (TokenType.NUMBER, str(count))):
                found[-1].append(Token(kind, shown, token.line, token.col, token.start, token.end))
        elif token.token_type is TokenType.COLON and after is not None and _is_parameter(found[-1], token, after):
            found[-1].append(Token(TokenType.PARAMETER, "$", token.line, token.col, token.start, token.end))
        else:
            found[-1].append(token)
    return [tokens for tokens in found if tokens]


def _is_parameter(before: list[Token], colon: Token, after: Token) -> bool:
    """Whether a colon begins a parameter: right before a name, and not behind what it could belong to (a key of a
    struct, a bound of a slice, an alias)."""
    if after.start != colon.end + 1 or not (after.text[:1].isalpha() or after.text[:1] == "_") or not before:
        return False
    last = before[-1].token_type
    return last not in _OPERANDS and (
        before[-1].text.upper() in Tokenizer.KEYWORDS or not before[-1].text[:1].isalnum()
    )


_OPERANDS = {
    TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING, TokenType.NUMBER, TokenType.R_PAREN, TokenType.R_BRACKET,
    TokenType.R_BRACE, TokenType.L_BRACKET, TokenType.COLON,
}  # fmt: skip
