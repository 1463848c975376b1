"""A plan made for one process, changed for a cluster; no operator is other than it was.

1. A shared join that gives rows of its build side needs one task that sees all matches: both sides are exchanged by
   their keys. (Others read the whole build side in every task.)
2. A sort of much becomes: sort the rows of each task, exchange by ranges of the keys, sort each range; the ranges in
   order are the result.
3. A limit is applied in each task first.
4. Rows that only this process has (tables in memory) are read here and given to the cluster.
5. Hash exchanges get as many partitions as make each fit a task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from sqlengine.formats.memory import MemorySource
from sqlengine.formats.stored import StoredSource
from sqlengine.operators.base import ANY, SINGLE, Distribution, Operator
from sqlengine.operators.concat_streams import ConcatStreams
from sqlengine.operators.exchange import Exchange, HeldPlan, StageInput
from sqlengine.operators.external_sort import ExternalSort
from sqlengine.operators.filter_rows import FilterRows
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.produce_rows import ProduceRows
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.operators.take_rows import TakeRows
from sqlengine.operators.write_file import WriteFile
from sqlengine.physical.adapt import partitioned
from sqlengine.physical.estimates import estimate
from sqlengine.physical.fit import pipeline
from sqlengine.settings import Settings
from sqlengine.tree import transform_up, walk

_GIVES_BUILD = frozenset({"build_outer", "full", "build_semi", "build_anti"})
_SORT_ALONE_BYTES = 32 << 20  # estimated rows up to this are sorted by one task
_MOST_PARTITIONS = 2000
_PARTITION_ROOM = 3  # a task takes about this many times the bytes of the rows of its partition
# Pass rows on one by one and hold none: they may run on the driver.
_STREAMING = (TakeRows, ProjectColumns, FilterRows, WriteFile, ConcatStreams, LiteralRows)


def for_cluster(root: Operator, settings: Settings) -> Operator:
    """The plan for many machines; the driver runs what is above the last gather, which holds no rows."""

    def change(operator: Operator) -> Operator:
        match operator:
            case HashJoin(shared=True) if operator.kind in _GIVES_BUILD:
                return _partitioned(operator, settings)
            case ExternalSort(inputs=(Exchange() as gather,)) if gather.to == SINGLE:
                return _by_ranges(operator, gather, settings)
            case TakeRows(inputs=(Exchange() as gather,), count=int(), percent=None) if gather.to == SINGLE:
                return _limited(operator, gather)
            case ScanSplits() if isinstance(operator.source, MemorySource | StoredSource):
                return Exchange((operator,), operator.schema, ANY)
            case _:
                return operator

    root = transform_up(root, change)
    if not _streams(root):
        root = Exchange((root,), root.schema, SINGLE)
    return root


def _partitioned(join: HashJoin, settings: Settings) -> Operator:
    probe, build = join.inputs
    if isinstance(build, Exchange) and build.to.kind == "shared":
        build = build.inputs[0]
    return partitioned(join.with_children((probe, build)), settings)


def _by_ranges(sort: ExternalSort, gather: Exchange, settings: Settings) -> Operator:
    child = gather.inputs[0]
    if estimate(child).bytes <= _SORT_ALONE_BYTES or not sort.by:
        return sort
    each = sort.with_children((child,))
    keys = tuple(column.key for column in sort.by)
    ranges = Exchange((each,), sort.schema, Distribution("range", keys), settings.partitions)
    return Exchange((sort.with_children((ranges,)),), sort.schema, SINGLE)


def _limited(limit: TakeRows, gather: Exchange) -> Operator:
    child = gather.inputs[0]
    assert limit.count is not None
    first = replace(limit, inputs=(child,), count=limit.count + limit.offset, offset=0)
    return limit.with_children((gather.with_children((first,)),))


def _streams(root: Operator) -> bool:
    """Whether everything above the gathers only passes rows on."""
    if isinstance(root, Exchange):
        return root.to == SINGLE
    if isinstance(root, ProduceRows):
        return root.name.startswith("sqlengine_")  # tells of this process
    if isinstance(root, TakeRows) and root.percent is not None:
        return False
    return isinstance(root, _STREAMING) and all(_streams(child) for child in root.inputs)


def is_here(root: Operator) -> bool:
    """Whether the plan only passes on rows that this process has: nothing of it is work for a cluster."""
    match root:
        case ScanSplits():
            return isinstance(root.source, MemorySource | StoredSource)
        case ProduceRows():
            return root.name.startswith("sqlengine_")
        case Exchange():
            return root.to == SINGLE and is_here(root.inputs[0])
        case _:
            return isinstance(root, _STREAMING) and all(is_here(child) for child in root.inputs)


def top_gathers(root: Operator) -> Iterator[Exchange]:
    """The gathers that the driver streams from: those that are reached through streaming operators only."""
    if isinstance(root, Exchange):
        yield root
        return
    for child in root.inputs:
        yield from top_gathers(child)


def next_stage(root: Operator, later: set[int]) -> Exchange | HeldPlan | None:
    """The next stage to run: the deepest exchange with no other below it, build sides first; not those (by `id`) that
    are streamed at the end."""
    if isinstance(root, HeldPlan):
        return next_stage(root.inputs[0], later) or root
    for child in reversed(root.inputs):
        found = next_stage(child, later)
        if found is not None:
            return found
    return root if isinstance(root, Exchange) and id(root) not in later else None


def on_driver(root: Operator) -> bool:
    """Whether a stage reads what only this process has."""
    for operator in walk(root):
        match operator:
            case ScanSplits() if isinstance(operator.source, MemorySource | StoredSource):
                return True
            case ProduceRows() if operator.name.startswith("sqlengine_"):
                return True
    return False


def sized(root: Operator, task_bytes: int, least: int) -> Operator:
    """The plan with the partitions of its hash exchanges chosen: those that one stage reads together have the same
    number, at least `least`, so that each of them fits `task_bytes`."""
    wanted: dict[int, int] = {}
    for start in _stage_roots(root):
        leaves = [
            leaf for leaf in pipeline(start)
            if leaf is not start and isinstance(leaf, Exchange) and leaf.to.kind in ("hash", "range")
        ]  # fmt: skip
        if not leaves:
            continue
        ready = [leaf for leaf in pipeline(start) if isinstance(leaf, StageInput) and leaf.given.kind == "hash"]
        if ready:  # another side has run already
            wanted.update((id(leaf), ready[0].partitions) for leaf in leaves)
            continue
        largest = max(estimate(leaf.inputs[0]).bytes for leaf in leaves)
        count = largest * _PARTITION_ROOM / max(1, task_bytes)
        chosen = max(least, min(_MOST_PARTITIONS, math.ceil(count) if math.isfinite(count) else least))
        wanted.update((id(leaf), chosen) for leaf in leaves)

    def change(operator: Operator) -> Operator:
        children = tuple(change(child) for child in operator.inputs)
        changed = operator
        if any(a is not b for a, b in zip(children, operator.inputs, strict=True)):
            changed = operator.with_children(children)
        count = wanted.get(id(operator))
        if count is not None and isinstance(changed, Exchange) and changed.partitions != count:
            return replace(changed, partitions=count)
        return changed

    return change(root)


def _stage_roots(root: Operator) -> Iterator[Operator]:
    yield root
    stack = [root]
    while stack:
        operator = stack.pop()
        if isinstance(operator, Exchange | HeldPlan):
            yield operator.inputs[0]
        stack += operator.inputs
