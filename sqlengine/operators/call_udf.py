"""Call a user function for the rows of its input: the input's columns and one more.

1. A batch is cut into pieces: as many rows as should give `batch_bytes` of output by what was observed so far, at most
   `batch_rows`. A row function cuts by itself as soon as it has made enough bytes.
2. Pieces go to workers (this thread, or processes), as many in flight as there are workers; answers come in order.
3. A piece that fails without saying which row is halved, down to the guilty row. That row is tried again `retries`
   times, then it is an error, or NULL, as `on_error` says; the rows before and after it are computed all the same.
4. Rows whose condition is not true are not passed, nor (nulls = skip) are rows with a NULL argument: they are NULL.

Held: the input batch, one piece in flight per worker with its output twice (Python values and Arrow), and what the
function declares for itself (`memory`); a worker process counts with its weight. When the budget refuses further worker
processes there are fewer. Worst case: one row's output, which is held whole.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import UDFError
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime.memory import Reservation
from sqlengine.runtime.task import Task
from sqlengine.runtime.udf.calls import Failure, Outcome
from sqlengine.runtime.udf.function import ARROW, UserFunction
from sqlengine.runtime.udf.values import is_wide, short
from sqlengine.runtime.udf.workers import WORKER_MEMORY, WORKER_WEIGHT, ProcessWorker, ThreadWorker, Worker
from sqlengine.settings import Settings, format_bytes

log = logging.getLogger("sqlengine")
_FIRST_ROWS = 16  # of a vectorised function whose values differ in size, before anything was observed
_GROWTH = 8


@dataclass(frozen=True)
class CallUdf(Operator):
    """`args`: keys of the argument columns; `condition`: key of a boolean column, or None; `output`: key of values."""

    function: UserFunction
    args: tuple[str, ...]
    condition: str | None
    output: str

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        reservation = task.reservation(self)
        calling = _Calling(self, task, reservation)
        try:
            for batch in inputs[0]:
                yield from calling.batch(batch)
        finally:
            calling.close()

    def target_bytes(self, settings: Settings) -> int:
        """Bytes of input, and of output, of one call."""
        return min(self.function.options.batch_bytes or settings.batch_bytes, settings.batch_bytes)

    def worker_bytes(self) -> int:
        options = self.function.options
        if options.in_process:
            return WORKER_WEIGHT + (options.memory or WORKER_MEMORY)
        return options.memory or 0

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 2 * settings.batch_bytes + 2 * self.target_bytes(settings) + self.worker_bytes()
        where = "a worker process" if self.function.options.in_process else "this process"
        return MemoryNeed(floor, floor, False, f"batches of {self.function.name}() in {where}")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        width = 64.0 if is_wide(self.function.returns) else 8.0
        return Stats(inputs[0].rows, inputs[0].bytes + width * inputs[0].rows, inputs[0].columns, inputs[0].origin)

    def describe(self) -> str:
        options = self.function.options
        how = "process" if options.in_process else "thread"
        shown = f"{self.output} = {self.function.name}({', '.join(self.args)}) in {how}"
        return shown if self.condition is None else f"{shown} where {self.condition}"


@dataclass
class _Piece:
    """Rows `start` to `stop` of a batch, given to a worker: `picked` are those of them that are passed (None: all).
    After a failure no call goes beyond row `narrowed` until the rows before it are done."""

    start: int
    stop: int
    picked: pa.Array | None
    worker: Worker
    narrowed: int | None = None
    guilty: tuple[int, Failure] | None = None
    attempts: dict[int, int] = field(default_factory=dict)


class _Calling:
    """The running state of one task: its workers, and what was observed."""

    def __init__(self, operator: CallUdf, task: Task, reservation: Reservation) -> None:
        self._operator = operator
        self._function = operator.function
        self._options = operator.function.options
        self._task = task
        self._reservation = reservation
        self._target = operator.target_bytes(task.settings)
        self._workers = self._open_workers()
        self._turn = self._limit_of_threads()
        self._seen = 0  # rows of earlier batches, for messages
        # A row function stops by itself; fixed widths are known.
        unknown = self._function.kind == ARROW and is_wide(self._function.returns)
        self._most_rows = self._options.batch_rows or task.settings.batch_rows
        self._rows = min(_FIRST_ROWS, self._most_rows) if unknown else self._most_rows
        self._bytes_per_row = 0.0

    def _open_workers(self) -> list[Worker]:
        if not self._options.in_process:
            return [ThreadWorker(self._function)]
        tasks = self._task.stage.tasks
        workers: list[Worker] = [ProcessWorker(self._function, self._task.cancel)]
        for _ in range(max(1, (self._options.concurrency or tasks) // tasks) - 1):
            # The first one is in the floor; more of them only as the budget allows.
            if not self._reservation.try_grow(self._operator.worker_bytes() + 2 * self._target):
                break
            workers.append(ProcessWorker(self._function, self._task.cancel))
        return workers

    def _limit_of_threads(self) -> Any:
        """Fewer calls at a time than tasks, where `concurrency` says so."""
        most = self._options.concurrency
        if most is None or most >= self._task.stage.tasks or self._function.is_async:
            return nullcontext()
        return self._task.shared(self._operator, lambda: threading.Semaphore(most))

    def batch(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        args = [batch.column(key) for key in self._operator.args]
        mask = self._mask(batch, args)
        rows = batch.num_rows
        place = 0
        flying: deque[_Piece] = deque()
        free = deque(self._workers)
        while place < rows or flying:
            while place < rows and free:
                stop = min(rows, place + self._next_rows(batch))
                piece = _Piece(place, stop, None, free.popleft())
                self._submit(piece, args, mask)
                flying.append(piece)
                place = stop
            piece = flying.popleft()
            yield from self._finish(piece, batch, args, mask)
            free.append(piece.worker)
        self._seen += rows

    def _mask(self, batch: pa.RecordBatch, args: list[pa.Array]) -> pa.Array | None:
        """The rows to pass, None: all."""
        mask = None
        if self._operator.condition is not None:
            mask = pc.fill_null(batch.column(self._operator.condition), False)
        if self._options.nulls == "skip":
            for array in args:
                if array.null_count:
                    valid = array.is_valid()
                    mask = valid if mask is None else pc.and_(mask, valid)
        return mask

    def _next_rows(self, batch: pa.RecordBatch) -> int:
        input_width = batch.nbytes / batch.num_rows
        by_input = int(self._target / max(1.0, input_width))
        return max(1, min(self._rows, by_input, self._most_rows))

    def _observe(self, size: int, rows: int) -> None:
        width = size / max(1, rows)
        self._bytes_per_row = max(width, 0.9 * self._bytes_per_row)
        wanted = int(self._target / max(1.0, self._bytes_per_row))
        if self._function.kind != ARROW:
            wanted *= 2  # it cuts by itself; what is left over would be sent again
        self._rows = max(1, min(wanted, self._rows * _GROWTH, self._most_rows))

    def _submit(self, piece: _Piece, args: list[pa.Array], mask: pa.Array | None) -> None:
        """Give the rows of the piece that are wanted to its worker; nothing when there are none."""
        length = piece.stop - piece.start
        parts = [a.slice(piece.start, length) for a in args]
        piece.picked = None
        if mask is not None:
            part = mask.slice(piece.start, length)
            places = pc.indices_nonzero(part)
            if len(places) < length:
                piece.picked = places
                parts = [a.take(places) for a in parts]
                length = len(places)
        if length:
            with self._turn:
                piece.worker.submit(parts, length, self._target)

    def _finish(
        self, piece: _Piece, batch: pa.RecordBatch, args: list[pa.Array], mask: pa.Array | None
    ) -> Iterator[pa.RecordBatch]:
        """The output of a piece, in as many batches as it takes."""
        end = piece.stop
        while True:
            wanted = piece.stop - piece.start if piece.picked is None else len(piece.picked)
            if piece.guilty is not None and piece.start == piece.guilty[0]:
                failure, piece.guilty = piece.guilty[1], None
                yield from self._decide(piece, failure, piece.start, batch, args)
            elif wanted == 0:
                yield self._made(
                    batch, piece.start, piece.stop, pa.nulls(piece.stop - piece.start, self._function.returns)
                )
                piece.start = piece.stop
            else:
                with self._turn:
                    outcome = piece.worker.result()
                yield from self._take(piece, outcome, batch, args, wanted)
            if piece.start == end:
                return
            if piece.guilty is not None and piece.start == piece.guilty[0]:
                continue
            if piece.narrowed is None or piece.start >= piece.narrowed:
                piece.narrowed = None
                piece.stop = min(end, piece.start + self._next_rows(batch))
            else:
                piece.stop = piece.narrowed
            self._submit(piece, args, mask)

    def _take(
        self, piece: _Piece, outcome: Outcome, batch: pa.RecordBatch, args: list[pa.Array], wanted: int
    ) -> Iterator[pa.RecordBatch]:
        """Give out what was computed and move the piece behind it; narrow a failure down, or decide about the row."""
        failure = outcome.failure
        values = outcome.values if failure is None else failure.after
        if values is not None and len(values):
            size = values.nbytes
            self._observe(size, len(values))
            if failure is None and wanted > 1 and size > self._target and not self._reservation.try_grow(size):
                # More than there is room for: fewer rows at a time. What was made is dropped and made again.
                piece.narrowed = self._place(piece, wanted // 2)
                return
            extra = size if failure is None and wanted > 1 and size > self._target else 0
            if wanted == 1 and size > self._target:
                self._reservation.grow(size)
                extra = size
            stop = piece.stop if len(values) == wanted else self._place(piece, len(values))
            if piece.picked is not None:
                values = _spread(values, piece.picked, stop - piece.start)
            yield self._made(batch, piece.start, stop, values)
            self._reservation.shrink(extra)
            piece.start = stop
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
        yield from self._decide(piece, failure, row, batch, args)

    def _decide(
        self, piece: _Piece, failure: Failure, row: int, batch: pa.RecordBatch, args: list[pa.Array]
    ) -> Iterator[pa.RecordBatch]:
        """Try the guilty row again, or make it NULL (with those before it that are not wanted), or raise."""
        tries = piece.attempts.get(row, 0)
        if tries < self._options.retries:
            piece.attempts[row] = tries + 1
            self._task.cancel.wait(self._options.backoff * 2**tries)
            return
        self._refuse(failure, row, args)
        yield self._made(batch, piece.start, row + 1, pa.nulls(row + 1 - piece.start, self._function.returns))
        piece.start = row + 1

    def _place(self, piece: _Piece, passed: int) -> int:
        """The place in the batch of the `passed`-th row given to the worker."""
        return piece.start + (passed if piece.picked is None else int(piece.picked[passed].as_py()))

    def _made(self, batch: pa.RecordBatch, start: int, stop: int, values: pa.Array) -> pa.RecordBatch:
        columns = [column.slice(start, stop - start) for column in batch.columns]
        return pa.RecordBatch.from_arrays([*columns, values], schema=self._operator.schema)

    def _refuse(self, failure: Failure, row: int, args: list[pa.Array]) -> None:
        """Raise for the guilty row, or log it, as `on_error` says."""
        name = self._function.name
        given = ", ".join(short(a[row].as_py()) for a in args)
        message = f"{name}({given}) at row {self._seen + row + 1} of its input: {failure.message}"
        if self._options.on_error == "raise":
            size = sum(a.slice(row, 1).nbytes for a in args)
            text = f"{message} ({format_bytes(size)} in)"
            if failure.trace:
                text += f"\n{failure.trace}"
            raise UDFError(text, code=f"udf_{failure.kind}", hint=_HINTS.get(failure.kind)) from failure.error
        if self._options.on_error == "log":
            log.warning("%s; NULL instead", message)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


_HINTS = {
    "raised": "SET udf.NAME.on_error = 'null' gives NULL for such rows",
    "timeout": "raise its timeout, or set its on_error to 'null'",
    "memory": "raise its memory, or lower its batch_rows or batch_bytes",
    "crash": "the function ended its process; on_error = 'null' gives NULL for such rows",
    "length": "a vectorised function returns one value for each row of its arguments",
    "type": "declare what it returns, or convert the values",
}


def _spread(values: pa.Array, places: pa.Array, rows: int) -> pa.Array:
    """The values at their places among `rows` rows, NULL elsewhere."""
    places = places.slice(0, len(values))
    filled = pc.indices_nonzero(pc.is_in(pa.array(range(rows), places.type), value_set=places))
    assert len(filled) == len(values)
    mask = pc.is_in(pa.array(range(rows), places.type), value_set=places)
    positions = pc.subtract(pc.cumulative_sum(mask.cast(pa.int64())), 1)
    return values.take(pc.if_else(mask, positions, pa.scalar(None, pa.int64())))
