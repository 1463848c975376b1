"""The interactive prompt: statements over several lines, history, cancelling with Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory

from sqlengine import __version__
from sqlengine.cli.render import box
from sqlengine.errors import Error
from sqlengine.session import Session

_LEAVE = {"exit", "quit", ".quit", "\\q"}


def prompt(session: Session, max_rows: int) -> int:
    """Read and run statements until the end of the input; returns the exit code."""
    limit = next(row["value"] for row in session.settings().to_pylist() if row["name"] == "memory_limit")
    print(f"sqlengine {__version__}, memory limit {limit}")
    print('End a statement with ";". Leave with exit or Ctrl-D.')
    lines: PromptSession[str] = PromptSession(history=FileHistory(str(_history())))
    pending: list[str] = []
    while True:
        try:
            line = lines.prompt("      -> " if pending else "sqlengine> ")
        except KeyboardInterrupt:
            pending = []
            continue
        except EOFError:
            return 0
        if not pending and line.strip().lower() in _LEAVE:
            return 0
        if line.strip() or pending:
            pending.append(line)
        if pending and line.rstrip().endswith(";"):
            _run(session, "\n".join(pending), max_rows)
            pending = []


def _run(session: Session, text: str, max_rows: int) -> None:
    start = time.perf_counter()
    try:
        for relation in session.script(text):
            if not relation.is_status:
                box(relation, sys.stdout, max_rows)
        print(f"{time.perf_counter() - start:.2f} s")
    except Error as error:
        print(error.render(), file=sys.stderr)
    except KeyboardInterrupt:
        session.interrupt()
        print(f"cancelled after {time.perf_counter() - start:.1f} s", file=sys.stderr)


def _history() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = Path(base) / "sqlengine"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "history"
    path.touch(mode=0o600)
    return path
