"""Small queries against DuckDB: expressions, NULLs, joins, grouping, sets, order."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import sqlengine

T = pa.table(
    {
        "i": pa.array([1, 2, None, 4, 2, -7], pa.int32()),
        "d": pa.array(
            [Decimal("1.25"), None, Decimal("3.50"), Decimal("-0.01"), Decimal("9.99"), Decimal("0.00")],
            pa.decimal128(9, 2),
        ),
        "f": pa.array([0.5, None, 2.0, -1.5, 0.0, 1e9]),
        "s": pa.array(["abc", "Äb", None, "", "a%c", "zz"]),
        "b": pa.array([True, None, False, True, False, None]),
    }
)
U = pa.table({"i": pa.array([2, 4, None, 9], pa.int32()), "x": ["two", "four", "none", "nine"]})

QUERIES = """
select i + 1, i * d, d - 1, f / 2, i // 2, i % 2, -i from t
select i = 2, i <> 2, i < d, f >= 0, s > 'a', i is distinct from 2, i is null, s is not null from t
select b and i > 1, b or i > 1, not b, b is true, b is false from t
select upper(s), lower(s), length(s), s || '!', substring(s, 2, 1), trim('  x '), replace(s, 'a', 'b') from t
select s like 'a%', s not like '%b%', s ilike 'A%', s like 'a!%c' escape '!' from t
select case when i > 1 then 'big' when i < 0 then 'neg' else s end, coalesce(s, 'none'), nullif(i, 2) from t
select i in (1, 2), i not in (1, null), i between 1 and 3, d not between 0 and 2 from t
select cast(i as varchar), cast('12' as integer), try_cast('x' as integer), cast(d as double), cast(2.5 as int) from t
select abs(i), round(f), floor(f), sqrt(4.0), greatest(i, 2), least(i, 2) from t
select date '2024-01-31' + interval '1' month, date '2024-03-01' - date '2024-02-01', year(date '2024-05-06')
select count(*), count(i), sum(i), avg(d), min(s), max(s), bool_and(b), sum(d), min(f), max(d) from t
select i, count(*), sum(f) from t group by i
select count(*), sum(i) from t where i > 100
select i, b, count(*) from t group by rollup (i, b)
select i, b, count(*) from t group by cube (i, b)
select i, b, count(*) from t group by grouping sets ((i), (b), ())
select i, count(*) filter (where f > 0) from t group by all having count(*) >= 1
select t.i, x from t join u on t.i = u.i
select t.i, x from t left join u on t.i = u.i
select t.i, x from t right join u on t.i = u.i
select t.i, u.i from t full join u on t.i = u.i
select t.i, u.i from t join u on t.i < u.i
select t.i, u.i from t left join u on t.i < u.i and u.x <> 'four'
select t.s, x from t cross join u
select i, x from t join u using (i)
select * from t natural join u
select s from t where exists (select 1 from u where u.i = t.i)
select s from t where not exists (select 1 from u where u.i = t.i)
select s from t where i in (select i from u)
select s from t where i not in (select i from u)
select s from t where i not in (select i from u where i is not null)
select s, i in (select i from u) from t
select s, (select x from u where u.i = t.i) from t
select s from t where i > all (select i from u where i < 4)
select s from t where i = any (select i from u)
select (select max(i) from u), (select count(*) from u where u.i = t.i) from t
select i from t union select i from u
select i from t union all select i from u
select i from t intersect select i from u
select i from t except select i from u
select i from t except all select i from u
with c as (select i, count(*) n from t group by i) select * from c join u on c.i = u.i
with a as (select 1 x), b as (select x + 1 y from a) select * from a, b
select distinct i from t
select * from (values (1, 'a'), (2, null)) v(n, m)
select * from range(3)
""".strip().splitlines()

ORDERED = """
select i, s from t order by i desc, s
select i, s from t order by i nulls first, 2
select s from t order by length(s) desc nulls last, s limit 3
select s from t order by s limit 2 offset 1
select i k, sum(f) from t group by k order by sum(f) desc nulls last, k
""".strip().splitlines()


def rows(query: str, **settings: Any) -> list[tuple[Any, ...]]:
    with sqlengine.connect(**settings) as session:
        session.register("t", T)
        session.register("u", U)
        return session.sql(query).fetchall()


def oracle(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.register("t", T)
        connection.register("u", U)
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("settings", [{"threads": 2}, {"threads": 1, "batch_rows": 1}], ids=["default", "batches of 1"])
@pytest.mark.parametrize("query", QUERIES)
def test_rows(query: str, settings: dict[str, Any]) -> None:
    assert Counter(rows(query, **settings)) == Counter(oracle(query))


@pytest.mark.parametrize("query", ORDERED)
def test_ordered_rows(query: str) -> None:
    assert rows(query, threads=2) == oracle(query)


WRONG = {
    "select nam from t": ("column_not_found", 8),
    "select * from tt": ("table_not_found", 15),
    "select uper(s) from t": ("function_not_found", 8),
    "select i, count(*) from t": ("not_grouped", 8),
    "select i from t where sum(i) > 1": ("misplaced_aggregate", 23),
    "select i from t join u on t.i = u.i": ("ambiguous_column", 8),
    "select i from t union select i, x from u": ("set_columns", 8),
    "select sum(s) from t": ("no_matching_overload", 8),
    "select 1 +": ("syntax_error", None),
    "select i from t order by 3": ("bad_position", 26),
}


@pytest.mark.parametrize("query", WRONG)
def test_wrong_statements(query: str) -> None:
    code, col = WRONG[query]
    with pytest.raises(sqlengine.errors.ProgrammingError) as caught:
        rows(query)
    assert caught.value.code == code
    if col is not None:
        assert caught.value.location is not None
        assert caught.value.location.col == col


@pytest.mark.parametrize("query", ["select cast(s as integer) from t", "select i * 2000000000 * 2 from t"])
def test_values_out_of_range_are_errors(query: str) -> None:
    with pytest.raises(sqlengine.errors.DataError):
        rows(query)


def test_settings() -> None:
    with sqlengine.connect() as session:
        session.sql("set threads = 1")
        assert session.sql("show threads").fetchall()[0][:2] == ("threads", "1")
        with pytest.raises(sqlengine.errors.InterfaceError, match="did you mean"):
            session.sql("set thread = 1")
