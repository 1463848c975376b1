"""What a build side has shown reaches the scans of the rest of the plan, and never changes an answer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sqlengine
from sqlengine.formats import open_source

# `few` is the build side; `m1` and `m2` have keys with NULLs, duplicates and strangers; `u` is text.
QUERIES = [
    "select few.k, n from few join (select k, count(*) n from m1 group by k) g on g.k = few.k",
    "select few.k, g.n from few left join (select k, sum(v) n from m1 group by k) g on g.k = few.k",
    "select few.k, v, r from few join (select k, v, row_number() over (partition by k order by v, w) r from m1) g"
    " on g.k = few.k",
    "select few.k, v from few join (select k, v from m1 union all select k, v + 100 from m2) g on g.k = few.k",
    "select few.k, m1.v, m2.v from few join (m1 left join m2 on m1.k = m2.k) on m2.k = few.k",
    "select few.k, m1.v, m2.v from few join (m1 full join m2 on m1.k = m2.k) on m1.k = few.k",
    "select few.k, m1.v, m2.v from few join (m1 full join m2 on m1.k = m2.k) on m2.k = few.k",
    "select few.k, m1.v, m2.v from few join (m1 right join m2 on m1.k = m2.k) on m1.k = few.k",
    "select few.k, m1.v, m2.v from few join (m1 join m2 on m1.k = m2.k and m1.v < m2.v) on m1.k = few.k",
    "select few.k, v from few join m1 on m1.k = few.k where exists (select 1 from m2 where m2.k = m1.k)",
    "select few.k, v from few join m1 on m1.k = few.k where not exists (select 1 from m2 where m2.k = m1.k)",
    "select few.k, v from few join m1 on m1.k = few.k where m1.k not in (select k from m2 where k is not null)",
    "select few.k, v from few join m1 on m1.k = few.k where m1.k not in (select k from m2)",
    "select few.k, v, v in (select v from m2 where m2.k = m1.k) from few join m1 on m1.k = few.k",
    "select v from m1 where k in (select k from few)",
    "select v from m1 where k not in (select k from few where k is not null)",
    "select m1.v, few.k from m1 left join few on m1.k = few.k",
    "select m1.v from m1 join few on m1.k is not distinct from few.k",
    "select u.t, m1.v from m1 join u on m1.t = u.t where u.t like 'a%'",
    "select few.k, v from few join (select * from m1 order by k, v, w limit 7) g on g.k = few.k",
    "select few.k, v from few join (select distinct k, v from m1) g on g.k = few.k",
    "select count(*) from m1 where k = (select max(k) from few)",
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    chance = random.Random(1)
    folder = tmp_path_factory.mktemp("tables")

    def rows(n: int) -> dict[str, Any]:
        return {
            "k": pa.array([chance.choice([None, chance.randint(0, 40)]) for _ in range(n)], pa.int64()),
            "v": pa.array([chance.randint(0, 9) for _ in range(n)], pa.int32()),
            "w": pa.array(range(n), pa.int32()),
            "t": pa.array([chance.choice([None, "a", "ab", "b", "abc", ""]) for _ in range(n)]),
        }

    found = {
        "few": pa.table({"k": pa.array([3, 5, 5, None, 77], pa.int64())}),
        "m1": pa.table(rows(300)),
        "m2": pa.table(rows(60)),
        "u": pa.table({"t": ["a", "ab", "zz", None]}),
    }
    paths = {}
    for name, table in found.items():
        paths[name] = str(folder / f"{name}.parquet")
        pq.write_table(table, paths[name], row_group_size=37)
    return paths


def answers(query: str, tables: dict[str, str], **settings: Any) -> list[tuple[Any, ...]]:
    with sqlengine.connect(threads=2, **settings) as session:
        for name, path in tables.items():
            session.register_source(name, open_source(path))
        return sorted(session.sql(query).fetchall(), key=repr)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("disabled", ["", "join_order", "push_semi_joins"])
def test_answers_stay(query: str, disabled: str, tables: dict[str, str]) -> None:
    connection = duckdb.connect()
    for name, path in tables.items():
        connection.execute(f"create view {name} as from '{path}'")
    expected = sorted(connection.execute(query).fetchall(), key=repr)
    assert answers(query, tables, disabled_rules=disabled) == expected
    assert answers(query, tables, disabled_rules=f"{disabled},dynamic_filters") == expected


def test_scans_read_less(tmp_path: Path) -> None:
    """A million rows, of which the join needs forty: the scan gives out those, also below the grouping."""
    numbers = pa.array(range(200_000), pa.int64())
    pq.write_table(pa.table({"k": numbers, "v": numbers}), tmp_path / "large.parquet")
    pq.write_table(pa.table({"k": pa.array(range(0, 200_000, 5000))}), tmp_path / "small.parquet")
    query = (
        f"select count(*), sum(n) from '{tmp_path}/small.parquet' s "
        f"join (select k, count(*) n from '{tmp_path}/large.parquet' group by k) g on g.k = s.k"
    )
    with sqlengine.connect(threads=2) as session:
        assert session.sql(query).fetchall() == [(40, 40)]
        text = session.sql(query).explain("analyze")
        (line,) = (line for line in text.splitlines() if "large.parquet" in line)
        assert "  40 rows" in line
    with sqlengine.connect(threads=2, disabled_rules="dynamic_filters") as session:
        assert session.sql(query).fetchall() == [(40, 40)]
        assert "  200,000 rows" in session.sql(query).explain("analyze")
