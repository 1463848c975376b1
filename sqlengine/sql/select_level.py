"""One query level while its SELECT is bound: which calls its expressions may use, and the columns these calls give.

Expressions of a level are first bound as if they stood directly over FROM. Aggregates, window functions, GROUPING() and
UNNEST get a column each and are collected here, once for equal calls; where in the plan they are computed is decided
when all clauses are bound (`select_clauses`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.nodes import AggregateCall, ColumnRef, Expr, Literal, OuterRef, Subquery, WindowCall
from sqlengine.plan.keys import outer_refs
from sqlengine.sql.aggregate_calls import bind_aggregate_call
from sqlengine.sql.calls import take_apart
from sqlengine.sql.expressions import ExpressionBinder
from sqlengine.sql.scope import Scope
from sqlengine.sql.window_calls import bind_window_call
from sqlengine.tree import transform_up, walk
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder

AGGREGATES = frozenset({"aggregate", "grouping"})
ANY_CALL = frozenset({"aggregate", "grouping", "window", "unnest"})
NO_CALL: frozenset[str] = frozenset()
_Call = TypeVar("_Call", AggregateCall, WindowCall)


class SelectLevel:
    """Collects the calls of one SELECT. Keys of the columns lead from a bound expression back to its calls."""

    def __init__(self, binder: Binder, scope: Scope, windows: dict[str, exp.Window]) -> None:
        self.binder = binder
        self.scope = scope
        self.named_windows = windows
        self.aliases: dict[str, exp.Expression] = {}
        self.aggregates: dict[str, AggregateCall] = {}
        self.windows: dict[str, WindowCall] = {}
        self.groupings: dict[str, tuple[Expr, ...]] = {}
        self.unnests: dict[str, Expr] = {}
        self._bound: dict[int, Expr] = {}
        self._busy: list[int] = []

    def expressions(self, where: str, allowed: frozenset[str] = NO_CALL) -> ExpressionBinder:
        """A binder of expressions that may use these kinds of calls."""
        return ExpressionBinder(self.binder, self.scope, self.binder.text, where, level=self, allowed=allowed)

    def item(self, node: exp.Expression) -> Expr:
        """An item of the select list, bound once however often its alias is used."""
        known = self._bound.get(id(node))
        if known is None:
            self._busy.append(id(node))
            try:
                known = self.expressions("the select list", ANY_CALL).bind(node)
            finally:
                self._busy.pop()
            self._bound[id(node)] = known
        return known

    def alias(self, name: str, user: ExpressionBinder) -> Expr | None:
        """The item that an alias names, for an expression bound by `user`."""
        node = self.aliases.get(name.lower())
        if node is None:
            return None
        location = self.binder.text.of(node)
        if self._busy:
            # Inside the select list an alias is known from the next item on.
            places = {id(item): place for place, item in enumerate(self.aliases.values())}
            if id(node) in self._busy:
                return None
            if places[id(node)] > places.get(self._busy[-1], len(places)):
                raise BindError(
                    f'alias "{name}" is used before it is defined', code="alias_order",
                    hint="define it in an earlier item of the select list", location=location,
                )  # fmt: skip
        value = self.item(node)
        for kind in self.kinds(value):
            if kind not in user.allowed:
                raise user.misplaced(kind, f'alias "{name}", which has {_A[kind]},', location)
        return value

    def kinds(self, expr: Expr) -> Iterator[str]:
        """The kinds of calls in a bound expression."""
        for node in walk(expr):
            if isinstance(node, ColumnRef):
                if node.key in self.aggregates:
                    yield "aggregate"
                if node.key in self.groupings:
                    yield "grouping"
                if node.key in self.unnests:
                    yield "unnest"
                if node.key in self.windows:
                    yield "window"
            elif isinstance(node, Subquery) and outer_refs(node.plan).keys() & self.aggregates.keys():
                yield "aggregate"

    def call(self, kind: str, node: exp.Expression, name: str) -> Expr:
        """The column of a call; its place has been checked."""
        match kind:
            case "aggregate":
                call = bind_aggregate_call(self, take_apart(node, self.binder.text.of(node)), name)
                return self._of_outer_query(call, node, name) or self._column(self.aggregates, call, name)
            case "window":
                assert isinstance(node, exp.Window)
                window = bind_window_call(self, node)
                return self._column(self.windows, window, window.name)
            case "grouping":
                return self._grouping(node)
            case _:
                return self._unnest(node)

    def outer_aggregate(self, node: exp.Expression, name: str) -> Expr | None:
        """The value of an aggregate where none of this level may stand, if it is one of an enclosing query."""
        call = bind_aggregate_call(self, take_apart(node, self.binder.text.of(node)), name)
        return self._of_outer_query(call, node, name)

    def _of_outer_query(self, call: AggregateCall, node: exp.Expression, name: str) -> Expr | None:
        """The value of an aggregate whose columns are all of enclosing queries: it belongs to the nearest of them."""
        whole: Expr = call
        nodes = list(walk(whole))
        depths = [e.depth for e in nodes if isinstance(e, OuterRef)]
        if not depths or any(isinstance(e, ColumnRef | Subquery) for e in nodes):
            return None
        near, scope = min(depths), self.scope
        for _ in range(near):
            assert scope.parent is not None
            scope = scope.parent
        user = scope.user
        if user is None or user.level is None or "aggregate" not in user.allowed:
            where = "FROM" if user is None else user.where
            raise BindError(
                f"aggregate {name.lower()}() of columns of an enclosing query cannot stand in {where}",
                code="misplaced_aggregate", location=self.binder.text.of(node),
            )  # fmt: skip

        def moved(e: Expr) -> Expr:
            if not isinstance(e, OuterRef):
                return e
            return ColumnRef(e.type, e.key) if e.depth == near else OuterRef(e.type, e.key, e.depth - near)

        above = transform_up(whole, moved)
        assert isinstance(above, AggregateCall)
        return OuterRef(call.type, user.level._column(user.level.aggregates, above, name).key, near)

    def _column(self, known: dict[str, _Call], call: _Call, name: str) -> ColumnRef:
        for key, other in known.items():
            if other == call:
                return ColumnRef(call.type, key)
        key = self.binder.keys.make(name.lower())
        known[key] = call
        return ColumnRef(call.type, key)

    def _grouping(self, node: exp.Expression) -> Expr:
        plain = self.expressions("the argument of GROUPING")
        args = tuple(plain.bind(arg) for arg in node.expressions)
        if not args:
            raise BindError("GROUPING needs the keys to ask about", code="grouping", location=self.binder.text.of(node))
        for key, known in self.groupings.items():
            if known == args:
                return ColumnRef(pa.int64(), key)
        key = self.binder.keys.make("grouping")
        self.groupings[key] = args
        return ColumnRef(pa.int64(), key)

    def _unnest(self, node: exp.Expression) -> Expr:
        location = self.binder.text.of(node)
        options = [e for e in node.expressions if isinstance(e, exp.PropertyEQ | exp.EQ | exp.Kwarg)]
        if options or len(node.expressions) > (1 if isinstance(node, exp.Unnest) else 0):
            raise NotSupportedError("UNNEST takes one list; options are not supported", location=location)
        given = node.expressions[0] if isinstance(node, exp.Unnest) else node.this
        value = self.expressions("the argument of UNNEST", ANY_CALL - {"unnest"}).bind(given)
        value = unnestable(value, self.binder.text.of(node))
        for key, known in self.unnests.items():
            if known == value:  # side by side they are the same column
                return ColumnRef(value.type.value_type, key)
        key = self.binder.keys.make("unnest")
        self.unnests[key] = value
        return ColumnRef(value.type.value_type, key)


_A = {"aggregate": "an aggregate", "grouping": "GROUPING()", "window": "a window function", "unnest": "UNNEST"}


def unnestable(value: Expr, location: object) -> Expr:
    """The expression if it is a list; an untyped NULL is an empty one."""
    if pa.types.is_null(value.type):
        return Literal(pa.list_(pa.int32()), None)
    if not (
        pa.types.is_list(value.type) or pa.types.is_large_list(value.type) or pa.types.is_fixed_size_list(value.type)
    ):
        raise BindError(
            f"UNNEST takes a list, this is {sql_name(value.type)}", code="type_mismatch", location=location,  # type: ignore[arg-type]
        )  # fmt: skip
    return value
