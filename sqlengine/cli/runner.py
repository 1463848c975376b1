"""Running scripts: where results go, what happens after an error, and what is counted."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from sqlengine.cli.commands import Leave, run_command
from sqlengine.cli.pager import Kept, paged
from sqlengine.cli.render import Look, Out, error_json, render
from sqlengine.cli.script import DotCommand, Item
from sqlengine.dry_run import DrySession
from sqlengine.errors import (
    BackendError,
    Error,
    FileError,
    InterfaceError,
    InternalError,
    Interrupted,
    MemoryLimitError,
    QueryTimeout,
    SpillError,
)
from sqlengine.expr.nodes import Literal
from sqlengine.relation import Relation
from sqlengine.session import Session
from sqlengine.sql.parse import Parsed


def exit_code(error: BaseException) -> int:
    """The stable meaning of an error for whoever called the program."""
    match error:
        case MemoryLimitError() | SpillError():
            return 5
        case QueryTimeout():
            return 4
        case BackendError():
            return 3
        case Interrupted() | KeyboardInterrupt():
            return 130
        case InterfaceError() if error.location is None:
            return 2
        case FileError() if error.code == "script_not_found":
            return 2
    return 1


@dataclass
class Counts:
    """What --stats says."""

    statements: int = 0
    rows: int = 0
    spilled: int = 0
    peak: int = 0  # resident bytes, of the last query
    started: float = field(default_factory=time.perf_counter)

    def line(self, session: Session, status: str) -> str:
        return json.dumps(
            {
                "status": status,
                "statements": self.statements,
                "rows": self.rows,
                "wall_s": round(time.perf_counter() - self.started, 3),
                "cpu_s": round(time.process_time(), 3),
                "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "memory_limit": session.memory.limit,
                "spilled": self.spilled,
            }
        )


@dataclass
class Runner:
    """One session with the way its results are shown. `result`: all, last, or the number of the one to show."""

    session: Session
    out: Out
    look: Look
    parameters: dict[str, Literal] = field(default_factory=dict)
    result: str = "all"
    on_error: str = "stop"
    echo: bool = False
    error_format: str = "text"
    debug: bool = False
    timer: bool = False
    deadline: float | None = None
    counts: Counts = field(default_factory=Counts)
    results: int = 0
    failed: int = 0  # exit code of the first error
    once: str | None = None  # a file for the next result alone
    output: IO[bytes] | None = None  # a file for all results from here on
    stats: bool = False  # show what a query took after it
    last: pa.Table | None = None  # the last result, where somebody may ask for it again
    keep_last: bool = False
    pager: str | None = None  # shown through this program when it is taller or wider than the terminal
    statement: str = ""  # the last one, and what it could read besides the session's tables
    tables: dict[str, pa.Table] = field(default_factory=dict)
    vi: bool = False  # keys of the line editor
    draft: str = ""  # what the next prompt begins with
    pending: Relation | None = None  # the last result so far, where only the last one is shown

    def run(self, items: Sequence[Item]) -> int:
        """All items in order; the exit code of the first error, or 0."""
        for item in items:
            try:
                self.step(item)
            except Leave:
                break
            except Error as error:
                self.report(error)
                self.failed = self.failed or exit_code(error)
                if self.on_error == "stop" or isinstance(error, QueryTimeout | Interrupted):
                    return self.failed
        return self.failed

    def step(self, item: Item) -> None:
        """One statement or command."""
        if isinstance(item, DotCommand):
            if not isinstance(self.session, DrySession):
                run_command(self, item)
            return
        if self.echo:
            print(item.sql + ";", file=sys.stderr)
        self.counts.statements += 1
        self.statement = item.sql
        start = time.perf_counter()
        relation = self._statement(item)
        if isinstance(self.session, DrySession):
            self._planned(self.session)
            return
        if not relation.is_status:
            self._result(relation)
        if self.timer:
            print(f"{time.perf_counter() - start:.3f} s", file=sys.stderr)

    def _planned(self, session: DrySession) -> None:
        """What a dry run found of the last statement: text, or a line of JSON for each query."""
        for query in session.planned:
            text = json.dumps(query.document()) if self.look.format in ("json", "jsonl") else query.text()
            self.out.write(text + "\n")
            if not query.allowed:
                self.failed = self.failed or exit_code(MemoryLimitError(""))
        session.planned.clear()
        self.out.flush()

    def _statement(self, parsed: Parsed) -> Relation:
        left = None
        if self.deadline is not None:
            left = max(0.001, self.deadline - time.monotonic())
        self.tables = {} if self.last is None else {"_": self.last}
        return self.session.run_parsed(parsed, self.parameters, left, self.tables)

    def _result(self, relation: Relation) -> None:
        self.results += 1
        if self.result == "last":
            self._flush_pending(hide=True)
            self.pending = relation
        else:
            self._show(relation, hide=self.result not in ("all", str(self.results)))

    def _flush_pending(self, hide: bool) -> None:
        relation, self.pending = self.pending, None
        if relation is not None:
            self._show(relation, hide)

    def finish(self) -> int:
        """Show the last result if only that one is wanted; the exit code."""
        if self.pending is not None and not (self.failed and self.on_error == "stop"):
            try:
                self._flush_pending(hide=False)
            except Error as error:
                self.report(error)
                self.failed = self.failed or exit_code(error)
        if self.result.isdigit() and int(self.result) > self.results and not self.failed:
            self.report(
                InterfaceError(f"there is no result {self.result}, there were {self.results}", code="no_result")
            )
            self.failed = 2
        return self.failed

    def _show(self, relation: Relation, hide: bool) -> None:
        kept = Kept(relation) if self.keep_last else None
        try:
            count = self.write(relation if kept is None else kept, Look("none") if hide else self.look)
            self.counts.rows += 0 if hide else count
            if kept is not None:
                self.last = kept.table()
        finally:
            if relation.stats is not None:
                self.counts.spilled += relation.stats["spilled"]
                self.counts.peak = relation.stats["peak_rss"]

    def write(self, relation: Relation, look: Look) -> int:
        """Show rows where results go now; how many they were."""
        if self.once is not None:
            path, self.once = self.once, None
            with output_file(path) as stream:
                return render(relation, Out(stream), look)
        if self.output is not None:
            count = render(relation, Out(self.output), look)
            self.output.flush()
            return count
        if self.pager is None:
            count = render(relation, self.out, look)
            self.out.flush()
            return count
        with paged(self.out, self.pager) as out:
            return render(relation, out, look)

    def report(self, error: Error) -> None:
        """An error, on standard error."""
        self.out.flush()
        if self.debug:
            import traceback

            traceback.print_exception(error)
        print(error_json(error) if self.error_format == "json" else error.render(), file=sys.stderr)


def as_error(error: Exception) -> Error:
    """Any exception as one that can be shown; those that are not ours are bugs."""
    if isinstance(error, Error):
        return error
    return InternalError(
        f"{type(error).__name__}: {error}", hint="this is a bug in sqlengine; --debug shows where it happened"
    )


@contextlib.contextmanager
def output_file(path: str) -> Iterator[IO[bytes]]:
    """A file that appears when all is written, and not at all after an error."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        try:
            with open(temporary, "wb") as stream:
                yield stream
            os.replace(temporary, path)
        except OSError as error:
            if isinstance(error, Error | BrokenPipeError):
                raise
            raise FileError(f"cannot write {path}: {error.strerror}", code="output_error") from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
