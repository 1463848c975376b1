"""What a join's build side has shown moves down into the scans of the rest of the plan, so that they read less.

A bound says: rows whose `key` lies outside cannot matter, because a join above drops them. It moves down
- through what passes rows on (projections of the plain column, filters, sorts, exchanges, unions);
- through groupings and windows whose keys include the column: whole groups vanish;
- into both sides of a join on that column: a row can only match one with the same value. Where a side's unmatched rows
  are kept, they come with NULL on the other side, and the bound drops NULLs too.
It stops at limits, samples, and whatever counts or numbers its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlengine.expr.nodes import ColumnRef
from sqlengine.formats.base import Bounds
from sqlengine.operators.base import Operator
from sqlengine.operators.concat_streams import ConcatStreams
from sqlengine.operators.exchange import Exchange, HeldPlan, StageInput
from sqlengine.operators.external_sort import ExternalSort
from sqlengine.operators.filter_rows import FilterRows
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.nested_loop_join import NestedLoopJoin
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.operators.sorted_aggregate import SortedAggregate
from sqlengine.operators.window_rows import WindowRows
from sqlengine.tree import walk

# A bound may go to both sides of each join: below so many it would take longer than it saves.
_MANY_JOINS = 24
# Kinds whose answer has no row for a probe row without a match.
DROPS_UNMATCHED = frozenset({"inner", "build_outer", "probe_semi", "build_semi", "build_anti"})
_GIVES_PROBE_COLUMNS = frozenset({"inner", "probe_semi", "probe_anti", "probe_outer", "single", "mark"})
_GIVES_BUILD_COLUMNS = frozenset({"inner", "build_semi", "build_anti", "build_outer"})
_OUTER = frozenset({"probe_outer", "build_outer", "full"})


def narrowed(probe: Operator, join: HashJoin, build: StageInput) -> Operator:
    """The probe side of a join, reading only what can have a match among the rows of the finished build side."""
    if sum(isinstance(node, HashJoin) for node in walk(probe)) > _MANY_JOINS:
        return probe
    for probe_key, build_key in zip(join.probe_keys, join.build_keys, strict=True):
        known = build.summary.get(build_key)
        if known is None or (join.null_equal and known.low is None):
            continue
        # Without a set, or where NULLs match, whole row groups may be skipped, but testing each row would not pay.
        members = None if join.null_equal else known.members
        bound = Bounds(
            "", known.low, known.high, values=known.values, not_null=not join.null_equal,
            dynamic=members is not None, members=members,
        )  # fmt: skip
        probe = push_bound(probe, probe_key, bound)
    return probe


def push_bound(operator: Operator, key: str, bound: Bounds) -> Operator:
    """The operator with `bound` on its column `key` moved into the scans that the column comes from, where it may."""
    match operator:
        case ScanSplits(limit=None):
            for name, given in operator.columns:
                if given == key:
                    found = replace(bound, column=name, dynamic=bound.dynamic and _drops(operator, name, bound))
                    return operator if found in operator.bounds else replace(operator, bounds=(*operator.bounds, found))
            return operator
        case FilterRows() | ExternalSort() | Exchange():
            return _below(operator, 0, key, bound)
        case HashAggregate() | SortedAggregate():
            return _below(operator, 0, key, bound) if key in operator.keys else operator
        case WindowRows():
            return _below(operator, 0, key, bound) if key in operator.partition_by else operator
        case HeldPlan():
            return _below(operator, 1, key, bound)
        case ConcatStreams():
            place = operator.schema.names.index(key)
            inputs = tuple(push_bound(child, child.schema.names[place], bound) for child in operator.inputs)
            return operator if _same(inputs, operator.inputs) else operator.with_children(inputs)
        case ProjectColumns():
            for name, expr in operator.columns:
                if name == key and isinstance(expr, ColumnRef):
                    return _below(operator, 0, expr.key, bound)
            return operator
        case NestedLoopJoin(kind="inner"):
            side = 0 if key in operator.inputs[0].schema.names else 1
            return _below(operator, side, key, bound)
        case HashJoin():
            return _join(operator, key, bound)
        case _:
            return operator


def _join(join: HashJoin, key: str, bound: Bounds) -> Operator:
    from_probe = key in join.inputs[0].schema.names
    gives = _GIVES_PROBE_COLUMNS if from_probe else _GIVES_BUILD_COLUMNS
    if key == join.mark or not (join.kind in gives or (join.kind in _OUTER and bound.not_null)):
        return join
    result = _below(join, 0 if from_probe else 1, key, bound)
    own, others = (join.probe_keys, join.build_keys) if from_probe else (join.build_keys, join.probe_keys)
    # With NULL-aware comparisons the mere presence of a row on the other side matters.
    if key in own and not join.null_aware and not join.null_equal and bound.not_null:
        result = _below(result, 1 if from_probe else 0, others[own.index(key)], bound)
    return result


def _drops(scan: ScanSplits, name: str, bound: Bounds) -> bool:
    """Whether it pays to test every row, and not only to skip row groups."""
    facts = scan.source.stats([name]).columns.get(name)
    return bound.members is not None and bound.members.drops(None if facts is None else facts.distinct)


def _below(operator: Operator, place: int, key: str, bound: Bounds) -> Operator:
    inputs: Sequence[Operator] = operator.inputs
    child = push_bound(inputs[place], key, bound)
    if child is inputs[place]:
        return operator
    return operator.with_children((*inputs[:place], child, *inputs[place + 1 :]))


def _same(a: Sequence[Operator], b: Sequence[Operator]) -> bool:
    return all(x is y for x, y in zip(a, b, strict=True))
