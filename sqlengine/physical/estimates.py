"""Estimates of a tree of operators, bottom up: each operator's `stats` on those of its inputs."""

from __future__ import annotations

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Operator


def estimate(operator: Operator) -> Stats:
    """What the operator is expected to yield in all tasks together."""
    return operator.stats([estimate(child) for child in operator.inputs])
