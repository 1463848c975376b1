"""The 22 TPC-H queries equal DuckDB's answers, however they are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sqlengine.optimizer.rules import RULES
from tests.tpch.answers import QUERIES, oracle, ours, same_rows

WAYS: dict[str, dict[str, Any]] = {
    "two threads": {"threads": 2},
    "one thread": {"threads": 1},
    "batches of 7 rows": {"threads": 2, "batch_rows": 7},
    "partitioned joins and tiny batches": {"threads": 2, "batch_bytes": "16KiB", "partitions": 3},
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tpch")
    tool = Path(sys.executable).parent / "tpchgen-cli"
    subprocess.run([tool, "parquet", "-s", "0.01", f"--output-dir={path}"], check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def expected(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {name: oracle(query, folder) for name, query in QUERIES.items()}


def test_there_are_22_queries() -> None:
    assert len(QUERIES) == 22


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", QUERIES)
def test_answer(name: str, way: str, folder: Path, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    assert same_rows(ours(QUERIES[name], folder, **WAYS[way]), expected[name])


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_every_rule_may_be_off(rule: str, folder: Path, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    # Without push-down or join ordering, comma joins of many tables are products: those queries are left to the other ways.
    slow = {"q02", "q05", "q07", "q08", "q09", "q10", "q11", "q20", "q21", "q03", "q18"}
    for name, query in QUERIES.items():
        if rule in ("push_filters", "join_order", "simplify_predicates", "infer_predicates") and (
            name in slow or name == "q19"
        ):
            continue
        assert same_rows(ours(query, folder, threads=2, disabled_rules=rule), expected[name]), name
