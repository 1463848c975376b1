"""Fetch the URLs of a column: the input's columns and one more, in the order of the input.

1. Rows are taken from the input, over batch borders, as long as fewer than the window's width are in flight; each is
   fetched by a thread of its own.
2. A body's bytes are reserved before it is read (`runtime.fetch.window`).
3. Finished rows leave in order, in batches of about `batch_bytes`.

Held: the input batches of rows in flight, and the bodies of the window. The oldest row always goes on; when memory is
refused to it, younger bodies are dropped and fetched again. Worst case: one body, up to `max_bytes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.errors import DownloadError
from sqlengine.expr.nodes import display_name
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime import history
from sqlengine.runtime.fetch.body import Dropped, Fetched, Fetcher, shown
from sqlengine.runtime.fetch.function import RESULT_TYPE
from sqlengine.runtime.fetch.options import FetchOptions
from sqlengine.runtime.fetch.window import Hosts, Window
from sqlengine.runtime.memory import compact
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

_FLOOR_BODY = 4 << 20  # of a body that the oldest row may always have
_BATCHES_AHEAD = 4


@dataclass
class _Row:
    number: int
    batch: pa.RecordBatch
    place: int
    url: str | None
    future: Future[Fetched] | None = None


@dataclass(frozen=True)
class FetchUrls(Operator):
    """`url`: key of the column of URLs; `condition`: key of a boolean column, or None; `output`: key of what comes;
    `only_info`: ask for status and size, not for the body. `given`: options of the call."""

    url: str
    condition: str | None
    output: str
    given: tuple[tuple[str, Any], ...]
    only_info: bool = False

    def options(self, settings: Settings) -> FetchOptions:
        return FetchOptions.of(settings, dict(self.given))

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        options = self.options(task.settings)
        tasks = max(1, task.stage.tasks)
        width = max(1, options.max_connections // tasks)
        limit = (options.inflight_bytes or self._default_window(task)) // tasks
        window = Window(limit, self._floor_body(options, task.settings), task.reservation(self), width, task.cancel)
        hosts = task.shared(self, lambda: Hosts(options.max_connections_per_host, options.max_connections))
        fetcher = Fetcher(options, hosts, task.cancel)
        pool = ThreadPoolExecutor(width, thread_name_prefix="sqlengine-fetch")
        flight = _Flight(self, options, window, fetcher, pool)
        try:
            yield from flight.rows(self._rows(inputs[0]), task)
        finally:
            history.see(self._history_key(), flight.bodies, flight.bytes)
            window.close()
            pool.shutdown(wait=True, cancel_futures=True)
            fetcher.close()

    def _default_window(self, task: Task) -> int:
        """Half of what operators share."""
        return max(_FLOOR_BODY, task.memory.pool.capacity // 2)

    def _floor_body(self, options: FetchOptions, settings: Settings) -> int:
        return 0 if self.only_info else min(options.max_bytes, max(_FLOOR_BODY, 2 * settings.batch_bytes))

    def _rows(self, stream: Batches) -> Iterator[_Row]:
        number = 0
        for whole in stream:
            batch = compact(whole)
            wanted = None if self.condition is None else batch.column(self.condition).to_pylist()
            for place, url in enumerate(batch.column(self.url).to_pylist()):
                yield _Row(number, batch, place, url if wanted is None or wanted[place] else None)
                number += 1

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        options = self.options(settings)
        floor = (_BATCHES_AHEAD + 2) * settings.batch_bytes + self._floor_body(options, settings)
        # A window of twice the connections is in flight, or all there is.
        flying = min(inputs[0].rows if inputs else 0.0, 2.0 * options.max_connections) * self._width()
        if options.inflight_bytes:
            flying = min(flying, float(options.inflight_bytes))
        ideal = max(floor, floor - self._floor_body(options, settings) + int(flying))
        what = "answers" if self.only_info else "bodies in flight"
        return MemoryNeed(floor, ideal, False, f"{what} of at most {options.max_connections} connections")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        below = inputs[0]
        seen = None if self.only_info else history.width(self._history_key())
        origin = below.origin if seen is None else "history"
        return Stats(below.rows, below.bytes + self._width() * below.rows, below.columns, origin)

    def _width(self) -> float:
        """Bytes of what comes for a row: as seen before, or a guess."""
        return 100.0 if self.only_info else history.width(self._history_key()) or float(1 << 20)

    def _history_key(self) -> str:
        return f"url {display_name(self.url)}"

    def describe(self) -> str:
        what = "url_info" if self.only_info else "url_download"
        # Headers hold secrets.
        given = "".join(f", {name} => {'...' if name == 'headers' else repr(value)}" for name, value in self.given)
        shown_call = f"{self.output} = {what}({self.url}{given})"
        return shown_call if self.condition is None else f"{shown_call} where {self.condition}"


class _Flight:
    """The rows in flight of one task, and those that wait to leave."""

    def __init__(
        self, operator: FetchUrls, options: FetchOptions, window: Window, fetcher: Fetcher, pool: ThreadPoolExecutor
    ) -> None:
        self._operator = operator
        self._options = options
        self._window = window
        self._fetcher = fetcher
        self._pool = pool
        self.bodies = self.bytes = 0  # that came

    def rows(self, rows: Iterator[_Row], task: Task) -> Iterator[pa.RecordBatch]:
        flying: deque[_Row] = deque()
        done: list[tuple[_Row, Fetched | None]] = []
        held = 0
        more = True
        while more or flying:
            while more and len(flying) < 2 * self._window.width and self._ahead(flying) < _BATCHES_AHEAD:
                row = next(rows, None)
                if row is None:
                    more = False
                    break
                self._start(row)
                flying.append(row)
            if not flying:
                break
            head = flying.popleft()
            # What is there leaves before a wait, so that whoever wants only some rows has them soon.
            waits = (
                head.future is not None and not head.future.done() and len(done) >= 2 * self._options.max_connections
            )
            if done and (waits or head.batch is not done[0][0].batch or held >= task.settings.batch_bytes):
                yield self._leave(done)
                done, held = [], 0
            fetched = self._landed(head, task)
            done.append((head, fetched))
            held += len(fetched.body) if fetched is not None and fetched.body is not None else 64
        if done:
            yield self._leave(done)

    def _ahead(self, flying: deque[_Row]) -> int:
        """Batches that rows in flight keep alive."""
        if not flying or flying[0].batch is flying[-1].batch:
            return 1
        return len({id(row.batch) for row in flying})

    def _start(self, row: _Row) -> None:
        if row.url is not None:
            row.future = self._pool.submit(self._fetch, row)

    def _fetch(self, row: _Row) -> Fetched:
        window, number = self._window, row.number
        try:
            return self._fetcher.fetch(row.url or "", window.room(number), self._operator.only_info)
        except BaseException:
            window.release(number)
            raise

    def _landed(self, row: _Row, task: Task) -> Fetched | None:
        """Wait for the oldest row; if its body was dropped on the way it is fetched now, alone and first."""
        if row.future is None:
            return None
        self._window.oldest(row.number)
        while True:
            try:
                while True:
                    try:
                        fetched = row.future.result(timeout=0.1)
                        break
                    except TimeoutError:
                        task.cancel.check()
            except Dropped:
                task.cancel.check()
            else:
                if not self._window.was_dropped(row.number):
                    break
            row.future = Future()
            try:
                row.future.set_result(self._fetch(row))
            except Dropped as dropped:
                row.future.set_exception(dropped)
        if fetched.error is not None and self._options.on_error == "raise" and not self._operator.only_info:
            times = "" if fetched.attempts == 1 else f" (after {fetched.attempts} attempts)"
            raise DownloadError(
                f"{shown(row.url or '')}: {fetched.error}{times}",
                hint="on_error => 'null' gives NULL for such rows, result => 'struct' tells what happened",
            )
        return fetched

    def _leave(self, done: list[tuple[_Row, Fetched | None]]) -> pa.RecordBatch:
        first, last = done[0][0], done[-1][0]
        schema = self._operator.schema
        type_ = schema.field(self._operator.output).type
        results = [fetched for _, fetched in done]
        if self._operator.only_info:
            values = pa.array([_info(f) for f in results], type_)
        elif pa.types.is_struct(type_):
            values = _structs(results)
        else:
            values = _blobs([None if f is None else f.body for f in results])
        count = last.place - first.place + 1
        columns = [column.slice(first.place, count) for column in first.batch.columns]
        for row, fetched in done:
            if fetched is not None:
                if fetched.body is not None:
                    self.bodies += 1
                    self.bytes += len(fetched.body)
                fetched.body = None
            self._window.release(row.number)
        return pa.RecordBatch.from_arrays([*columns, values], schema=schema)


def _blobs(bodies: Sequence[bytes | bytearray | None]) -> pa.Array:
    """An array of bodies; a single one is not copied."""
    if len(bodies) == 1 and bodies[0] is not None:
        offsets = pa.py_buffer(pa.array([0, len(bodies[0])], pa.int32()).buffers()[1])
        return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(bodies[0])])
    return pa.array(bodies, pa.binary())  # not memoryviews: Arrow never lets go of them


def _structs(results: Sequence[Fetched | None]) -> pa.Array:
    columns = [
        _blobs([None if f is None else f.body for f in results]),
        pa.array([None if f is None else f.status for f in results], pa.int32()),
        pa.array([None if f is None or f.body is None else len(f.body) for f in results], pa.int64()),
        pa.array([None if f is None else f.attempts for f in results], pa.int32()),
        pa.array([None if f is None else f.error for f in results], pa.string()),
        pa.array([None if f is None else shown(f.url) for f in results], pa.string()),
    ]
    missing = pa.array([f is None for f in results])
    return pa.StructArray.from_arrays(columns, fields=list(RESULT_TYPE), mask=missing)


def _info(fetched: Fetched | None) -> dict[str, Any] | None:
    if fetched is None:
        return None
    return {
        "status": fetched.status,
        "size": fetched.size,
        "type": fetched.type,
        "url": shown(fetched.url),
        "error": fetched.error,
    }
