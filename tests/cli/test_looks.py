"""Colours, preferences, progress: what a terminal gets and a pipe does not."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

import sqlengine
from sqlengine.cli.colors import colored_error, is_colored
from sqlengine.cli.main import main
from sqlengine.cli.preferences import apply_preferences
from sqlengine.cli.progress import ProgressDisplay, progress_text
from sqlengine.cli.render import Look, Out
from sqlengine.cli.runner import Runner
from sqlengine.errors import InterfaceError, Location, ParseError
from sqlengine.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "pipe"),
    [
        ("auto", {}, True, False),
        ("auto", {"TERM": "dumb"}, False, False),
        ("auto", {"NO_COLOR": "1"}, False, False),
        ("auto", {"FORCE_COLOR": "1"}, True, True),
        ("auto", {"FORCE_COLOR": "0"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ("always", {"NO_COLOR": "1"}, True, True),
        ("never", {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_who_is_coloured(
    choice: str, environment: dict[str, str], terminal: bool, pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_colored(choice, Terminal()) is terminal
    assert is_colored(choice, io.StringIO()) is pipe


def test_colours_add_nothing_but_colours() -> None:
    error = ParseError("unexpected", hint="try again", location=Location(3, 8, 11, "select nam from t | ^", "job.sql"))
    text = colored_error(error.render())
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == error.render()
    assert "\x1b[1;31m^^^\x1b[0m" in text and "\x1b[1;31merror[syntax_error]:\x1b[0m" in text


def test_a_coloured_box(capsysbinary: Any) -> None:
    query = "select 1 as n, null as x"
    assert main(["--no-init", "--format", "box", "--color", "always", "-c", query]) == 0
    coloured = capsysbinary.readouterr().out.decode()
    assert main(["--no-init", "--format", "box", "-c", query]) == 0
    plain = capsysbinary.readouterr().out.decode()
    assert "\x1b[1m" in coloured and re.search(r"\x1b\[2m *NULL *\x1b\[0m", coloured)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize("name", ["csv", "jsonl", "box", "line", "markdown"])
def test_instants_are_shown_in_the_zone_of_the_session(name: str, capsysbinary: Any) -> None:
    query = "set timezone = 'Europe/Berlin'; select timestamptz '2024-07-01 10:00:00+00' as t"
    assert main(["--no-init", "--format", name, "-c", query]) == 0
    assert "2024-07-01 12:00:00+02" in capsysbinary.readouterr().out.decode()


def test_preferences() -> None:
    with sqlengine.connect(threads=1) as session:
        runner = Runner(session, Out(io.BytesIO()), Look())
        apply_preferences(runner, {"keys": "vi", "pager": False, "max_rows": 7, "null": "-", "timer": True})
        assert (runner.vi, runner.chosen_pager, runner.look.max_rows) == (True, False, 7)
        assert (runner.look.null, runner.timer) == ("-", True)
        wrong: list[dict[str, Any]] = [{"key": "vi"}, {"keys": "ed"}, {"max_rows": 0}, {"max_rows": True}, {"timer": 1}]
        for given in wrong:
            with pytest.raises(InterfaceError, match=r"\[prompt\]"):
                apply_preferences(runner, given)


def test_the_text_of_progress() -> None:
    progress = Progress(10.0, 0.25, 30.0, 1234567, 10 << 20, 100 << 20, 2 << 30, 5 << 20, 7, 8)
    assert progress_text(progress) == (
        "1,234,567 rows, 1.0 MiB/s, memory 100 MiB of 2.0 GiB, spilled 5.0 MiB, 7 downloads, "
        "8 rows through functions, 10 s, 30 s left"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_comes_and_goes(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlengine.cli.progress._AFTER", 0.05)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal() if terminal else io.StringIO()
    with sqlengine.connect(threads=1, batch_rows=1000) as session:
        display = ProgressDisplay(session, stream)
        display.begin()
        rows = session.sql("select i from range(100000000) t(i)").batches()
        while "rows" not in stream.getvalue():
            next(rows)
        display.clear()
        shown = stream.getvalue()
        for _ in range(200):
            next(rows)
        display.end()
        rows.close()  # type: ignore[attr-defined]
        assert stream.getvalue() == shown  # once rows are on the screen it does not come back
    assert "memory" in shown
    if terminal:
        assert "\x1b[?25h" in shown  # the cursor is there again


def test_progress_knows_splits_and_ends_below_all() -> None:
    with sqlengine.connect(threads=1, batch_rows=100) as session:
        session.sql("create table t as select i, 'x' || i as s from range(200000) r(i)")
        rows = session.sql("select i from t where i >= 0").batches()
        next(rows)
        seen = []
        for _ in rows:
            seen.append(session.progress()[0])
        assert all(p.done is not None and 0 <= p.done < 1 for p in seen)
        assert [p.done for p in seen] == sorted(p.done or 0 for p in seen)
        assert seen[-1].rows == 200000
        assert session.progress() == []
