"""A plan as it will be cut into stages on a cluster, with estimates in the place of real sizes: EXPLAIN and EXPLAIN
MEMORY.

A stage's floor is the one that admits its tasks, each by itself, on the node where it runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from sqlengine.backends.local import QueryContext
from sqlengine.backends.ray.cluster import ClusterFacts, RayCluster
from sqlengine.backends.ray.driver import objects_for, task_capacity, task_settings, with_joins_decided
from sqlengine.backends.ray.fragments import as_exchange
from sqlengine.backends.ray.placement import placement
from sqlengine.backends.ray.planning import for_cluster, next_stage, on_driver, sized, top_gathers
from sqlengine.backends.ray.units import units_of
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange, HeldPlan, StageInput
from sqlengine.physical.estimates import estimate
from sqlengine.physical.explain import physical_text
from sqlengine.physical.fit import Needs, fit, pipeline
from sqlengine.physical.stages import after_stage
from sqlengine.settings import Settings, format_bytes


@dataclass(frozen=True)
class PlannedStage:
    """One stage: `tasks` in all (an estimate where they depend on sizes); bytes of one task and of the rows it
    leaves."""

    title: str
    root: Operator
    exchange: str
    left_in: str
    tasks: int
    floor: int
    ideal: int | None
    rows: float
    bytes: float
    fits: bool


def planned_stages(context: QueryContext, facts: ClusterFacts, root: Operator) -> list[PlannedStage]:
    """The stages in the order in which they will run, the last one on the driver."""
    settings = task_settings(context.settings, facts.task_memory, facts.slots)
    capacity = task_capacity(facts.task_memory)
    placement(root, facts)
    root = for_cluster(root, settings)
    found: list[PlannedStage] = []
    while True:
        root = sized(root, capacity, settings.partitions)
        gathers = list(top_gathers(root))
        seam = next_stage(root, {id(gather) for gather in gathers}) or (gathers[0] if gathers else None)
        if seam is None:
            break
        found.append(_planned(f"stage {len(found)}", seam, context.settings, settings, facts, capacity))
        root = after_stage(root, seam, len(found) - 1, estimate(seam.inputs[0]))
        root = with_joins_decided(root, capacity, settings)
    fitted = fit(root, context.settings, context.pool.capacity)
    found.append(PlannedStage("result", root, "to the caller", "", 1, fitted.floor, None, 0, 0, fitted.fits))
    return found


def _planned(
    title: str, seam: Exchange | HeldPlan, given: Settings, settings: Settings, facts: ClusterFacts, capacity: int
) -> PlannedStage:
    child = seam.inputs[0]
    exchange = as_exchange(seam)
    fitted = fit(child, settings, capacity, exchange)
    needs = Needs(child)
    ideals = [needs.of(operator, settings).ideal for operator in pipeline(child)]
    expected = estimate(child)
    objects = objects_for(exchange, given, facts)
    here = on_driver(child)
    return PlannedStage(
        title, child, "held" if isinstance(seam, HeldPlan) else seam.describe(),
        "objects" if objects or here else f"files ({settings.spill_codec})", 1 if here else _tasks(child, facts,
        capacity), fitted.floor, None if None in ideals else sum(ideal or 0 for ideal in ideals), expected.rows,
        expected.bytes, fitted.fits,
    )  # fmt: skip


def _tasks(child: Operator, facts: ClusterFacts, capacity: int) -> int:
    for leaf in pipeline(child):
        match leaf:
            case StageInput() if leaf.given.kind in ("hash", "range"):
                return leaf.partitions
            case StageInput() if leaf.given.kind == "any":
                return 4 * facts.slots
    return len(units_of(child, {}, facts.slots, capacity))


def stages_text(context: QueryContext, cluster: RayCluster, root: Operator) -> str:
    """For EXPLAIN: every stage with its exchange and tasks."""
    facts = cluster.facts(context.settings)
    stages = planned_stages(context, facts, root)
    lines = [f"{cluster.summary(context.settings)}: {len(stages)} stages"]
    for stage in stages:
        how = f"{stage.exchange}, left in {stage.left_in}" if stage.left_in else stage.exchange
        tasks = "on the driver" if not stage.left_in else f"{stage.tasks} task{'s' if stage.tasks != 1 else ''} at most"
        lines.append(f"{stage.title}: {how}; {tasks}, floor {format_bytes(stage.floor)} each")
        lines += ["  " + line for line in physical_text(stage.root).split("\n")]
    return "\n".join(lines)


def memory_text(context: QueryContext, cluster: RayCluster, root: Operator, format: str = "text") -> str:
    """For EXPLAIN MEMORY: what each worker and the whole cluster need at least, and would like."""
    facts = cluster.facts(context.settings)
    stages = planned_stages(context, facts, root)
    capacity = task_capacity(facts.task_memory)
    fits = all(stage.fits for stage in stages)
    most = max(stage.floor for stage in stages)
    if format == "json":
        return json.dumps(_document(facts, stages, capacity, fits), indent=2)
    lines = [
        cluster.summary(context.settings),
        f"verdict: {'fits' if fits else 'refused'}; a task needs at least {format_bytes(most)}, its operators share "
        f"{format_bytes(capacity)}; what is more is spilled on its node",
        "",
    ]
    for stage in stages:
        tasks = min(stage.tasks, facts.slots)
        ideal = "unknown" if stage.ideal is None else format_bytes(stage.ideal / max(1, stage.tasks))
        left = f", leaves about {format_bytes(stage.bytes)} in {stage.left_in}" if stage.left_in else ""
        lines.append(
            f"{stage.title}: {tasks} at a time, floor {format_bytes(stage.floor)} each "
            f"({format_bytes(stage.floor * tasks)} in all), ideal {ideal}{left}"
        )
        needs = Needs(stage.root)
        settings = task_settings(context.settings, facts.task_memory, facts.slots)
        for operator in pipeline(stage.root):
            need = needs.of(operator, replace(settings, threads=1))
            lines.append(f"  {type(operator).__name__}  floor {format_bytes(need.floor)}  {need.why}")
    return "\n".join(lines)


def _document(facts: ClusterFacts, stages: list[PlannedStage], capacity: int, fits: bool) -> dict[str, Any]:
    return {
        "backend": "ray", "nodes": len(facts.nodes), "slots": facts.slots, "task_memory": facts.task_memory,
        "capacity": capacity, "verdict": "fits" if fits else "refused",
        "stages": [
            {
                "stage": stage.title, "tasks": stage.tasks, "floor": stage.floor, "ideal": stage.ideal,
                "rows": stage.rows, "bytes": stage.bytes, "exchange": stage.exchange, "left_in": stage.left_in,
            }
            for stage in stages
        ],
    }  # fmt: skip
