"""Call a user function for the rows of its input: the input's columns and one more.

1. A batch is cut into pieces: as many rows as should give `batch_bytes` of output by what was observed so far (or by
   what the function says of its rows: `costs`), at most `batch_rows`. A row function cuts by itself as soon as it has
   made enough bytes.
2. Pieces go to workers (threads, or processes), over the borders of batches, as many in flight as there are workers;
   answers come in order.
3. A piece that fails without saying which row is halved, down to the guilty row. That row is tried again `retries`
   times, then it is an error, or NULL, as `on_error` says; the rows before and after it are computed all the same.
4. Rows whose condition is not true are not passed, nor (nulls = skip) are rows with a NULL argument: they are NULL.

Held: the input batches of the pieces in flight, one piece per worker with its output twice (Python values and Arrow),
and what the function declares for itself (`memory`); a worker process counts with its weight. When the budget refuses
further workers there are fewer. Worst case: one row's output, which is held whole.

`operators.call_pieces` does the work.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.operators.call_pieces import Calling, Places, Turns
from sqlengine.runtime.task import Task
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.runtime.udf.observed import observed_width
from sqlengine.runtime.udf.values import is_wide
from sqlengine.runtime.udf.workers import WORKER_MEMORY, WORKER_WEIGHT
from sqlengine.settings import Settings


@dataclass(frozen=True)
class CallUdf(Operator):
    """`args`: keys of the argument columns; `condition`: key of a boolean column, or None; `output`: key of values."""

    function: UserFunction
    args: tuple[str, ...]
    condition: str | None
    output: str

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        calling = Calling(
            self.function, Places(self.args, self.condition, self.schema), self.target_bytes(task.settings),
            self.worker_bytes(task.settings), self._turns(task), task, task.reservation(self),
        )  # fmt: skip
        try:
            yield from calling.rows(inputs[0])
        finally:
            calling.close()

    def _turns(self, task: Task) -> Turns:
        """How many calls go on at a time."""
        options, tasks = self.function.options, task.stage.tasks
        usual = task.settings.threads if self.function.parallel else tasks
        most = tasks if self.function.is_async else options.concurrency or usual
        few = most < tasks and not options.in_process
        return Turns(max(1, most // tasks), task.shared(self, lambda: threading.Semaphore(most)) if few else None)

    def target_bytes(self, settings: Settings) -> int:
        """Bytes of input, and of output, of one call."""
        return min(self.function.options.batch_bytes or settings.batch_bytes, settings.batch_bytes)

    def worker_bytes(self, settings: Settings) -> int:
        """What a worker takes; of a process that is also its ceiling, at first."""
        options = self.function.options
        if options.in_process:
            return WORKER_WEIGHT + (options.memory or WORKER_MEMORY + 4 * self.target_bytes(settings))
        return options.memory or 0

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        target = self.target_bytes(settings)
        floor = 2 * settings.batch_bytes + 2 * target + self.worker_bytes(settings)
        where = "a worker process" if self.function.options.in_process else "this process"
        # One value above a batch is held whole, and again while it is handed on.
        extra = max(0, int(2 * self._width()) - 2 * target)
        return MemoryNeed(floor, floor + extra, False, f"batches of {self.function.name}() in {where}")

    def _width(self) -> float:
        """Bytes of a value: as seen before, or a guess."""
        guess = self.function.width or (64.0 if is_wide(self.function.returns) else 8.0)
        return observed_width(self.function) or guess

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        below = inputs[0]
        origin = "history" if observed_width(self.function) is not None else below.origin
        return Stats(below.rows, below.bytes + self._width() * below.rows, below.columns, origin)

    def describe(self) -> str:
        options = self.function.options
        how = "process" if options.in_process else "thread"
        shown = f"{self.output} = {self.function.name}({', '.join(self.args)}) in {how}"
        return shown if self.condition is None else f"{shown} where {self.condition}"
