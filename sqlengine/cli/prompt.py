"""The interactive prompt: read a text, run it, say what it took; Ctrl-C cancels what runs.

At the prompt Ctrl-C clears the text. While a query runs the first one cancels it, and the session goes on; the second
stops whatever the main thread does.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from sqlengine import __version__
from sqlengine.access import check_readable
from sqlengine.cli.commands import Leave
from sqlengine.cli.runner import Runner, as_error
from sqlengine.cli.script import is_complete, load_text
from sqlengine.cli.shell_commands import thread_count
from sqlengine.errors import Interrupted
from sqlengine.settings import format_bytes

_LEAVE = {"exit", "quit", "\\q"}
_HELP = {"help", "\\?", ".?"}
Read = Callable[[str, str], str]


def prompt(runner: Runner, quiet: bool, color: bool = True) -> int:
    """Read and run statements until the end of the input; returns the exit code."""
    memory = runner.session.memory
    if not quiet:
        print(
            f"sqlengine {__version__}, local, memory limit {format_bytes(memory.limit)} ({memory.source}), "
            f"{thread_count(runner)} threads"
        )
        print('End a statement with ";". .help lists commands, .quit or Ctrl-D leaves.')
    runner.on_error = "stop"
    runner.keep_last = True
    runner.stats = not quiet if runner.chosen_stats is None else runner.chosen_stats
    if _is_capable() and runner.chosen_pager is not False:
        chosen = runner.chosen_pager if isinstance(runner.chosen_pager, str) else None
        runner.pager = chosen or os.environ.get("PAGER") or "less"
    read = _reader(runner, color)
    while True:
        draft, runner.draft = runner.draft, ""
        try:
            text = read("sqlengine> ", draft)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        word = text.strip().lower().rstrip(";")
        if word in _LEAVE:
            return 0
        if word in _HELP:
            text = ".help"
        if text.strip():
            try:
                _run(runner, text)
            except Leave:
                return 0


def _run(runner: Runner, text: str) -> None:
    start = time.perf_counter()
    rows, spilled, statements = runner.counts.rows, runner.counts.spilled, runner.counts.statements
    stripped = text.lstrip()
    try:
        with _interrupts(runner):
            shown = "." + stripped[1:] if stripped.startswith("\\") else text
            for item in load_text(shown, "", may_read=functools.partial(check_readable, runner.session.current)):
                runner.step(item)
    except Leave:
        raise
    except (KeyboardInterrupt, Interrupted):
        runner.session.interrupt()
        rows = runner.counts.rows - rows
        shown = f", {rows:,} rows shown" if rows else ""
        print(f"cancelled after {time.perf_counter() - start:.1f} s{shown}, spill removed", file=sys.stderr)
    except Exception as error:
        runner.report(as_error(error))
    else:
        if runner.stats and runner.counts.statements > statements:
            memory = runner.session.memory
            count = runner.counts.rows - rows
            print(
                f"{count:,} row{'' if count == 1 else 's'} in {time.perf_counter() - start:.2f} s, "
                f"peak {format_bytes(runner.counts.peak or memory.rss)} of {format_bytes(memory.limit)}, "
                f"spilled {format_bytes(runner.counts.spilled - spilled)}"
            )
    finally:
        runner.counts.peak = 0


@contextlib.contextmanager
def _interrupts(runner: Runner) -> Iterator[None]:
    """The first Ctrl-C cancels the queries that run, so that they clean up after themselves."""
    pressed = 0

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1 or not runner.session.interrupt():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_capable() -> bool:
    return os.environ.get("TERM", "dumb") != "dumb" and sys.stdout.isatty() and sys.stdin.isatty()


def _reader(runner: Runner, color: bool) -> Read:
    """A line editor with history; a plain one where the terminal cannot do that."""
    if not _is_capable():
        return _plain
    try:
        from sqlengine.cli.line_editor import line_editor
    except ImportError:
        return _plain
    return line_editor(runner.session, color=color, vi=runner.vi)


def _plain(message: str, draft: str) -> str:
    """Lines until the text is complete. What was edited runs as it is."""
    if draft:
        print(message + draft)
        return draft
    lines = [input(message)]
    while not is_complete("\n".join(lines)):
        if len(lines) == 1 and lines[0].strip().lower() in _LEAVE | _HELP:
            break
        lines.append(input("-> ".rjust(len(message))))
    return "\n".join(lines)
