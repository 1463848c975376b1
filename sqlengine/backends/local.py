"""The local backend: stages on threads of this process, replanned with real sizes as they finish.

1. The lowest seam whose inputs exist (build sides first) runs as a stage; its rows go to a `Shuffle`.
2. The seam is replaced by a `StageInput` that knows the real size; `adapt` decides what depends on it.
3. When no seam is left, the rest is the result's pipeline, pulled by the consumer.

A pipeline (a tree down to its stage inputs) is admitted as a whole: the floors of its consumer and of all producers
below its gathers at once. When they do not fit, parallelism falls first, then the size of batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from sqlengine.backends.gather import Gather
from sqlengine.backends.worker import Batches, Profile, declare_floors, open_stream, pipeline, task_floor
from sqlengine.errors import MemoryLimitError
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange, HeldInput, HeldPlan, StageInput
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.physical.adapt import adapt
from sqlengine.physical.key_summary import KeySummary
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.memory import MemoryPool, TaskMemory
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.shuffle import Shuffle
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.runtime.task import StageState, Task
from sqlengine.settings import Settings, format_bytes

_SMALLEST_BATCH = 64 << 10


@dataclass
class QueryContext:
    """What one query runs with."""

    settings: Settings
    pool: MemoryPool
    spill: SpillDirectory
    cancel: Cancel
    threads: int
    profile: Profile = field(default_factory=Profile)


class LocalBackend:
    """Runs one query; `run` may be closed early."""

    def __init__(self, context: QueryContext) -> None:
        self._context = context
        self._stages: list[Shuffle] = []
        self._held: dict[str, int] = {}

    def run(self, root: Operator) -> Batches:
        try:
            while (seam := next_seam(root)) is not None:
                root = self._run_stage(root, seam)
                root = adapt(root, self._context.pool.capacity, self._context.settings)
            self._context.profile.stages.append(("result", root))
            with Pipeline(self, root, self._context) as running:
                yield from running.stream()
        finally:
            for shuffle in self._stages:
                shuffle.close()

    def _run_stage(self, root: Operator, seam: Operator) -> Operator:
        number = len(self._stages)
        held = isinstance(seam, HeldPlan)
        partitions = seam.partitions if isinstance(seam, Exchange) else 1
        keys = seam.to.keys if isinstance(seam, Exchange) else ()
        child = seam.inputs[0]
        context = self._context
        shuffle = Shuffle(
            child.schema, partitions, context.pool, context.spill, context.settings, owner=type(seam).__name__
        )
        self._stages.append(shuffle)
        context.profile.stages.append((f"stage {number}", child))
        summary = KeySummary(seam.summarize if isinstance(seam, Exchange) else ())
        with Pipeline(self, child, context) as running:
            running.write(shuffle, keys, summary)
        shuffle.finish()
        if isinstance(seam, HeldPlan):
            self._held[seam.name] = number
        rows, size = shuffle.total_rows, shuffle.total_bytes

        def swap(node: Operator) -> Operator:
            if node is not seam:
                return node
            if held:
                return seam.inputs[1]
            assert isinstance(seam, Exchange)
            return StageInput((), child.schema, number, seam.to, partitions, rows, size, summary=summary.freeze())

        return _replace_node(root, seam, swap)

    def open_input(self, operator: Operator, task: Task) -> Batches:
        match operator:
            case HeldInput():
                held: PartitionedBuffer | None = task.tables.get(operator.name)
                if held is not None:
                    return held.read(0)
                return self._stages[self._held[operator.name]].read(0)
            case StageInput():
                shuffle = self._stages[operator.stage]
                if operator.given.kind == "hash" and task.partition is not None:
                    return shuffle.read(task.partition, consume=not operator.keep)
                return _chain(shuffle, range(operator.partitions), not operator.keep)
        raise AssertionError(operator)


def _chain(shuffle: Shuffle, partitions: range, consume: bool) -> Batches:
    for partition in partitions:
        yield from shuffle.read(partition, consume=consume)


def _replace_node(root: Operator, target: Operator, swap: Callable[[Operator], Operator]) -> Operator:
    """`target` (by identity) replaced; shared subtrees elsewhere untouched."""
    if root is target:
        return swap(root)
    children = tuple(_replace_node(child, target, swap) for child in root.inputs)
    if all(a is b for a, b in zip(children, root.inputs, strict=True)):
        return root
    return root.with_children(children)


def next_seam(operator: Operator) -> Operator | None:
    """The next stage to run: the deepest exchange (or held plan) with no other below it, build sides before probe
    sides."""
    if isinstance(operator, HeldPlan):
        return next_seam(operator.inputs[0]) or operator
    for child in reversed(operator.inputs):
        found = next_seam(child)
        if found is not None:
            return found
    if isinstance(operator, Exchange) and operator.to.kind != "single":
        return operator
    return None


class Pipeline:
    """One admitted pipeline: the tasks of its root and of the gathers below it, under one `TaskMemory`."""

    def __init__(self, backend: LocalBackend, root: Operator, context: QueryContext) -> None:
        self._backend = backend
        self._root = root
        self._context = context
        self.threads, self.settings, floor = _fit(root, context)
        self._memory: TaskMemory = context.pool.admit(type(root).__name__, floor, context.cancel)
        self._tasks: list[Task] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            for task in self._tasks:
                for operator, measured in task.measured():
                    self._context.profile.add(operator, measured)
        finally:
            self._memory.close()

    def stream(self) -> Batches:
        """The batches of the root (which is in one task)."""
        task = self._task(self._root, StageState(1), 0, None)
        return open_stream(self._root, task, self._open_exchange)

    def write(self, shuffle: Shuffle, keys: tuple[str, ...], summary: KeySummary) -> None:
        """Run all tasks of the root, their rows into `shuffle`."""
        units = _units(self._root)
        count = self._width(units)
        state, queue = self._stage(units, count)

        def work(number: int, gather: Gather) -> None:
            writer = shuffle.writer()
            for partition in queue(number):
                task = self._task(self._root, state, number, partition)
                stream = open_stream(self._root, task, self._open_exchange)
                try:
                    for batch in stream:
                        gather.check()
                        summary.add(batch)
                        writer.add(batch, keys)
                finally:
                    stream.close()  # type: ignore[attr-defined]
                    task.close_reservations()
            writer.finish()

        for _ in Gather(count, work, False, self._context.cancel, self._context.pool):
            pass

    def _open_exchange(self, exchange: Exchange, task: Task) -> Batches:
        """A gather below: its producers start when the first batch is pulled."""
        root = exchange.inputs[0]
        units = _units(root)
        count = self._width(units)
        state, queue = self._stage(units, count)

        def work(number: int, gather: Gather) -> None:
            for partition in queue(number):
                producer = self._task(root, state, number, partition)
                if partition is not None:
                    producer.position = partition
                gather.at(number, producer.position)
                stream = open_stream(root, producer, self._open_exchange)
                try:
                    for batch in stream:
                        gather.put(number, producer.position, batch)
                finally:
                    stream.close()  # type: ignore[attr-defined]
                    producer.close_reservations()

        return iter(Gather(count, work, self.settings.preserve_order, self._context.cancel, self._context.pool))

    def _width(self, units: int | None) -> int:
        return self.threads if units is None else min(self.threads, units)

    def _stage(self, units: int | None, count: int) -> tuple[StageState, Callable[[int], Iterator[int | None]]]:
        """The shared state of a stage and the units each thread runs: partitions from one queue, or one run per
        thread."""
        if units is None:
            return StageState(count), lambda number: iter((None,))
        if units == 1:
            return StageState(1), lambda number: iter((0,))
        numbers = iter(range(units))
        lock = threading.Lock()

        def take(number: int) -> Iterator[int | None]:
            while True:
                with lock:
                    partition = next(numbers, None)
                if partition is None:
                    return
                yield partition

        return StageState(units), take

    def _task(self, root: Operator, state: StageState, number: int, partition: int | None) -> Task:
        task = Task(
            settings=self.settings,
            memory=self._memory,
            spill=self._context.spill,
            cancel=self._context.cancel,
            stage=state,
            number=number,
            partition=partition,
            open_input=self._backend.open_input,
            run_again=self._run_again,
        )
        declare_floors(root, task)
        with self._lock:
            self._tasks.append(task)
        return task

    def _run_again(self, root: Operator, tables: dict[str, PartitionedBuffer], task: Task) -> Batches:
        inner = self._task(root, StageState(1), task.number, None)
        inner.tables = {**task.tables, **tables}
        try:
            yield from open_stream(root, inner, self._open_exchange)
        finally:
            inner.close_reservations()


def _units(root: Operator) -> int | None:
    """How many runs a pipeline takes: one per partition of its hash inputs, None for one per thread over a queue of
    splits, 1 where the rows are in one place."""
    splits = False
    for operator in pipeline(root):
        match operator:
            case StageInput() if operator.given.kind == "hash":
                return operator.partitions
            case ScanSplits():
                splits = True
    return None if splits else 1


def _fit(root: Operator, context: QueryContext) -> tuple[int, Settings, int]:
    """The widest form of the pipeline whose floor fits the pool: fewer threads first, then smaller batches."""
    settings = context.settings
    capacity = context.pool.capacity
    floor = 0
    while True:
        for threads in range(context.threads, 0, -1):
            floor = _floor(root, settings, threads)
            # Half of the pool: what floors take, nobody above them can use.
            if floor <= capacity // 2 or (
                floor <= capacity and threads == 1 and settings.batch_bytes <= _SMALLEST_BATCH
            ):
                return threads, settings, floor
        if settings.batch_bytes <= _SMALLEST_BATCH:
            break
        settings = replace(settings, batch_bytes=max(_SMALLEST_BATCH, settings.batch_bytes // 2))
    raise MemoryLimitError(
        f"this query needs at least {format_bytes(floor)} for its operators, "
        f"the memory limit leaves {format_bytes(capacity)}",
        hint=f"SET memory_limit to at least {format_bytes(settings.memory_limit + floor - capacity)}",
    )


def _floor(root: Operator, settings: Settings, threads: int) -> int:
    total = task_floor(root, settings)
    for operator in pipeline(root):
        if isinstance(operator, Exchange):
            child = operator.inputs[0]
            units = _units(child)
            total += _floor(child, settings, threads) * (threads if units is None else min(threads, units))
    return total
