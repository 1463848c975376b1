"""EXPLAIN MEMORY: its floors admit, its settings do what it says, its measured form shows what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.errors import MemoryLimitError
from sqlengine.runtime.guard import MemoryGuard
from sqlengine.runtime.memory import MemoryPool
from sqlengine.runtime.process_watch import operator_budget
from sqlengine.session import Session
from sqlengine.settings import parse_bytes

MB = 1_000_000
WEIGHT = 100 * MB  # as if the process weighed this, so that limits do not depend on what tests have loaded
QUERY = "select k, count(*) as n, sum(v) as s from a group by k order by s"
SORT = "select k, v, v + 1 as w, v + 2 as x from a order by v desc"


def limited(session: Session, limit: int) -> None:
    session._weight = WEIGHT
    session._guard = MemoryGuard(1 << 40, WEIGHT, MemoryPool(operator_budget(limit, WEIGHT)))
    session._settings = replace(session._settings, memory_limit=limit)
    session._pool = session._guard.pool


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        made.register("a", pa.table({"k": [i % 50_000 for i in range(200_000)], "v": list(range(200_000))}))
        yield made


def document(session: Session, query: str, limit: str) -> dict[str, object]:
    settings = session._settings.with_value("memory_limit", limit)
    found: dict[str, object] = json.loads(session.explain(session.sql(query).plan, "memory", settings, "json"))
    return found


def test_the_verdict_follows_the_limit(session: Session) -> None:
    limited(session, 300 * MB)
    assert document(session, SORT, "400MB")["verdict"] == "fits"
    tight = document(session, SORT, "132MB")
    assert tight["verdict"] == "spills" and tight["predicted_spill"] > 0  # type: ignore[operator]
    assert document(session, QUERY, "123MB")["verdict"] == "refused"


def test_the_least_limit_is_the_one_that_admission_takes(session: Session) -> None:
    limited(session, 300 * MB)
    least = document(session, QUERY, "300MB")["least_memory_limit"]
    assert isinstance(least, int)
    expected = session.sql(QUERY).fetchall()
    limited(session, least)
    assert session.sql(QUERY).fetchall() == expected
    assert session._pool.peak <= session._pool.capacity
    limited(session, least - 2 * MB)
    with pytest.raises(MemoryLimitError, match="at least") as raised:
        session.sql(QUERY).fetchall()
    assert raised.value.hint is not None and "memory_limit" in raised.value.hint


def test_each_setting_does_what_is_said(session: Session) -> None:
    limited(session, 132 * MB)
    found = document(session, QUERY, "132MB")
    offers = found["settings"]
    assert isinstance(offers, list) and any(offer["setting"] == "memory_limit" for offer in offers)
    for offer in offers:
        settings = session._settings.with_value("memory_limit", "132MB").with_value(offer["setting"], offer["value"])
        again = json.loads(session.explain(session.sql(QUERY).plan, "memory", settings, "json"))
        for key in ("verdict", "predicted_spill", "predicted_peak_rss", "floor"):
            assert again[key] == offer[key], (offer, key)


def test_the_text_names_operators_floors_and_settings(session: Session) -> None:
    limited(session, 132 * MB)
    text = session.explain(session.sql(SORT).plan, "memory")
    assert text.startswith("verdict: fits by spilling ")
    for part in ("ScanSplits", "ExternalSort", "floor", "ideal", "rows to sort", "memory_limit = '"):
        assert part in text


def test_measured_beside_predicted(session: Session) -> None:
    limited(session, 127 * MB)
    session._settings = replace(session._settings, batch_bytes=64 << 10)
    found = json.loads(session.explain(session.sql(QUERY).plan, "analyze memory", None, "json"))
    assert found["spilled"] > 0 and found["peak_rss"] > 0 and "unattributed" in found
    operators = [item for stage in found["stages"] for item in stage["operators"]]
    sort = next(item for item in operators if item["operator"] == "ExternalSort")
    assert sort["predicted_peak"] > 0 and sort["peak"] > 0 and sort["batches"] > 0 and sort["rows"] == 50_000
    assert "unattributed" in session.explain(session.sql(QUERY).plan, "analyze memory")


def test_tables_of_memory_events_and_files(session: Session) -> None:
    kinds = session.sql("select kind, bytes from sqlengine_memory()").fetchall()
    assert {"baseline", "floors"} <= {kind for kind, _ in kinds}
    assert sum(size for _, size in kinds) > 0
    limited(session, 127 * MB)
    session.sql("select k, v from a order by v desc").fetchall()
    text = session.sql("select text from sqlengine_memory_events() where kind = 'spill'").fetchall()[-1][0]
    assert text.startswith("spilled ") and text.endswith("ExternalSort") and "MiB/s" in text
    stream = session.sql("select k, v from a order by v desc").batches()
    next(stream)
    assert session.sql("select count(*) from sqlengine_spill_files() where owner = 'ExternalSort'").fetchall() != [(0,)]
    stream.close()
    assert session.sql("select count(*) from sqlengine_spill_files()").fetchall() == [(0,)]


def test_the_limits_offered_do_what_is_said_when_the_query_runs(session: Session) -> None:
    limited(session, 132 * MB)
    found = document(session, SORT, "132MB")
    assert found["verdict"] == "spills"
    expected = session.sql(SORT).to_arrow()
    offers = [offer for offer in found["settings"] if offer["setting"] == "memory_limit"]  # type: ignore[attr-defined]
    assert {offer["verdict"] for offer in offers} == {"spills", "fits"}
    for offer in offers:
        limited(session, parse_bytes(offer["value"]))
        before = session._spill.written
        assert session.sql(SORT).to_arrow().equals(expected)
        assert (session._spill.written > before) == (offer["verdict"] == "spills")
