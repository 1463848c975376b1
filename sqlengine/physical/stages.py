"""Cutting a plan into stages: which seam is next, and the plan once the stage below it has run.

The backend cuts while it runs, with real sizes; a forecast cuts with estimated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange, HeldInput, HeldPlan, KeyRange, StageInput


def next_seam(operator: Operator) -> Exchange | HeldPlan | None:
    """The next stage to run: the deepest exchange (or held plan) with no other below it, build sides before probe
    sides."""
    if isinstance(operator, HeldPlan):
        return next_seam(operator.inputs[0]) or operator
    for child in reversed(operator.inputs):
        found = next_seam(child)
        if found is not None:
            return found
    if isinstance(operator, Exchange) and operator.to.kind != "single":
        return operator
    return None


def after_stage(
    root: Operator,
    seam: Exchange | HeldPlan,
    number: int,
    left: Stats,
    summary: Mapping[str, KeyRange] | None = None,
) -> Operator:
    """The plan with the stage below `seam` done: what stage `number` left."""

    def swap(node: Operator) -> Operator:
        if isinstance(seam, HeldPlan):
            return _informed(seam.inputs[1], seam.name, left)
        return StageInput(
            (), seam.inputs[0].schema, number, seam.to, seam.partitions, int(left.rows), int(left.bytes),
            summary=summary or {}, columns=left.columns, origin=left.origin,
        )  # fmt: skip

    return _replaced(root, seam, swap)


def _informed(root: Operator, name: str, left: Stats) -> Operator:
    """The readings of a held plan with what it holds."""
    if isinstance(root, HeldInput) and root.name == name:
        return replace(root, known=left)
    children = tuple(_informed(child, name, left) for child in root.inputs)
    if all(a is b for a, b in zip(children, root.inputs, strict=True)):
        return root
    return root.with_children(children)


def _replaced(root: Operator, target: Operator, swap: Callable[[Operator], Operator]) -> Operator:
    """`target` (by identity) replaced; shared subtrees elsewhere untouched."""
    if root is target:
        return swap(root)
    children = tuple(_replaced(child, target, swap) for child in root.inputs)
    if all(a is b for a, b in zip(children, root.inputs, strict=True)):
        return root
    return root.with_children(children)
