"""Running scripts: where results go, what happens after an error, and what is counted."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

import pyarrow as pa

from sqlengine.cli.colors import colored_error
from sqlengine.cli.commands import Leave, run_command
from sqlengine.cli.pager import Kept, paged
from sqlengine.cli.progress import ProgressDisplay
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
from sqlengine.runtime.process_watch import peak_rss
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
    peak: int = 0  # resident bytes of the process and its children, in the last query
    most: int = 0  # in any query
    started: float = field(default_factory=time.perf_counter)

    def line(self, session: Session, status: str) -> str:
        return json.dumps(
            {
                "status": status,
                "statements": self.statements,
                "rows": self.rows,
                "wall_s": round(time.perf_counter() - self.started, 3),
                "cpu_s": round(time.process_time(), 3),
                "peak_rss": max(self.most, peak_rss()),
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
    color: bool = False  # of errors
    progress: ProgressDisplay | None = None
    timer: bool = False
    deadline: float | None = None
    counts: Counts = field(default_factory=Counts)
    results: int = 0
    failed: int = 0  # exit code of the first error
    once: str | None = None  # a file for the next result alone
    output: OutputFile | None = None  # a file for all results from here on
    stats: bool = False  # show what a query took after it
    last: pa.Table | None = None  # the last result, where somebody may ask for it again
    keep_last: bool = False
    pager: str | None = None  # shown through this program when it is taller or wider than the terminal
    statement: str = ""  # the last one, and what it could read besides the session's tables
    tables: dict[str, pa.Table] = field(default_factory=dict)
    vi: bool = False  # keys of the line editor
    chosen_pager: str | bool | None = None  # as the person wants them at the prompt
    chosen_stats: bool | None = None
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
        with self._progress():
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

    @contextlib.contextmanager
    def _progress(self) -> Iterator[None]:
        display = self.progress
        if display is None:
            yield
            return
        display.begin()
        self.out.clear = display.clear
        try:
            yield
        finally:
            display.end()
            self.out.clear = None

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
                self.counts.most = max(self.counts.most, self.counts.peak)

    def write(self, relation: Relation, look: Look) -> int:
        """Show rows where results go now; how many they were."""
        if self.once is not None:
            path, self.once = self.once, None
            with output_file(path) as stream:
                return render(relation, Out(stream), replace(look, color=False))
        if self.output is not None:
            return render(relation, Out(self.output.stream), replace(look, color=False))
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
        text = colored_error(error.render()) if self.color else error.render()
        print(error_json(error) if self.error_format == "json" else text, file=sys.stderr)

    def redirect(self, path: str | None) -> None:
        """All results from here on to a file; the one before is complete. None: where they went at first."""
        before, self.output = self.output, None
        if before is not None:
            before.complete()
        if path is not None:
            self.output = OutputFile(path)

    def close(self) -> None:
        """The end: what `.output` opened is there when all went well, and not at all otherwise."""
        before, self.output = self.output, None
        if before is not None:
            if self.failed or sys.exc_info()[0] is not None:
                before.give_up()
            else:
                before.complete()


def as_error(error: Exception) -> Error:
    """Any exception as one that can be shown; those that are not ours are bugs."""
    if isinstance(error, Error):
        return error
    return InternalError(
        f"{type(error).__name__}: {error}", hint="this is a bug in sqlengine; --debug shows where it happened"
    )


class OutputFile:
    """A file that appears when it is complete. Raises FileError when it cannot be made."""

    def __init__(self, path: str) -> None:
        self.path = path
        folder, name = os.path.split(os.path.abspath(path))
        self._temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.tmp")
        with self._named():
            self.stream: IO[bytes] = open(self._temporary, "wb")  # noqa: SIM115 - closed by complete and give_up

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileError(f"cannot write {self.path}: {error.strerror}", code="output_error") from None

    def complete(self) -> None:
        try:
            with self._named():
                self.stream.close()
                os.replace(self._temporary, self.path)
        except FileError:
            self.give_up()
            raise

    def give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.close()
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._temporary)


@contextlib.contextmanager
def output_file(path: str) -> Iterator[IO[bytes]]:
    """A file that appears when all is written, and not at all after an error."""
    file = OutputFile(path)
    try:
        yield file.stream
    except BaseException as error:
        file.give_up()
        if isinstance(error, OSError) and not isinstance(error, Error | BrokenPipeError):
            raise FileError(f"cannot write {path}: {error.strerror}", code="output_error") from None
        raise
    file.complete()
