"""What a pipeline takes at least, and the widest form of it that fits a budget.

A pipeline is a tree of operators down to its stage inputs, with the gathers in it and the tasks below those. It is
admitted as a whole, so its floor is the sum of the floors of everything that runs in it at the same time. When that
does not fit, parallelism falls first, then the size of batches.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import MemoryNeed, Operator
from sqlengine.operators.exchange import Exchange, HeldPlan, StageInput
from sqlengine.operators.recursive_union import RecursiveUnion
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.settings import Settings

# Without a setting, a batch is this share of what operators share, within bounds.
_BATCH_SHARE = 128
_USUAL_BATCH, _LARGEST_BATCH = 256 << 10, 16 << 20
# To fit a small budget batches may become this small, whatever was asked for: what is promised before a query runs, and
# what a run may go down to when real sizes bring in other operators than the estimates did.
_PROMISED_BATCH, _LAST_BATCH = 64 << 10, 16 << 10


def resolved(settings: Settings, capacity: int) -> Settings:
    """The settings of a query, with a value for what the engine chooses; `capacity` is what operators share."""
    threads = settings.threads or _processors()
    batch = settings.batch_bytes or min(_LARGEST_BATCH, max(_USUAL_BATCH, capacity // _BATCH_SHARE))
    partitions = settings.partitions or max(8, 4 * threads)
    return replace(settings, threads=threads, batch_bytes=batch, partitions=partitions)


def room(settings: Settings) -> float:
    """About what operators share, as far as the size of batches tells: a power of two, so that the plans for limits
    near each other are the same."""
    batch = settings.batch_bytes
    return math.inf if batch >= _LARGEST_BATCH else float(_BATCH_SHARE << max(0, batch.bit_length() - 1))


def pipeline(root: Operator) -> Iterator[Operator]:
    """The operators that run in one task with `root`: all below it down to the exchanges (which are included)."""
    yield root
    if not isinstance(root, Exchange):
        for child in root.inputs:
            yield from pipeline(child)


def units(root: Operator) -> int | None:
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


def width(root: Operator, threads: int) -> int:
    """How many tasks of a pipeline run at the same time."""
    count = units(root)
    return threads if count is None else min(threads, count)


class Needs:
    """The memory needs of the operators of a plan, with each operator's estimate made once."""

    def __init__(self, root: Operator) -> None:
        self._stats: dict[int, Stats] = {}
        self._root = root
        self._see(root)

    def _see(self, operator: Operator) -> Stats:
        found = self._stats.get(id(operator))
        if found is None:
            found = self._stats[id(operator)] = operator.stats([self._see(child) for child in operator.inputs])
            if isinstance(operator, RecursiveUnion):
                self._see(operator.step)
        return found

    def stats(self, operator: Operator) -> Stats:
        """What the operator is expected to yield in all tasks together."""
        return self._see(operator)

    def of(self, operator: Operator, settings: Settings) -> MemoryNeed:
        return operator.memory([self._see(child) for child in operator.inputs], settings)

    def floor(self, root: Operator, settings: Settings, threads: int) -> int:
        """Of one task of a pipeline, with all tasks below its gathers."""
        total = 0
        for operator in pipeline(root):
            total += self.of(operator, settings).floor
            if isinstance(operator, Exchange):
                child = operator.inputs[0]
                total += self.floor(child, settings, threads) * width(child, threads)
            elif isinstance(operator, RecursiveUnion):
                total += self.floor(operator.step, settings, threads)  # runs inside the task, again and again
        return total


@dataclass(frozen=True)
class Fitted:
    """How a pipeline is run: `settings` with its threads and batch size; `floor` bytes at once. `fits` is false if even
    this, the smallest form, does not."""

    settings: Settings
    floor: int
    fits: bool


def fit(
    root: Operator,
    settings: Settings,
    capacity: int,
    seam: Exchange | HeldPlan | None = None,
    needs: Needs | None = None,
    promised: bool = False,
) -> Fitted:
    """The widest form of the pipeline `root` whose floor fits. With a `seam` it runs in several tasks, each of which
    writes to it. With `promised` some room is left for surprises."""
    needs = needs or Needs(root)
    smallest = min(settings.batch_bytes, _PROMISED_BATCH if promised else _LAST_BATCH)
    while True:
        for threads in range(settings.threads, 0, -1):
            chosen = replace(settings, threads=threads)
            floor = needs.floor(root, chosen, threads)
            if seam is not None:
                floor = (floor + needs.of(seam, chosen).floor) * width(root, threads)
            last = threads == 1 and settings.batch_bytes <= smallest
            # Half of the pool: what floors take, nobody above them can use.
            if floor <= capacity // 2 or last:
                return Fitted(chosen, floor, floor <= capacity)
        settings = replace(settings, batch_bytes=max(smallest, settings.batch_bytes // 2))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
