"""The shared tables of a pipeline exist at the same time: together they must leave room for its floors.

`adapt` looks at one join at a time. Here the tables of each pipeline are added up, with their real sizes, and joins are
partitioned, those with the largest tables first, until the rest fit.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange, HeldPlan, StageInput
from sqlengine.operators.hash_join import HashJoin
from sqlengine.physical.adapt import partitioned, table_bytes
from sqlengine.physical.fit import fit
from sqlengine.settings import Settings


def with_room_for_tables(root: Operator, capacity: int, settings: Settings) -> Operator:
    """The plan with joins partitioned whose shared tables would not fit together; `capacity` in bytes."""
    large: set[int] = set()
    for start, seam in _pipelines(root):
        joins = sorted(_shared_joins(start), key=lambda join: -_table(join))
        total = sum(map(_table, joins))
        if not total:
            continue
        room = capacity - fit(start, settings, capacity, seam).floor
        for join in joins:
            if total <= room:
                break
            large.add(id(join))
            total -= _table(join)
    if not large:
        return root
    return _with_partitioned(root, large, settings)


def _with_partitioned(operator: Operator, large: set[int], settings: Settings) -> Operator:
    children = tuple(_with_partitioned(child, large, settings) for child in operator.inputs)
    changed = operator
    if any(a is not b for a, b in zip(children, operator.inputs, strict=True)):
        changed = operator.with_children(children)
    if id(operator) in large:
        assert isinstance(changed, HashJoin)
        return partitioned(changed, settings)
    return changed


def _pipelines(root: Operator) -> Iterator[tuple[Operator, Exchange | HeldPlan | None]]:
    """The roots of all pipelines, with the seam that each writes to."""
    yield root, None
    stack = [root]
    while stack:
        operator = stack.pop()
        if isinstance(operator, HeldPlan) or (isinstance(operator, Exchange) and operator.to.kind != "single"):
            yield operator.inputs[0], operator
        stack += operator.inputs


def _shared_joins(root: Operator) -> Iterator[HashJoin]:
    """Of one pipeline, with the tasks below its gathers."""
    stack = [root]
    while stack:
        operator = stack.pop()
        # NOT IN has to see all build rows in one place; its operator spills by itself.
        match operator:
            case HashJoin(shared=True, null_aware=False, inputs=(_, StageInput())):
                yield operator
        if not isinstance(operator, Exchange) or operator.to.kind == "single":
            stack += operator.inputs


def _table(join: HashJoin) -> float:
    build = join.inputs[1]
    assert isinstance(build, StageInput)
    return table_bytes(build)
