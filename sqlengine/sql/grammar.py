"""sqlglot, held on a short lead: tokens of a text, and trees of queries, expressions and types from tokens.

sqlglot is lenient, keeps statements it does not know as text, and its errors vary. Here a dialect without such
statements
makes the tokens, `strict` checks them, and every failure becomes a `ParseError` with the place in the original text.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from typing import Any

from sqlglot import Token, TokenType, exp
from sqlglot.errors import ParseError as GlotParseError
from sqlglot.errors import SqlglotError, TokenError

from sqlengine.errors import NotSupportedError, ParseError
from sqlengine.sql.dialect import SqlengineDialect
from sqlengine.sql.source_text import Text
from sqlengine.sql.strict import check_tokens, check_tree, shown
from sqlengine.tree import allow_deep_trees

# sqlglot warns about statements that it keeps as text; none of them get so far.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_WORDS = (
    "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT", "RIGHT", "INNER", "OUTER",
    "CROSS", "UNION", "INTERSECT", "EXCEPT", "VALUES", "DISTINCT", "BETWEEN", "QUALIFY", "WINDOW", "PARTITION", "USING",
)  # fmt: skip
_DEEP = "the statement is nested too deeply"


_DIALECT = SqlengineDialect()


def tokenize(text: Text) -> list[Token]:
    """The tokens of a script. A first line `#!...` is a comment."""
    sql = "--" + text.sql[2:] if text.sql.startswith("#!") else text.sql
    try:
        return list(_DIALECT.tokenize(sql))
    except TokenError:
        raise _unfinished(Text(sql, text.source)) from None
    except SqlglotError as error:
        raise ParseError(str(error).splitlines()[0]) from None


_PIECES = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_STARTS = re.compile(r"'|\"|/\*|\$\w*\$|\$(?!\w)")


def _unfinished(text: Text) -> ParseError:
    """The error for what begins somewhere and never ends."""
    at = 0
    while at < len(text.sql):
        whole = _PIECES.match(text.sql, at)
        if whole is not None:
            at = whole.end()
            continue
        start = _STARTS.match(text.sql, at)
        if start is not None:
            what = {"'": "text", '"': "quoted name", "/*": "comment"}.get(start[0], "text")
            end = "*/" if start[0] == "/*" else start[0]
            if start[0] == "$":
                return ParseError(
                    'unexpected "$"', hint="a parameter is $1 or $name", location=text.location(at, at + 1)
                )
            location = text.location(at, at + len(start[0]))
            return ParseError(f"this {what} has no end", hint=f"close it with {end}", location=location)
        at += 1
    return ParseError("the text cannot be read")


def query(tokens: Sequence[Token], text: Text, after: Token) -> exp.Expression:
    """The tree of a query; `after` is the token before it, for an error if there is none."""
    if not tokens:
        raise ParseError(
            f"expected a query after {shown(after)}", location=text.location(after.start, after.end + 1)
        )  # fmt: skip
    check_tokens(tokens, text)
    tree = _tree(None, tokens, text)
    if not isinstance(tree, exp.Query | exp.Values | exp.Pivot):
        raise _unexpected(tokens, tokens[0], text)
    check_tree(tree, text)
    return tree


def expression(tokens: Sequence[Token], text: Text, after: Token) -> exp.Expression:
    """The tree of one expression."""
    if not tokens:
        raise ParseError(
            f"expected an expression after {shown(after)}", location=text.location(after.start, after.end + 1)
        )
    check_tokens(tokens, text)
    tree = _tree(exp.Expr, tokens, text)
    check_tree(tree, text)
    return tree


def data_type(tokens: Sequence[Token], text: Text, after: Token) -> exp.DataType:
    """The tree of a type name."""
    if not tokens:
        raise ParseError(f"expected a type after {shown(after)}", location=text.location(after.start, after.end + 1))
    tree = _tree(exp.DataType, tokens, text)
    if not isinstance(tree, exp.DataType):
        raise _unexpected(tokens, tokens[0], text)
    check_tree(tree, text)
    return tree


def _tree(into: Any, tokens: Sequence[Token], text: Text) -> exp.Expression:
    allow_deep_trees()
    parser = _DIALECT.parser()
    tokens = _with_arrows(tokens)
    try:
        if into is None:
            trees = parser.parse(list(tokens), text.sql)
        else:
            trees = parser.parse_into(into, list(tokens), text.sql)
    except GlotParseError as error:
        raise _failure(text, tokens, error) from None
    except RecursionError:
        location = text.location(tokens[0].start, tokens[0].end + 1)
        raise ParseError(_DEEP, location=location) from None
    except (SqlglotError, IndexError, AttributeError, TypeError, ValueError, KeyError) as error:
        # sqlglot's own slips on texts that make no sense.
        location = text.location(tokens[0].start, tokens[-1].end + 1)
        hint = str(error).splitlines()[0] if isinstance(error, SqlglotError) else None
        raise ParseError("this cannot be understood", hint=hint, location=location) from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise _unexpected(tokens, tokens[0], text)
    if isinstance(trees[0], exp.Command):
        location = text.location(tokens[0].start, tokens[0].end + 1)
        raise NotSupportedError(f"{tokens[0].text.upper()} is not supported here", location=location)
    return trees[0]


def _with_arrows(tokens: Sequence[Token]) -> Sequence[Token]:
    """`lambda x, y: ...` as `(x, y) -> ...`, which is what sqlglot reads."""
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        end = at + 1
        if token.token_type is TokenType.VAR and token.text.lower() == "lambda":
            while end < len(tokens) and tokens[end].token_type in (TokenType.VAR, TokenType.COMMA):
                end += 1
        if end > at + 1 and end < len(tokens) and tokens[end].token_type is TokenType.COLON:
            opened, closed, arrow = (TokenType.L_PAREN, "("), (TokenType.R_PAREN, ")"), (TokenType.ARROW, "->")
            names = tokens[at + 1 : end]
            found += [_instead(token, *opened), *names, _instead(tokens[end], *closed), _instead(tokens[end], *arrow)]
            at = end + 1
        else:
            found.append(token)
            at += 1
    return found


def _instead(token: Token, kind: TokenType, text: str) -> Token:
    return Token(kind, text, token.line, token.col, token.start, token.end)


def _failure(text: Text, tokens: Sequence[Token], error: GlotParseError) -> ParseError:
    first = error.errors[0] if error.errors else {}
    message = str(first.get("description") or error).rstrip(".")
    place = (first.get("line"), first.get("col"))
    at = next((token for token in tokens if (token.line, token.col) == place), None)
    if at is None:
        return ParseError("the statement is incomplete", location=text.location(tokens[-1].start, tokens[-1].end + 1))
    last = at is tokens[-1] and at.text not in (")", "]", "}")
    location = text.location(at.start, at.end + 1)
    if message.startswith(("Required keyword", "Expected table name")):
        return _unexpected(tokens, at, text) if not last else ParseError(
            f"the statement ends too early, after {shown(at)}", location=location
        )  # fmt: skip
    closing = re.fullmatch(r"(?:Expecting|Expected) ([\])}])", message)
    if closing is not None:
        if last:
            return ParseError(f'expected "{closing[1]}" after {shown(at)}', location=location)
        return ParseError(f'expected "{closing[1]}" before {shown(at)}', location=location)
    if message.startswith("Invalid expression") or "Unexpected token" in message:
        return _unexpected(tokens, at, text)
    if "SENTINEL" in message or "Token" in message or "<" in message:
        return ParseError(f"the statement is wrong near {shown(at)}", location=location)
    return ParseError(message[:1].lower() + message[1:], location=location)


def _unexpected(tokens: Sequence[Token], at: Token, text: Text) -> ParseError:
    """An error at a token, with a keyword that the word before it may have been meant to be."""
    number = next((n for n, token in enumerate(tokens) if token is at), 0)
    for place in (number - 1, number - 2, number):
        if not 0 <= place < len(tokens) or tokens[place].token_type is not TokenType.VAR:
            continue
        word = tokens[place].text.upper()
        close = difflib.get_close_matches(word, _WORDS, 1, 0.75)
        if close and close[0] != word:
            location = text.location(tokens[place].start, tokens[place].end + 1)
            return ParseError(
                f"unexpected {shown(tokens[place])}",
                hint=f"did you mean {close[0]}?",
                location=location,
            )
    return ParseError(f"unexpected {shown(at)}", location=text.location(at.start, at.end + 1))
