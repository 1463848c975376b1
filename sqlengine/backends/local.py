"""The local backend: stages on threads of this process, replanned with real sizes as they finish.

1. The lowest seam whose inputs exist (build sides first) runs as a stage; its rows go to a `Shuffle`.
2. The seam is replaced by a `StageInput` that knows the real size; `adapt` decides what depends on it.
3. When no seam is left, the rest is the result's pipeline, pulled by the consumer.

A pipeline (a tree down to its stage inputs) is admitted as a whole: the floors of its consumer and of all producers
below its gathers at once. When they do not fit, parallelism falls first, then the size of batches.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlengine.backends.gather import Gather
from sqlengine.backends.progress import expect_work, new_progress, watch_splits
from sqlengine.backends.worker import Batches, Profile, open_stream
from sqlengine.errors import MemoryLimitError
from sqlengine.expr.statistics import Stats
from sqlengine.formats.base import Split
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange, HeldInput, HeldPlan, StageInput
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.physical.adapt import adapt
from sqlengine.physical.estimates import estimate
from sqlengine.physical.fit import Needs, fit, pipeline, units, width
from sqlengine.physical.key_summary import KeySummary
from sqlengine.physical.shared_tables import with_room_for_tables
from sqlengine.physical.stages import after_stage, next_seam
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.memory import MemoryPool, TaskMemory
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.process_watch import limit_for
from sqlengine.runtime.progress import QueryProgress
from sqlengine.runtime.shuffle import Shuffle
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.runtime.task import StageState, Task
from sqlengine.settings import Settings, format_bytes


@dataclass
class QueryContext:
    """What one query runs with."""

    settings: Settings
    pool: MemoryPool
    spill: SpillDirectory
    cancel: Cancel
    weight: int  # of the process before any work, in bytes
    profile: Profile = field(default_factory=Profile)
    progress: QueryProgress = field(default_factory=new_progress)


class StageReader(Protocol):
    """Who knows where the rows of finished stages are."""

    def open_input(self, operator: Operator, task: Task) -> Batches: ...


class LocalBackend:
    """Runs one query; `run` may be closed early."""

    def __init__(self, context: QueryContext) -> None:
        self._context = context
        self._stages: list[Shuffle] = []
        self._held: dict[str, int] = {}

    def run(self, root: Operator) -> Batches:
        capacity, settings = self._context.pool.capacity, self._context.settings
        expect_work(self._context.progress, root)
        try:
            while (seam := next_seam(root)) is not None:
                root = self._run_stage(root, seam)
                root = adapt(root, capacity, settings)
                root = with_room_for_tables(root, capacity, settings)
            self._context.profile.stages.append(("result", root))
            with Pipeline(self, root, self._context) as running:
                yield from running.stream()
        except BaseException as error:
            # Whoever keeps the error keeps the frames it passed, but not the streams and spill files in them.
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            for number, shuffle in enumerate(self._stages):
                self._context.profile.outputs[f"stage {number}"] = (shuffle.total_bytes, shuffle.spilled_bytes)
                shuffle.close()

    def _run_stage(self, root: Operator, seam: Exchange | HeldPlan) -> Operator:
        number = len(self._stages)
        partitions = seam.partitions if isinstance(seam, Exchange) else 1
        keys = seam.to.keys if isinstance(seam, Exchange) else ()
        child = seam.inputs[0]
        context = self._context
        shuffle = Shuffle(
            child.schema, partitions, context.pool, context.spill, context.settings, owner=type(seam).__name__
        )
        self._stages.append(shuffle)
        context.profile.stages.append((f"stage {number}", child))
        summary = KeySummary(
            seam.summarize if isinstance(seam, Exchange) else (),
            child.schema, estimate(child), context.pool.capacity, shuffle.reservation("KeySummary"),
        )  # fmt: skip
        with Pipeline(self, child, context, seam) as running:
            running.write(shuffle, keys, summary)
        shuffle.finish(summary.give_up)
        if partitions > 1:
            self._context.progress.expect(number, shuffle.total_bytes)
            self._context.progress.expect_parts(number, partitions)
        if isinstance(seam, HeldPlan):
            self._held[seam.name] = number
        left = Stats(shuffle.total_rows, shuffle.total_bytes, running.stats().columns, "actual")
        return after_stage(root, seam, number, left, summary.freeze())

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
                    return self._counted(operator.stage, shuffle.read(task.partition, consume=not operator.keep))
                return _chain(shuffle, range(operator.partitions), not operator.keep)
        raise AssertionError(operator)

    def _counted(self, stage: int, partition: Batches) -> Batches:
        yield from partition
        self._context.progress.part_done(stage, 1)


def _chain(shuffle: Shuffle, partitions: range, consume: bool) -> Batches:
    for partition in partitions:
        yield from shuffle.read(partition, consume=consume)


class Pipeline:
    """One admitted pipeline: the tasks of its root and of the gathers below it, under one `TaskMemory`."""

    def __init__(
        self, backend: StageReader, root: Operator, context: QueryContext, seam: Exchange | HeldPlan | None = None
    ) -> None:
        self._backend = backend
        self._root = root
        self._context = context
        self._needs = Needs(root)
        pool = context.pool
        fitted = fit(root, context.settings, pool.capacity, seam, self._needs)
        if not fitted.fits:
            least = limit_for(fitted.floor, context.weight)
            raise MemoryLimitError(
                f"{type(root).__name__} and what runs with it need at least {format_bytes(fitted.floor)}, "
                f"the memory limit leaves {format_bytes(pool.capacity)}",
                hint=f"SET memory_limit = '{-(-least // 1_000_000)}MB', or more; EXPLAIN MEMORY shows what needs it",
            )
        self.settings = fitted.settings
        self._memory: TaskMemory = pool.admit(type(root).__name__, fitted.floor, context.cancel)
        self._tasks: list[Task] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Pipeline:
        self._context.progress.enter(id(self), lambda: [m for task in list(self._tasks) for m in task.measured()])
        return self

    def __exit__(self, *error: object) -> None:
        try:
            for task in self._tasks:
                for operator, measured in task.measured():
                    self._context.profile.add(operator, measured)
        finally:
            self._context.progress.leave(id(self))
            self._memory.close()

    def stats(self) -> Stats:
        """What its root was expected to give."""
        return self._needs.stats(self._root)

    def stream(self) -> Batches:
        """The batches of the root (which is in one task)."""
        task = self._task(self._root, watch_splits(StageState(1), self._context.progress), 0, None)
        return open_stream(self._root, task, self._open_exchange)

    def share(self, splits: Mapping[int, Sequence[Split]] | None, partition: int | None) -> Batches:
        """The batches of the root for one share of the work: of each scan (by `id`) the splits given, no others; all of
        them where no splits are given."""
        state = StageState(1)
        for operator in pipeline(self._root):
            if isinstance(operator, ScanSplits) and splits is not None:
                state.assign(operator, splits.get(id(operator), ()))
        return open_stream(self._root, self._task(self._root, state, 0, partition), self._open_exchange)

    def write(self, shuffle: Shuffle, keys: tuple[str, ...], summary: KeySummary) -> None:
        """Run all tasks of the root, their rows into `shuffle`."""
        count = width(self._root, self.settings.threads)
        state, queue = self._stage(units(self._root), count)

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
        count = width(root, self.settings.threads)
        state, queue = self._stage(units(root), count)

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

    def _stage(self, runs: int | None, count: int) -> tuple[StageState, Callable[[int], Iterator[int | None]]]:
        """The shared state of a stage and the units each thread runs: partitions from one queue, or one run per
        thread."""
        progress = self._context.progress
        if runs is None:
            return watch_splits(StageState(count), progress), lambda number: iter((None,))
        if runs == 1:
            return watch_splits(StageState(1), progress), lambda number: iter((0,))
        numbers = iter(range(runs))
        lock = threading.Lock()

        def take(number: int) -> Iterator[int | None]:
            while True:
                with lock:
                    partition = next(numbers, None)
                if partition is None:
                    return
                yield partition

        return watch_splits(StageState(runs), progress), take

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
        for operator in pipeline(root):
            need = self._needs.of(operator, self.settings)
            task.declare(operator, need.floor, need.spills)
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
