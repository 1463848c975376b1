"""Rows that are read more than once: tables of WITH, recursion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from sqlengine.plan.base import Plan


@dataclass(frozen=True)
class SharedPlan(Plan):
    """`body` may read `definition` (computed once, held spillable) through any number of `SharedRef`s of its `name`."""

    name: str
    definition: Plan
    body: Plan

    def children(self) -> tuple[Plan, ...]:
        return (self.definition, self.body)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, definition=children[0], body=children[1])

    @property
    def schema(self) -> pa.Schema:
        return self.body.schema


@dataclass(frozen=True)
class SharedRef(Plan):
    """One reading of a `SharedPlan` (or, inside a `Recursion`, of the rows the last step made). `columns` pairs the
    definition's keys with this reading's own keys."""

    name: str
    columns: tuple[tuple[str, str, pa.DataType], ...]

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(new, type_) for _, new, type_ in self.columns])


@dataclass(frozen=True)
class Recursion(Plan):
    """WITH RECURSIVE: `base`, then `step` again and again over what came last (its `SharedRef` of `name`), until
    nothing new comes. `distinct` is UNION (rows seen before are dropped), else UNION ALL. `using_key`: positions of key
    columns."""

    name: str
    base: Plan
    step: Plan
    keys: tuple[str, ...]
    distinct: bool
    using_key: tuple[int, ...] = ()

    def children(self) -> tuple[Plan, ...]:
        return (self.base, self.step)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, base=children[0], step=children[1])

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(k, t) for k, t in zip(self.keys, self.base.schema.types, strict=True)])
