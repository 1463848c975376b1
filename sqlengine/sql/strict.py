"""Checks of token order that sqlglot does not make: it takes `select ,`, `from t limit`, `join u on` and more.

Every check looks at neighbouring tokens only (and at the order of clauses at one depth of parentheses), so that the error
points at the very token where DuckDB's parser would stop too.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from sqlengine.errors import ParseError
from sqlengine.sql.source_text import Text

T = TokenType
_OPENERS = {T.L_PAREN, T.L_BRACKET, T.L_BRACE}
_CLOSERS = {T.R_PAREN, T.R_BRACKET, T.R_BRACE}
# What must be followed by an operand.
_NEEDS_MORE = {
    T.SELECT, T.FROM, T.WHERE, T.HAVING, T.QUALIFY, T.ON, T.USING, T.LIMIT, T.OFFSET, T.ORDER_BY, T.GROUP_BY,
    T.PARTITION_BY, T.WHEN, T.THEN, T.ELSE, T.AND, T.OR, T.NOT, T.JOIN, T.ALIAS, T.IN, T.BETWEEN, T.LIKE, T.ILIKE, T.IS,
    T.PLUS, T.DASH, T.SLASH, T.DIV, T.MOD, T.DPIPE, T.EQ, T.NEQ, T.LT, T.LTE, T.GT, T.GTE, T.DCOLON, T.CARET, T.AMP,
    T.PIPE, T.TILDE, T.WITH, T.UNION, T.INTERSECT, T.EXCEPT, T.TABLE_SAMPLE, T.PARAMETER, T.COLON_EQ, T.DSTAR, T.WINDOW,
}  # fmt: skip
# What can follow none of them.
_CLAUSES = {
    T.FROM, T.WHERE, T.HAVING, T.QUALIFY, T.ORDER_BY, T.GROUP_BY, T.UNION, T.INTERSECT, T.EXCEPT, T.THEN, T.ELSE, T.WHEN,
    T.END, T.ON, T.USING, T.WINDOW, T.LIMIT, T.OFFSET, T.JOIN,
}  # fmt: skip
_ALLOWED = {
    (T.IS, T.FROM), (T.UNION, T.FROM), (T.INTERSECT, T.FROM), (T.EXCEPT, T.FROM),  # FROM-first queries, IS ... FROM
    (T.ALIAS, T.FROM), (T.ELSE, T.FROM),
}  # fmt: skip
_JOIN_WORDS = {T.LEFT, T.RIGHT, T.FULL, T.INNER, T.CROSS, T.NATURAL, T.ASOF, T.SEMI, T.ANTI, T.POSITIONAL, T.OUTER}
_RESERVED = {
    "ORDER", "GROUP", "ANALYSE", "ASYMMETRIC", "BOTH", "CHECK", "COLUMN", "DEFERRABLE", "DO", "INITIALLY", "LEADING",
    "PLACING", "PRIMARY", "SYMMETRIC", "TO", "TRAILING", "VARIADIC", "FOREIGN",
}  # fmt: skip
_RANKS = {
    T.WHERE: 2, T.GROUP_BY: 3, T.HAVING: 4, T.WINDOW: 5, T.QUALIFY: 6, T.ORDER_BY: 7, T.LIMIT: 8, T.OFFSET: 8,
}  # fmt: skip
_EXPECTED = {
    T.FROM: "a table", T.JOIN: "a table", T.USING: "column names in parentheses", T.ORDER_BY: "an expression",
    T.ALIAS: "a name", T.SELECT: "a select list", T.UNION: "a query", T.INTERSECT: "a query", T.EXCEPT: "a query",
    T.DCOLON: "a type", T.WITH: "a name", T.ON: "a condition", T.WHERE: "a condition", T.HAVING: "a condition",
    T.QUALIFY: "a condition", T.LIMIT: "a number", T.OFFSET: "a number", T.WINDOW: "a window's name",
    T.TABLE_SAMPLE: "a sample size",
}  # fmt: skip


def shown(token: Token) -> str:
    """A token as it stands in messages."""
    if token.token_type in (T.STRING, T.HEREDOC_STRING):
        return "'" + (token.text if len(token.text) < 30 else token.text[:27] + "...") + "'"
    return f'"{token.text}"'


def check_tokens(tokens: Sequence[Token], text: Text) -> None:
    """Raise ParseError at the first token of a query or expression that cannot stand where it does."""
    depth = 0
    clauses: list[tuple[int, Token] | None] = [None]
    for number, token in enumerate(tokens):
        kind = token.token_type
        before = tokens[number - 1] if number else None
        after = tokens[number + 1] if number + 1 < len(tokens) else None
        if kind in _OPENERS:
            depth += 1
            clauses.append(None)
        elif kind in _CLOSERS:
            if depth == 0:
                raise _error(text, token, f"{shown(token)} has no opening partner")
            depth -= 1
            clauses.pop()
        elif kind in (T.SELECT, T.UNION, T.INTERSECT, T.EXCEPT) and not _is_name(before):
            clauses[-1] = None
        elif kind in _RANKS and _is_clause(before, after) and clauses[-1] is not None:
            rank, earlier = clauses[-1]
            if _RANKS[kind] < rank:
                raise _error(text, token, f"{shown(token)} cannot come after {shown(earlier)}")
        if kind in _RANKS and _is_clause(before, after):
            clauses[-1] = (_RANKS[kind], token)
        _check_pair(token, before, after, tokens, number, text)


def _check_pair(
    token: Token, before: Token | None, after: Token | None, tokens: Sequence[Token], number: int, text: Text
) -> None:
    kind = token.token_type
    next_kind = after.token_type if after is not None else None
    if (
        kind in _NEEDS_MORE
        and not _is_name(before)
        and (next_kind is None or next_kind in _CLOSERS or next_kind is T.COMMA or next_kind in _CLAUSES)
        and (kind, next_kind) not in _ALLOWED
        and not (kind is T.WITH and before is not None)
        and not (kind is T.MOD and before is not None and before.token_type is T.NUMBER)  # LIMIT 10%
        and not (kind is T.NOT and next_kind is not None and next_kind not in _CLOSERS | {T.COMMA, T.FROM, T.WHERE})
        and not (kind in (T.LIMIT, T.OFFSET, T.WINDOW) and next_kind is not None and before is None)
    ):
        wanted = _EXPECTED.get(kind, "an expression")
        raise _error(text, after or token, f"expected {wanted} after {shown(token)}")
    if kind is T.COMMA and (before is None or before.token_type in _OPENERS | {T.COMMA, T.SELECT}):
        raise _error(text, token, 'unexpected ","', "a comma stands between two items")
    if kind in (T.AND, T.OR) and (before is None or before.token_type in _NEEDS_MORE | _OPENERS | {T.COMMA}):
        if before is None or not (before.token_type in (T.ALIAS, T.DOT)):
            raise _error(text, token, f"unexpected {shown(token)}", "a condition stands on both sides of it")
    if kind is T.FILTER and before is not None and before.token_type is T.R_PAREN and next_kind is not T.L_PAREN:
        raise _error(text, token, 'expected (WHERE ...) after "filter"')
    if kind is T.WINDOW and number + 2 <= len(tokens) and before is not None and not _is_name(before):
        if [t.token_type for t in tokens[number + 2 : number + 3]] != [T.ALIAS]:
            raise _error(text, tokens[min(number + 1, len(tokens) - 1)], "expected AS and a window after the name")
    if kind is T.ALL and before is not None and before.token_type is T.SELECT and (after is None or next_kind in _CLAUSES):
        raise _error(text, token, 'expected a select list after "all"')
    if kind in _JOIN_WORDS and next_kind is None and before is not None and before.token_type is not T.DOT:
        raise _error(text, token, f"expected JOIN after {shown(token)}")
    if kind is T.VAR and token.text.upper() in _RESERVED and not _is_name(before) and next_kind is not T.L_PAREN:
        word = token.text.upper()
        trimmed = word in ("BOTH", "LEADING", "TRAILING") and before is not None and before.token_type is T.L_PAREN
        if not (word == "TO" or before is None or trimmed):
            hint = f'write {word} BY, or quote the name: "{token.text}"' if word in ("ORDER", "GROUP") else None
            raise _error(text, token, f"unexpected {shown(token)}", hint or f'quote the name: "{token.text}"')
    if kind is T.STRING and next_kind is T.STRING and after is not None and after.line == token.line:
        raise _error(text, after, f"unexpected {shown(after)}", "join texts with ||")
    if _word(token) in ("USING", "EXCLUDE") or kind in (T.VALUES, T.IN):
        following = tokens[number + 1 : number + 3]
        if [t.token_type for t in following] == [T.L_PAREN, T.R_PAREN]:
            raise _error(text, following[1], f"expected something between the parentheses after {shown(token)}")
    if _word(token) == "EXCLUDE" and before is not None and before.token_type is T.STAR and next_kind in _CLAUSES:
        raise _error(text, after or token, 'expected column names after "exclude"')
    pivots = any(t.token_type in (T.PIVOT, T.UNPIVOT) for t in tokens[:number])
    if kind is T.USING and next_kind is not T.L_PAREN and after is not None and not pivots:
        # USING SAMPLE and USING KEY are other clauses.
        if _word(after) not in ("SAMPLE", "KEY"):
            raise _error(text, after, 'expected column names in parentheses after "using"')


def _word(token: Token) -> str:
    return token.text.upper() if token.token_type not in (T.STRING, T.IDENTIFIER) else ""


def _is_name(before: Token | None) -> bool:
    """After a dot or AS even a keyword is a name."""
    return before is not None and before.token_type in (T.DOT, T.ALIAS)


def _is_clause(before: Token | None, after: Token | None) -> bool:
    return not _is_name(before) and after is not None and after.token_type not in (T.COMMA, T.DOT)


def check_tree(tree: exp.Expression, text: Text) -> None:
    """What the order of tokens does not show."""
    for join in tree.find_all(exp.Join):
        kind = str(join.args.get("kind") or "").upper()
        method = str(join.args.get("method") or "").upper()
        said = join.args.get("on") or join.args.get("using")
        if said and (kind in ("CROSS", "POSITIONAL") or method in ("NATURAL", "POSITIONAL")):
            what = kind if kind in ("CROSS", "POSITIONAL") else method
            node = said if isinstance(said, exp.Expression) else said[0]
            raise ParseError(f"{what} JOIN takes no condition", location=text.of(node))


def _error(text: Text, token: Token, message: str, hint: str | None = None) -> ParseError:
    return ParseError(message, hint=hint, location=text.location(token.start, token.end + 1))
