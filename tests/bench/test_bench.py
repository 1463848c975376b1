"""The benchmark runner itself: it measures, checks answers, and takes no wrong or failed run for a fast one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench.__main__ import main
from tests.bench.engines import Job
from tests.bench.fingerprint import fingerprint, same
from tests.bench.measure import Measured, measure
from tests.bench.report import Run, cells, markdown, ratio


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3]}), path)
    return {"t": str(path)}


@pytest.mark.parametrize("engine", ["sqlengine", "duckdb"])
def test_a_run_is_measured(engine: str, tables: dict[str, str]) -> None:
    found = measure(engine, Job("select sum(a) s from t", tables, 1), 60)
    assert found.error is None and found.answer is not None
    assert same(found.answer, fingerprint(pa.table({"s": [6]})))
    assert found.wall > 0 and found.cpu > 0 and found.peak_rss > 30 << 20


def test_an_error_is_an_error(tables: dict[str, str]) -> None:
    found = measure("sqlengine", Job("select nothing from t", tables, 1), 60)
    assert found.answer is None and found.error is not None and "nothing" in found.error


def test_a_run_is_stopped_in_time(tables: dict[str, str]) -> None:
    sql = "select count(*) from range(100000) a, range(100000) b, range(100000) c where a.range + b.range = c.range + 1"
    found = measure("duckdb", Job(sql, tables, 1), 2)
    assert found.answer is None and found.error == "timeout"


def test_what_failed_has_no_ratio() -> None:
    runs = [
        Run("s", "q", "duckdb", 0, Measured(1.0, 1.0, 1 << 20, None)),
        Run("s", "q", "sqlengine", 0, Measured(0.1, 0.1, 1 << 20, None, "wrong answer")),
    ]
    assert ratio(cells(runs), "q", "sqlengine", "wall") is None
    assert "| q | wrong | 1.000 | - |" in markdown("t", [], [runs[1], runs[0]])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["tpch", "--scale", "0.01", "--data", str(tmp_path), "--queries", "q06", "--rounds", "1"])
    assert status == 0
    assert "| geometric mean (queries) |" in capsys.readouterr().out
