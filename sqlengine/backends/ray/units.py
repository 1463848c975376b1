"""Cutting a stage into units, each of which is one task: runs of splits, runs of partitions, or everything at once.

The order of the units is the order of the input. Partitions were chosen before their sizes were known; now that they
are, small neighbours are read by one task, and empty ones by none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlengine.backends.ray.outputs import UnitOutput
from sqlengine.formats.base import Split
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import StageInput
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.physical.fit import pipeline

# Partitions up to this many bytes (of rows in memory form) are read by one task.
_TOGETHER_BYTES = 128 << 20
_UNITS_PER_SLOT = 4  # of a scan, so that a slow one does not keep the others waiting and a lost one costs little
_SMALL_SHARE = 8 << 20  # bytes of splits that are not worth a task of their own
_SMALL_PARTITIONS = 1 << 20  # bytes of partitions that are not worth one
T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Part of what a leaf of the stage reads: the `leaf`th operator of the pipeline, and its splits, or blocks (unit of
    the other stage, first block, end) of rows that were read on the driver."""

    leaf: int
    splits: tuple[Split, ...] = ()
    blocks: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Unit:
    """One task of a stage. `partitions`: first and last of hash or range inputs; `share`: of scans. Neither: everything
    is in one place."""

    number: int
    partitions: tuple[int, int] | None = None
    share: Share | None = None
    bytes: int = 0


def is_cut(root: Operator) -> bool:
    """Whether the stage may take more than one task."""
    for operator in pipeline(root):
        match operator:
            case ScanSplits():
                return True
            case StageInput() if operator.given.kind in ("hash", "range", "any"):
                return True
    return False


def units_of(
    root: Operator, outputs: Mapping[int, Sequence[UnitOutput]], slots: int, most_bytes: int
) -> tuple[Unit, ...]:
    """The units of a stage that reads `outputs` (by stage). `most_bytes`: of rows that one task should get."""
    spread = [leaf for leaf in pipeline(root) if isinstance(leaf, StageInput) and leaf.given.kind in ("hash", "range")]
    if spread:
        return _by_partition(spread, outputs, slots, min(_TOGETHER_BYTES, most_bytes))
    found: list[Unit] = []
    for place, leaf in enumerate(pipeline(root)):
        match leaf:
            case ScanSplits():
                splits = leaf.source.splits([name for name, _ in leaf.columns], leaf.bounds)
                for run in _runs(splits, [split.bytes or 0 for split in splits], slots):
                    found.append(Unit(len(found), share=Share(place, splits=tuple(run)), bytes=_size(run)))
            case StageInput() if leaf.given.kind == "any":
                blocks = [
                    ((output.unit, block, block + 1), output.index.numbers[4 * block + 3])
                    for output in outputs[leaf.stage]
                    for block in range(len(output.index.numbers) // 4)
                ]
                for part in _runs([b for b, _ in blocks], [size for _, size in blocks], slots):
                    found.append(Unit(len(found), share=Share(place, blocks=_merged(part))))
    if not found:
        # A scan without splits still has to run once, for what comes above it.
        leaves = [place for place, leaf in enumerate(pipeline(root)) if isinstance(leaf, ScanSplits | StageInput)]
        return (Unit(0, share=Share(leaves[0]) if is_cut(root) else None),)
    return tuple(found)


def _size(splits: Sequence[Split]) -> int:
    return sum(split.bytes or 0 for split in splits)


def _runs(items: Sequence[T], sizes: Sequence[int], slots: int) -> list[Sequence[T]]:
    """Neighbours together: a few runs for each slot, of about the same size."""
    if not items:
        return []
    total = sum(sizes)
    target = max(total / (slots * _UNITS_PER_SLOT), _SMALL_SHARE if total else 0)
    if not total:  # nothing is known: the same number for each
        sizes, target = [1] * len(items), max(1.0, len(items) / (slots * _UNITS_PER_SLOT))
    runs: list[Sequence[T]] = []
    start, size = 0, 0.0
    for number, item_size in enumerate(sizes):
        if number > start and size + item_size / 2 > target:
            runs.append(items[start:number])
            start, size = number, 0.0
        size += item_size
    runs.append(items[start:])
    return runs


def _merged(blocks: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Neighbouring blocks of one output as one range."""
    found: list[tuple[int, int, int]] = []
    for unit, start, end in blocks:
        if found and found[-1][0] == unit and found[-1][2] == start:
            found[-1] = (unit, found[-1][1], end)
        else:
            found.append((unit, start, end))
    return tuple(found)


def _by_partition(
    leaves: Sequence[StageInput], outputs: Mapping[int, Sequence[UnitOutput]], slots: int, most_bytes: int
) -> tuple[Unit, ...]:
    if leaves[0].given.kind == "range":
        count = leaves[0].partitions
        return tuple(Unit(number, partitions=(number, number)) for number in range(count))
    count = leaves[0].partitions
    assert all(leaf.partitions == count for leaf in leaves), "inputs of one stage have one number of partitions"
    sizes = [0] * count
    for stage in {leaf.stage for leaf in leaves}:
        for output in outputs[stage]:
            for number in range(count):
                sizes[number] += output.index.bytes(number)
    # Never fewer tasks than slots for rows that are worth it.
    target = max(1, min(most_bytes, max(sum(sizes) // max(1, slots), _SMALL_PARTITIONS)))
    found: list[Unit] = []
    first: int | None = None
    last = held = 0
    for number, size in enumerate(sizes):
        if not size:
            continue
        if first is not None and held + size > target:
            found.append(Unit(len(found), partitions=(first, last), bytes=held))
            first, held = None, 0
        if first is None:
            first = number
        last = number
        held += size
    if first is not None:
        found.append(Unit(len(found), partitions=(first, last), bytes=held))
    return tuple(found)
