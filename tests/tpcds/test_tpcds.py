"""The 99 TPC-DS queries equal DuckDB's answers on small generated tables; a sample of them with little memory too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import sqlengine
from sqlengine.errors import MemoryLimitError
from sqlengine.runtime.memory import MemoryPool
from sqlengine.session import Session
from tests.fuzz.compare import same_answer
from tests.tpcds.answers import open_tables, without_limit
from tests.tpcds.generate import write_tables
from tests.tpcds.queries import QUERIES

_SAMPLE = ("q01", "q05", "q12", "q14", "q36", "q51", "q67", "q75", "q78", "q97")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tpcds")
    write_tables(path)
    return path


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        open_tables(connection, folder)
        yield connection


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[Session]:
    with sqlengine.connect(threads=2) as session:
        open_tables(session, folder)
        yield session


@pytest.mark.parametrize("name", QUERIES)
def test_answer(name: str, session: Session, oracle: duckdb.DuckDBPyConnection) -> None:
    query = without_limit(QUERIES[name])
    assert same_answer(session.sql(query).fetchall(), oracle.execute(query).fetchall(), False)


@pytest.mark.parametrize("name", _SAMPLE)
def test_answer_with_little_memory(name: str, folder: Path, oracle: duckdb.DuckDBPyConnection) -> None:
    """About the least memory with which the query is admitted, as it is written, with its LIMIT."""
    expected = oracle.execute(without_limit(QUERIES[name])).fetchall()
    limited = len(oracle.execute(QUERIES[name]).fetchall())
    with sqlengine.connect(threads=1, batch_rows=64, batch_bytes="4KiB") as session:
        open_tables(session, folder)
        size = 256 << 10
        while True:
            session._pool = MemoryPool(size)
            try:
                found = session.sql(QUERIES[name]).fetchall()
                break
            except MemoryLimitError:
                assert size < 1 << 26
                size *= 2
    assert len(found) == limited
    if limited == len(expected):
        assert same_answer(found, expected, False)


def test_most_queries_have_rows(oracle: duckdb.DuckDBPyConnection) -> None:
    empty = [name for name, query in QUERIES.items() if not oracle.execute(query).fetchall()]
    assert len(QUERIES) == 99
    assert len(empty) < 22, empty
