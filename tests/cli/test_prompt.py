"""The prompt in a pseudo-terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

TOP = Path(__file__).parents[2]
LONG = "select count(*) from range(300000) a(i), range(300000) b(i) where a.i + b.i = 3;"


@pytest.fixture(params=["xterm", "dumb"])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pexpect.spawn]:
    environment = os.environ | {
        "TERM": request.param, "PYTHONPATH": str(TOP), "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"), "PROMPT_TOOLKIT_NO_CPR": "1",
    }  # fmt: skip
    child = pexpect.spawn(
        sys.executable, ["-m", "sqlengine"], env=environment, cwd=str(TOP), encoding="utf-8", timeout=30,
        dimensions=(40, 120),
    )  # fmt: skip
    child.expect("sqlengine>")
    yield child
    child.close(force=True)


def test_a_session_at_the_prompt(terminal: pexpect.spawn) -> None:
    assert "memory limit" in (terminal.before or "")
    terminal.sendline("create table t as select 41 as n;")
    terminal.expect("sqlengine>")
    terminal.sendline("select n + 1")
    terminal.expect("->")
    terminal.sendline("  as answer, ';' as semi from t;")
    terminal.expect("answer")
    terminal.expect("42")
    terminal.expect(r"1 row in \d")
    terminal.expect("sqlengine>")
    terminal.sendline("select nam from t;")
    terminal.expect("column_not_found")
    terminal.expect("sqlengine>")
    terminal.sendline(".tables")
    terminal.expect("│ t ")
    terminal.expect("sqlengine>")
    terminal.sendline(".tabls")
    terminal.expect("did you mean .tables")
    terminal.expect("sqlengine>")
    terminal.sendline("select 'unfinished")
    terminal.expect("->")
    terminal.sendintr()
    terminal.expect("sqlengine>")
    terminal.sendline(".mode csv")
    terminal.expect("sqlengine>")
    terminal.sendline("select 7 as a;")
    terminal.expect("\n7\r+\n")
    terminal.expect("sqlengine>")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0


def test_ctrl_c_cancels_a_query_and_the_session_goes_on(terminal: pexpect.spawn) -> None:
    terminal.sendline(LONG)
    time.sleep(1.0)
    pressed = time.monotonic()
    terminal.sendintr()
    terminal.expect("cancelled after")
    assert time.monotonic() - pressed < 5  # 0.3 s on an idle machine
    terminal.expect("sqlengine>")
    terminal.sendline("select 40 + 2 as n;")
    terminal.expect("42")
    terminal.expect("sqlengine>")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)


def test_history_is_kept_for_the_next_time(tmp_path: Path) -> None:
    environment = os.environ | {
        "TERM": "xterm", "PYTHONPATH": str(TOP), "XDG_STATE_HOME": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1",
    }  # fmt: skip
    for number in range(2):
        child = pexpect.spawn(
            sys.executable, ["-m", "sqlengine", "-q"], env=environment, cwd=str(TOP), encoding="utf-8", timeout=30
        )
        child.expect("sqlengine>")
        if number == 0:
            child.sendline("select 'kept ' || 'text' as v;")
        else:
            child.send("\x1b[A")  # up
            child.sendline("")
        child.expect("kept text")
        child.expect("sqlengine>")
        child.sendeof()
        child.expect(pexpect.EOF)
        child.close()
    assert (tmp_path / "sqlengine" / "history").stat().st_mode & 0o777 == 0o600
