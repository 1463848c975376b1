"""Random queries give DuckDB's answers, with much memory and with little. `--fuzz N` says how many; seeds that once
failed come first.

A failure prints its seed: add it to seeds.txt together with the mend.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import sqlengine
from sqlengine.errors import Error, MemoryLimitError
from sqlengine.runtime.memory import MemoryPool
from tests.fuzz.compare import same_answer
from tests.fuzz.grammar import Query, random_query
from tests.fuzz.nested_grammar import random_nested_query
from tests.fuzz.tables import make_tables

CHUNK = 50
SEEDS = [
    int(line.split()[0]) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line.strip()
]
WAYS: dict[str, dict[str, Any]] = {
    "roomy": {"threads": 2},
    "tiny": {"threads": 1, "batch_rows": 32, "batch_bytes": "1KiB"},
}
_LEAST_POOL = 8 << 10


class Pair:
    """The engine in one way and the oracle, over the same tables. In the tiny way a query gets about the least memory
    with which it is admitted, so that what holds rows spills; `spilled` counts such queries."""

    def __init__(self, tables: dict[str, pa.Table], way: str) -> None:
        self.tiny = way == "tiny"
        self.spilled = 0
        self.session = sqlengine.connect(**WAYS[way])
        self.oracle = duckdb.connect()
        self.oracle.execute("set threads = 1")
        for name, table in tables.items():
            self.session.register(name, table)
            self.oracle.register(name, table)

    def ours(self, query: str) -> list[tuple[Any, ...]]:
        if not self.tiny:
            return self.session.sql(query).fetchall()
        size = _LEAST_POOL
        while True:
            self.session._pool = MemoryPool(size)
            try:
                relation = self.session.sql(query)  # a PIVOT looks for its values here
                rows = relation.fetchall()
            except MemoryLimitError:
                if size > 1 << 28:
                    raise
                size += size // 2
            else:
                assert relation.stats is not None
                self.spilled += relation.stats["spilled"] > 0
                return rows

    def problem(self, seed: int) -> str | None:
        return self.difference(f"seed {seed}", random_query(seed))

    def difference(self, seed: str, query: Query) -> str | None:
        """What is wrong with the answer to a query, if anything is."""
        expected = self.oracle.execute(query.text).fetchall()
        try:
            found = self.ours(query.text)
        except Error as error:
            return f"{seed}: {error.code}: {error.message}\n  {query.text}"
        except Exception as error:  # anything else is ours to mend too, and must not hide the other seeds
            return f"{seed}: {type(error).__name__}: {error}\n  {query.text}"
        if same_answer(found, expected, query.ordered):
            return None
        extra = [row for row in found if row not in expected][:3]
        missing = [row for row in expected if row not in found][:3]
        counts = f"{len(found)} rows, expected {len(expected)}"
        return f"{seed}: {counts}; extra {extra}, missing {missing}\n  {query.text}"


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, Pair]]:
    tables = make_tables()
    made = {way: Pair(tables, way) for way in WAYS}
    yield made
    for pair in made.values():
        pair.session.close()
        pair.oracle.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first" in metafunc.fixturenames:
        count = metafunc.config.getoption("--fuzz")
        metafunc.parametrize("first", range(0, max(1, count), CHUNK))


@pytest.mark.parametrize("way", WAYS)
def test_seeds_that_once_failed(way: str, pairs: dict[str, Pair]) -> None:
    problems = [problem for seed in SEEDS if (problem := pairs[way].problem(seed))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("way", WAYS)
def test_random_queries(first: int, way: str, pairs: dict[str, Pair]) -> None:
    problems = [problem for seed in range(first, first + CHUNK) if (problem := pairs[way].problem(seed))]
    assert not problems, f"{len(problems)} queries fail\n" + "\n".join(problems)


@pytest.mark.parametrize("way", WAYS)
def test_random_queries_of_nested_values(way: str, pairs: dict[str, Pair], request: pytest.FixtureRequest) -> None:
    count = max(50, request.config.getoption("--fuzz") // 2) // (1 if way == "roomy" else 5)
    queries = {seed: Query(random_nested_query(seed), False) for seed in range(count)}
    problems = [found for seed, q in queries.items() if (found := pairs[way].difference(f"nested seed {seed}", q))]
    assert not problems, f"{len(problems)} queries fail\n" + "\n".join(problems)


def test_little_memory_makes_queries_spill(pairs: dict[str, Pair]) -> None:
    pair = pairs["tiny"]
    before = pair.spilled
    problems = [problem for seed in range(CHUNK) if (problem := pair.problem(seed))]
    assert not problems
    assert pair.spilled - before > CHUNK // 4


def test_the_grammar_reaches_what_it_should() -> None:
    """Enough queries have rows, and every construct of the grammar occurs."""
    texts = [random_query(seed).text for seed in range(500)]
    for word in (
        "full join",
        "anti join",
        "rollup",
        "cube",
        "exists",
        " in (select",
        " any ",
        " all (",
        "intersect all",
        "filter",
        "limit",
        " over (",
        " exclude ",
        "distinct on",
        "with recursive",
        "unnest(",
        "lateral (",
        "by name",
        "string_agg",
        "ignore nulls",
        "qualify",
        "materialized",
        "interval",
        "try_cast",
    ):
        assert any(word in text for text in texts), word
    assert len(set(texts)) > 490
