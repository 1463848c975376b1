"""One column of an order, by key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SortColumn:
    key: str
    descending: bool = False
    nulls_first: bool = False
