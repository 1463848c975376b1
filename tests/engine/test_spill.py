"""Answers under a small pool equal those without spilling, and nothing is left on disk."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.runtime.memory import MemoryPool
from sqlengine.session import Session

ROWS = 120_000


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    random.seed(3)
    keys = [random.randrange(60_000) for _ in range(ROWS)]
    return {
        "a": pa.table({"k": keys, "v": range(ROWS), "t": [f"text {i % 977}" for i in range(ROWS)]}),
        "b": pa.table({"k": [k if k % 10 else None for k in range(60_000)], "w": [k * 2 for k in range(60_000)]}),
        "hot": pa.table({"k": [1 if i % 10 else i for i in range(3000)], "x": range(3000)}),
    }


def run(session: Session, tables: dict[str, pa.Table], query: str) -> list[tuple[Any, ...]]:
    for name, table in tables.items():
        session.register(name, table)
    return session.sql(query).fetchall()


QUERIES = {
    "sort": "select k, v from a order by k desc, v",
    "group by": "select k, count(*), sum(v), min(t), max(t) from a group by k",
    "distinct": "select distinct k, t from a",
    "join": "select a.k, v, w from a join b on a.k = b.k",
    "left join": "select a.k, v, w from a left join b on a.k = b.k",
    "full join": "select a.k, b.k, v, w from a full join b on a.k = b.k",
    "semi": "select v from a where k in (select k from b where w > 1000)",
    "anti": "select v from a where not exists (select * from b where b.k = a.k)",
    "hot key": "select count(*), sum(h.x + i.x) from hot h join hot i on h.k = i.k",
    "except": "select k from a except select k from b",
    "intersect all": "select k from a intersect all select k from b",
}


@pytest.mark.parametrize("name", QUERIES)
def test_same_answer_when_spilling(name: str, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    with sqlengine.connect(threads=2) as roomy:
        expected = run(roomy, tables, QUERIES[name])
    with sqlengine.connect(threads=2, batch_bytes="64KiB", spill_dir=str(tmp_path)) as tight:
        tight._pool = MemoryPool(3 << 20)
        found = run(tight, tables, QUERIES[name])
        assert tight._pool.peak <= 3 << 20
        if name not in ("hot key", "except", "intersect all", "semi", "anti"):
            assert tight._spill.written > 0
    if name == "sort":
        assert found == expected
    else:
        assert Counter(found) == Counter(expected)
    assert not list(tmp_path.glob("*/*"))


def test_a_pool_below_the_floor_is_refused_before_work(tables: dict[str, pa.Table]) -> None:
    with sqlengine.connect(threads=2) as session:
        session._pool = MemoryPool(200 << 10)
        with pytest.raises(sqlengine.errors.MemoryLimitError, match="at least"):
            run(session, tables, QUERIES["sort"])


def test_spill_limit_fails_the_query_and_leaves_the_session_usable(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    with sqlengine.connect(threads=1, batch_bytes="64KiB", spill_dir=str(tmp_path), spill_limit="50KB") as session:
        session._pool = MemoryPool(3 << 20)
        with pytest.raises(sqlengine.errors.SpillError, match="limit"):
            run(session, tables, QUERIES["sort"])
        assert session.sql("select 1").fetchall() == [(1,)]
        assert session._pool.used == 0


def test_a_result_closed_early_frees_everything(tables: dict[str, pa.Table]) -> None:
    with sqlengine.connect(threads=2) as session:
        session.register("a", tables["a"])
        stream = session.sql("select * from a order by v").batches()
        next(stream)
        stream.close()
        assert session._pool.used == 0
