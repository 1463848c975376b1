"""What is known or guessed about the rows of a plan: the numbers behind join order, build side and EXPLAIN.

Estimates steer speed only. Nothing about correctness or about staying within the budget depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ColumnStats:
    """Of one column: distinct values, smallest and largest value (Python values), share of NULLs, mean bytes per value.

    `domain` and `table_rows` remember the table the column comes from: its distinct values and rows before rows were
    dropped for what other columns say. A join loses no more rows than the values the other side lacks.
    """

    distinct: float | None = None
    min: Any = None
    max: Any = None
    null_fraction: float = 0.0
    width: float | None = None
    domain: float | None = None
    table_rows: float | None = None


@dataclass(frozen=True)
class Stats:
    """Of a whole input: rows, bytes in Arrow form, per-column facts by key, and where the numbers come from
    (`footer`, `sample`, `history`, `actual`, `default`)."""

    rows: float
    bytes: float
    columns: Mapping[str, ColumnStats] = field(default_factory=dict)
    origin: str = "default"
