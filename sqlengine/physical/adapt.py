"""Decisions that wait for real sizes: taken each time a stage has finished, on what is left of the plan.

- A join whose build side does not fit as one shared table is partitioned: both sides are exchanged by their keys.
- The keys seen on a build side limit what the scans of the probe side have to read (dynamic filters), where a probe row
  without a match has no effect.
"""

from __future__ import annotations

from dataclasses import replace

from sqlengine.operators.base import Distribution, Operator
from sqlengine.operators.exchange import Exchange, StageInput
from sqlengine.operators.hash_join import HashJoin
from sqlengine.physical.dynamic_filters import DROPS_UNMATCHED, narrowed
from sqlengine.settings import Settings
from sqlengine.tree import transform_up

# A shared table takes its rows, their hashes and slots; it may use this share of the budget.
_TABLE_SHARE = 0.35
_TABLE_BYTES_PER_ROW = 32
_TABLE_FACTOR = 1.0


def adapt(root: Operator, capacity: int, settings: Settings) -> Operator:
    """The rest of a plan, changed for what is known now; `capacity` is what operators share, in bytes."""

    def change(operator: Operator) -> Operator:
        if not isinstance(operator, HashJoin):
            return operator
        probe, build = operator.inputs
        if not isinstance(build, StageInput) or build.given.kind not in ("shared", "hash"):
            return operator
        if operator.kind in DROPS_UNMATCHED and "dynamic_filters" not in settings.disabled_rules:
            probe = narrowed(probe, operator, build)
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
    """Both sides exchanged by their keys, each task with a table of its own that can spill. Its rows are spread as they
    were before, as what is above the join was planned for that."""
    probe, build = join.inputs
    before = spread(probe)
    if before.kind == "single":
        return replace(join, shared=False)
    sides = (
        Exchange((probe,), probe.schema, Distribution("hash", join.probe_keys), settings.partitions),
        Exchange((build,), build.schema, Distribution("hash", join.build_keys), settings.partitions),
    )
    joined = replace(join, inputs=sides, shared=False)
    if before.kind == "hash" and set(before.keys) <= set(joined.schema.names):
        return Exchange((joined,), joined.schema, before, settings.partitions)
    return joined


def spread(root: Operator) -> Distribution:
    """How the rows of a plan that has its exchanges are spread."""
    return root.gives([spread(child) for child in root.inputs])
