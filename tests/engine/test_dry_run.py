"""Dry runs: everything is bound and forecast, nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.errors import BindError, MemoryLimitError
from sqlengine.session import Session
from sqlengine.testing import assert_memory


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2, memory_limit="8GB") as made:
        made.register("a", pa.table({"k": [i % 50_000 for i in range(200_000)], "v": list(range(200_000))}))
        yield made


def test_a_script_is_planned_and_leaves_nothing(session: Session, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    planned = session.dry_run(
        f"""
        set threads = 1;
        create table t as select k, v from a;
        create view w as select k, count(*) as n from t group by k;
        insert into t select * from a;
        update t set v = 0 where k = 1;
        delete from t where k = 2;
        summarize t;
        select * from w order by n;
        prepare q as select * from t where k = $1;
        execute q(7);
        explain analyze from t;
        copy t to '{target}'
        """
    )
    lines = [query.location.line for query in planned]
    assert lines == [3, 5, 6, 6, 7, 8, 9, 11, 12, 13]
    assert all(query.forecast.settings.threads == 1 and query.allowed for query in planned)
    assert session.tables() == ["a"] and session.current.threads == 2 and not target.exists()


def test_a_table_is_expected_to_have_the_rows_of_its_query(session: Session) -> None:
    (filled, sort) = session.dry_run("create table t as from a; select v from t order by v")
    assert "~200,000 rows" in filled.plan and "~200,000 rows" in sort.plan
    ideal = next(op.ideal for op in sort.forecast.stages[-1].operators if type(op.operator).__name__ == "ExternalSort")
    assert ideal is not None and ideal > 200_000 * 8


def test_errors_of_later_statements_are_found(session: Session) -> None:
    with pytest.raises(BindError, match="nam"):
        session.dry_run("create table t as select 1 as name; select nam from t")


def test_documents_and_text(session: Session) -> None:
    (query,) = session.dry_run("select 1")
    assert query.text().startswith("<command>:1:1: fits: predicted peak ")
    document = query.document()
    assert document["verdict"] == "fits" and document["allowed"] and document["line"] == 1


def test_a_query_predicted_over_the_bound_does_not_run(session: Session) -> None:
    session.set("fail_over_memory", "1MB")
    with pytest.raises(MemoryLimitError, match="predicted") as raised:
        session.sql("select * from a order by v").fetchall()
    assert raised.value.code == "over_memory"
    assert not session.dry_run("select * from a order by v")[0].allowed
    session.set("fail_over_memory", "8GB")
    assert session.sql("select count(*) from a").fetchall() == [(200_000,)]


def test_assert_memory(session: Session) -> None:
    found = assert_memory("select count(*) from a", "4GB", session=session, run=True)
    assert found.verdict == "fits" and session.current.memory_limit == 8 * 10**9
    with pytest.raises(AssertionError, match="needs a memory_limit of at least"):
        assert_memory("select * from a order by v", session.weight, session=session)
    rows = {"t": pa.table({"v": list(range(2_000_000))})}
    tight = session.weight + 48_000_000
    session.register("t", rows["t"])
    assert assert_memory("select v from t order by v", tight, session=session).verdict == "spills"
    with pytest.raises(AssertionError, match="fits by spilling") as raised:
        assert_memory("select v from t order by v", tight, session=session, spill=False)
    assert "ExternalSort" in str(raised.value)
    assert assert_memory("select 1", "4GB").verdict == "fits"
