"""The dialect that texts are parsed in: DuckDB's, with calls and subscripts left as they are written.

sqlglot has a class for each function that some database knows, with arguments by their meaning there. Here a call is
its name and its arguments in order (`exp.Anonymous`), so that the one registry decides what a function is, and a
mistake is reported under the name that was typed. Only calls with a syntax of their own (`CAST(x AS t)`,
`EXTRACT(part FROM x)`, `UNNEST`, `COLUMNS`) keep their classes. Subscripts count from 1 and JSON paths stay text. Where
ORDER BY does not say where NULLs go, that is left open, and a comma in FROM is a kind of join of its own. Every
statement is made of tokens, none is kept as text.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import TokenType

_OWN_SYNTAX = {"CAST", "TRY_CAST", "EXTRACT", "SUBSTRING", "TRIM", "POSITION", "OVERLAY"}
_OWN_CLASS = {"UNNEST", "COLUMNS"}
_NO_WORDS = {"?::", "??", "ROW"}  # `?::int` is a parameter that is cast, row(1, 2) a call


class SqlengineDialect(DuckDB):
    """DuckDB's SQL with uninterpreted calls."""

    INDEX_OFFSET = 0

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        return path

    class Tokenizer(DuckDB.Tokenizer):
        COMMANDS: ClassVar[set[Any]] = set()  # every word is a token, nothing is swallowed as the text of a command
        KEYWORDS: ClassVar[dict[str, Any]] = {
            **{k: v for k, v in DuckDB.Tokenizer.KEYWORDS.items() if k not in _NO_WORDS},
            "PIVOT_WIDER": TokenType.PIVOT,
            "PIVOT_LONGER": TokenType.UNPIVOT,
        }

    class Parser(DuckDBParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {k: v for k, v in DuckDBParser.FUNCTIONS.items() if k in _OWN_CLASS}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            k: v for k, v in DuckDBParser.FUNCTION_PARSERS.items() if k in _OWN_SYNTAX
        }

        def _parse_interval_span(self, this: Any, *args: Any, **kwargs: Any) -> Any:
            """A text with units in it is the whole interval: INTERVAL '1 day 02:03:04'."""
            if isinstance(this, exp.Literal) and this.is_string and any(c.isalpha() for c in this.name):
                return self.expression(exp.Interval(this=this))
            return super()._parse_interval_span(this, *args, **kwargs)

        def _parse_join(self, *args: Any, **kwargs: Any) -> Any:
            comma = self._curr is not None and self._curr.token_type is TokenType.COMMA
            join = super()._parse_join(*args, **kwargs)
            if comma and join is not None:
                join.set("kind", "COMMA")
            return join

        def _parse_simplified_pivot(self, is_unpivot: bool | None = None) -> Any:
            """PIVOT or UNPIVOT as a statement. With ORDER BY or LIMIT after it, it is a query in parentheses."""
            pivot = exp.Pivot(this=self._parse_table(), unpivot=is_unpivot)
            if self._match(TokenType.ON):
                pivot.set("expressions", self._parse_csv(self._pivot_on))
            pivot.set("into", self._parse_unpivot_columns())
            if self._match(TokenType.USING):
                pivot.set("using", self._parse_csv(lambda: self._parse_alias(self._parse_bitwise())))
            pivot.set("group", self._parse_group())
            after = {"order": self._parse_order(), "limit": self._parse_limit(), "offset": self._parse_offset()}
            return exp.Subquery(this=pivot, **after) if any(after.values()) else pivot

        def _pivot_on(self) -> Any:
            """An item of ON: an expression, one with its values, or one with a name."""
            item = self._parse_bitwise()
            if self._match(TokenType.IN):
                return self._parse_in(item)
            return self._parse_alias(item, explicit=True)

        def _parse_ordered(self, parse_method: Any = None) -> Any:
            ordered = super()._parse_ordered(parse_method)
            if ordered is not None:
                words = [token.text.upper() for token in self._tokens[max(0, self._index - 2) : self._index]]
                if words not in (["NULLS", "FIRST"], ["NULLS", "LAST"]):
                    ordered.set("nulls_first", None)
            return ordered
