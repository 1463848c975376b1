"""The pieces of batches that workers of a user function have, and what becomes of them (see `call_udf`)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DownloadError, UDFError
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.task import Task
from sqlengine.runtime.udf.calls import Failure, Outcome
from sqlengine.runtime.udf.function import ARROW, RowCosts, UserFunction
from sqlengine.runtime.udf.observed import observe
from sqlengine.runtime.udf.values import is_wide, short
from sqlengine.runtime.udf.workers import ProcessWorker, ThreadWorker, Worker
from sqlengine.settings import format_bytes

log = logging.getLogger("sqlengine")
_FIRST_ROWS = 16  # of a vectorised function whose values differ in size, before anything was observed
_GROWTH = 8
_SHARES = 4  # pieces of a batch for each of several workers


@dataclass(frozen=True)
class Places:
    """Where columns are: keys of the arguments, of a boolean column or None, and the schema of what comes out."""

    args: tuple[str, ...]
    condition: str | None
    schema: pa.Schema


@dataclass(frozen=True)
class Turns:
    """`workers` of this task; `few`: for fewer calls at a time than tasks."""

    workers: int
    few: threading.Semaphore | None


@dataclass
class _Batch:
    """An input batch with its arguments, the rows that are passed (None: all), what they will take, and the number of
    its first row, for messages."""

    rows: pa.RecordBatch
    args: list[pa.Array]
    mask: pa.Array | None
    costs: RowCosts | None
    first: int


@dataclass
class _Piece:
    """Rows `start` to `stop` of a batch, given to a worker: `picked` are those of them that are passed (None: all).
    After a failure no call goes beyond row `narrowed` until the rows before it are done."""

    batch: _Batch
    start: int
    stop: int
    worker: Worker
    picked: pa.Array | None = None
    room: int = 0
    narrowed: int | None = None
    guilty: tuple[int, Failure] | None = None
    attempts: dict[int, int] = field(default_factory=dict)


class Calling:
    """The running state of one task: its workers, and what was observed."""

    def __init__(
        self, function: UserFunction, places: Places, target: int, worker_bytes: int, turns: Turns, task: Task,
        reservation: Reservation,
    ) -> None:  # fmt: skip
        self._function = function
        self._options = function.options
        self._places = places
        self._task = task
        self._reservation = reservation
        self._target = target
        self._worker_bytes = worker_bytes
        self._workers = self._open_workers(turns.workers)
        self._turn: Any = turns.few or nullcontext()
        # A row function stops by itself; fixed widths, and those of a function that says what rows cost, are known.
        unknown = function.kind == ARROW and is_wide(function.returns) and function.costs is None
        self._most_rows = self._options.batch_rows or task.settings.batch_rows
        self._next = min(_FIRST_ROWS, self._most_rows) if unknown else self._most_rows
        self._bytes_per_row = 0.0
        self._made_rows = self._made_bytes = 0

    def _open_workers(self, count: int) -> list[Worker]:
        workers = [self._worker()]
        for _ in range(count - 1):
            # The first one is in the floor; more of them only as the budget allows.
            if not self._reservation.try_grow(self._worker_bytes + 2 * self._target):
                break
            workers.append(self._worker())
        return workers

    def _worker(self) -> Worker:
        if not self._options.in_process:
            return ThreadWorker(self._function, self._task.cancel)
        capacity = self._task.memory.pool.capacity
        return ProcessWorker(
            self._function, self._task.cancel, self._worker_bytes, self._reservation.try_grow, capacity
        )

    def rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The input with its new column. No input is waited for while a finished piece could leave."""
        flying: deque[_Piece] = deque()
        free = deque(self._workers)
        source = self._batches(batches)
        batch: _Batch | None = None
        place, more = 0, True
        while more or flying:
            while free and more and not (flying and batch is None and flying[0].worker.ready()):
                if batch is None:
                    batch, place = next(source, None), 0
                    if batch is None:
                        more = False
                        break
                piece = _Piece(batch, place, self._cut(batch, place), free.popleft())
                if not self._submit(piece, alone=not flying):
                    free.appendleft(piece.worker)
                    break
                flying.append(piece)
                place = piece.stop
                if place == batch.rows.num_rows:
                    batch = None
            if flying:
                piece = flying.popleft()
                yield from self._finish(piece)
                free.append(piece.worker)

    def _batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[_Batch]:
        seen = 0
        for rows in batches:
            args = [rows.column(key) for key in self._places.args]
            costs = None if self._function.costs is None else self._function.costs(args)
            yield _Batch(rows, args, self._mask(rows, args), costs, seen)
            seen += rows.num_rows

    def _mask(self, batch: pa.RecordBatch, args: list[pa.Array]) -> pa.Array | None:
        """The rows to pass, None: all."""
        mask = None
        if self._places.condition is not None:
            mask = pc.fill_null(batch.column(self._places.condition), False)
        if self._options.nulls == "skip":
            for array in args:
                if array.null_count:
                    valid = array.is_valid()
                    mask = valid if mask is None else pc.and_(mask, valid)
        return mask

    def _cut(self, batch: _Batch, start: int) -> int:
        """Where a piece that begins at row `start` ends."""
        rows: int = batch.rows.num_rows
        input_width = batch.rows.nbytes / rows
        by_input = int(self._target / max(1.0, input_width))
        most = min(self._next, by_input, self._most_rows)
        if len(self._workers) > 1:
            most = min(most, -(-rows // (_SHARES * len(self._workers))))  # something for each of them
        stop = min(rows, start + max(1, most))
        if batch.costs is not None:
            size = batch.costs.output[start]
            for row in range(start + 1, stop):
                size += batch.costs.output[row]
                if size > self._target:
                    return row
        return stop

    def _observe(self, size: int, rows: int) -> None:
        self._made_rows += rows
        self._made_bytes += size
        width = size / max(1, rows)
        self._bytes_per_row = max(width, 0.9 * self._bytes_per_row)
        wanted = int(self._target / max(1.0, self._bytes_per_row))
        if self._function.kind != ARROW:
            wanted *= 2  # it cuts by itself; what is left over would be sent again
        self._next = max(1, min(wanted, self._next * _GROWTH, self._most_rows))

    def _submit(self, piece: _Piece, alone: bool) -> bool:
        """Give the rows of the piece that are wanted to its worker (nothing when there are none). False when there is
        no room for what they will take while others are in flight; alone it is an error."""
        batch, length = piece.batch, piece.stop - piece.start
        if batch.costs is not None:
            part = slice(piece.start, piece.stop)
            # Twice the output: as Python values and in Arrow.
            needed = max(batch.costs.working[part]) + 2 * sum(batch.costs.output[part]) - 2 * self._target
            if needed > 0:
                if not self._reservation.try_grow(needed):
                    if not alone:
                        return False
                    self._reservation.grow(needed)
                piece.room = needed
        parts = [a.slice(piece.start, length) for a in batch.args]
        piece.picked = None
        if batch.mask is not None:
            places = pc.indices_nonzero(batch.mask.slice(piece.start, length))
            if len(places) < length:
                piece.picked = places
                parts = [a.take(places) for a in parts]
                length = len(places)
        if length:
            if isinstance(self._turn, threading.Semaphore):
                while not self._turn.acquire(timeout=0.05):
                    self._task.cancel.check()
            piece.worker.submit(parts, length, self._target)
        return True

    def _result(self, piece: _Piece) -> Outcome:
        try:
            return piece.worker.result()
        finally:
            if isinstance(self._turn, threading.Semaphore):
                self._turn.release()

    def _finish(self, piece: _Piece) -> Iterator[pa.RecordBatch]:
        """The output of a piece, in as many batches as it takes. A process works on the rows that are left while the
        first ones are handed on."""
        end = piece.stop
        while True:
            wanted = piece.stop - piece.start if piece.picked is None else len(piece.picked)
            if piece.guilty is not None and piece.start == piece.guilty[0]:
                failure, piece.guilty = piece.guilty[1], None
                made = self._decide(piece, failure, piece.start)
            elif wanted == 0:
                made = iter(
                    (self._made(piece, piece.stop, pa.nulls(piece.stop - piece.start, self._function.returns)),)
                )
            else:
                made = self._take(piece, self._result(piece), wanted)
            if self._options.in_process:
                made = iter(list(made))
                room, piece.room = piece.room, 0
                self._submit_rest(piece, end)
                yield from made
                self._reservation.shrink(room)
            else:
                yield from made
                self._reservation.shrink(piece.room)
                piece.room = 0
                self._submit_rest(piece, end)
            if piece.start == end:
                return

    def _submit_rest(self, piece: _Piece, end: int) -> None:
        """Give what is left of the piece to its worker; not the row of a known failure."""
        if piece.start == end or (piece.guilty is not None and piece.start == piece.guilty[0]):
            return
        if piece.narrowed is None or piece.start >= piece.narrowed:
            piece.narrowed = None
            piece.stop = min(end, self._cut(piece.batch, piece.start))
        else:
            piece.stop = piece.narrowed
        self._submit(piece, alone=True)

    def _take(self, piece: _Piece, outcome: Outcome, wanted: int) -> Iterator[pa.RecordBatch]:
        """Give out what was computed and move the piece behind it; narrow a failure down, or decide about the row."""
        failure = outcome.failure
        values = outcome.values if failure is None else failure.after
        if values is not None and len(values):
            size = values.nbytes
            self._observe(size, len(values))
            known = piece.batch.costs is not None
            if failure is None and wanted > 1 and size > self._target and not known:
                if not self._reservation.try_grow(size):
                    # More than there is room for: fewer rows at a time. What was made is dropped and made again.
                    piece.narrowed = self._place(piece, wanted // 2)
                    return
                piece.room += size
            elif wanted == 1 and size > self._target and not known:
                self._reservation.grow(size)
                piece.room += size
            stop = piece.stop if len(values) == wanted else self._place(piece, len(values))
            # Of a large value the place is needed once more, as the piece moves.
            after = None if outcome.large is None else self._place(piece, len(values) + 1, piece.stop)
            start = piece.start
            if piece.picked is not None:
                values = _spread(values, piece.picked, stop - start)
            yield self._made(piece, stop, values)
            if outcome.large is not None and after is not None:
                yield from self._large(piece, outcome.large, after)
        if failure is None:
            return
        if failure.row is None and wanted > 1:
            piece.narrowed = self._place(piece, wanted // 2)
            return
        if failure.row and values is None:
            # The worker is lost, and with it what it had made: the rows before are computed again, this one is not.
            piece.narrowed = self._place(piece, failure.row)
            piece.guilty = (piece.narrowed, failure)
            return
        # The guilty row is the first one that is left.
        row = piece.start
        if piece.picked is not None and (values is None or not len(values)):
            row = self._place(piece, 0)
        yield from self._decide(piece, failure, row)

    def _large(self, piece: _Piece, value: pa.Array, stop: int) -> Iterator[pa.RecordBatch]:
        """A value larger than a batch, for the row at the place where the piece is, and NULL up to `stop`."""
        size = value.nbytes
        self._observe(size, 1)
        self._reservation.grow(size)
        piece.room += size
        yield self._made(piece, piece.start + 1, value)
        if piece.start < stop:
            yield self._made(piece, stop, pa.nulls(stop - piece.start, self._function.returns))

    def _decide(self, piece: _Piece, failure: Failure, row: int) -> Iterator[pa.RecordBatch]:
        """Try the guilty row again, or make it NULL (with those before it that are not wanted), or raise."""
        tries = piece.attempts.get(row, 0)
        if tries < self._options.retries:
            piece.attempts[row] = tries + 1
            self._task.cancel.wait(self._options.backoff * 2**tries)
            return
        self._refuse(failure, piece.batch, row)
        yield self._made(piece, row + 1, pa.nulls(row + 1 - piece.start, self._function.returns))

    def _place(self, piece: _Piece, passed: int, end: int | None = None) -> int:
        """The place in the batch of the `passed`-th row given to the worker; `end` where there are not so many."""
        if piece.picked is None:
            return piece.start + passed
        if end is not None and passed >= len(piece.picked):
            return end
        return piece.start + int(piece.picked[passed].as_py())

    def _made(self, piece: _Piece, stop: int, values: pa.Array) -> pa.RecordBatch:
        """The rows of the piece up to `stop` with their values; the piece moves behind them."""
        start, piece.start = piece.start, stop
        columns = [column.slice(start, stop - start) for column in piece.batch.rows.columns]
        return pa.RecordBatch.from_arrays([*columns, values], schema=self._places.schema)

    def _refuse(self, failure: Failure, batch: _Batch, row: int) -> None:
        """Raise for the guilty row, or log it, as `on_error` says."""
        name = self._function.name
        given = ", ".join(short(a[row].as_py()) for a in batch.args)
        message = f"{name}({given}) at row {batch.first + row + 1} of its input: {failure.message}"
        if self._options.on_error == "raise":
            if isinstance(failure.error, DownloadError):  # of url_upload: it says all there is
                raise failure.error
            size = sum(a.slice(row, 1).nbytes for a in batch.args)
            text = f"{message} ({format_bytes(size)} in)"
            if failure.trace:
                text += f"\n{failure.trace}"
            raise UDFError(text, code=f"udf_{failure.kind}", hint=_HINTS.get(failure.kind)) from failure.error
        if self._options.on_error == "log":
            log.warning("%s; NULL instead", message)

    def close(self) -> None:
        observe(self._function, self._made_rows, self._made_bytes)
        for worker in self._workers:
            worker.close()


_HINTS = {
    "raised": "on_error => 'null' in the call gives NULL for such rows",
    "timeout": "raise its timeout, or set its on_error to 'null'",
    "memory": "raise its memory, or lower its batch_rows or batch_bytes",
    "crash": "the function ended its process; on_error = 'null' gives NULL for such rows",
}


def _spread(values: pa.Array, places: pa.Array, rows: int) -> pa.Array:
    """The values at their places among `rows` rows, NULL elsewhere."""
    places = places.slice(0, len(values))
    mask = pc.is_in(pa.array(range(rows), places.type), value_set=places)
    assert pc.sum(mask).as_py() == len(values)
    positions = pc.subtract(pc.cumulative_sum(mask.cast(pa.int64())), 1)
    return values.take(pc.if_else(mask, positions, pa.scalar(None, pa.int64())))
