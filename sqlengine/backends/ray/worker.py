"""What runs on a worker: one unit of one stage, inside the memory of its task, its rows left in a file or in objects.

The pipeline is the one that the local backend runs, with its own pool: what the task may use minus what the process
weighs. The same function runs on the driver for rows that only the driver has.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from sqlengine.backends.local import Pipeline, QueryContext
from sqlengine.backends.ray.cluster import Keeper
from sqlengine.backends.ray.fragments import Fragment, unpack
from sqlengine.backends.ray.outputs import Lost, OutputIndex, Piece
from sqlengine.backends.ray.shuffle import OutputLost, OutputWriter, PieceReader, as_objects
from sqlengine.backends.ray.units import Unit
from sqlengine.backends.worker import Batches
from sqlengine.errors import Error, FileError, InternalError
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import HeldInput, KeyRange, StageInput
from sqlengine.physical.estimates import estimate
from sqlengine.physical.fit import pipeline
from sqlengine.physical.key_summary import KeySummary
from sqlengine.runtime.allocators import release_free_memory
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.guard import MemoryGuard
from sqlengine.runtime.memory import MemoryPool
from sqlengine.runtime.metrics import OperatorMetrics
from sqlengine.runtime.process_watch import operator_budget
from sqlengine.runtime.sorted_runs import sort_keys
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.runtime.task import Task

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Assignment:
    """Where and how a unit runs. `memory`: bytes of the task; `objects`: how many objects its rows become, 0 for a
    file; `inputs`: by stage, what it reads."""

    query: str
    stage: int
    unit: Unit
    attempt: int
    memory: int
    objects: int
    keepers: Mapping[str, Keeper]
    inputs: Mapping[int, Sequence[Piece]]


@dataclass(frozen=True)
class UnitReport:
    """What became of a unit. Without `index` it failed: `error`, or a `lost` input, or (neither) the node is unknown to
    the driver or has lost its folder."""

    stage: int
    unit: int
    attempt: int
    node: str
    index: OutputIndex | None = None
    file: str | None = None
    error: Error | None = None
    lost: Lost | None = None
    summary: Mapping[str, KeyRange] | None = None
    rows: int = 0
    metrics: tuple[OperatorMetrics | None, ...] = ()
    seconds: float = 0.0
    spilled: int = 0
    local_bytes: int = 0
    remote_bytes: int = 0
    peak: int = 0
    pid: int = field(default_factory=os.getpid)


class FragmentInputs:
    """Opens what a stage's operators read of other stages."""

    def __init__(
        self, fragment: Fragment, unit: Unit, pieces: Mapping[int, Sequence[Piece]], reader: PieceReader
    ) -> None:
        self._fragment = fragment
        self._unit = unit
        self._pieces = pieces
        self._reader = reader

    def open_input(self, operator: Operator, task: Task) -> Batches:
        if isinstance(operator, HeldInput):
            held = task.tables.get(operator.name)
            if held is not None:
                rows: Batches = held.read(0)
                return rows
            stage, schema = next((s, schema) for name, s, schema in self._fragment.held if name == operator.name)
            return self._reader.read(self._pieces[stage], schema)
        assert isinstance(operator, StageInput)
        keep = self._within(operator) if operator.given.kind == "range" else None
        return self._reader.read(self._pieces[operator.stage], operator.schema, keep)

    def _within(self, operator: StageInput) -> Callable[[pa.RecordBatch], pa.RecordBatch] | None:
        """A function from a block, which is in order, to its rows within the range of the unit."""
        by, data = next((by, data) for stage, by, data in self._fragment.ranges if stage == operator.stage)
        bounds = pa.ipc.open_stream(data).read_all().combine_chunks().to_batches()
        if not bounds:
            return None
        limits, count = sort_keys(bounds[0], by), bounds[0].num_rows
        assert self._unit.partitions is not None
        first, last = self._unit.partitions

        def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
            keys = sort_keys(batch, by)
            low = keys.lower_bound(limits, first - 1) if first else 0
            high = keys.lower_bound(limits, last) if last < count else batch.num_rows
            return batch.slice(low, max(0, high - low))

        return keep


@dataclass(frozen=True)
class Written:
    index: OutputIndex
    summary: Mapping[str, KeyRange]
    rows: int
    metrics: tuple[OperatorMetrics | None, ...]


