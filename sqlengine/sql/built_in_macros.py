"""Functions that are other functions put together: macros that every session has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlengine.sql.call_time import Macro

_TEXTS = {
    "ago": "(i) AS current_timestamp - CAST(i AS INTERVAL)",
    "array_to_string_comma_default": (
        "(arr, sep := ',') AS CASE WHEN len(arr) = 0 THEN '' ELSE array_to_string(arr, sep) END"
    ),
    "approx_top_k": "(x, k) AS most_frequent(histogram(x), any_value(k))",
    "assert_true": (
        "(condition) AS CASE WHEN condition THEN NULL ELSE error('Assertion failed') END, "
        "(condition, message) AS CASE WHEN condition THEN NULL"
        " ELSE error(coalesce('Assertion: ' || message, 'Assertion failed')) END"
    ),
    "bitstring_agg": (
        "(x) AS bits_of_values(histogram(x), min(x), max(x)), "
        "(x, low, high) AS bits_of_values(histogram(x), any_value(low), any_value(high))"
    ),
    "days_in_month": "(date) AS day(last_day(date))",
    "generate_subscripts": "(arr, dim) AS unnest(generate_series(1, array_length(arr, dim)))",
    "histogram": "(x, bins) AS histogram_by_bins(histogram(x), any_value(bins))",
    "histogram_exact": "(x, bins) AS histogram_by_values(histogram(x), any_value(bins))",
    "json_group_array": "(x) AS '[' || string_agg(coalesce(to_json(x), 'null'), ',') || ']'",
    "json_group_object": (
        "(n, v) AS '{' || string_agg(CASE WHEN n IS NULL THEN error('a key of json_group_object is NULL')"
        " ELSE to_json(CAST(n AS VARCHAR)) END || ':' || coalesce(to_json(v), 'null'), ',') || '}'"
    ),
    "json_group_structure": (
        "(x) AS json_extract(json_structure('[' || string_agg(coalesce(x, 'null'), ',') || ']'), 0)"
    ),
    "regexp_split_to_table": "(text, pattern) AS unnest(string_split_regex(text, pattern))",
    "weighted_avg": (
        "(value, weight) AS sum(value * weight) / sum(CASE WHEN value IS NOT NULL THEN weight ELSE 0 END)"
    ),
    "wavg": "(value, weight) AS weighted_avg(value, weight)",
}


def built_in_names() -> list[str]:
    return list(_TEXTS)


@lru_cache(maxsize=64)
def built_in_macro(name: str, count: int) -> Macro | None:
    """The macro of that name, if every session has one; of `histogram` only the form with bins is one."""
    definition = _TEXTS.get(name.lower())
    if definition is None or (name.lower() == "histogram" and count == 1):
        return None
    from sqlengine.sql.call_time import Macro
    from sqlengine.sql.parse import parse
    from sqlengine.sql.statements import CreateMacro

    statement = parse(f"CREATE MACRO {name.lower()} {definition}")[0].statement
    assert isinstance(statement, CreateMacro)
    return Macro(statement.name, statement.forms, statement.table)
