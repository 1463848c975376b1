"""The Ray backend: stages as tasks of a cluster, replanned with real sizes as they finish.

1. The plan is changed for many machines (`planning`). The lowest exchange whose inputs exist runs as a stage; its rows
   stay on the nodes that made them.
2. The exchange is replaced by a `StageInput` of the real size; what depends on sizes is decided again (`adapt`).
3. What is left above the last gathers only passes rows on: it runs here, fed by the units of the last stages in their
   order. A unit's rows are taken when it is done, whole or not at all, so that a lost node costs time, not rows.

The driver holds indexes of outputs, a window of results of at most 32 MiB each, and (as objects of the cluster) the
rows of tables that only this process has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from sqlengine.backends.local import Pipeline, QueryContext
from sqlengine.backends.ray.cluster import ClusterFacts, RayCluster
from sqlengine.backends.ray.fragments import Fragment, as_exchange, inputs_of, pack
from sqlengine.backends.ray.outputs import UnitOutput
from sqlengine.backends.ray.placement import placement
from sqlengine.backends.ray.planning import for_cluster, next_stage, on_driver, sized, top_gathers
from sqlengine.backends.ray.ranges import range_bounds, range_parts
from sqlengine.backends.ray.scheduler import Scheduler
from sqlengine.backends.ray.shuffle import OutputLost, PieceReader, as_objects
from sqlengine.backends.ray.stages import RayStage
from sqlengine.backends.ray.units import Unit, units_of
from sqlengine.backends.ray.worker import FragmentInputs, run_fragment
from sqlengine.backends.worker import Batches
from sqlengine.errors import BackendError
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange, HeldInput, HeldPlan, KeyRange, StageInput
from sqlengine.operators.external_sort import ExternalSort
from sqlengine.physical.adapt import adapt
from sqlengine.physical.estimates import estimate
from sqlengine.physical.fit import Needs, resolved
from sqlengine.physical.shared_tables import with_room_for_tables
from sqlengine.physical.stages import after_stage
from sqlengine.runtime.process_watch import operator_budget
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.spill import read_block
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings

# What a worker weighs before a task: the interpreter, Ray, Arrow and the engine.
WORKER_WEIGHT = 96 << 20
_SHARED_TABLE = 180 << 20  # of this, adapt lets a broadcast table take a third: 64 MiB in every task
_OBJECTS_SHARE = 0.25  # of the object store, up to which rows are left in objects
_OBJECTS_BYTES = 64 << 20
_OBJECT_PARTS = 64  # partitions of an exchange that may be objects
_HELD_RESULT = 32 << 20
_SMALL_RANGE = 1 << 20  # bytes of rows in order that are not worth a task of their own
_FEW_VALUES = 1000


def task_capacity(task_memory: int) -> int:
    """What the operators of one task share."""
    return operator_budget(task_memory, WORKER_WEIGHT)


def task_settings(settings: Settings, task_memory: int, slots: int) -> Settings:
    """The settings of tasks: one thread each, batches that fit their memory, partitions for the whole cluster."""
    capacity = task_capacity(task_memory)
    usual = resolved(replace(settings, threads=1, batch_bytes=0, memory_limit=task_memory), capacity)
    batch = min(settings.batch_bytes or usual.batch_bytes, usual.batch_bytes)
    return replace(usual, batch_bytes=batch, partitions=max(settings.partitions, 2 * slots))


def with_joins_decided(root: Operator, capacity: int, settings: Settings) -> Operator:
    """The rest of a plan, changed for the sizes that are known now."""
    root = adapt(root, min(capacity, _SHARED_TABLE), settings)
    return with_room_for_tables(root, capacity, settings)


def objects_for(exchange: Exchange, settings: Settings, facts: ClusterFacts) -> int:
    """How many objects a unit leaves its rows in; 0: a file."""
    count = max(1, min(exchange.partitions, 2 * facts.slots))
    if settings.shuffle == "auto":
        size = estimate(exchange.inputs[0]).bytes
        few = size <= min(_OBJECTS_BYTES, _OBJECTS_SHARE * facts.object_store)
        return count if few and exchange.partitions <= _OBJECT_PARTS else 0
    return count if settings.shuffle == "objects" else 0


class RayBackend:
    """Runs one query; `run` may be closed early."""

    def __init__(self, context: QueryContext, cluster: RayCluster) -> None:
        self._context = context
        self._cluster = cluster
        self._scheduler = Scheduler(context, cluster)
        facts = self._scheduler.facts
        self._settings = task_settings(context.settings, facts.task_memory, facts.slots)
        self._capacity = task_capacity(facts.task_memory)
        self._held: dict[str, tuple[int, pa.Schema]] = {}
        self._ranges: dict[int, tuple[tuple[SortColumn, ...], bytes]] = {}
        self._lazy: set[int] = set()

    @property
    def rerun(self) -> Mapping[int, int]:
        """How many units ran again, by stage."""
        return self._scheduler.rerun

    def run(self, root: Operator) -> Batches:
        placement(root, self._scheduler.facts)
        try:
            root = for_cluster(root, self._settings)
            while True:
                root = sized(root, self._capacity, self._settings.partitions)
                seam = next_stage(root, {id(gather) for gather in top_gathers(root)})
                if seam is None:
                    break
                root = self._run_stage(root, seam)
                root = with_joins_decided(root, self._capacity, self._settings)
            for gather in list(top_gathers(root)):
                stage = self._new_stage(gather)
                self._lazy.add(stage.number)
                left = estimate(gather.inputs[0])
                root = after_stage(root, gather, stage.number, left)
            self._context.profile.stages.append(("result", root))
            with Pipeline(self, root, self._context) as running:
                yield from running.stream()
        finally:
            self._record_outputs()
            self._context.profile.notes += self._scheduler.notes()
            self._scheduler.close()

    # stages

    def _run_stage(self, root: Operator, seam: Exchange | HeldPlan) -> Operator:
        stage = self._new_stage(as_exchange(seam))
        scheduler = self._scheduler
        if stage.packed is None:
            self._run_here(stage)
        else:
            scheduler.run(stage)
        child = seam.inputs[0]
        outputs = stage.ordered_outputs()
        rows = sum(output.index.total_rows for output in outputs)
        size = sum(output.index.total_bytes for output in outputs)
        if isinstance(seam, HeldPlan):
            self._held[seam.name] = (stage.number, child.schema)
        left = Stats(rows, size, Needs(child).stats(child).columns, "actual")
        summary = merged_summaries(list(stage.summaries.values()), seam) if isinstance(seam, Exchange) else {}
        root = after_stage(root, seam, stage.number, left, summary)
        if isinstance(seam, Exchange) and seam.to.kind == "range":
            root = self._in_ranges(root, stage, outputs, size)
        return root

    def _new_stage(self, exchange: Exchange) -> RayStage:
        child = exchange.inputs[0]
        scheduler = self._scheduler
        facts = scheduler.facts
        number = len(scheduler.stages)
        by: tuple[SortColumn, ...] = ()
        if exchange.to.kind == "range":
            assert isinstance(child, ExternalSort)
            by = child.by
            exchange = replace(exchange, partitions=1)  # it is left in order, the ranges are found afterwards
        held = tuple(
            (leaf.name, *self._held[leaf.name])
            for leaf in inputs_of(child) if isinstance(leaf, HeldInput) and leaf.name in self._held
        )  # fmt: skip
        ranges = tuple(
            (leaf.stage, *self._ranges[leaf.stage])
            for leaf in inputs_of(child) if isinstance(leaf, StageInput) and leaf.given.kind == "range"
        )  # fmt: skip
        fragment = Fragment(exchange, self._settings, held, by, ranges)
        packed = None if on_driver(child) else self._packed(fragment)
        stage = RayStage(
            number, f"stage {number}", fragment, (), packed, objects_for(exchange, self._context.settings, facts),
            placement(child, facts),
        )  # fmt: skip
        known = {other: scheduler.stages[other].ordered_outputs() for other in stage.inputs}
        if packed is None:
            stage.units = (Unit(0),)
        else:
            stage.units = units_of(child, known, facts.slots, self._capacity // 4)
        scheduler.stages[number] = stage
        self._context.profile.stages.append((stage.title, child))
        return stage

    def _packed(self, fragment: Fragment) -> Any:
        """In the object store; None for what cannot leave this process."""
        try:
            data = pack(fragment)
        except (TypeError, AttributeError, pickle_error()) as error:
            if any(isinstance(leaf, StageInput) for leaf in inputs_of(fragment.root)):
                raise BackendError(
                    f"a function or source of the query cannot be sent to workers: {error}", code="not_sendable",
                    hint="make it of values and modules that can be pickled, or SET backend = 'local'",
                ) from None  # fmt: skip
            return None
        return ray.put(data)

    def _run_here(self, stage: RayStage) -> None:
        """Rows that only this process has become objects of the cluster."""
        context = self._context
        unit = stage.units[0]
        reader = self._reader()
        pieces = self._scheduler.pieces(stage, unit)
        inputs = FragmentInputs(stage.fragment, unit, pieces, reader)
        fragment = replace(stage.fragment, settings=replace(context.settings, batch_bytes=self._settings.batch_bytes))
        here = replace(context, settings=fragment.settings)
        path = self._temporary(f"{stage.number}.arrow")
        written = run_fragment(fragment, unit, inputs, here, context.spill, path)
        index, contents = as_objects(path, written.index, max(1, stage.objects))
        objects = tuple(None if data is None else ray.put(data) for data in contents)
        stage.outputs[0] = UnitOutput(stage.number, 0, 1, self._cluster.node, index, None, objects)
        stage.summaries[0] = written.summary

    def _temporary(self, name: str) -> Path:
        """A file name in the folder of this node's keeper, which removes it at the latest with the query."""
        keeper = self._scheduler.keepers[self._cluster.node]
        folder = Path(keeper.folder) / self._scheduler.query
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"driver-{name}"

    def _in_ranges(self, root: Operator, stage: RayStage, outputs: list[UnitOutput], size: int) -> Operator:
        facts = self._scheduler.facts
        count = max(
            1, min(max(-(-3 * size // max(1, self._capacity)), 2 * facts.slots), 2000, size // _SMALL_RANGE + 1)
        )
        by = stage.fragment.by
        bounds = range_bounds(outputs, by, stage.fragment.root.schema, count)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, bounds.schema) as writer:
            writer.write_batch(bounds)
        self._ranges[stage.number] = (by, sink.getvalue().to_pybytes())
        stage.parts = range_parts(bounds, by)
        return _with_partitions(root, stage.number, bounds.num_rows + 1)

    # reading

    def open_input(self, operator: Operator, task: Task) -> Batches:
        assert isinstance(operator, StageInput)
        stage = self._scheduler.stages[operator.stage]
        return self._stream(stage, operator.schema)

    def _stream(self, stage: RayStage, schema: pa.Schema) -> Batches:
        """The rows of a last stage, unit by unit as they are done."""
        if stage.packed is None:
            self._run_here(stage)
            yield from self._taken(stage, 0, schema)
            return
        running = self._scheduler.run_in_order(stage, self._context.settings.preserve_order)
        try:
            for number in running:
                yield from self._taken(stage, number, schema)
        finally:
            running.close()  # type: ignore[attr-defined]
            self._scheduler.cancel(stage)

    def _taken(self, stage: RayStage, number: int, schema: pa.Schema) -> Batches:
        while True:
            output = stage.outputs[number]
            try:
                rows = self._safe(output, schema)
                break
            except OutputLost as error:
                self._scheduler.forget(error.lost)
                stage.outputs.pop(number, None)
                self._scheduler.run_again(stage, number)
        stage.taken = True
        try:
            yield from rows
        finally:
            stage.outputs.pop(number, None)
            keeper = self._scheduler.keepers.get(output.node)
            if output.file is not None and keeper is not None:
                with contextlib.suppress(Exception):
                    keeper.handle.remove.remote(output.file)

    def _safe(self, output: UnitOutput, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of an output, which from here on cannot be lost any more. Raises OutputLost."""
        pieces = list(output.pieces(0, output.index.partitions - 1))
        reader = self._reader()
        size = output.index.stored_bytes
        if output.file is not None and output.node == self._cluster.node:
            return (read_block(data, schema) for data in reader.kept(pieces))
        if size <= _HELD_RESULT or output.file is None:
            blocks = [data for piece in pieces for data in reader.raw(piece)]
            return (read_block(data, schema) for data in blocks)
        return self._staged(reader.read(pieces, schema), schema)

    def _staged(self, stream: Batches, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """On the disk of this machine, all of it, before the first row is given."""
        file = self._context.spill.file("result", schema)
        try:
            blocks = [file.append(batch) for batch in stream]
        except BaseException:
            file.delete()
            raise

        def rows() -> Iterator[pa.RecordBatch]:
            try:
                for block in blocks:
                    yield file.read(block)
            finally:
                file.delete()

        return rows()

    def _reader(self) -> PieceReader:
        keepers = self._scheduler.keepers
        own = keepers.get(self._cluster.node)
        return PieceReader(self._cluster.node, own.folder if own is not None else os.devnull, keepers, self._settings)

    def _record_outputs(self) -> None:
        for stage in self._scheduler.stages.values():
            size = sum(output.index.total_bytes for output in stage.outputs.values())
            stored = sum(output.index.stored_bytes for output in stage.outputs.values())
            self._context.profile.outputs[stage.title] = (size, stored)


def pickle_error() -> type[Exception]:
    import pickle

    return pickle.PicklingError


def merged_summaries(parts: list[Mapping[str, KeyRange]], seam: Exchange) -> Mapping[str, KeyRange]:
    """What all units together have seen of the columns."""
    found: dict[str, KeyRange] = {}
    if len(parts) == 1:
        return parts[0]
    for key in seam.summarize:
        known = [part.get(key) for part in parts]
        if not known or any(one is None for one in known):
            continue
        lows = [one.low for one in known if one is not None and one.low is not None]
        highs = [one.high for one in known if one is not None and one.high is not None]
        values: frozenset[Any] | None = frozenset()
        for one in known:
            assert one is not None
            values = None if values is None or one.values is None else values | one.values
        if values is not None and len(values) > _FEW_VALUES:
            values = None
        if lows or values is not None:
            found[key] = KeyRange(min(lows, default=None), max(highs, default=None), values)
    return found


def _with_partitions(root: Operator, stage: int, count: int) -> Operator:
    if isinstance(root, StageInput) and root.stage == stage:
        return replace(root, partitions=count)
    children = tuple(_with_partitions(child, stage, count) for child in root.inputs)
    if all(a is b for a, b in zip(children, root.inputs, strict=True)):
        return root
    return root.with_children(children)
