"""The interactive prompt: statements over several lines, history, cancelling with Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlengine import __version__
from sqlengine.cli.commands import Leave
from sqlengine.cli.runner import Runner, as_error
from sqlengine.cli.script import is_complete, load_text
from sqlengine.settings import format_bytes

_LEAVE = {"exit", "quit", "\\q"}


def prompt(runner: Runner, quiet: bool) -> int:
    """Read and run statements until the end of the input; returns the exit code."""
    memory = runner.session.memory
    if not quiet:
        print(f"sqlengine {__version__}, memory limit {format_bytes(memory.limit)} ({memory.source})")
        print('End a statement with ";". .help lists commands, .quit or Ctrl-D leaves.')
    runner.on_error = "stop"
    read = _reader()
    pending: list[str] = []
    while True:
        try:
            line = read("      -> " if pending else "sqlengine> ")
        except KeyboardInterrupt:
            pending = []
            continue
        except EOFError:
            return 0
        if not pending and line.strip().lower().rstrip(";") in _LEAVE:
            return 0
        if not pending and line.strip().lower() in ("help", "\\?"):
            line = ".help"
        pending.append(line)
        text = "\n".join(pending)
        if is_complete(text):
            pending = []
            if text.strip():
                try:
                    _run(runner, text, quiet)
                except Leave:
                    return 0


def _run(runner: Runner, text: str, quiet: bool) -> None:
    start = time.perf_counter()
    rows, spilled = runner.counts.rows, runner.counts.spilled
    try:
        items = load_text(text.replace("\\", ".", 1) if text.lstrip().startswith("\\") else text, "")
        for item in items:
            runner.step(item)
        if not quiet and any(hasattr(item, "statement") for item in items):
            memory = runner.session.memory
            print(
                f"{runner.counts.rows - rows:,} rows in {time.perf_counter() - start:.2f} s, "
                f"peak {format_bytes(memory.peak)} of {format_bytes(memory.capacity)}, "
                f"spilled {format_bytes(runner.counts.spilled - spilled)}"
            )
    except Leave:
        raise
    except KeyboardInterrupt:
        runner.session.interrupt()
        print(f"cancelled after {time.perf_counter() - start:.1f} s, spill removed", file=sys.stderr)
    except Exception as error:
        runner.report(as_error(error))


def _reader() -> Callable[[str], str]:
    """A line editor with history; a plain one where the terminal cannot do that."""
    if os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return input
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory
    except ImportError:
        return input
    session: PromptSession[str] = PromptSession(history=FileHistory(str(_history())))
    return session.prompt


def _history() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = Path(base) / "sqlengine"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "history"
    path.touch(mode=0o600)
    return path
