"""What a long query has done so far, on the terminal's standard error, and gone again when rows are shown.

A thread looks at the session's running queries from the second second on. The line is drawn by rich, which is imported
then and not earlier.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from sqlengine.settings import format_bytes

if TYPE_CHECKING:
    from sqlengine.runtime.progress import Progress
    from sqlengine.session import Session

_AFTER = 1.0  # seconds
_EVERY = 0.2


def progress_display(choice: str, session: Session) -> ProgressDisplay | None:
    """A display where one is wanted: `always`, or `auto` on a terminal that can move its cursor."""
    capable = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return ProgressDisplay(session, sys.stderr) if choice == "always" or (choice == "auto" and capable) else None


def progress_text(progress: Progress) -> str:
    """One line: `1,234,567 rows, 120 MiB/s, memory 310 MiB of 2.0 GiB, spilled 64 MiB, 3 s left`."""
    parts = [
        f"{progress.rows:,} rows", f"{format_bytes(progress.bytes_per_second)}/s",
        f"memory {format_bytes(progress.memory)} of {format_bytes(progress.memory_limit)}",
    ]  # fmt: skip
    if progress.spilled:
        parts.append(f"spilled {format_bytes(progress.spilled)}")
    if progress.downloads:
        parts.append(f"{progress.downloads:,} downloads")
    if progress.udf_rows:
        parts.append(f"{progress.udf_rows:,} rows through functions")
    parts.append(f"{progress.seconds:.0f} s")
    if progress.left is not None:
        parts.append(f"{_time(progress.left)} left")
    return ", ".join(parts)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class ProgressDisplay:
    """Shows the session's queries while a statement runs: `begin`, `clear` before anything else is written, `end`. On
    a stream that is no terminal it is a line a second."""

    def __init__(self, session: Session, stream: IO[str]) -> None:
        self._session = session
        self._stream = stream
        self._terminal = stream.isatty()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._bar: Any = None
        self._quiet = False

    def begin(self) -> None:
        """A statement runs from now on."""
        self._done = threading.Event()
        self._quiet = False
        self._thread = threading.Thread(target=self._watch, args=(self._done,), name="sqlengine-progress", daemon=True)
        self._thread.start()

    def clear(self) -> None:
        """Take the line away; it does not come back for this statement, whose rows are on the screen now."""
        if self._quiet:
            return
        with self._lock:
            self._quiet = True
            self._remove()

    def end(self) -> None:
        """The statement has ended."""
        self._done.set()
        self.clear()

    def _remove(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _watch(self, done: threading.Event) -> None:
        wait = _AFTER
        while not done.wait(wait):
            wait = _EVERY if self._terminal else 1.0
            running = self._session.progress()
            with self._lock:
                if self._quiet or done.is_set():
                    return
                if running:
                    self._show(running[0])

    def _show(self, progress: Progress) -> None:
        text = progress_text(progress)
        if not self._terminal:
            share = "" if progress.done is None else f"{progress.done:4.0%}  "
            print(share + text, file=self._stream, flush=True)
            return
        if self._bar is None:
            self._bar = _bar(self._stream)
            self._bar.add_task("", total=1.0, text=text)
            self._bar.start()
        total = None if progress.done is None else 1.0
        self._bar.update(self._bar.task_ids[0], completed=progress.done or 0.0, total=total, text=text)
        self._bar.refresh()


def _bar(stream: IO[str]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.table import Column

    console = Console(file=stream, highlight=False)
    text = TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis"), markup=False)
    return Progress(
        TaskProgressColumn(), BarColumn(bar_width=20), text, console=console, transient=True, auto_refresh=False,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
