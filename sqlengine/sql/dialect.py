"""The dialect that texts are parsed in: DuckDB's, with calls and subscripts left as they are written.

sqlglot has a class for each function that some database knows, with arguments by their meaning there. Here a call is
its name and its arguments in order (`exp.Anonymous`), so that the one registry decides what a function is, and a mistake
is reported under the name that was typed. Only calls with a syntax of their own (`CAST(x AS t)`, `EXTRACT(part FROM x)`,
`UNNEST`, `COLUMNS`) keep their classes. Subscripts count from 1 and JSON paths stay text.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

_OWN_SYNTAX = {"CAST", "TRY_CAST", "EXTRACT", "SUBSTRING", "TRIM", "POSITION", "OVERLAY"}
_OWN_CLASS = {"UNNEST", "COLUMNS"}


class SqlengineDialect(DuckDB):
    """DuckDB's SQL with uninterpreted calls."""

    INDEX_OFFSET = 0

    def to_json_path(self, path: exp.Expression | None) -> exp.Expression | None:
        return path

    class Parser(DuckDB.Parser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {k: v for k, v in DuckDB.Parser.FUNCTIONS.items() if k in _OWN_CLASS}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            k: v for k, v in DuckDB.Parser.FUNCTION_PARSERS.items() if k in _OWN_SYNTAX
        }
