"""The magics of IPython, in a shell without a terminal."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import sqlengine
from sqlengine.cli.notebook import CellProgress
from sqlengine.relation import Relation


@pytest.fixture
def shell() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from IPython.core.interactiveshell import InteractiveShell

        made = InteractiveShell()
        made.history_manager.enabled = False
        sqlengine.load_ipython_extension(made)
        yield made
        made.history_manager.end_session()
        InteractiveShell.clear_instance()


def ran(shell: Any, cell: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = shell.run_cell(cell, store_history=False)
    return done


def test_a_cell_of_sql_sees_the_notebook(shell: Any) -> None:
    ran(shell, "people = [{'name': 'Ada', 'born': 1815}, {'name': 'Alan', 'born': 1912}]; least = 1900")
    ran(shell, "import sqlengine\n@sqlengine.udf\ndef shout(text: str) -> str:\n    return text.upper() + '!'")
    done = ran(shell, "%%sql\nset threads = 1;\nselect shout(name) as name from people where born > $least")
    assert isinstance(done.result, Relation)
    assert done.result.fetchall() == [("ALAN!",)]
    assert "ALAN!" not in done.result._repr_html_()  # calls a function: shown when asked to
    assert ran(shell, "%sql select 1 + 1 as two").result.fetchall() == [(2,)]
    assert "<td>2</td>" in ran(shell, "%sql select 1 + 1 as two").result._repr_html_()


def test_a_result_in_a_variable(shell: Any) -> None:
    assert ran(shell, "%%sql found <<\nselect 5 as five").result is None
    assert shell.user_ns["found"].fetchall() == [(5,)]
    assert ran(shell, "%%sql\nselect five * 2 as ten from found").result.fetchall() == [(10,)]
    assert ran(shell, "%sql set variable x = 3").result is None


def test_errors_without_frames(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(shell, "%%sql\nselect nam from (select 1 as name)").success is False
    shown = capsys.readouterr()
    assert shown.err.startswith("<cell>:2:8: error[column_not_found]") or "error[column_not_found]" in shown.err
    assert 'did you mean "name"?' in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert ran(shell, "%sql").success is False


def test_progress_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, html: Any) -> None:
            shown.append(html.data)

    def display(html: Any, display_id: bool) -> Handle:
        shown.append(html.data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)

    class Kernel:
        def has_trait(self, name: str) -> bool:
            return True

    progress = CellProgress(Kernel())
    progress.begin()
    rows = iter(sqlengine.sql("select i from range(100000000) t(i)").batches())
    next(rows)
    until = time.monotonic() + 20
    while not shown and time.monotonic() < until:
        next(rows)
    rows.close()  # type: ignore[attr-defined]
    progress.end()
    assert " rows, " in shown[0] and "memory" in shown[0]
    assert shown[-1] == ""
