"""Small plans for the doctests of the rules: tables of int64 columns without rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Call, ColumnRef, Expr, Literal
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.formats.base import Bounds, ReadLimits, Split
from sqlengine.plan.nodes import Scan

x, y, z = (ColumnRef(pa.int64(), key) for key in ("x#1", "y#2", "z#3"))


@dataclass(frozen=True)
class DescribedTable:
    """A source with a schema and statistics, and nothing to read."""

    names: tuple[str, ...]
    rows: float = 100.0
    distinct: float | None = None

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(name, pa.int64()) for name in self.names])

    def describe(self) -> str:
        return f"example of {self.rows:.0f} rows"

    def stats(self, columns: Sequence[str]) -> Stats:
        return Stats(
            self.rows, self.rows * 8 * len(columns), {c: ColumnStats(self.distinct) for c in columns}, "footer"
        )

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        return []

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        return iter(())

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        return 0


def table(name: str, *columns: ColumnRef, rows: float = 100.0, distinct: float | None = None) -> Scan:
    pairs = tuple((c.key.partition("#")[0], c.key) for c in columns)
    return Scan(DescribedTable(tuple(n for n, _ in pairs), rows, distinct), name, pairs)


def call(name: str, *args: Expr, type: Any = None) -> Call:
    return Call(pa.bool_() if type is None else type, name, args)


def number(value: int) -> Literal:
    return Literal(pa.int64(), value)
