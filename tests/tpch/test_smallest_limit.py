"""The 22 queries at SF 0.1 with the smallest memory limit that EXPLAIN MEMORY says they run with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sqlengine
from sqlengine.runtime.guard import MemoryGuard
from sqlengine.runtime.memory import MemoryPool
from sqlengine.runtime.process_watch import operator_budget
from tests.tpch.answers import QUERIES, Rows, open_tables, same_rows


@pytest.mark.parametrize("name", QUERIES)
def test_answer_with_the_smallest_batches_and_limit(
    name: str, folder_of: Callable[[str], Path], expected_of: Callable[[str, str], Rows]
) -> None:
    with sqlengine.connect(threads=2) as session:
        open_tables(session, folder_of("0.1"))
        relation = session.sql(QUERIES[name])
        least = json.loads(session.explain(relation.plan, "memory", format="json"))["least_memory_limit"]
        # The pool such a limit makes. The limit on the process is another test's: this one has loaded other engines.
        session._pool = MemoryPool(operator_budget(least, session._weight))
        session._guard = MemoryGuard(1 << 40, session._weight, session._pool)
        assert same_rows(relation.fetchall(), expected_of("0.1", name))
        assert session._pool.peak <= session._pool.capacity
