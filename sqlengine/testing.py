"""For the tests of those who use the engine: a query must not take more memory than this.

def test_report_stays_small():
    assert_memory("select * from 'log.parquet' order by at", "512MB")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlengine.parameters import Params
from sqlengine.physical.explain_memory import explain_memory, verdict_text
from sqlengine.physical.forecast import MemoryForecast, least_limit
from sqlengine.session import Session
from sqlengine.settings import format_bytes, parse_bytes


def assert_memory(
    query: str,
    limit: str | int,
    params: Params = None,
    *,
    session: Session | None = None,
    tables: Mapping[str, Any] | None = None,
    spill: bool = True,
    run: bool = False,
) -> MemoryForecast:
    """AssertionError, with the forecast of every operator, unless `query` is predicted to run within `limit`.

    Parameters
    ----------
    limit : str or int
        A memory limit as `SET memory_limit` takes it; the prediction is made as if the session had it.
    session : Session, optional
        Where the query's tables and functions are known; a new one without it.
    spill : bool
        Whether the query may write to disk to stay within the limit.
    run : bool
        Also run the query with that limit, and hold the measured peak of the process against it.

    Returns the forecast.
    """
    if session is None:
        with Session() as made:
            return assert_memory(query, limit, params, session=made, tables=tables, spill=spill, run=run)
    size = parse_bytes(limit)
    relation = session.sql(query, params, tables=tables)
    settings = session.current.with_value("memory_limit", size)
    found = session.forecast(relation.plan, settings)
    if found.verdict == "refused" or (found.verdict == "spills" and not spill):
        planner = session.planner(relation.plan)
        least = least_limit(planner, settings, session.weight, lambda other: other.verdict != "refused")
        shown = explain_memory(planner, settings, size, session.weight)
        raise AssertionError(f"at {format_bytes(size)} the query {verdict_text(found, least)}\n{shown}")
    if run:
        before = session.current.memory_limit
        session.set("memory_limit", size)
        try:
            for _ in relation.batches():
                pass
        finally:
            session.set("memory_limit", before or None)
        peak = 0 if relation.stats is None else int(relation.stats["peak_rss"])
        if peak > size:
            raise AssertionError(f"the process had {format_bytes(peak)} resident, over {format_bytes(size)}")
    return found
