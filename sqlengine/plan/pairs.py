"""Logical nodes with several inputs: joins and set operations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import TRUE, Expr
from sqlengine.plan.base import Plan, require


@dataclass(frozen=True)
class Join(Plan):
    """`kind`: inner, left, right, full, cross, semi, anti (left rows only), mark, single, asof, positional.

    - semi/anti output the left columns. `null_aware` anti is NOT IN: no left row qualifies if the right side has a NULL
      in the compared column, none with a NULL unless the right side is empty.
    - mark outputs the left columns and a boolean `mark` column: true where a match exists; with `null_aware` NULL where
      SQL's IN says NULL.
    - single is a left join that is an error when a left row has more than one match (scalar subquery).
    - asof: equality parts of the condition plus one inequality, nearest match; `outer` keeps unmatched left rows.
    The condition is any predicate over both sides; equality conjuncts are found by lowering.
    """

    left: Plan
    right: Plan
    kind: str
    condition: Expr = TRUE
    mark: str | None = None
    null_aware: bool = False
    outer: bool = False

    def __post_init__(self) -> None:
        require(self, (self.condition,), self.left, self.right)
        both = self.left.column_keys & self.right.column_keys
        if both:
            raise InternalError(f"both sides of a join have the columns {sorted(both)}")

    def children(self) -> tuple[Plan, ...]:
        return (self.left, self.right)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, left=children[0], right=children[1])

    def exprs(self) -> tuple[Expr, ...]:
        return (self.condition,)

    @cached_property
    def schema(self) -> pa.Schema:
        return _pair_schema(self)

    @cached_property
    def column_keys(self) -> frozenset[str]:
        return _pair_keys(self)


@dataclass(frozen=True)
class DependentJoin(Plan):
    """A join whose right side may refer to the left's columns by `OuterRef` (LATERAL, correlated subqueries). `kind`,
    `condition`, `mark`, `null_aware` as in `Join`. Only between binding and decorrelation."""

    left: Plan
    right: Plan
    kind: str
    condition: Expr = TRUE
    mark: str | None = None
    null_aware: bool = False

    def children(self) -> tuple[Plan, ...]:
        return (self.left, self.right)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, left=children[0], right=children[1])

    def exprs(self) -> tuple[Expr, ...]:
        return (self.condition,)

    @cached_property
    def schema(self) -> pa.Schema:
        return _pair_schema(self)

    @cached_property
    def column_keys(self) -> frozenset[str]:
        return _pair_keys(self)


@dataclass(frozen=True)
class Union(Plan):
    """UNION ALL: the rows of all inputs. Column i of the output comes from column i of each input (same types)."""

    inputs: tuple[Plan, ...]
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        for plan in self.inputs:
            if plan.schema.types != self.inputs[0].schema.types:
                raise InternalError("the inputs of a union have different types")

    def children(self) -> tuple[Plan, ...]:
        return self.inputs

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, inputs=children)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(k, t) for k, t in zip(self.keys, self.inputs[0].schema.types, strict=True)])


@dataclass(frozen=True)
class SetOperation(Plan):
    """INTERSECT or EXCEPT, by position; `all` keeps multiplicities. NULLs are equal. (UNION is Union + Distinct.)"""

    left: Plan
    right: Plan
    kind: str
    all: bool
    keys: tuple[str, ...]

    def children(self) -> tuple[Plan, ...]:
        return (self.left, self.right)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, left=children[0], right=children[1])

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(k, t) for k, t in zip(self.keys, self.left.schema.types, strict=True)])


def _pair_schema(join: Join | DependentJoin) -> pa.Schema:
    match join.kind:
        case "semi" | "anti":
            return join.left.schema
        case "mark":
            assert join.mark is not None
            return join.left.schema.append(pa.field(join.mark, pa.bool_()))
        case _:
            return pa.schema([*join.left.schema, *join.right.schema])


def _pair_keys(join: Join | DependentJoin) -> frozenset[str]:
    """The keys of the schema, without making it: plans of many joins are built more often than they are asked."""
    match join.kind:
        case "semi" | "anti":
            return join.left.column_keys
        case "mark":
            assert join.mark is not None
            return join.left.column_keys | {join.mark}
        case _:
            return join.left.column_keys | join.right.column_keys
