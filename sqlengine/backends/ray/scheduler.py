"""Running the units of stages as Ray tasks, and again what is lost.

1. A window of tasks (two for each slot) is in flight; Ray never repeats one by itself.
2. A task that finds an input lost reports which. Its output and all others on dead nodes are forgotten, the units that
   made them run again (first those that those read, if they are lost too), then the task itself. Nothing else does.
3. A task whose worker or node is gone runs again, `task_attempts` times at most. One that was killed for its memory, or
   that could not do with what it had, runs once more with twice as much. Any other error ends the query.
4. A stage whose rows would not be the same again (random(), samples, limits) is not repeated once its rows have been
   read by somebody: that ends the query with an error, never with a mixture.

The driver holds the indexes of outputs and references of running tasks; the lineage is the list of stages.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from sqlengine.backends.local import QueryContext
from sqlengine.backends.ray.cluster import ClusterFacts, RayCluster
from sqlengine.backends.ray.outputs import Lost, Piece, UnitOutput
from sqlengine.backends.ray.stages import RayStage
from sqlengine.backends.ray.units import Unit
from sqlengine.backends.ray.worker import Assignment, UnitReport, run_unit
from sqlengine.errors import BackendError, Interrupted, MemoryLimitError
from sqlengine.operators.exchange import StageInput
from sqlengine.physical.fit import pipeline
from sqlengine.runtime.events import record_event
from sqlengine.runtime.metrics import OperatorMetrics
from sqlengine.settings import format_bytes

log = logging.getLogger("sqlengine")
_IN_FLIGHT = 2  # tasks for each slot
_POLL = 0.2
_PAUSE = 0.25  # seconds before a lost task runs again, four times as long at each further loss
_FACTS_AGE = 1.0  # seconds for which the list of nodes is believed
_GRACE = 2.0  # seconds that cancelled tasks get before their workers are killed
_NOBODY = 60.0  # seconds without a node before the query ends
_GONE = (
    ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError, ray.exceptions.OwnerDiedError, ray.exceptions.TaskUnschedulableError,
)  # fmt: skip
_ids = itertools.count(1)


@dataclass
class StageCounts:
    """What the tasks of one stage did, in bytes; `peak` of private memory."""

    tasks: int = 0
    nodes: set[str] = field(default_factory=set)
    seconds: float = 0.0
    local: int = 0
    remote: int = 0
    left: int = 0
    largest: int = 0
    spilled: int = 0
    peak: int = 0

    def add(self, report: UnitReport) -> None:
        assert report.index is not None
        self.tasks += 1
        self.nodes.add(report.node)
        self.seconds += report.seconds
        self.local += report.local_bytes
        self.remote += report.remote_bytes
        self.left += report.index.stored_bytes
        self.largest = max(self.largest, report.index.stored_bytes)
        self.spilled += report.spilled
        self.peak = max(self.peak, report.peak)


class Scheduler:
    """One query's. `stages` by number; `rerun` counts the units that ran again, by stage."""

    def __init__(self, context: QueryContext, cluster: RayCluster) -> None:
        self.context = context
        self.cluster = cluster
        self.query = f"q{next(_ids)}"
        self.stages: dict[int, RayStage] = {}
        self.rerun: dict[int, int] = {}
        self._counts: dict[int, StageCounts] = {}
        self._facts: ClusterFacts = cluster.facts(context.settings)
        self._keepers = cluster.keepers()
        self._looked = time.monotonic()
        self._running: dict[Any, tuple[RayStage, Unit, int, list[Any]]] = {}
        self._remote = ray.remote(run_unit)

    @property
    def facts(self) -> ClusterFacts:
        return self._facts

    @property
    def keepers(self) -> dict[str, Any]:
        return self._keepers

    def refresh(self) -> None:
        """Nodes may have come or gone."""
        self._keepers = self.cluster.keepers()
        self._facts = self.cluster.facts(self.context.settings)

    # running

    def run(self, stage: RayStage) -> None:
        """Until every unit of the stage has left its output."""
        for _ in self._run(stage, stage.missing, None):
            pass

    def run_in_order(self, stage: RayStage, ordered: bool) -> Iterator[int]:
        """The numbers of the units as they are done, in their order if wanted. The consumer holds the rest back: not
        more than a window of units is done and not taken. May be closed early."""
        yield from self._run(stage, stage.missing, ordered)

    def run_again(self, stage: RayStage, number: int) -> None:
        """One unit, whose rows got lost before they were taken."""
        for _ in self._run(stage, [number], None):
            pass

    def _run(self, stage: RayStage, wanted: Iterable[int], ordered: bool | None) -> Iterator[int]:
        """With `ordered` None all at once, nothing is given back."""
        left = list(wanted)
        alone_since: float | None = None
        while left:
            flying = {unit.number for other, unit, *_ in self._running.values() if other is stage}
            ready = sum(1 for number in left if number in stage.outputs)
            window = max(1, _IN_FLIGHT * self._facts.slots)
            for number in left:
                # The first one is what the consumer waits for: it starts however much is done behind it.
                if len(flying) + (0 if ordered is None else ready) >= window and number != left[0]:
                    break
                if number in stage.outputs or number in flying:
                    continue
                if not self._start(stage, number):
                    alone_since = alone_since or time.monotonic()
                    break
                alone_since = None
                flying.add(number)
            if alone_since is not None and time.monotonic() - alone_since > _NOBODY:
                raise BackendError(
                    f"no node of the cluster could run a task for {_NOBODY:.0f} s", code="cluster_empty",
                    hint="start nodes; the query has to be asked again",
                )  # fmt: skip
            self._collect(stage)
            if ordered is None:
                left = [number for number in left if number not in stage.outputs]
                continue
            while True:
                found = next((number for number in left if number in stage.outputs), None)
                if found is None or (ordered and found != left[0]):
                    break
                left.remove(found)
                yield found

    def _start(self, stage: RayStage, number: int) -> bool:
        """Submit a unit once all that it reads is there; false if no node can run it now."""
        unit = stage.units[number]
        for other in stage.inputs:
            self._ensure(self.stages[other])
        if time.monotonic() - self._looked > _FACTS_AGE:
            try:
                self._facts = self.cluster.facts(self.context.settings)
                self._looked = time.monotonic()
            except BackendError:
                self.context.cancel.wait(_POLL)
                return False
        if stage.packed is None:
            raise BackendError(f"rows that the driver gave to the cluster are lost ({stage.title})", code="rows_lost")
        attempt = stage.runs.get(number, 0) + 1
        if attempt > self.context.settings.task_attempts:
            raise BackendError(
                f"unit {number} of {stage.title} was lost {attempt - 1} times", code="task_lost",
                hint="SET task_attempts allows more; the nodes' logs say why workers die",
            )  # fmt: skip
        if attempt > 1 and time.monotonic() < stage.not_before.get(number, 0.0):
            self.context.cancel.wait(_POLL)  # a node may be dead before the cluster knows it
            return False
        stage.runs[number] = attempt
        if attempt > 1:
            self.rerun[stage.number] = self.rerun.get(stage.number, 0) + 1
        memory = stage.memory.get(number, self._facts.task_memory)
        given = Assignment(
            self.query, stage.number, unit, attempt, memory, stage.objects, self._keepers, self.pieces(stage, unit)
        )
        options: dict[str, Any] = {
            "num_cpus": 1, "memory": memory, "max_retries": 0, "num_returns": 1 + stage.objects,
            "scheduling_strategy": "SPREAD", "name": f"sqlengine {stage.title}", **stage.resources,
        }  # fmt: skip
        made: Any = self._remote.options(**options).remote(stage.packed, given)
        refs: list[Any] = made if isinstance(made, list) else [made]
        self._running[refs[0]] = (stage, unit, attempt, refs)
        return True

    def _ensure(self, stage: RayStage) -> None:
        """Run again what an earlier stage has lost."""
        lost = stage.missing
        if lost:
            if not stage.repeatable() and self._was_read(stage):
                raise BackendError(
                    f"a node was lost that had rows of {stage.title}, which would not be the same again "
                    "(random values, samples, limits)",
                    code="rows_lost", hint="ask the query again",
                )  # fmt: skip
            self.refresh()
            log.warning("%s of %s run again, their rows were lost", f"{len(lost)} units", stage.title)
            record_event("recover", stage.title, 0, f"{len(lost)} lost units of {stage.title} run again")
            for _ in self._run(stage, lost, None):
                pass

    def _was_read(self, stage: RayStage) -> bool:
        """Whether anything was made of its rows already."""
        return any(other.outputs or other.taken for other in self.stages.values() if stage.number in other.inputs)

    def pieces(self, stage: RayStage, unit: Unit) -> dict[int, list[Piece]]:
        found: dict[int, list[Piece]] = {}
        leaves = list(pipeline(stage.fragment.root))
        chosen = None if unit.share is None else leaves[unit.share.leaf]
        kinds = {leaf.stage: leaf for leaf in leaves if isinstance(leaf, StageInput)}
        for number in stage.inputs:
            source = self.stages[number]
            leaf = kinds.get(number)
            kind = "single" if leaf is None else leaf.given.kind
            pieces: list[Piece] = []
            match kind:
                case "hash" if unit.partitions is not None:
                    for output in source.ordered_outputs():
                        pieces += output.pieces(*unit.partitions)
                case "range" if unit.partitions is not None:
                    assert source.parts is not None
                    for output in source.ordered_outputs():
                        pieces += source.parts(output, unit.partitions[0])
                case "any" if unit.share is not None:
                    if leaf is chosen:
                        for made, start, end in unit.share.blocks:
                            pieces += source.outputs[made].part(start, end)
                case _:
                    for output in source.ordered_outputs():
                        pieces += output.pieces(0, output.index.partitions - 1)
            found[number] = pieces
        return found

    # what became of tasks

    def _collect(self, stage: RayStage) -> None:
        """Wait a little for units of `stage` to end, with an output or to run again."""
        self.context.cancel.check()
        mine = [ref for ref, (other, *_) in self._running.items() if other is stage]
        if not mine:
            return
        ready, _ = ray.wait(mine, num_returns=1, timeout=_POLL)
        if ready:
            more, _ = ray.wait(mine, num_returns=len(mine), timeout=0)
            ready = list(dict.fromkeys([*ready, *more]))
        for ref in ready:
            _, unit, attempt, refs = self._running.pop(ref)
            self._end(stage, unit, attempt, refs)

    def _end(self, stage: RayStage, unit: Unit, attempt: int, refs: list[Any]) -> None:
        try:
            report: UnitReport = ray.get(refs[0])
        except ray.exceptions.OutOfMemoryError as error:
            self._more_memory(stage, unit, BackendError(
                f"a worker of {stage.title} was killed because its node ran out of memory", code="worker_memory",
                hint="lower the number of CPUs of the nodes, or raise their memory",
            ), error)  # fmt: skip
            return
        except _GONE as error:
            log.warning("a task of %s is lost: %s", stage.title, type(error).__name__)
            stage.not_before[unit.number] = time.monotonic() + _PAUSE * 4 ** (attempt - 1)
            self._forget_dead()
            return
        except ray.exceptions.TaskCancelledError:
            raise Interrupted("a task of the query was cancelled") from None
        except ray.exceptions.RayError as error:
            first = str(error).strip().split("\n")[-1]
            raise BackendError(
                f"a task of {stage.title} failed outside the engine: {first}", code="task_failed",
                hint="the packages of all nodes must be the same; `ray logs` has more",
            ) from None  # fmt: skip
        if report.error is not None:
            if isinstance(report.error, MemoryLimitError):
                self._more_memory(stage, unit, report.error, None)
                return
            raise report.error
        if report.lost is not None:
            stage.runs[unit.number] -= 1  # it could not begin; how often inputs are made again is bounded by theirs
            self.forget(report.lost)
            return
        if report.index is None:
            self.cluster.forget_keeper(report.node)
            self._forget_dead()
            self.refresh()
            return
        self._accept(stage, unit, report, refs[1:])

    def _accept(self, stage: RayStage, unit: Unit, report: UnitReport, objects: list[Any]) -> None:
        assert report.index is not None
        stage.outputs[unit.number] = UnitOutput(
            stage.number, unit.number, report.attempt, report.node, report.index, report.file, tuple(objects)
        )
        if report.summary is not None:
            stage.summaries[unit.number] = report.summary
        self._counts.setdefault(stage.number, StageCounts()).add(report)
        self.add_metrics(stage, report)

    def notes(self) -> list[str]:
        """What ran where, for EXPLAIN ANALYZE."""
        lines = []
        for number, counts in sorted(self._counts.items()):
            text = (
                f"stage {number}: {counts.tasks} tasks on {len(counts.nodes)} nodes, {counts.seconds:.2f} s of tasks, "
                f"read {format_bytes(counts.local)} on the node and {format_bytes(counts.remote)} from others, left "
                f"{format_bytes(counts.left)}, peak of a worker {format_bytes(counts.peak)}"
            )
            if counts.spilled:
                text += f", spilled {format_bytes(counts.spilled)}"
            if self.rerun.get(number):
                text += f", {self.rerun[number]} run again"
            if counts.largest > 5 * counts.left / max(1, counts.tasks) and counts.largest > 1 << 20:
                text += f", skew: one task left {format_bytes(counts.largest)}"
            lines.append(text)
        return lines

    def add_metrics(self, stage: RayStage, report: UnitReport) -> None:
        for operator, measured in zip(pipeline(stage.fragment.root), report.metrics, strict=False):
            if isinstance(measured, OperatorMetrics):
                self.context.profile.add(operator, measured)
        if report.spilled:
            text = (
                f"node {report.node[:8]}: spilled {format_bytes(report.spilled)} in a task of {stage.title}, "
                f"peak {format_bytes(report.peak)}"
            )
            log.info(text)
            record_event("spill", stage.title, report.spilled, text)

    def _more_memory(self, stage: RayStage, unit: Unit, error: Exception, cause: BaseException | None) -> None:
        """Once with twice the room, if a node has as much."""
        most = max(node.memory for node in self._facts.nodes)
        before = stage.memory.get(unit.number)
        wanted = min(2 * self._facts.task_memory, most)
        if before is not None or wanted <= self._facts.task_memory:
            raise error from cause
        record_event("retry", stage.title, wanted, f"a task of {stage.title} runs again with {format_bytes(wanted)}")
        stage.memory[unit.number] = wanted

    def forget(self, lost: Lost) -> None:
        """An output could not be read: it is lost, and with it all others of nodes that are gone."""
        source = self.stages[lost.stage]
        found = source.outputs.get(lost.unit)
        if found is not None and found.attempt == lost.attempt:
            log.warning("rows of %s are lost: %s", source.title, lost.why)
            del source.outputs[lost.unit]
            if lost.node in self.cluster.live_nodes() and found.file is not None:
                self.cluster.forget_keeper(lost.node)
                self._forget_node(lost.node)
        self._forget_dead()

    def _forget_dead(self) -> None:
        live = self.cluster.live_nodes()
        for node in {out.node for stage in self.stages.values() for out in stage.outputs.values()} - live:
            self._forget_node(node)

    def _forget_node(self, node: str) -> None:
        for stage in self.stages.values():
            if stage.packed is None:
                continue  # the driver's own
            for number in [number for number, output in stage.outputs.items() if output.node == node]:
                del stage.outputs[number]

    # the end

    def cancel(self, stage: RayStage) -> None:
        """Stop the running units of a stage whose rows nobody wants any more."""
        self._stop([ref for ref, (other, *_) in self._running.items() if other is stage])

    def close(self) -> None:
        """Stop everything and remove what the query left on the nodes."""
        self._stop(list(self._running))
        self.stages.clear()
        self.cluster.drop(self.query)

    def _stop(self, refs: list[Any]) -> None:
        if not refs or not ray.is_initialized():
            return
        for force in (False, True):
            for ref in refs:
                with contextlib.suppress(Exception):
                    ray.cancel(ref, force=force)
            _, refs = ray.wait(refs, num_returns=len(refs), timeout=_GRACE)
            if not refs:
                break
        self._running = {ref: what for ref, what in self._running.items() if ref in refs} if refs else {}
