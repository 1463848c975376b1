"""SQL in colours at the prompt: what kind of word each piece of a text is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_WORDS = """
    ALL ALTER ANALYZE AND ANTI AS ASC ASOF BETWEEN BY CASE CAST COLUMN COLUMNS COPY CREATE CROSS CUBE CURRENT DELETE
    DESC DESCRIBE DISTINCT DROP ELSE END EXCEPT EXCLUDE EXECUTE EXISTS EXPLAIN FALSE FILTER FIRST FOLLOWING FORMAT FROM
    FULL FUNCTION GROUP GROUPING HAVING IF ILIKE IN INNER INSERT INTERSECT INTERVAL INTO IS JOIN LAST LATERAL LEFT LIKE
    LIMIT LOAD MACRO MATERIALIZED MEMORY NATURAL NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION PIVOT POSITIONAL
    PRECEDING PREPARE QUALIFY RANGE RECURSIVE REPLACE RESET RETURNING RIGHT ROLLUP ROWS SAMPLE SELECT SEMI SET SETS SHOW
    SIMILAR SUMMARIZE TABLE TABLES TABLESAMPLE TEMP TEMPORARY THEN TO TRUE TRY_CAST UNBOUNDED UNION UNNEST UNPIVOT
    UPDATE USING VALUES VARIABLE VIEW WHEN WHERE WINDOW WITH WITHIN
"""
KEYWORDS = frozenset(_WORDS.split())

_PIECES = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)|'(?:[^']|'')*(?:'|\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))
      | (?P<name>"(?:[^"]|"")*(?:"|\Z))
      | (?P<number>\b\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?\b)
      | (?P<parameter>[$:]\w+|\?)
      | (?P<call>[A-Za-z_]\w*(?=\())
      | (?P<word>[A-Za-z_]\w*)
      | (?P<other>[^\w'"$:?/\-]+|.)""",
    re.DOTALL | re.VERBOSE,
)


def pieces(text: str, is_function: Callable[[str], bool] = lambda name: False) -> Iterator[tuple[str, str]]:
    """The text cut into pieces, each with its kind: comment, string, name, number, parameter, command, function,
    keyword, or nothing. Also of a text that is not finished."""
    if text.lstrip().startswith((".", "\\")):
        yield "command", text
        return
    for match in _PIECES.finditer(text):
        kind = match.lastgroup or ""
        if kind == "tag":
            kind = "string"
        if kind in ("call", "word"):
            word = match[0]
            if word.upper() in KEYWORDS:
                kind = "keyword"
            else:
                kind = "function" if kind == "call" and is_function(word.lower()) else ""
        yield ("" if kind == "other" else kind), match[0]
