"""A sample of the text tests on a cluster: the same answers as everywhere."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import sqlengine
from tests.ray.conftest import RayNodes
from tests.sqllogic.run import failures
from tests.sqllogic.tables import arrow_tables

FOLDER = Path(__file__).parents[1] / "sql"
FILES = sorted(path.stem for path in FOLDER.rglob("*.test"))
SAMPLE = {"ctes", "recursion", "distinct_on", "order_limit"}


class ClusterEngine:
    """A session on the cluster with the tables."""

    def __init__(self, tables: dict[str, pa.Table], shuffle: str) -> None:
        self._session = sqlengine.connect(backend="ray", shuffle=shuffle)
        for name, table in tables.items():
            self._session.register(name, table)

    def run(self, query: str) -> pa.Table:
        return self._session.sql(query).to_arrow()

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return arrow_tables()


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in FILES]
)
def test_file(nodes: RayNodes, tables: dict[str, pa.Table], small_tasks: None, name: str) -> None:
    engine = ClusterEngine(tables, "auto")
    try:
        found = failures(FOLDER / f"{name}.test", engine)
    finally:
        engine.close()
    assert not found, f"{len(found)} records fail\n" + "\n".join(found)