def run_fragment(
    fragment: Fragment, unit: Unit, inputs: FragmentInputs, context: QueryContext, spill: SpillDirectory, path: Path
) -> Written:
    """Run a unit with the pool of `context`; its rows are in the file `path` then (if there are any)."""
    root, seam = fragment.root, fragment.seam
    rows = 0
    with context.pool.admit("stage output", 0, context.cancel) as memory:
        writer = OutputWriter(
            root.schema, seam.partitions, memory, spill, context.settings, seam.to.keys, fragment.by
        )  # fmt: skip
        summary = KeySummary(
            seam.summarize, root.schema, estimate(root), context.pool.capacity,
            memory.reservation("KeySummary", 0, False),
        )  # fmt: skip
        try:
            with Pipeline(inputs, root, context, seam) as running:
                stream = running.share(_splits(root, unit), None if unit.partitions is None else unit.partitions[0])
                for batch in stream:
                    rows += batch.num_rows
                    summary.add(batch)
                    writer.add(batch)
                index = writer.finish(path)
        finally:
            writer.close()
        known = summary.freeze()
    measured = tuple(context.profile.metrics.get(id(operator)) for operator in pipeline(root))
    return Written(index, known, rows, measured)


def _splits(root: Operator, unit: Unit) -> dict[int, Sequence[Any]] | None:
    if unit.share is None:
        return None
    return {id(leaf): unit.share.splits for place, leaf in enumerate(pipeline(root)) if place == unit.share.leaf}


def run_unit(packed: bytes, given: Assignment) -> Iterator[Any]:
    """The body of a Ray task: a report, then the objects."""
    node = ray.get_runtime_context().get_node_id()
    contents: Iterator[pa.Buffer | None] = iter(())
    try:
        report, contents = _run(packed, given, node)
    except OutputLost as error:
        report = _failed(given, node, lost=error.lost)
    except Error as error:
        report = _failed(given, node, error=_explained(error))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        shown = InternalError(
            f"{type(error).__name__} on node {node[:8]}: {error}", hint="".join(traceback.format_exception(error)[-3:])
        )
        report = _failed(given, node, error=shown)
    yield report
    left = given.objects
    for buffer in contents:
        left -= 1
        yield buffer
    for _ in range(left):
        yield None


def _failed(given: Assignment, node: str, error: Error | None = None, lost: Lost | None = None) -> UnitReport:
    return UnitReport(given.stage, given.unit.number, given.attempt, node, error=error, lost=lost)


def _explained(error: Error) -> Error:
    if isinstance(error, FileError):
        error.hint = (
            error.hint or "a path must be visible on every node of the cluster: shared storage or object stores"
        )
    return error


def _run(packed: bytes, given: Assignment, node: str) -> tuple[UnitReport, Iterator[pa.Buffer | None]]:
    started = time.perf_counter()
    keeper = given.keepers.get(node)
    if keeper is None or not os.path.isdir(keeper.folder):
        return _failed(given, node), iter(())
    release_free_memory()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(2)
    weight = private_bytes()
    fragment = unpack(packed)
    pool = MemoryPool(operator_budget(given.memory, weight))
    # A place of its own, so that nobody else looks for what dead processes left while it is being made.
    own = f"spill-{given.stage}-{given.unit.number}-{given.attempt}"
    settings = replace(
        fragment.settings, spill_dir=(os.path.join(keeper.folder, given.query, own),), memory_limit=given.memory
    )
    spill = SpillDirectory.open(settings)
    context = QueryContext(settings, pool, spill, Cancel(), weight)
    guard = MemoryGuard(given.memory, weight, pool, interval=0.05, measure=private_bytes)
    name = f"{given.query}/{given.stage}-{given.unit.number}-{given.attempt}.arrow"
    path = Path(keeper.folder) / name
    reader = PieceReader(node, keeper.folder, given.keepers, settings)
    inputs = FragmentInputs(fragment, given.unit, given.inputs, reader)
    try:
        with guard.watching(context.cancel) as peaks:
            written = run_fragment(fragment, given.unit, inputs, context, spill, path)
    finally:
        spill.close()
    index = written.index
    contents: Iterator[pa.Buffer | None] = iter(())
    if given.objects:
        index, contents = as_objects(path, index, given.objects)
    spilled = sum(m.spilled_bytes for m in written.metrics if m is not None)
    report = UnitReport(
        given.stage, given.unit.number, given.attempt, node, index, None if given.objects else name,
        summary=written.summary, rows=written.rows, metrics=written.metrics, seconds=time.perf_counter() - started,
        spilled=spilled, local_bytes=reader.local_bytes, remote_bytes=reader.remote_bytes, peak=peaks.rss,
    )  # fmt: skip
    return report, contents


def private_bytes() -> int:
    """What this process and its children have for themselves: without the shared object store and mapped files."""
    total = _anonymous("self")
    for pid in _children("self"):
        total += _anonymous(pid)
    return total


def _anonymous(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            numbers = file.read().split()
        return (int(numbers[1]) - int(numbers[2])) * _PAGE
    except OSError:
        return 0


def _children(pid: str) -> list[str]:
    found: list[str] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in file.read().split():
                    found += [child, *_children(child)]
    except OSError:
        pass
    return found
