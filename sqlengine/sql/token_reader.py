"""Reading the tokens of one statement from left to right, for the parser of statements."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import Token, TokenType, exp

from sqlengine.errors import Location, NotSupportedError, ParseError
from sqlengine.sql.grammar import data_type, expression, query
from sqlengine.sql.source_text import Text
from sqlengine.sql.strict import shown

T = TokenType
_OPEN, _CLOSE = (T.L_PAREN, T.L_BRACKET, T.L_BRACE), (T.R_PAREN, T.R_BRACKET, T.R_BRACE)
_QUERY_STARTS = (T.SELECT, T.WITH, T.FROM, T.VALUES, T.L_PAREN, T.PIVOT, T.UNPIVOT, T.TABLE)
OWN_SCHEMAS = ("main", "temp", "memory")


class TokenReader:
    """A position in the tokens of a statement."""

    def __init__(self, tokens: Sequence[Token], text: Text) -> None:
        self.tokens = tokens
        self.text = text
        self.at = 0

    def word(self, ahead: int = 0) -> str:
        """The next token in capitals, or "" for a text, a quoted name, or the end."""
        if self.at + ahead >= len(self.tokens):
            return ""
        token = self.tokens[self.at + ahead]
        return "" if token.token_type in (T.STRING, T.IDENTIFIER, T.HEREDOC_STRING) else token.text.upper()

    def accept(self, *words: str) -> bool:
        """Skip these words if all of them come next. sqlglot makes one token of some pairs (ORDER BY)."""
        ahead = 0
        for word in words:
            if self.word(ahead) != word:
                return False
            ahead += 1
        self.at += ahead
        return True

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.accept(word):
                raise self.error(f'expected "{word.lower()}"' if word.isalpha() else f'expected "{word}"')

    @property
    def done(self) -> bool:
        return self.at >= len(self.tokens)

    @property
    def last(self) -> Token:
        """The token before the position."""
        return self.tokens[max(0, self.at - 1)]

    @property
    def place(self) -> Location:
        """Of the next token, or of the last one at the end."""
        token = self.tokens[min(self.at, len(self.tokens) - 1)]
        return self.text.location(token.start, token.end + 1)

    def error(self, message: str, hint: str | None = None) -> ParseError:
        found = f", not {shown(self.tokens[self.at])}" if not self.done else f" after {shown(self.last)}"
        return ParseError(message + found, hint=hint, location=self.place)

    def end(self) -> None:
        if not self.done:
            raise ParseError(f"unexpected {shown(self.tokens[self.at])}", location=self.place)

    def name(self, what: str = "a name") -> str:
        if self.done or not self._is_name(self.tokens[self.at]):
            raise self.error(f"expected {what}")
        self.at += 1
        return str(self.last.text)

    def _is_name(self, token: Token) -> bool:
        if token.token_type is T.IDENTIFIER:
            return True
        return (
            token.token_type is not T.STRING and bool(token.text) and (token.text[0].isalpha() or token.text[0] == "_")
        )

    def qualified(self, what: str) -> tuple[str, Location]:
        """A name that may have a schema before it; only this session's own schemas are there."""
        place = self.place
        name = self.name(what)
        while self.accept("."):
            if name.lower() not in OWN_SCHEMAS:
                raise NotSupportedError(f'there is no schema "{name}"', hint="leave the schema out", location=place)
            place = self.place
            name = self.name(what)
        return name, place

    def string(self, what: str) -> str:
        if self.done or self.tokens[self.at].token_type not in (T.STRING, T.HEREDOC_STRING):
            raise self.error(f"expected {what} in quotes")
        self.at += 1
        return str(self.last.text)

    def names(self) -> tuple[tuple[str, ...], tuple[Location, ...]]:
        """(a, b, ...), a comma at the end allowed."""
        self.expect("(")
        found: list[str] = []
        places: list[Location] = []
        while not found or not self.accept(")"):
            places.append(self.place)
            found.append(self.name("a column name"))
            if not self.accept(","):
                self.expect(")")
                break
        return tuple(found), tuple(places)

    def until(self, *words: str) -> Sequence[Token]:
        """The tokens up to one of the words (or `,` or `)`) outside parentheses, which stays; or up to the end."""
        start, depth = self.at, 0
        while not self.done:
            token = self.tokens[self.at]
            if depth == 0 and self.word() in words:
                break
            if token.token_type in _OPEN:
                depth += 1
            elif token.token_type in _CLOSE:
                depth -= 1
                if depth < 0:
                    break
            self.at += 1
        return self.tokens[start : self.at]

    def starts_query(self, ahead: int = 0) -> bool:
        """Whether a query begins here, possibly in parentheses."""
        while self.at + ahead < len(self.tokens):
            kind = self.tokens[self.at + ahead].token_type
            if kind is not T.L_PAREN:
                return kind in _QUERY_STARTS
            ahead += 1
        return False

    def query(self) -> exp.Expression:
        """A query up to the end of the statement."""
        after = self.last
        rest = self.tokens[self.at :]
        self.at = len(self.tokens)
        return query(rest, self.text, after)

    def select_list(self) -> tuple[exp.Expression, ...]:
        """The items of a select list, up to the end of the statement."""
        if self.done:
            raise self.error("expected a select list")
        rest = self.tokens[self.at :]
        self.at = len(self.tokens)
        return tuple(query([_word(T.SELECT, rest[0]), *rest], self.text, rest[0]).expressions)

    def other_tables(self, *until: str) -> exp.Select:
        """`SELECT * FROM` the tables that stand here up to one of the words."""
        tokens = self.until(*until)
        if not tokens:
            raise self.error("expected a table")
        tree = query([_word(T.FROM, tokens[0]), *tokens], self.text, tokens[0])
        assert isinstance(tree, exp.Select)
        return tree

    def query_in_parentheses(self) -> exp.Expression:
        self.expect("(")
        after = self.last
        tree = query(self.until(), self.text, after)
        self.expect(")")
        return tree

    def expression(self, *until: str) -> exp.Expression:
        """An expression up to a comma, a closing parenthesis, or one of the words."""
        after = self.last
        return expression(self.until(",", *until), self.text, after)

    def data_type(self, *until: str) -> exp.DataType:
        after = self.last
        return data_type(self.until(",", *until), self.text, after)


def _word(kind: TokenType, before: Token) -> Token:
    """A keyword right before a token."""
    return Token(kind, kind.name, before.line, before.col, before.start, before.start)
