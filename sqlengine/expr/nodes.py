"""The one expression family, used by logical plans and physical operators alike.

Every node is frozen, hashable and carries its Arrow type. Columns are referred to by *key*: a name that is unique in
the whole statement (`l_orderkey#12`), given out once by the binder, so that a rule can move an expression anywhere in
the plan without renumbering. The part before `#` is what people see. A record batch inside the engine has the keys as
its column names.

Subquery nodes, `OuterRef`, `AggregateCall` and `WindowCall` are placeholders of the binder: the first two are gone
after decorrelation, the last two stand only inside `Aggregate` and `Window` plan nodes.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.errors import Location

if TYPE_CHECKING:
    # `Plan` appears only as an opaque payload of subquery nodes; expr/ never looks inside.
    Plan = Any


class KeyMaker:
    """Gives out unique column keys; one per statement, so that plans print the same each time."""

    def __init__(self, first: int = 1) -> None:
        self._numbers = itertools.count(first)

    def make(self, name: str) -> str:
        return f"{name}#{next(self._numbers)}"


def display_name(key: str) -> str:
    """The visible part of a column key: `display_name("a#3") == "a"`."""
    return key.rpartition("#")[0] or key


@dataclass(frozen=True)
class Expr:
    """Base of all expressions. `type` is the Arrow type of the value for one row."""

    type: pa.DataType

    def children(self) -> tuple[Expr, ...]:
        return ()

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        assert not children
        return self


@dataclass(frozen=True)
class Literal(Expr):
    """A constant. `value` is a Python value of the kind `pa.scalar(value, type)` takes; None is NULL."""

    value: Any

    def __hash__(self) -> int:
        return hash((self.type, repr(self.value)))

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are equal in Python and NaN is not; a literal is its type and its spelling.
        return isinstance(other, Literal) and self.type == other.type and repr(self.value) == repr(other.value)


@dataclass(frozen=True)
class ColumnRef(Expr):
    """A column of the input, by its unique key."""

    key: str


@dataclass(frozen=True)
class OuterRef(Expr):
    """A column of an enclosing query, `depth` query levels up (1 is the nearest). Gone after decorrelation."""

    key: str
    depth: int = 1


@dataclass(frozen=True)
class Call(Expr):
    """A scalar function or operator of the registry, by canonical name (`add`, `eq`, `and`, `upper`, ...).

    Arguments already have the types the function wants: the binder inserted the casts. `options` are constant named
    arguments. `location` is where the SQL text names it (not part of equality), for run-time errors.
    """

    name: str
    args: tuple[Expr, ...]
    options: tuple[tuple[str, Any], ...] = ()
    location: Location | None = field(default=None, compare=False, repr=False)

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)


@dataclass(frozen=True)
class Cast(Expr):
    """CAST (an error when a value does not fit) or, with `safe`, TRY_CAST (NULL instead)."""

    arg: Expr
    safe: bool = False
    location: Location | None = field(default=None, compare=False, repr=False)

    def children(self) -> tuple[Expr, ...]:
        return (self.arg,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, arg=children[0])


@dataclass(frozen=True)
class LiftedCall(Expr):
    """A call that is an operator of its own, not part of a projection: a user function (`function` is its
    `UserFunction`) or a download. The rule `lift_calls` takes it out of the expression it stands in.

    `options` override those of the function. `serial` keeps calls apart that may differ though their arguments do not.
    """

    name: str
    args: tuple[Expr, ...]
    function: Any
    options: tuple[tuple[str, Any], ...] = ()
    serial: int = 0
    location: Location | None = field(default=None, compare=False, repr=False)

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)


@dataclass(frozen=True)
class Case(Expr):
    """CASE WHEN c THEN v ... ELSE o END. A branch is evaluated only for the rows that reach it."""

    whens: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr

    def children(self) -> tuple[Expr, ...]:
        return (*itertools.chain.from_iterable(self.whens), self.otherwise)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        pairs = tuple(zip(children[0:-1:2], children[1:-1:2], strict=True))
        return replace(self, whens=pairs, otherwise=children[-1])


@dataclass(frozen=True)
class Lambda(Expr):
    """`lambda x, i: body` as an argument of a list function; `params` are the keys that the body refers to."""

    params: tuple[tuple[str, pa.DataType], ...]
    body: Expr

    def children(self) -> tuple[Expr, ...]:
        return (self.body,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, body=children[0])


@dataclass(frozen=True)
class SortKey:
    """One item of ORDER BY. Not an Expr: it has no value of its own."""

    expr: Expr
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True)
class AggregateCall(Expr):
    """An aggregate function with its modifiers; stands only in `Aggregate` (and as `WindowCall.call`)."""

    name: str
    args: tuple[Expr, ...]
    distinct: bool = False
    filter: Expr | None = None
    order_by: tuple[SortKey, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def children(self) -> tuple[Expr, ...]:
        tail = (self.filter,) if self.filter is not None else ()
        return (*self.args, *tail, *(k.expr for k in self.order_by))

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        n = len(self.args)
        rest = children[n:]
        condition = None
        if self.filter is not None:
            condition, rest = rest[0], rest[1:]
        keys = tuple(replace(k, expr=e) for k, e in zip(self.order_by, rest, strict=True))
        return replace(self, args=children[:n], filter=condition, order_by=keys)


@dataclass(frozen=True)
class Frame:
    """A window frame. Bounds: ("unbounded_preceding",), ("preceding", Expr), ("current",), ("following", Expr),
    ("unbounded_following",). `unit` is rows, range or groups; `exclude` is no_others, current_row, group or ties."""

    unit: str = "range"
    start: tuple[Any, ...] = ("unbounded_preceding",)
    end: tuple[Any, ...] = ("current",)
    exclude: str = "no_others"


@dataclass(frozen=True)
class WindowCall(Expr):
    """A function over a window: a ranking/navigation function by name, or an aggregate (`aggregate` is then true)."""

    name: str
    args: tuple[Expr, ...]
    partition_by: tuple[Expr, ...] = ()
    order_by: tuple[SortKey, ...] = ()
    frame: Frame = Frame()
    aggregate: bool = False
    distinct: bool = False
    filter: Expr | None = None
    ignore_nulls: bool = False
    arg_order: tuple[SortKey, ...] = ()  # ORDER BY inside the call: first_value(x ORDER BY y)
    options: tuple[tuple[str, Any], ...] = ()

    def children(self) -> tuple[Expr, ...]:
        bounds = tuple(b[1] for b in (self.frame.start, self.frame.end) if len(b) > 1)
        tail = (self.filter,) if self.filter is not None else ()
        orders = (*(k.expr for k in self.order_by), *(k.expr for k in self.arg_order))
        return (*self.args, *self.partition_by, *orders, *bounds, *tail)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        items = iter(children)
        take = items.__next__
        args = tuple(take() for _ in self.args)
        partition_by = tuple(take() for _ in self.partition_by)
        order_by = tuple(replace(k, expr=take()) for k in self.order_by)
        arg_order = tuple(replace(k, expr=take()) for k in self.arg_order)
        start = (self.frame.start[0], take()) if len(self.frame.start) > 1 else self.frame.start
        end = (self.frame.end[0], take()) if len(self.frame.end) > 1 else self.frame.end
        condition = take() if self.filter is not None else None
        frame = replace(self.frame, start=start, end=end)
        return replace(
            self,
            args=args,
            partition_by=partition_by,
            order_by=order_by,
            arg_order=arg_order,
            frame=frame,
            filter=condition,
        )


@dataclass(frozen=True)
class Subquery(Expr):
    """A subquery inside an expression, before decorrelation.

    `kind`: `scalar` (one value, an error when more than one row), `exists`, `in` (`args` IN plan), `any` / `all`
    (`args[0]` `comparison` ANY plan). NOT is a `not` call around it. `plan` may hold `OuterRef`s.
    """

    kind: str
    plan: Plan
    args: tuple[Expr, ...] = ()
    comparison: str = "eq"
    location: Location | None = field(default=None, compare=False, repr=False)

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)


TRUE = Literal(pa.bool_(), True)
FALSE = Literal(pa.bool_(), False)


def null_of(type_: pa.DataType) -> Literal:
    return Literal(type_, None)


def literal(value: Any) -> Literal:
    """A literal with the type SQL gives a Python value (int -> int32 or int64, str -> string, ...)."""
    match value:
        case None:
            return Literal(pa.null(), None)
        case bool():
            return Literal(pa.bool_(), value)
        case int():
            if -(2**31) <= value < 2**31:
                return Literal(pa.int32(), value)
            if -(2**63) <= value < 2**63:
                return Literal(pa.int64(), value)
            return Literal(pa.decimal128(38, 0), decimal.Decimal(value))
        case float():
            return Literal(pa.float64(), value)
        case str():
            return Literal(pa.string(), value)
        case bytes():
            return Literal(pa.binary(), value)
        case decimal.Decimal():
            exponent = -int(value.as_tuple().exponent)
            digits = max(len(value.as_tuple().digits), exponent, 1)
            return Literal(pa.decimal128(min(38, digits), max(0, exponent)), value)
        case datetime.datetime():
            return Literal(pa.timestamp("us", "UTC" if value.tzinfo else None), value)
        case datetime.date():
            return Literal(pa.date32(), value)
        case datetime.time():
            return Literal(pa.time64("us"), value)
        case _:
            scalar = pa.scalar(value)
            return Literal(scalar.type, value)


def and_all(parts: tuple[Expr, ...] | list[Expr]) -> Expr:
    """The conjunction of the parts; TRUE for none."""
    parts = [p for p in parts if p != TRUE]
    return in_pairs(parts, lambda a, b: Call(pa.bool_(), "and", (a, b))) if parts else TRUE


def in_pairs(parts: list[Expr], join: Callable[[Expr, Expr], Expr]) -> Expr:
    """What an associative operator makes of the parts, in their order and as flat as can be: long chains must not make
    deep trees."""
    while len(parts) > 1:
        pairs = [join(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs if len(parts) % 2 == 0 else [*pairs, parts[-1]]
    return parts[0]


def conjuncts(expr: Expr) -> list[Expr]:
    """The parts of a conjunction, flattened; [] for TRUE."""
    if isinstance(expr, Call) and expr.name == "and":
        return [part for arg in expr.args for part in conjuncts(arg)]
    return [] if expr == TRUE else [expr]


def columns_of(expr: Expr) -> frozenset[str]:
    """The keys of all columns that the expression reads (lambda parameters excepted). Computed once per node and kept
    beside its fields, where equality does not see it."""
    found: frozenset[str] | None = expr.__dict__.get("_columns")
    if found is None:
        found = _NO_COLUMNS.union(*[columns_of(child) for child in expr.children()])
        if isinstance(expr, ColumnRef):
            found = frozenset((expr.key,))
        elif isinstance(expr, Lambda):
            found -= {name for name, _ in expr.params}
        expr.__dict__["_columns"] = found
    return found


_NO_COLUMNS: frozenset[str] = frozenset()
