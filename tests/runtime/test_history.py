"""What one process saw, the next one knows; nothing breaks when the file does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sqlengine
from sqlengine.expr.statistics import Stats
from sqlengine.operators.fetch_urls import FetchUrls
from sqlengine.physical.forecast import OperatorForecast
from sqlengine.runtime import history

TOP = Path(__file__).parents[2]
QUERY = """
import json, sqlengine
@sqlengine.udf
def widen(n: int) -> str:
    return "x" * 50_000
with sqlengine.connect(threads=1, memory_limit="1GB") as session:
    session.udf(widen)
    plan = session.sql("select length(widen(range)) from range(200)").plan
    found = session.forecast(plan)
    call = next(op for stage in found.stages for op in stage.operators if type(op.operator).__name__ == "CallUdf")
    stats = call.operator.stats([type("S", (), {"rows": 200.0, "bytes": 1600.0, "columns": {}, "origin": "actual"})()])
    for _ in session.run(plan):
        pass
    print(json.dumps([stats.bytes, stats.origin]))
"""


def run(state: Path, **more: str) -> tuple[float, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(TOP),
        "XDG_STATE_HOME": str(state),
        "SQLENGINE_HISTORY": "true",
        **more,
    }
    done = subprocess.run([sys.executable, "-c", QUERY], capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    size, origin = json.loads(done.stdout)
    return size, origin


def test_the_second_run_knows_what_the_first_one_saw(tmp_path: Path) -> None:
    before, origin = run(tmp_path)
    assert before < 1_000_000 and origin != "history"
    after, origin = run(tmp_path)
    assert origin == "history" and 1 / 1.5 < after / (200 * 50_000) < 1.5
    file = tmp_path / "sqlengine" / "history.json"
    assert set(json.loads(file.read_text())["entries"]) == {"udf widen string"}
    assert [path.name for path in file.parent.iterdir()] == ["history.json"]


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    run(tmp_path, SQLENGINE_HISTORY="false")
    assert not (tmp_path / "sqlengine" / "history.json").exists()


def test_downloads_are_predicted_by_what_came(kept: Path) -> None:
    body = 40_000
    text = f"select octet_length(url_download(u)) from (select 'data:,' || repeat('x', {body}) as u from range(64))"
    with sqlengine.connect(threads=1, memory_limit="4GB", history=False) as session:

        def forecast() -> OperatorForecast:
            stages = session.forecast(session.sql(text).plan).stages
            return next(op for stage in stages for op in stage.operators if isinstance(op.operator, FetchUrls))

        assert forecast().source != "history"
        session.sql(text).fetchall()
        again = forecast()
    assert again.source == "history"
    made = again.operator.stats([Stats(64.0, 0.0)]).bytes
    assert 1 / 1.5 < made / (64 * body) < 1.5


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "history.json"
    for name, value in (("_path", path), ("_loaded", None), ("_widths", {}), ("_changed", set())):
        monkeypatch.setattr(history, name, value)
    return path


def test_a_broken_file_is_as_none(kept: Path) -> None:
    kept.write_text('{"entries": {"udf f string": {"bytes": "many"}}')
    assert history.width("udf f string") is None
    history.see("udf f string", 10, 1000)
    history.save()
    assert json.loads(kept.read_text())["entries"]["udf f string"]["bytes"] == 100


def test_what_others_wrote_meanwhile_stays(kept: Path) -> None:
    history.see("url a", 1, 10)
    kept.write_text(json.dumps({"version": 1, "entries": {"url b": {"bytes": 7, "seen": 1}}}))
    history.save()
    assert set(json.loads(kept.read_text())["entries"]) == {"url a", "url b"}
    history.see("url a", 1, 1)
    assert history.width("url a") == 9.0  # fades


def test_a_place_that_cannot_be_written_is_no_error(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.parent / "file").write_text("")
    monkeypatch.setattr(history, "_path", kept.parent / "file" / "history.json")
    history.see("url a", 1, 10)
    history.save()
    assert history.width("url a") == 10.0
