"""Common tables that are computed once, recursive tables and unions, with rows that do not fit into memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sqlengine
from sqlengine.runtime.memory import MemoryPool

ROWS = 60_000
TWICE = """
    with a as materialized (select i, i % 1000 as k, repeat('x', 100) || i as s from big where i % 3 <> 0)
    select count(*), sum(x.i), max(y.s) from a x join a y on x.i = y.i + 1
"""
DEEP = """
    with recursive t(i, n, s) as (
        select i, 0, 'text of row ' || i from big where i < 40000
        union all
        select i, n + 1, s from t where n < 3 and i % 2 = n % 2
    )
    select n, count(*), min(s), sum(i) from t group by n order by n
"""


@pytest.fixture
def big(tmp_path: Path) -> str:
    path = str(tmp_path / "big.parquet")
    pq.write_table(pa.table({"i": pa.array(range(ROWS), pa.int64())}), path, row_group_size=7_000)
    return path


@pytest.mark.parametrize("query", [TWICE, DEEP], ids=["shared", "recursive"])
def test_same_rows_when_spilled(big: str, query: str) -> None:
    query = query.replace("from big", f"from '{big}'")
    with sqlengine.connect(threads=2) as session:
        expected = session.sql(query).to_pylist()
    with sqlengine.connect(threads=2, batch_bytes="64KiB") as session:
        session._pool = MemoryPool(2 << 20)
        assert session.sql(query).to_pylist() == expected
        assert session._spill.written > 0


def test_union_keeps_the_order_of_its_inputs(big: str) -> None:
    query = f"""
        select i from '{big}' where i % 2 = 0 union all
        (select i + 1000000 from '{big}' where i > 50000 union all select -i from '{big}' where i > 99999999)
    """
    even = [i for i in range(ROWS) if i % 2 == 0]
    with sqlengine.connect(threads=4, batch_rows=500) as session:
        rows = session.sql(query).to_arrow().column(0).to_pylist()
        assert rows == [*even, *(i + 1_000_000 for i in range(50_001, ROWS))]
        # Producers that saw no row of an input are ordered too.
        assert session.sql(f"select count(*) from ({query})").to_arrow().column(0)[0].as_py() == len(rows)


def test_a_common_table_is_computed_once(big: str) -> None:
    query = f"with a as (select sum(i) as s from '{big}') select x.s, y.s from a x, a y"
    with sqlengine.connect() as session:
        plan = "\n".join(row["plan"] for row in session.sql(f"explain {query}").to_pylist())
    assert plan.count("ScanSplits") == 1
