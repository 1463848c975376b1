"""Logical plan nodes. They say WHAT; how is the business of `physical/` and `operators/`.

Each node derives its schema: a `pa.Schema` whose field names are column keys unique in the statement. A node that
passes columns on keeps their keys; a node that makes a column gives it a new key. Constructors refuse illegal trees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import TRUE, AggregateCall, Expr, LiftedCall, Literal, SortKey, WindowCall, columns_of
from sqlengine.formats.base import Source

Named = tuple[str, Expr]  # a column key and what computes it


def _require(node: Plan, exprs: tuple[Expr, ...], *inputs: Plan) -> None:
    have = {name for plan in inputs for name in plan.schema.names}
    for expr in exprs:
        missing = columns_of(expr) - have
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


@dataclass(frozen=True)
class _Unary(Plan):
    input: Plan

    def children(self) -> tuple[Plan, ...]:
        return (self.input,)

    def with_children(self, children: tuple[Plan, ...]) -> Plan:
        return replace(self, input=children[0])

    @property
    def schema(self) -> pa.Schema:
        return self.input.schema


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


@dataclass(frozen=True)
class Filter(_Unary):
    """Rows for which `predicate` is true (not false, not NULL)."""

    predicate: Expr

    def __post_init__(self) -> None:
        if self.predicate.type != pa.bool_():
            raise InternalError(f"filter of type {self.predicate.type}")
        _require(self, (self.predicate,), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return (self.predicate,)


@dataclass(frozen=True)
class Project(_Unary):
    """New columns from the input's; nothing passes through unless named."""

    columns: tuple[Named, ...]

    def __post_init__(self) -> None:
        _require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, e in self.columns)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(key, e.type) for key, e in self.columns])


@dataclass(frozen=True)
class Aggregate(_Unary):
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
        _require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return (*(e for _, e in self.keys), *(e for _, e in self.aggregates))

    @cached_property
    def schema(self) -> pa.Schema:
        fields = [pa.field(key, e.type) for key, e in (*self.keys, *self.aggregates)]
        if self.grouping_key is not None:
            fields.append(pa.field(self.grouping_key, pa.int64()))
        return pa.schema(fields)


@dataclass(frozen=True)
class Distinct(_Unary):
    """DISTINCT of whole rows, or DISTINCT ON (`on`): the first row of each group in the order of `order_by`."""

    on: tuple[Expr, ...] | None = None
    order_by: tuple[SortKey, ...] = ()

    def exprs(self) -> tuple[Expr, ...]:
        return (*(self.on or ()), *(k.expr for k in self.order_by))


@dataclass(frozen=True)
class Window(_Unary):
    """The input's columns plus one per call. Calls of one node may have different windows; lowering groups them."""

    calls: tuple[tuple[str, WindowCall], ...]

    def __post_init__(self) -> None:
        _require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, e in self.calls)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([*self.input.schema, *(pa.field(key, e.type) for key, e in self.calls)])


@dataclass(frozen=True)
class Sort(_Unary):
    """ORDER BY; stable. With `limit` it is a top-N of the first `limit` rows (offset included by whoever set it)."""

    keys: tuple[SortKey, ...]
    limit: int | None = None

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(k.expr for k in self.keys)


@dataclass(frozen=True)
class Limit(_Unary):
    """The rows from `offset` on, at most `count` (None: all). `percent`: count is a percentage of the input."""

    count: int | None
    offset: int = 0
    percent: float | None = None


@dataclass(frozen=True)
class Sample(_Unary):
    """TABLESAMPLE: a share of the rows (`fraction` 0..1, method bernoulli or system) or a fixed number (reservoir)."""

    fraction: float | None
    rows: int | None
    method: str = "bernoulli"
    seed: int | None = None


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
        _require(self, (self.condition,), self.left, self.right)
        both = set(self.left.schema.names) & set(self.right.schema.names)
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
        match self.kind:
            case "semi" | "anti":
                return self.left.schema
            case "mark":
                assert self.mark is not None
                return self.left.schema.append(pa.field(self.mark, pa.bool_()))
            case _:
                return pa.schema([*self.left.schema, *self.right.schema])


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
        match self.kind:
            case "semi" | "anti":
                return self.left.schema
            case "mark":
                assert self.mark is not None
                return self.left.schema.append(pa.field(self.mark, pa.bool_()))
            case _:
                return pa.schema([*self.left.schema, *self.right.schema])


@dataclass(frozen=True)
class OneRowOnly(_Unary):
    """Exactly one row: the input's single row, a row of NULLs if it has none, an error if it has several
    (an uncorrelated scalar subquery)."""


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


@dataclass(frozen=True)
class Unnest(_Unary):
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


@dataclass(frozen=True)
class Extend(_Unary):
    """The input's columns plus one per lifted call. `calls`: key, call, and the condition under which a row needs the
    value (None: always; where it is not true the value is NULL and the call is not made)."""

    calls: tuple[tuple[str, LiftedCall, Expr | None], ...]

    def __post_init__(self) -> None:
        _require(self, self.exprs(), self.input)

    def exprs(self) -> tuple[Expr, ...]:
        return tuple(e for _, call, condition in self.calls for e in (call, condition) if e is not None)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([*self.input.schema, *(pa.field(key, call.type) for key, call, _ in self.calls)])


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


@dataclass(frozen=True)
class Write(_Unary):
    """COPY ... TO: writes the input (`names`: column names in the file) and gives one row, `count` of rows written."""

    names: tuple[str, ...]
    path: str
    format: str
    options: tuple[tuple[str, Any], ...]
    count_key: str

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(self.count_key, pa.int64())])


def map_exprs(plan: Plan, change: Any) -> Plan:
    """The node with `change` applied to each of its top-level expressions (not to its children's)."""

    def keys(items: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
        return tuple(replace(k, expr=change(k.expr)) for k in items)

    def named(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple((key, change(e)) for key, e in items)

    match plan:
        case Scan() if plan.filters:
            return replace(plan, filters=tuple(change(e) for e in plan.filters))
        case Values():
            return replace(plan, rows=tuple(tuple(change(e) for e in row) for row in plan.rows))
        case Filter():
            return replace(plan, predicate=change(plan.predicate))
        case Project() | Unnest():
            return replace(plan, columns=named(plan.columns))
        case Aggregate():
            return replace(plan, keys=named(plan.keys), aggregates=named(plan.aggregates))
        case Distinct():
            on = None if plan.on is None else tuple(change(e) for e in plan.on)
            return replace(plan, on=on, order_by=keys(plan.order_by))
        case Window():
            return replace(plan, calls=named(plan.calls))
        case Sort():
            return replace(plan, keys=keys(plan.keys))
        case Join() | DependentJoin():
            return replace(plan, condition=change(plan.condition))
        case _:
            return plan


def table_call(plan: Unnest) -> LiftedCall | None:
    """The call of a user's generator that an UNNEST stands for: the type of such a call is the list of what it yields,
    which is never made as a whole."""
    first = plan.columns[0][1]
    return first if isinstance(first, LiftedCall) else None


def is_constant(expr: Expr) -> bool:
    return isinstance(expr, Literal)
