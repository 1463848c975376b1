"""IPython and Jupyter: `%load_ext sqlengine` gives the magics `%sql` and `%%sql`, and progress below a cell.

`%%sql` runs in the default session and shows the last result; `%%sql name <<` keeps it in a variable instead. Variables
of the notebook are tables by their names, functions made with `@udf` are functions, `$name` is the value of a variable.
"""

from __future__ import annotations

import html
import importlib
import re
import sys
import threading
from typing import Any

from sqlengine import default_session
from sqlengine.cli.progress import ProgressDisplay, progress_text
from sqlengine.errors import Error, InterfaceError
from sqlengine.relation import Relation
from sqlengine.sql.parse import parse

_TARGET = re.compile(r"\s*(?:([A-Za-z_]\w*)\s*<<)?(.*)", re.DOTALL)


def load(shell: Any) -> None:
    """Called by IPython's `%load_ext`."""

    def sql(line: str, cell: str | None = None) -> Relation | None:
        return run_magic(shell, line, cell)

    shell.register_magic_function(sql, "line_cell", "sql")
    shell.set_custom_exc((Error,), _show_error)
    watcher = CellProgress(shell)
    shell.events.register("pre_run_cell", watcher.begin)
    shell.events.register("post_run_cell", watcher.end)


def run_magic(shell: Any, line: str, cell: str | None) -> Relation | None:
    """The relation of the last statement, or None when it went to a variable or has nothing to show."""
    found = _TARGET.fullmatch(line)
    assert found is not None
    name, text = found[1], found[2] + ("" if cell is None else "\n" * bool(found[2].strip()) + cell)
    if not text.strip():
        raise InterfaceError("there is no statement", hint="write %%sql and the statement below it, or %sql SELECT ...")
    known = shell.user_ns
    wanted = {name for parsed in parse(text, "<cell>") for name in parsed.parameters}
    params = {name: known[name] for name in wanted if name in known}
    relation = default_session().sql_among(known, text, params or None, source="<cell>")
    if name:
        known[name] = relation
        return None
    return None if relation.is_status else relation


def _show_error(shell: Any, kind: type[Error], error: Error, trace: Any, tb_offset: int | None = None) -> None:
    """Errors of SQL without the frames of Python that led to them."""
    print(error.render(), file=sys.stderr)


class CellProgress:
    """Shows what the default session's query has done while a cell runs."""

    def __init__(self, shell: Any) -> None:
        self._in_notebook = shell.has_trait("kernel")
        self._done = threading.Event()
        self._display: ProgressDisplay | None = None
        self._thread: threading.Thread | None = None

    def begin(self, info: Any = None) -> None:
        if not self._in_notebook:
            if sys.stderr.isatty():
                self._display = ProgressDisplay(default_session(), sys.stderr)
                self._display.begin()
            return
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._done,), daemon=True)
        self._thread.start()

    def end(self, result: Any = None) -> None:
        self._done.set()
        if self._display is not None:
            self._display.end()
            self._display = None
        if self._thread is not None:
            self._thread.join(1)
            self._thread = None

    def _watch(self, done: threading.Event) -> None:
        notebook: Any = importlib.import_module("IPython.display")

        handle = None
        wait = 1.0
        while not done.wait(wait):
            wait = 0.5
            running = default_session().progress()
            if running:
                text = html.escape(progress_text(running[0]))
                share = "" if running[0].done is None else f'<progress value="{running[0].done:.3f}"></progress> '
                shown: Any = notebook.HTML(f"<small>{share}{text}</small>")
                if handle is None:
                    handle = notebook.display(shown, display_id=True)
                else:
                    handle.update(shown)
        if handle is not None:
            handle.update(notebook.HTML(""))
