"""What an operator sees while it runs: the settings, its memory, its spill files, its share of the input.

One `Task` is one thread's (or worker's) run of one stage; the tasks of a stage share a `StageState`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.memory import MemoryPool, Reservation, TaskMemory
from sqlengine.runtime.metrics import OperatorMetrics
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings

T = TypeVar("T")


class StageState:
    """What the tasks of one stage share: the queue of splits, values made once, and who has finished."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.lock = threading.Lock()
        # Told of the items of a queue when it is made, and of each item when its task comes back for another.
        self.on_items: Callable[[object, Iterable[Any]], None] | None = None
        self.on_done: Callable[[object, Any], None] | None = None
        self._queues: dict[int, deque[Any]] = {}
        self._shared: dict[int, _Once] = {}
        self._finished: dict[int, int] = {}

    def assign(self, operator: object, items: Iterable[Any]) -> None:
        """Fill the queue of an operator with what is its share, in place of what it would make itself."""
        self._queues[id(operator)] = deque(items)

    def take(self, operator: object, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """The items of a queue made once per stage, each given to one task."""
        with self.lock:
            queue = self._queues.get(id(operator))
            if queue is None:
                queue = self._queues[id(operator)] = deque(make())
                if self.on_items is not None:
                    self.on_items(operator, queue)
        while True:
            try:
                item = queue.popleft()
            except IndexError:
                return
            yield item
            if self.on_done is not None:
                self.on_done(operator, item)

    def shared(self, operator: object, make: Callable[[], T], cancel: Cancel) -> T:
        """A value made by the first task that asks; the others wait for it (or for its error)."""
        with self.lock:
            once = self._shared.setdefault(id(operator), _Once())
            first = not once.claimed
            once.claimed = True
        if first:
            try:
                once.value = make()
            except BaseException as error:
                once.error = error
                raise
            finally:
                once.done.set()
            return once.value  # type: ignore[no-any-return]
        while not once.done.wait(0.05):
            cancel.check()
        if once.error is not None:
            raise once.error
        return once.value  # type: ignore[no-any-return]

    def is_shared(self, key: int) -> bool:
        return key in self._shared

    def finished(self, operator: object) -> bool:
        """Count one more task as done with its part of `operator`; true for the last one."""
        with self.lock:
            count = self._finished.get(id(operator), 0) + 1
            self._finished[id(operator)] = count
        return count == self.tasks


class _Once:
    def __init__(self) -> None:
        self.claimed = False
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None


class Task:
    """The run-time surroundings of the operators of one task.

    `position` is an order tag: scans set it to the place of the split being read, so that a gather can give the batches
    of several tasks in the order of the input.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        memory: TaskMemory,
        spill: SpillDirectory,
        cancel: Cancel,
        stage: StageState | None = None,
        number: int = 0,
        partition: int | None = None,
        open_input: Callable[[Any, Task], Iterator[pa.RecordBatch]] | None = None,
        run_again: Callable[[Any, dict[str, Any], Task], Iterator[pa.RecordBatch]] | None = None,
    ) -> None:
        self.settings = settings
        self.memory = memory
        self.spill = spill
        self.cancel = cancel
        self.stage = stage or StageState(1)
        self.number = number
        self.partition = partition
        self.position: Any = -1
        self._open_input = open_input
        self._run_again = run_again
        self._reservations: dict[int, Reservation] = {}
        self._metrics: dict[int, tuple[object, OperatorMetrics]] = {}
        self.tables: dict[str, Any] = {}  # rows held inside this task, by name (held plans, recursion)
        self._floors: dict[int, tuple[int, bool]] = {}

    def declare(self, operator: object, floor: int, spills: bool) -> None:
        """Called by the worker for each operator before the task starts: the floor that was admitted for it."""
        self._floors[id(operator)] = (floor, spills)

    def reservation(self, operator: object) -> Reservation:
        """The operator's own reservation, with its admitted floor (made at the first call)."""
        found = self._reservations.get(id(operator))
        if found is None:
            floor, spills = self._floors.get(id(operator), (0, True))
            found = self.memory.reservation(type(operator).__name__, floor, spills)
            self._reservations[id(operator)] = found
        return found

    def lend(self, operator: object, reservation: Reservation) -> None:
        """Let an operator that runs inside another one hold its bytes under that one's reservation."""
        self._reservations[id(operator)] = reservation

    def metrics(self, operator: object) -> OperatorMetrics:
        found = self._metrics.get(id(operator))
        if found is None:
            found = self._metrics[id(operator)] = (operator, OperatorMetrics())
        return found[1]

    def measured(self) -> Iterator[tuple[Any, OperatorMetrics]]:
        """The operators that ran in this task, with their metrics; peaks are those of the reservations."""
        for key, (operator, metrics) in list(self._metrics.items()):
            if key in self._reservations:
                metrics.peak = max(metrics.peak, self._reservations[key].peak)
            yield operator, metrics

    def take(self, operator: object, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        return self.stage.take(operator, make)

    def shared(self, operator: object, make: Callable[[], T]) -> T:
        return self.stage.shared(operator, make, self.cancel)

    def finished(self, operator: object) -> bool:
        return self.stage.finished(operator)

    def stage_input(self, operator: Any) -> Iterator[pa.RecordBatch]:
        """The batches of another stage's output that this task has to read (for `operators.StageInput`)."""
        assert self._open_input is not None
        return self._open_input(operator, self)

    def run_again(self, operator: Any, tables: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        """Run a plan inside this task, its `HeldInput`s reading `tables` (for `operators.RecursiveUnion`)."""
        assert self._run_again is not None
        return self._run_again(operator, tables, self)

    def close_reservations(self) -> None:
        """Give back what the operators of this task hold, except what the stage shares."""
        for key, reservation in self._reservations.items():
            if not self.stage.is_shared(key):
                reservation.close()


def standalone_task(settings: Settings, capacity: int = 1 << 30, floor: int = 0) -> Task:
    """A task by itself, with its own pool and spill directory: for tests and for running one operator by hand."""
    pool = MemoryPool(capacity)
    return Task(
        settings=settings,
        memory=pool.admit("standalone", floor or min(capacity, 64 << 20)),
        spill=SpillDirectory.open(settings),
        cancel=Cancel(),
    )
