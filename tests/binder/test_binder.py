"""The SQL front: TPC-H binds, wrong queries are refused with a code and a place."""

from pathlib import Path

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.errors import Error

QUERIES = sorted((Path(__file__).parents[1] / "tpch" / "queries").glob("*.sql"))


def test_function_sql_survives_import_of_the_subpackage() -> None:
    assert sqlengine.sql("select 1").fetchall() == [(1,)]
    assert sqlengine.sql("select 2").fetchall() == [(2,)]


@pytest.mark.parametrize(
    ("query", "code", "col"),
    [
        ("select nam from (values (1)) t(name)", "column_not_found", 8),
        ("select a from (values (1, 2)) t(a, b) group by b", "not_grouped", 8),
        ("select a from (values (1)) t(a) where sum(a) > 1", "misplaced_aggregate", 39),
        ("select a from (values (1)) t(a), (values (1)) u(a)", "ambiguous_column", 8),
        ("select 1 from nowhere", "table_not_found", 15),
        ("select * from range(3) limit 150%", "bad_limit", 30),
        ("select ,", "syntax_error", None),
    ],
)
def test_errors(query: str, code: str, col: int | None) -> None:
    with pytest.raises(Error) as caught:
        sqlengine.connect().sql(query)
    assert caught.value.code == code
    if col is not None:
        assert caught.value.location is not None and caught.value.location.col == col


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select a, count(*) from (values (1), (2)) t(a) group by rollup(a) order by a", [(1, 1), (2, 1), (None, 2)]),
        (
            "select a, b, count(*) from (values (1, 2)) t(a, b) group by grouping sets ((a), (b))",
            [(1, None, 1), (None, 2, 1)],
        ),
    ],
)
def test_grouping_sets(query: str, rows: list[tuple[object, ...]]) -> None:
    assert sorted(sqlengine.connect().sql(query).fetchall(), key=str) == sorted(rows, key=str)


def test_rename_of_star() -> None:
    table = sqlengine.connect().sql("select * rename (a as z) from (values (1, 2)) t(a, b)").to_arrow()
    assert table.schema.names == ["z", "b"] and isinstance(table, pa.Table)


_TABLES = {
    "lineitem": "orderkey:i partkey:i suppkey:i linenumber:i quantity:m extendedprice:m discount:m tax:m returnflag:s "
    "linestatus:s shipdate:d commitdate:d receiptdate:d shipinstruct:s shipmode:s comment:s",
    "orders": "orderkey:i custkey:i orderstatus:s totalprice:m orderdate:d orderpriority:s clerk:s shippriority:i "
    "comment:s",
    "customer": "custkey:i name:s address:s nationkey:i phone:s acctbal:m mktsegment:s comment:s",
    "part": "partkey:i name:s mfgr:s brand:s type:s size:i container:s retailprice:m comment:s",
    "partsupp": "partkey:i suppkey:i availqty:i supplycost:m comment:s",
    "supplier": "suppkey:i name:s address:s nationkey:i phone:s acctbal:m comment:s",
    "nation": "nationkey:i name:s regionkey:i comment:s",
    "region": "regionkey:i name:s comment:s",
}
_TYPES = {"i": pa.int64(), "m": pa.decimal128(15, 2), "s": pa.string(), "d": pa.date32()}
_PREFIXES = {
    "lineitem": "l",
    "orders": "o",
    "customer": "c",
    "part": "p",
    "partsupp": "ps",
    "supplier": "s",
    "nation": "n",
    "region": "r",
}


def test_all_tpch_queries_are_there() -> None:
    assert len(QUERIES) == 22


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_tpch_binds(path: Path) -> None:
    session = sqlengine.connect()
    for table, columns in _TABLES.items():
        pairs = [column.split(":") for column in columns.split()]
        schema = pa.schema([(f"{_PREFIXES[table]}_{name}", _TYPES[kind]) for name, kind in pairs])
        session.register(table, schema.empty_table())
    assert session.sql(path.read_text()).schema.names
