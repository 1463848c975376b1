"""What all logical nodes share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import Expr, columns_of

Named = tuple[str, Expr]  # a column key and what computes it


def require(node: Plan, exprs: tuple[Expr, ...], *inputs: Plan) -> None:
    """Refuse a node whose expressions read columns that none of its inputs has."""
    missing = frozenset().union(*map(columns_of, exprs)).difference(*(plan.column_keys for plan in inputs))
    if missing:
        raise InternalError(f"{type(node).__name__} reads columns its input does not have: {sorted(missing)}")


@dataclass(frozen=True)
class Plan:
    """Base of all logical nodes."""

    def children(self) -> tuple[Plan, ...]:
        return ()

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        assert not children
        return self

    def exprs(self) -> tuple[Expr, ...]:
        """Every expression the node evaluates."""
        return ()

    @property
    def schema(self) -> pa.Schema:
        raise NotImplementedError

    @cached_property
    def column_keys(self) -> frozenset[str]:
        """The keys of the columns."""
        return frozenset(self.schema.names)


@dataclass(frozen=True)
class OneInput(Plan):
    """A node over one other; its columns are those of its input unless it says otherwise."""

    input: Plan

    def children(self) -> tuple[Plan, ...]:
        return (self.input,)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, input=children[0])

    @property
    def schema(self) -> pa.Schema:
        return self.input.schema

    @cached_property
    def column_keys(self) -> frozenset[str]:
        return self.input.column_keys if type(self).schema is OneInput.schema else frozenset(self.schema.names)
