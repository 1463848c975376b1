"""Logical nodes with one input: which of its rows, in which order, with which columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import AggregateCall, Expr, LiftedCall, SortKey, WindowCall
from sqlengine.plan.base import Named, OneInput, require
from sqlengine.runtime.udf.function import TABLE


@dataclass(frozen=True)
class Filter(OneInput):
    """Rows for which `predicate` is true (not false, not NULL)."""

    predicate: Expr

    def __post_init__(self) -> None:
        if self.predicate.type != pa.bool_():
            raise InternalError(f"filter of type {self.predicate.type}")
        require(self, (self.predicate,), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return (self.predicate,)


@dataclass(frozen=True)
class Project(OneInput):
    """New columns from the input's; nothing passes through unless named."""

    columns: tuple[Named, ...]

    def __post_init__(self) -> None:
        require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, e in self.columns)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(key, e.type) for key, e in self.columns])


@dataclass(frozen=True)
class Aggregate(OneInput):
    """GROUP BY. Output: the keys, then the aggregates, then `grouping_id` if there are grouping sets.

    `sets`: for ROLLUP/CUBE/GROUPING SETS the positions of the keys in each set (keys not in a set are NULL in its
    rows); None is one set of all keys. `grouping_key`: key of an int64 column, bit i (most significant first, over the
    keys in order) is 1 where key i is not in the set. No keys and no sets: exactly one output row.
    """

    keys: tuple[Named, ...]
    aggregates: tuple[tuple[str, AggregateCall], ...]
    sets: tuple[tuple[int, ...], ...] | None = None
    grouping_key: str | None = None

    def __post_init__(self) -> None:
        require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return (*(e for _, e in self.keys), *(e for _, e in self.aggregates))

    @cached_property
    def schema(self) -> pa.Schema:
        fields = [pa.field(key, e.type) for key, e in (*self.keys, *self.aggregates)]
        if self.grouping_key is not None:
            fields.append(pa.field(self.grouping_key, pa.int64()))
        return pa.schema(fields)


@dataclass(frozen=True)
class Distinct(OneInput):
    """DISTINCT of whole rows, or DISTINCT ON (`on`): the first row of each group in the order of `order_by`."""

    on: tuple[Expr, ...] | None = None
    order_by: tuple[SortKey, ...] = ()

    def exprs(self) -> tuple[Expr, ...]:
        return (*(self.on or ()), *(k.expr for k in self.order_by))


@dataclass(frozen=True)
class Window(OneInput):
    """The input's columns plus one per call. Calls of one node may have different windows; lowering groups them."""

    calls: tuple[tuple[str, WindowCall], ...]

    def __post_init__(self) -> None:
        require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, e in self.calls)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([*self.input.schema, *(pa.field(key, e.type) for key, e in self.calls)])


@dataclass(frozen=True)
class Sort(OneInput):
    """ORDER BY; stable. With `limit` it is a top-N of the first `limit` rows (offset included by whoever set it)."""

    keys: tuple[SortKey, ...]
    limit: int | None = None

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(k.expr for k in self.keys)


@dataclass(frozen=True)
class Limit(OneInput):
    """The rows from `offset` on, at most `count` (None: all). `percent`: count is a percentage of the input."""

    count: int | None
    offset: int = 0
    percent: float | None = None


@dataclass(frozen=True)
class Sample(OneInput):
    """TABLESAMPLE: a share of the rows (`fraction` 0..1, method bernoulli or system) or a fixed number (reservoir)."""

    fraction: float | None
    rows: int | None
    method: str = "bernoulli"
    seed: int | None = None


@dataclass(frozen=True)
class OneRowOnly(OneInput):
    """Exactly one row: the input's single row, a row of NULLs if it has none, an error if it has several
    (an uncorrelated scalar subquery)."""


@dataclass(frozen=True)
class Unnest(OneInput):
    """Each input row repeated for the elements of its lists (`columns`: output key and list expression, unnested side
    by side, the shorter ones padded with NULL). Rows with only empty or NULL lists vanish unless `outer`. `ordinality`:
    key of an int64 column that counts from 1."""

    columns: tuple[Named, ...]
    outer: bool = False
    ordinality: str | None = None

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, e in self.columns)

    @cached_property
    def schema(self) -> pa.Schema:
        fields = [*self.input.schema, *(pa.field(key, e.type.value_type) for key, e in self.columns)]
        if self.ordinality is not None:
            fields.append(pa.field(self.ordinality, pa.int64()))
        return pa.schema(fields)


def table_call(plan: Unnest) -> LiftedCall | None:
    """The call of a user's generator that an UNNEST stands for: the type of such a call is the list of what it yields,
    which is never made as a whole."""
    first = plan.columns[0][1]
    return first if isinstance(first, LiftedCall) and getattr(first.function, "kind", None) == TABLE else None


@dataclass(frozen=True)
class Extend(OneInput):
    """The input's columns plus one per lifted call. `calls`: key, call, and the condition under which a row needs the
    value (None: always; where it is not true the value is NULL and the call is not made)."""

    calls: tuple[tuple[str, LiftedCall, Expr | None], ...]

    def __post_init__(self) -> None:
        require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, call, condition in self.calls for e in (call, condition) if e is not None)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([*self.input.schema, *(pa.field(key, call.type) for key, call, _ in self.calls)])


@dataclass(frozen=True)
class Write(OneInput):
    """COPY ... TO: writes the input (`names`: column names in the file) and gives one row, `count` of rows written."""

    names: tuple[str, ...]
    path: str
    format: str
    options: tuple[tuple[str, Any], ...]
    count_key: str

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(self.count_key, pa.int64())])
