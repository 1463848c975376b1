"""What a query will take, before it runs: the numbers of EXPLAIN MEMORY.

The plan is cut as the backend cuts it, with estimated sizes in the place of real ones, and every pipeline is fitted as
it will be. The floors are therefore the very numbers that admit the query; everything else is an estimate.

1. A stage's tasks hold their floors, and what operators would hold above them: their ideal, for the share of the rows
   that the tasks at work see.
2. What finished stages left is in memory until its reader is done; the stage's own output grows beside it.
3. When all this is more than operators share, everybody who can spill has an equal part. Who wants more writes its
   rows.
4. What is resident is less than what is reserved: a floor is for the largest batches that there may be, and few rows or
   narrow ones make smaller batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlengine.expr.nodes import ColumnRef
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import MemoryNeed, Operator
from sqlengine.operators.call_udf import CallUdf
from sqlengine.operators.exchange import Exchange, HeldPlan, StageInput
from sqlengine.operators.fetch_urls import FetchUrls
from sqlengine.operators.filter_rows import FilterRows
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.recursive_union import RecursiveUnion
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.physical.adapt import adapt
from sqlengine.physical.fit import Fitted, Needs, fit, pipeline, resolved, units, width
from sqlengine.physical.shared_tables import with_room_for_tables
from sqlengine.physical.stages import after_stage, next_seam
from sqlengine.runtime.process_watch import limit_for, operator_budget
from sqlengine.settings import Settings

# Rows on disk are compressed to about this share of their bytes in memory.
_ON_DISK = 0.5
# What becomes resident beside the operators' bytes: code and objects of a first query, slack of the allocators.
_FIRST_QUERY, _SLACK = 10 << 20, 1.1
_LEAST_BATCH = 4 << 10
# Estimates of sizes are rather too high than too low: what is just over its share will be found to fit.
_DOUBT = 1.2

Planner = Callable[[Settings], Operator]


@dataclass(frozen=True)
class OperatorForecast:
    """Of all tasks of an operator that run at the same time, in bytes. `source`: where the estimate comes from.
    `spill`: bytes on disk."""

    operator: Operator
    depth: int
    tasks: int
    floor: int
    ideal: int | None
    peak: int
    source: str
    spills: bool
    spill: int
    why: str


@dataclass(frozen=True)
class StageForecast:
    """`held`: what earlier stages left in memory; `output`: what this one leaves (0 for the result); `peak`: of the
    pool; `resident`: what of it the stage's rows will fill."""

    title: str
    tasks: int
    batch_bytes: int
    operators: tuple[OperatorForecast, ...]
    floor: int
    held: int
    output: int
    output_spill: int
    peak: int
    resident: int
    fits: bool

    @property
    def spill(self) -> int:
        return self.output_spill + sum(item.spill for item in self.operators)


@dataclass(frozen=True)
class MemoryForecast:
    """`weight`: bytes of the process before the query; `capacity`: what operators share under `limit`."""

    settings: Settings
    limit: int
    weight: int
    capacity: int
    stages: tuple[StageForecast, ...]

    @property
    def floor(self) -> int:
        return max(stage.floor for stage in self.stages)

    @property
    def peak(self) -> int:
        """Of the process's RSS."""
        resident = max(stage.resident for stage in self.stages)
        return min(self.limit, self.weight + _FIRST_QUERY + int(resident * _SLACK)) if self.limit > self.weight else 0

    @property
    def reserved(self) -> int:
        """Of the pool that operators share."""
        return max(stage.peak for stage in self.stages)

    @property
    def spill(self) -> int:
        return sum(stage.spill for stage in self.stages)

    @property
    def verdict(self) -> str:
        """fits, spills or refused."""
        if not all(stage.fits for stage in self.stages):
            return "refused"
        return "spills" if self.spill else "fits"


