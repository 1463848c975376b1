"""Every `.test` file under tests/sql in every way; with batches of one row, which are slow, only a subset of them.

`--matrix WAY` runs all files in that way.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.sqllogic.engines import Duckdb, Sqlengine
from tests.sqllogic.records import read_records
from tests.sqllogic.run import failures, update
from tests.sqllogic.tables import arrow_tables

FOLDER = Path(__file__).parents[1] / "sql"
FILES = sorted(FOLDER.rglob("*.test"))
SUBSET = {"joins", "aggregates", "subqueries", "windows", "order_limit"}
SLOW_WAY = "batch1"
WAYS = ("default", "floor", "batch7", "rules-off", "threads1", "threads4")


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return arrow_tables()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--matrix")
    if chosen:
        cases = [(path, chosen) for path in FILES]
    else:
        cases = [(path, way) for way in WAYS for path in FILES]
        cases += [(path, SLOW_WAY) for path in FILES if path.stem in SUBSET]
    if "way" in metafunc.fixturenames:
        metafunc.parametrize("path,way", cases, ids=[f"{path.stem}-{way}" for path, way in cases])


def test_file(path: Path, way: str, tables: dict[str, pa.Table], request: pytest.FixtureRequest) -> None:
    engine = Sqlengine(tables, way)
    if request.config.getoption("--update"):
        oracle = Duckdb(tables)
        update(path, oracle, engine)
        engine.close()
        engine = Sqlengine(tables, way)  # without what the statements have left
        oracle.close()
    found = failures(path, engine)
    engine.close()
    assert not found, f"{len(found)} records fail\n" + "\n".join(found)


def test_there_are_answers() -> None:
    records = [record for path in FILES for record in read_records(path) if record.kind == "query"]
    assert len(records) > 500
    assert all(record.types for record in records)
