"""The 22 TPC-H queries equal DuckDB's answers, however they are run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlengine.optimizer.rules import RULES
from tests.tpch.answers import QUERIES, Rows, ours, same_rows

WAYS: dict[str, dict[str, Any]] = {
    "two threads": {"threads": 2},
    "one thread": {"threads": 1},
    "batches of 7 rows": {"threads": 2, "batch_rows": 7},
    "partitioned joins and tiny batches": {"threads": 2, "batch_bytes": "16KiB", "partitions": 3},
}


@pytest.fixture(scope="session")
def folder(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("0.01")


@pytest.fixture(scope="session")
def expected(expected_of: Callable[[str, str], Rows]) -> dict[str, Rows]:
    return {name: expected_of("0.01", name) for name in QUERIES}


def test_there_are_22_queries() -> None:
    assert len(QUERIES) == 22


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", QUERIES)
def test_answer(name: str, way: str, folder: Path, expected: dict[str, Rows]) -> None:
    assert same_rows(ours(QUERIES[name], folder, **WAYS[way]), expected[name])


@pytest.mark.parametrize("rule", [*(rule.name for rule in RULES if not rule.needed), "dynamic_filters"])
def test_every_rule_may_be_off(rule: str, folder: Path, expected: dict[str, Rows]) -> None:
    for name, query in QUERIES.items():
        assert same_rows(ours(query, folder, threads=2, disabled_rules=rule), expected[name]), name
