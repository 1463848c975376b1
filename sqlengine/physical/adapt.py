"""Decisions that wait for real sizes: taken each time a stage has finished, on what is left of the plan.

- A join whose build side does not fit as one shared table is partitioned: both sides are exchanged by their keys.
- The keys seen on a build side limit what the scans of the probe side have to read (dynamic filters), where a probe row
  without a match has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlengine.expr.nodes import ColumnRef
from sqlengine.formats.base import Bounds
from sqlengine.operators.base import Distribution, Operator
from sqlengine.operators.exchange import Exchange, StageInput
from sqlengine.operators.filter_rows import FilterRows
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.settings import Settings
from sqlengine.tree import transform_up

# A shared table takes its rows, their hashes and slots; it may use this share of the budget.
_TABLE_SHARE = 0.35
_TABLE_BYTES_PER_ROW = 32
_TABLE_FACTOR = 1.0
# Kinds whose answer has no row for a probe row without a match.
_DROPS_UNMATCHED = frozenset({"inner", "build_outer", "probe_semi", "build_semi", "build_anti"})


def adapt(root: Operator, capacity: int, settings: Settings) -> Operator:
    """The rest of a plan, changed for what is known now; `capacity` is what operators share, in bytes."""

    def change(operator: Operator) -> Operator:
        if not isinstance(operator, HashJoin):
            return operator
        probe, build = operator.inputs
        if not isinstance(build, StageInput) or build.given.kind not in ("shared", "hash"):
            return operator
        if operator.kind in _DROPS_UNMATCHED and "dynamic_filters" not in settings.disabled_rules:
            probe = _narrowed(probe, operator, build)
        operator = operator.with_children((probe, build))
        # NOT IN asks whether there is a NULL among all build rows: no partition knows, so the table stays one (and
        # spills).
        if operator.shared and not operator.null_aware and table_bytes(build) > capacity * _TABLE_SHARE:
            return partitioned(operator, settings)
        return operator

    return transform_up(root, change)


def table_bytes(build: StageInput) -> float:
    """What a table over the rows of a finished stage will take."""
    return build.bytes * _TABLE_FACTOR + build.rows * _TABLE_BYTES_PER_ROW


def partitioned(join: HashJoin, settings: Settings) -> Operator:
    """Both sides exchanged by their keys, each task with a table of its own that can spill."""
    probe, build = join.inputs
    sides = (
        Exchange((probe,), probe.schema, Distribution("hash", join.probe_keys), settings.partitions),
        Exchange((build,), build.schema, Distribution("hash", join.build_keys), settings.partitions),
    )
    return replace(join, inputs=sides, shared=False)


def _narrowed(probe: Operator, join: HashJoin, build: StageInput) -> Operator:
    for probe_key, build_key in zip(join.probe_keys, join.build_keys, strict=True):
        known = build.summary.get(build_key)
        if known is not None and not (join.null_equal and known.low is None):
            bound = Bounds("", known.low, known.high, values=known.values, not_null=not join.null_equal, dynamic=True)
            probe = _push(probe, probe_key, bound)
    return probe


def _push(operator: Operator, key: str, bound: Bounds) -> Operator:
    """The operator with `bound` on column `key` moved into the scan that the column comes from, if it comes from
    one."""
    match operator:
        case ScanSplits():
            for name, given in operator.columns:
                if given == key:
                    found = replace(bound, column=name)
                    return operator if found in operator.bounds else replace(operator, bounds=(*operator.bounds, found))
            return operator
        case FilterRows():
            return _swap(operator, 0, _push(operator.inputs[0], key, bound))
        case ProjectColumns():
            for name, expr in operator.columns:
                if name == key and isinstance(expr, ColumnRef):
                    return _swap(operator, 0, _push(operator.inputs[0], expr.key, bound))
            return operator
        case HashJoin() if key in operator.inputs[0].schema.names:
            # Dropping a probe row only drops the rows it makes, unless build rows are given for lack of a match.
            if operator.kind not in ("full", "build_outer", "build_anti"):
                return _swap(operator, 0, _push(operator.inputs[0], key, bound))
            return operator
        case _:
            return operator


def _swap(operator: Operator, position: int, child: Operator) -> Operator:
    inputs: Sequence[Operator] = operator.inputs
    if inputs[position] is child:
        return operator
    return operator.with_children((*inputs[:position], child, *inputs[position + 1 :]))
