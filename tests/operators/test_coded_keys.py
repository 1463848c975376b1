"""Groups by text in the codes of Parquet dictionaries: the same groups as by the text itself."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sqlengine
from sqlengine.errors import MemoryLimitError
from sqlengine.kernels.grouping import GroupTable
from sqlengine.operators.coded_keys import CodedTable
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.runtime.memory import MemoryPool

ROWS = 9_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Row groups with dictionaries of their own, NULLs, an empty text, one row group that has no dictionary."""
    file = tmp_path_factory.mktemp("coded") / "t.parquet"
    names = [None if n % 11 == 0 else f"name {(n // 1000) * 5 + n % 7}" for n in range(ROWS)]
    flags = ["" if n % 5 == 0 else "né" if n % 3 else None for n in range(ROWS)]
    table = pa.table(
        {"name": names, "flag": flags, "n": list(range(ROWS)), "blob": [b"\xff%d" % (n % 9) for n in range(ROWS)]}
    )
    with pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table.slice(0, 7_000), row_group_size=1000)
    plain = file.with_name("plain.parquet")
    pq.write_table(table.slice(7_000), plain, use_dictionary=False)
    return str(file.with_name("*.parquet"))


QUERIES = (
    "select name, count(*), sum(n) from t group by name",
    "select name, flag, max(n), count(*) from t group by all",
    "select flag, count(distinct name) from t where n % 3 = 1 group by flag",
    "select distinct blob, flag from t",
    "select upper(name), count(*) from t group by 1",
    "select name, max(name), min(flag) from t group by name",
    "select name, flag, sum(n) from t where name like '%1' or flag = '' group by rollup (name, flag)",
    "select f, count(*) from (select name as f, n + 1 as m from t) where m > 5 group by f having count(*) > 10",
)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("way", ["default", "small batches", "little memory"])
def test_as_duckdb(path: str, query: str, way: str) -> None:
    query = query.replace(" t", f" '{path}' t", 1) if " from t" in query else query
    expected = sorted(duckdb.sql(query).fetchall(), key=str)
    settings = {} if way == "default" else {"batch_rows": 50, "batch_bytes": "2KiB", "threads": 1}
    with sqlengine.connect(**settings) as session:
        size = 1 << 30
        if way == "little memory":
            size = 24_000
        while True:
            session._pool = MemoryPool(size)
            try:
                found = session.sql(query).fetchall()
                break
            except MemoryLimitError:
                size += size // 2
    assert sorted(found, key=str) == expected


def test_the_plan_asks_for_codes(path: str) -> None:
    def coded(query: str) -> list[str]:
        with sqlengine.connect() as session:
            root = session._operators(session.sql(query)._plan, session._context().settings)
        found, stack = [], [root]
        while stack:
            operator = stack.pop()
            stack += operator.inputs
            if isinstance(operator, HashAggregate):
                found += [key.split("#")[0] for key in operator.coded]
        return found

    assert coded(f"select name, count(*) from '{path}' group by name") == ["name"]
    assert coded(f"select name, max(name) from '{path}' group by name") == []
    assert coded(f"select name, n, flag from '{path}' group by all") == ["name", "flag"]


def test_codes_and_texts_are_the_same_words() -> None:
    types = [pa.string(), pa.int64()]
    coded, plain = CodedTable(types, [0]), GroupTable(types)
    texts = pa.array(["a", None, "b", "a", "c", None])
    batches = [
        [texts.dictionary_encode(), pa.array([1, 1, 1, 1, 2, 1])],
        [texts, pa.array([1, 1, 2, 1, 2, 2])],
        [pa.DictionaryArray.from_arrays([0, 1, 2, None], pa.array(["c", None, "d"])), pa.array([2, 1, 1, 2])],
    ]
    for columns in batches:
        found, first = coded.lookup(columns)
        expected, fresh = plain.lookup([columns[0].cast(pa.string()), columns[1]])
        assert found.to_pylist() == expected.to_pylist()
        assert first.to_pylist() == fresh.to_pylist()
    assert coded.groups == plain.groups == 7
    coded.seal()
    plain.seal()
    assert coded.keys(0, 0, 7).equals(plain.keys(0, 0, 7))
    assert coded.keys(1, 2, 3).equals(plain.keys(1, 2, 3))
    assert coded.fit(0, 7, 1) == 1
    coded.clear()
    assert coded.groups == 0
