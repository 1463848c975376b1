"""Checks of token order that sqlglot does not make: it takes `select ,`, `from t limit`, `join u on` and more.

Every check looks at neighbouring tokens only (and at the order of clauses at one depth of parentheses), so that the
error
points at the very token where DuckDB's parser would stop too.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import Token, TokenType, exp

from sqlengine.errors import ParseError
from sqlengine.sql.source_text import Text

T = TokenType
DEEPEST = 2500  # levels of expressions
DEEPEST_VALUES = 100  # levels of lists, structs, types and queries, each of which makes types or plans of its own
_VALUES = (exp.Array, exp.Struct, exp.DataType, exp.Select, exp.SetOperation, exp.Bracket, exp.Lambda)
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
    T.FROM, T.WHERE, T.HAVING, T.QUALIFY, T.ORDER_BY, T.GROUP_BY, T.UNION, T.INTERSECT, T.EXCEPT, T.THEN, T.ELSE,
    T.WHEN,
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
    if any(token.token_type in (T.PIVOT, T.UNPIVOT) for token in tokens):
        return  # their clauses are other ones
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
        for check in _CHECKS:
            problem = check(token, before, tokens[number + 1 : number + 3])
            if problem is not None:
                raise _error(text, *problem)


Problem = tuple[Token, str, str | None]  # where, what, and a hint


def _no_operand(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    """`where` at the end, `+ )`, `select from`."""
    kind, after = token.token_type, _kind(rest)
    missing = after is None or after in _CLOSERS or after is T.COMMA or after in _CLAUSES
    if kind not in _NEEDS_MORE or _is_name(before) or not missing or (kind, after) in _ALLOWED:
        return None
    if kind is T.WITH and before is not None:
        return None
    if kind is T.NOT and after is not None and after not in _CLOSERS | {T.COMMA, T.FROM, T.WHERE}:
        return None
    if kind is T.MOD and before is not None and before.token_type is T.NUMBER:
        return None  # LIMIT 10%
    return (rest[0] if rest else token), f"expected {_EXPECTED.get(kind, 'an expression')} after {shown(token)}", None


def _stray_comma(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    if token.token_type is T.COMMA and (before is None or before.token_type in _OPENERS | {T.COMMA, T.SELECT}):
        return token, 'unexpected ","', "a comma stands between two items"
    return None


def _half_condition(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    """`where and x`."""
    starts = before is None or before.token_type in _NEEDS_MORE | _OPENERS | {T.COMMA}
    if token.token_type in (T.AND, T.OR) and starts and not _is_name(before):
        return token, f"unexpected {shown(token)}", "a condition stands on both sides of it"
    return None


def _half_clause(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    """`count(*) filter from`, `window w`, `select all`, `left` at the end."""
    kind, after = token.token_type, _kind(rest)
    if before is None or _is_name(before):
        return None
    if kind is T.FILTER and before.token_type is T.R_PAREN and after is not T.L_PAREN:
        return token, 'expected (WHERE ...) after "filter"', None
    if kind is T.WINDOW and _kind(rest[1:]) is not T.ALIAS:
        return (rest[0] if rest else token), "expected AS and a window after the name", None
    if kind is T.ALL and before.token_type is T.SELECT and (after is None or after in _CLAUSES):
        return token, 'expected a select list after "all"', None
    if kind in _JOIN_WORDS and after is None:
        return token, f"expected JOIN after {shown(token)}", None
    return None


def _reserved_word(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    """A word that is only a name in quotes: `select order from t`."""
    word = token.text.upper()
    plain = token.token_type is T.VAR and word in _RESERVED and word != "TO"
    if not plain or before is None or _is_name(before) or _kind(rest) is T.L_PAREN:
        return None
    if word in ("BOTH", "LEADING", "TRAILING") and before.token_type is T.L_PAREN:
        return None  # trim(both ...)
    if before.text.upper() == "EXCLUDE" or word == "PLACING":
        return None  # of a window's frame; of overlay(x placing y ...)
    hint = f'write {word} BY, or quote the name: "{token.text}"' if word in ("ORDER", "GROUP") else None
    return token, f"unexpected {shown(token)}", hint or f'quote the name: "{token.text}"'


def _two_texts(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    if token.token_type is T.STRING and _kind(rest) is T.STRING and rest[0].line == token.line:
        return rest[0], f"unexpected {shown(rest[0])}", "join texts with ||"
    return None


def _no_list(token: Token, before: Token | None, rest: Sequence[Token]) -> Problem | None:
    """`using ()`, `in ()`, `exclude from`, `using` without parentheses."""
    word, after = _word(token), _kind(rest)
    if word in ("USING", "EXCLUDE", "VALUES", "IN") and [t.token_type for t in rest[:2]] == [T.L_PAREN, T.R_PAREN]:
        return rest[1], f"expected something between the parentheses after {shown(token)}", None
    if word == "EXCLUDE" and before is not None and before.token_type is T.STAR and after in _CLAUSES:
        return rest[0], 'expected column names after "exclude"', None
    if word == "USING" and rest and after is not T.L_PAREN and _word(rest[0]) not in ("SAMPLE", "KEY"):
        return rest[0], 'expected column names in parentheses after "using"', None
    return None


_CHECKS = (
    _no_operand, _stray_comma, _half_condition, _half_clause, _reserved_word, _two_texts, _no_list,
)  # fmt: skip


def _kind(tokens: Sequence[Token]) -> TokenType | None:
    return tokens[0].token_type if tokens else None


def _word(token: Token) -> str:
    return token.text.upper() if token.token_type not in (T.STRING, T.IDENTIFIER) else ""


def _is_name(before: Token | None) -> bool:
    """After a dot or AS even a keyword is a name."""
    return before is not None and before.token_type in (T.DOT, T.ALIAS)


def _is_clause(before: Token | None, after: Token | None) -> bool:
    return not _is_name(before) and after is not None and after.token_type not in (T.COMMA, T.DOT)


def check_tree(tree: exp.Expression, text: Text) -> None:
    """What the order of tokens does not show."""
    _check_depth(tree, text)
    for values in tree.find_all(exp.Values):
        alias = values.args.get("alias")
        if alias is not None and not alias.this and alias.columns:
            raise ParseError(
                "expected a comma between the rows of VALUES", location=text.of(alias) or text.of(alias.columns[0])
            )
    for join in tree.find_all(exp.Join):
        kind = str(join.args.get("kind") or "").upper()
        method = str(join.args.get("method") or "").upper()
        said = join.args.get("on") or join.args.get("using")
        if said and (kind in ("CROSS", "POSITIONAL") or method in ("NATURAL", "POSITIONAL")):
            what = kind if kind in ("CROSS", "POSITIONAL") else method
            node = said if isinstance(said, exp.Expression) else said[0]
            raise ParseError(f"{what} JOIN takes no condition", location=text.of(node))


def _check_depth(tree: exp.Expression, text: Text) -> None:
    """Refuse what is nested deeper than any tree of the engine may be. A chain of AND, OR or UNION is one level: it is
    taken apart in a loop."""
    stack = [(tree, 0, 0)]
    while stack:
        node, depth, nested = stack.pop()
        if depth > DEEPEST or nested > DEEPEST_VALUES:
            most = DEEPEST if depth > DEEPEST else DEEPEST_VALUES
            raise ParseError(
                f"this is nested more than {most:,} levels deep", hint="compute parts of it in WITH or subqueries",
                location=text.of(node) or text.of(tree),
            )  # fmt: skip
        inside = nested + isinstance(node, _VALUES)
        for child in node.iter_expressions():
            if type(child) is type(node) and isinstance(node, exp.And | exp.Or | exp.Union):
                stack.append((child, depth, nested))
            else:
                stack.append((child, depth + 1, inside))


def _error(text: Text, token: Token, message: str, hint: str | None = None) -> ParseError:
    return ParseError(message, hint=hint, location=text.location(token.start, token.end + 1))
