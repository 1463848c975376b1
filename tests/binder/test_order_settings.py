"""`default_order` and `default_null_order` decide wherever ORDER BY does not say: against DuckDB."""

from __future__ import annotations

import itertools

import duckdb
import pytest

import sqlengine

_ROWS = "(values (1, 'a'), (null, 'b'), (3, null), (2, 'd')) t(n, s)"
_QUERIES = (
    f"select n, s from {_ROWS} order by n",
    f"select n, s from {_ROWS} order by s desc, n",
    f"select n, s from {_ROWS} order by n asc",
    f"select n, s from {_ROWS} order by n nulls last",
    f"select n, s from {_ROWS} order by n asc nulls first",
    f"select n, s from {_ROWS} order by all",
    f"select n from {_ROWS} union all select 7 order by 1",
    f"select list(n order by n), string_agg(s, '' order by n desc) from {_ROWS}",
    f"select s, row_number() over (order by n) as r from {_ROWS} order by s asc nulls last",
    f"select s, sum(n) over (order by n rows 1 preceding) as r from {_ROWS} order by s asc nulls last",
)
_NULLS = ("nulls_last", "nulls_first", "nulls_first_on_asc_last_on_desc", "nulls_last_on_asc_first_on_desc")


@pytest.mark.parametrize(("order", "nulls"), list(itertools.product(("asc", "desc"), _NULLS)))
def test_as_duckdb(order: str, nulls: str) -> None:
    with duckdb.connect() as oracle, sqlengine.connect() as session:
        for name, value in (("default_order", order), ("default_null_order", nulls)):
            oracle.execute(f"set {name} = '{value}'")
            session.sql(f"set {name} = '{value}'")
        for query in _QUERIES:
            assert session.sql(query).fetchall() == oracle.execute(query).fetchall(), query
