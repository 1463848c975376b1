"""Leaves of the logical plan: where rows come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Expr
from sqlengine.formats.base import Source
from sqlengine.plan.base import Plan


@dataclass(frozen=True)
class Scan(Plan):
    """The rows of a source. `columns` pairs source column names with keys. `filters` are predicates on the keys that
    the scan applies itself (a rule put them there; exact, not hints). `limit` caps the rows each split needs to
    give."""

    source: Source
    name: str
    columns: tuple[tuple[str, str], ...]
    filters: tuple[Expr, ...] = ()
    limit: int | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        fields = self.source.schema
        return pa.schema([pa.field(key, fields.field(name).type) for name, key in self.columns])

    def exprs(self) -> tuple[Expr, ...]:
        return self.filters


@dataclass(frozen=True)
class Values(Plan):
    """Literal rows; `rows` of no columns and one row is the input of `SELECT 1`."""

    columns: tuple[tuple[str, pa.DataType], ...]
    rows: tuple[tuple[Expr, ...], ...]

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(key, type_) for key, type_ in self.columns])

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for row in self.rows for e in row)


ONE_ROW = Values((), ((),))


@dataclass(frozen=True)
class TableFunction(Plan):
    """A function that gives rows (`range`, `generate_series`, `sqlengine_memory`, a user's generator with constant
    arguments). `args`/`options` are Python values; `produce(args, options)` of the registry makes the batches."""

    name: str
    args: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    columns: tuple[tuple[str, pa.DataType], ...]

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(key, type_) for key, type_ in self.columns])