def forecast(plan: Planner, settings: Settings, limit: int, weight: int) -> MemoryForecast:
    """Plan with the settings (as set, not resolved) and follow the stages with estimated sizes."""
    capacity = operator_budget(limit, weight)
    chosen = resolved(settings, capacity)
    root = plan(chosen)
    stages: list[StageForecast] = []
    held: dict[int, int] = {}  # bytes in memory that each finished stage left
    while (seam := next_seam(root)) is not None:
        child = seam.inputs[0]
        stage = _stage(f"stage {len(stages)}", child, chosen, capacity, seam, held)
        stats = Needs(child).stats(child)
        _consume(child, held)
        held[len(stages)] = max(0, stage.output - int(stage.output_spill / _ON_DISK))
        root = after_stage(root, seam, len(stages), stats)
        root = with_room_for_tables(adapt(root, capacity, chosen), capacity, chosen)
        stages.append(stage)
    stages.append(_stage("result", root, chosen, capacity, None, held))
    return MemoryForecast(chosen, limit, weight, capacity, tuple(stages))


def least_limit(plan: Planner, settings: Settings, weight: int, wanted: Callable[[MemoryForecast], bool]) -> int | None:
    """The smallest memory limit (to a hundredth) at which a forecast is as wanted, each tried by planning again; None
    if no limit up to 1 TiB is."""
    low = high = limit_for(1 << 20, weight)
    while not wanted(forecast(plan, settings, high, weight)):
        low, high = high, high * 2
        if high > 1 << 40:
            return None
    while high - low > max(1 << 20, high // 100):
        middle = (low + high) // 2
        if wanted(forecast(plan, settings, middle, weight)):
            high = middle
        else:
            low = middle
    return high


@dataclass(frozen=True)
class Alternative:
    """One setting changed, and what that would do."""

    setting: str
    value: str
    outcome: MemoryForecast


def alternatives(plan: Planner, settings: Settings, found: MemoryForecast) -> list[Alternative]:
    """Settings that would change the verdict, the spill or the peak, each tried by planning again; those that help
    first."""
    tried: list[Alternative] = []
    limits = [least_limit(plan, settings, found.weight, lambda other: other.verdict != "refused")]
    if found.verdict != "fits":
        limits.append(least_limit(plan, settings, found.weight, lambda other: other.verdict == "fits"))
    for limit in limits:
        if limit is not None:
            megabytes = -(-limit // 1_000_000)
            tried.append(_changed(plan, settings, found, "memory_limit", f"{megabytes}MB", megabytes * 1_000_000))
    if found.settings.threads > 1:
        tried.append(_changed(plan, settings, found, "threads", str(found.settings.threads // 2), found.limit))
    for part in (4, 16):
        size = found.settings.batch_bytes // part
        if size >= 16 << 10:
            tried.append(_changed(plan, settings, found, "batch_bytes", f"{size >> 10}KiB", found.limit))
    kept = [item for item in tried if item.setting == "memory_limit" or _differs(item.outcome, found)]
    order = {"fits": 0, "spills": 1, "refused": 2}
    return sorted(kept, key=lambda item: (order[item.outcome.verdict], item.outcome.spill))


def _differs(a: MemoryForecast, b: MemoryForecast) -> bool:
    """Whether anybody would choose between the two."""
    if a.verdict != b.verdict:
        return True
    return any(abs(x - y) > 0.05 * max(x, y) for x, y in ((a.spill, b.spill), (a.peak, b.peak)))


def _changed(
    plan: Planner, settings: Settings, found: MemoryForecast, name: str, value: str, limit: int
) -> Alternative:
    return Alternative(name, value, forecast(plan, settings.with_value(name, value), limit, found.weight))


@dataclass(frozen=True)
class _Want:
    """An operator in a stage: its need per task, how many tasks at once hold it and how many there are in all.
    `in_use`: what of the floors of all of them its rows fill."""

    operator: Operator
    depth: int
    need: MemoryNeed
    tasks: int
    tables: int  # that exist at the same time: one, where all tasks share it
    data: float  # bytes that go to disk in all if it spills
    source: str
    in_use: int


def _stage(
    title: str,
    root: Operator,
    settings: Settings,
    capacity: int,
    seam: Exchange | HeldPlan | None,
    held: dict[int, int],
) -> StageForecast:
    needs = Needs(root)
    fitted = fit(root, settings, capacity, seam, needs, promised=True)
    tasks = width(root, fitted.settings.threads) if seam is not None else 1
    wants = _wants(root, needs, fitted, tasks, 0)
    output = int(needs.stats(root).bytes) if seam is not None else 0
    extras = [_extra(want) for want in wants]
    standing = sum(held.values())
    room = max(0, capacity - fitted.floor)
    fixed = sum(extra for want, extra in zip(wants, extras, strict=True) if not want.need.spills)
    total = fixed + sum(extra for want, extra in zip(wants, extras, strict=True) if want.need.spills) + output
    sharing = sum(want.tables for want, extra in zip(wants, extras, strict=True) if extra and want.need.spills)
    sharing += tasks if output else 0
    # Whoever can spill has an equal part, and those who hold what earlier stages left are among them; those rows are
    # written to disk to admit a task, not to let it grow.
    few = fitted.settings.batch_bytes  # so little comes from one task
    holders = sum(1 if size < few else fitted.settings.threads for size in held.values())
    share = max(0, room - fixed) // max(1, sharing + holders)
    crowded = total + standing > room
    if crowded:
        share = min(share, max(0, room - fixed - standing) // max(1, sharing))
    operators = []
    taken = fixed
    in_use = 0
    for want, extra in zip(wants, extras, strict=True):
        spill = 0
        in_use += want.in_use
        if want.need.spills and extra > _DOUBT * share * want.tables:
            spill = int(want.data * _ON_DISK)
            in_use += want.need.floor * want.tasks - want.in_use
            extra = share * want.tables
        taken += extra if want.need.spills else 0
        floor = want.need.floor * want.tasks
        ideal = None if want.need.ideal is None else max(floor, want.need.ideal * want.tables)
        operators.append(
            OperatorForecast(
                want.operator, want.depth, want.tasks, floor, ideal, floor + extra, want.source, want.need.spills,
                spill, want.need.why,
            )
        )  # fmt: skip
    kept = output if output <= _DOUBT * share * tasks else share * tasks
    peak = min(capacity, fitted.floor + taken + kept + standing)
    if seam is not None:
        in_use += _in_use(seam, needs.of(seam, fitted.settings), needs, fitted.settings, tasks) * tasks
    resident = min(peak, in_use + taken + kept + standing)
    return StageForecast(
        title, tasks, fitted.settings.batch_bytes, tuple(operators), fitted.floor, standing, output,
        int((output - kept) * _ON_DISK), peak, resident, fitted.fits,
    )  # fmt: skip


def _extra(want: _Want) -> int:
    """Bytes that the operator would hold above its floor in all tasks at work."""
    return 0 if want.need.ideal is None else max(0, want.need.ideal - want.need.floor) * want.tables


def _wants(root: Operator, needs: Needs, fitted: Fitted, tasks: int, depth: int) -> list[_Want]:
    """The operators of a pipeline and of the tasks below its gathers, in the order of the tree."""
    found: list[_Want] = []
    settings = fitted.settings
    share = _largest_share(root, needs, settings)

    def visit(operator: Operator, depth: int) -> None:
        shared = isinstance(operator, HashJoin) and operator.shared
        inputs = [
            needs.stats(child) if shared and place == 1 else _part(needs.stats(child), share)
            for place, child in enumerate(operator.inputs)
        ]
        need = operator.memory(inputs, settings)
        whole = [needs.stats(child) for child in operator.inputs]
        data = sum(stats.bytes for stats in whole)
        if isinstance(operator, HashAggregate):
            # A partial aggregation passes on what does not fit.
            data = 0.0 if operator.phase == "partial" else needs.stats(operator).bytes
        source = (whole[-1] if whole else needs.stats(operator)).origin
        if shared:
            source = whole[1].origin
        if isinstance(operator, CallUdf | FetchUrls):
            source = needs.stats(operator).origin  # of what it makes, not of what it gets
        in_use = _in_use(operator, need, needs, settings, tasks) * tasks
        tables = 1 if shared else tasks
        if need.spills and not isinstance(operator, Exchange):
            smallest = operator.memory(inputs, replace(settings, batch_bytes=_LEAST_BATCH))
            in_use = min(need.floor * tasks, in_use + min(need.floor, smallest.ideal or 0) * tables)
        found.append(_Want(operator, depth, need, tasks, tables, data, source, in_use))
        if isinstance(operator, Exchange):
            child = operator.inputs[0]
            found.extend(_wants(child, needs, fitted, width(child, settings.threads), depth + 1))
            return
        for child in operator.inputs:
            visit(child, depth + 1)
        if isinstance(operator, RecursiveUnion):
            found.extend(_wants(operator.step, needs, fitted, tasks, depth + 1))

    visit(root, depth)
    return found


def _in_use(operator: Operator, need: MemoryNeed, needs: Needs, settings: Settings, tasks: int) -> int:
    """What of the floor of one task is filled as long as the operator does not spill: a batch of each stream."""
    if isinstance(operator, ScanSplits):
        decoded = operator.source.stats([name for name, _ in operator.columns])
        smaller = replace(settings, batch_bytes=max(_LEAST_BATCH, int(_largest(decoded, settings, tasks))))
        return min(need.floor, operator.memory([], smaller).floor)
    if isinstance(operator, ProjectColumns) and all(isinstance(expr, ColumnRef) for _, expr in operator.columns):
        return 0  # gives on what it gets
    return min(need.floor, int(_batch(operator, needs, settings, tasks)))


def _batch(operator: Operator, needs: Needs, settings: Settings, tasks: int) -> float:
    """Bytes of the batches that an operator gives out."""
    stats = needs.stats(operator)
    largest = _largest(stats, settings, tasks)
    match operator:
        case ScanSplits():
            before = operator.source.stats([name for name, _ in operator.columns])
            batches = before.bytes / max(1.0, _largest(before, settings, tasks))
        case FilterRows() | ProjectColumns() | HashJoin():
            # One for each batch that comes in.
            source = operator.inputs[0]
            batches = needs.stats(source).bytes / max(1.0, _batch(source, needs, settings, tasks))
        case _:
            return largest
    return min(largest, stats.bytes / max(1.0, batches))


def _largest(stats: Stats, settings: Settings, tasks: int) -> float:
    """Bytes of the largest batches that these rows make."""
    width = stats.bytes / max(1.0, stats.rows)
    return min(float(settings.batch_bytes), settings.batch_rows * width, stats.bytes / tasks)


def _largest_share(root: Operator, needs: Needs, settings: Settings) -> float:
    """Which part of the rows one task has at a time. Few values of a key make uneven partitions: so many balls as there
    are values, thrown into as many bins."""
    parts = units(root) or settings.threads
    share = 1.0 / parts
    for operator in pipeline(root):
        if isinstance(operator, StageInput) and operator.given.kind == "hash":
            known = [operator.columns.get(key) for key in operator.given.keys]
            values = math.prod(facts.distinct for facts in known if facts is not None and facts.distinct is not None)
            if all(facts is not None and facts.distinct is not None for facts in known):
                mean = max(1.0, values) / parts
                share = max(share, min(1.0, (mean + 1.5 * math.sqrt(mean)) / max(1.0, values)))
    return share


def _part(stats: Stats, share: float) -> Stats:
    return replace(stats, rows=stats.rows * share, bytes=stats.bytes * share)


def _consume(root: Operator, held: dict[int, int]) -> None:
    """What this stage has read of others is free now."""
    for operator in pipeline(root):
        if isinstance(operator, StageInput) and not operator.keep:
            held.pop(operator.stage, None)
        elif isinstance(operator, Exchange):
            _consume(operator.inputs[0], held)
