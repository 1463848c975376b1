"""Calls of user functions and downloads become nodes of their own, out of the expressions they stand in.

They then have batches, memory and concurrency of their own. Each is made once for a row, however often it is written,
and only for the rows that need it: conditions without calls are tested first, a branch of CASE (or the right side of
AND, OR, COALESCE) hands its condition on to the calls inside. Not optional: without it such a plan cannot run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from sqlengine.errors import NotSupportedError
from sqlengine.expr.nodes import (
    TRUE,
    Call,
    Case,
    ColumnRef,
    Expr,
    KeyMaker,
    Lambda,
    LiftedCall,
    and_all,
    columns_of,
    conjuncts,
)
from sqlengine.functions.images import fused
from sqlengine.optimizer.traits import cost, has_lifted, reads_only
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import key_maker, restrict, walk_all, walk_exprs
from sqlengine.plan.nodes import Plan, map_exprs, table_call
from sqlengine.settings import Settings
from sqlengine.tree import transform_up, walk

Made = Mapping[Any, str]  # calls that a plan has computed for every row, with the keys of their columns


def lift_calls(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import table, x
    >>> f = LiftedCall(pa.int64(), "f", (x,), None)
    >>> lifted = lift_calls(plans.Project(table("t", x), (("a#9", f), ("b#10", f))), Settings())
    >>> type(lifted.input).__name__, len(lifted.input.calls)
    ('Extend', 1)
    """
    if not any(isinstance(e, LiftedCall) for node in walk_all(plan) for e in walk_exprs(node)):
        return plan
    lifted, _ = _Lifting(key_maker(plan)).plan(plan)
    return restrict(lifted, plan.schema.names)


class _Lifting:
    def __init__(self, keys: KeyMaker) -> None:
        self._keys = keys

    def plan(self, plan: Plan) -> tuple[Plan, Made]:
        """The plan with its calls lifted; it may have more columns than before."""
        old = plan.children()
        results = [self.plan(child) for child in old]
        children = [child for child, _ in results]
        match plan:
            case plans.Filter():
                return self._filter(plan, *results[0])
            case plans.Unnest() if (call := table_call(plan)) is not None:
                # The generator stays; what is called for its arguments is lifted.
                new, args, made = self._extend(results[0][0], list(call.args), results[0][1])
                columns = ((plan.columns[0][0], replace(call, args=tuple(args))),)
                return replace(plan, input=new, columns=columns), made
            case plans.Project() | plans.Aggregate() | plans.Sort() | plans.Window() | plans.Unnest():
                return self._unary(plan, *results[0])
            case plans.Limit() | plans.Sample():
                return plan.with_children(tuple(children)), results[0][1]
            case plans.Join() if has_lifted(plan.condition):
                return self._join(plan, results)
            case plans.Join():
                return plan.with_children(tuple(children)), {}
            case plans.Values() if any(map(has_lifted, plan.exprs())):
                return self._values(plan), {}
        if not old:
            return plan, {}
        # Elsewhere (set operations, DISTINCT, COPY) the columns themselves are the meaning.
        trimmed = tuple(restrict(new, before.schema.names) for new, before in zip(children, old, strict=True))
        return plan.with_children(trimmed), {}

    def _extend(self, plan: Plan, exprs: list[Expr], made: Made) -> tuple[Plan, list[Expr], Made]:
        """Nodes for the calls in the expressions, innermost first, and the expressions with columns instead."""
        while True:
            exprs = _fuse([_with_columns(e, made) for e in exprs])
            found: dict[LiftedCall, Expr | None] = {}
            for expr in exprs:
                _collect(expr, TRUE, found)
            if not found:
                return plan, exprs, made
            calls = tuple((self._keys.make(call.name), call, guard) for call, guard in found.items())
            plan = plans.Extend(plan, calls)
            known = {call: key for key, call, _ in calls}
            exprs = [_with_columns(e, known) for e in exprs]
            made = {**made, **{call: key for key, call, guard in calls if guard is None}}

    def _unary(self, plan: Plan, child: Plan, made: Made) -> tuple[Plan, Made]:
        exprs: list[Expr] = []
        map_exprs(plan, lambda e: exprs.append(e) or e)  # type: ignore[func-returns-value]
        new, changed, known = self._extend(child, exprs, made)
        items = iter(changed)
        # While expressions change the node must see both the old columns and the new ones: the child has them all.
        plan = map_exprs(plan.with_children((new,)), lambda e: next(items))
        return plan, known if isinstance(plan, plans.Sort | plans.Window | plans.Unnest) else {}

    def _filter(self, plan: plans.Filter, child: Plan, made: Made) -> tuple[Plan, Made]:
        parts = conjuncts(plan.predicate)
        cheap = [p for p in parts if not has_lifted(p)]
        result: Plan = plans.Filter(child, and_all(cheap)) if cheap else child
        for part in sorted((p for p in parts if has_lifted(p)), key=cost):
            result, [condition], made = self._extend(result, [part], made)
            result = plans.Filter(result, condition)
        return result, made

    def _join(self, plan: plans.Join, results: list[tuple[Plan, Made]]) -> tuple[Plan, Made]:
        """Calls that read one side are computed there; what reads both is tested above an inner join."""
        sides = [child for child, _ in results]
        both: list[Expr] = []
        ready: list[Expr] = []
        for part in conjuncts(plan.condition):
            calls = [e for e in walk(part) if isinstance(e, LiftedCall)]
            for number, side in enumerate(sides):
                mine = [c for c in calls if columns_of(c) and reads_only(c, set(side.schema.names))]
                if mine:
                    sides[number], columns, _ = self._extend(side, list(mine), results[number][1])
                    swaps = {
                        call: column.key
                        for call, column in zip(mine, columns, strict=True)
                        if isinstance(column, ColumnRef)
                    }
                    part = _with_columns(part, swaps)
            (both if has_lifted(part) else ready).append(part)
        joined = replace(plan, left=sides[0], right=sides[1], condition=and_all(ready))
        if not both:
            return joined, {}
        if plan.kind not in ("inner", "cross"):
            raise NotSupportedError(
                f"a user function over both sides in the condition of a {plan.kind} join",
                hint="compute it in a subquery over one side, or use an inner join",
            )
        joined = replace(joined, kind="inner" if ready else "cross")
        return self._filter(plans.Filter(joined, and_all(both)), joined, {})

    def _values(self, plan: plans.Values) -> Plan:
        """Literal rows with calls: each row a projection of its own."""
        rows: list[Plan] = []
        for row in plan.rows:
            named = tuple((self._keys.make("v"), e) for e in row)
            rows.append(self.plan(plans.Project(plans.ONE_ROW, named))[0])
        if len(rows) == 1:
            only = rows[0]
            columns = tuple(
                (key, ColumnRef(t, name)) for (key, t), name in zip(plan.columns, only.schema.names, strict=True)
            )
            return plans.Project(only, columns)
        return plans.Union(tuple(rows), tuple(key for key, _ in plan.columns))


def _fuse(exprs: list[Expr]) -> list[Expr]:
    """Calls that are wanted by one other call only become one with it, where they can (image functions)."""
    while True:
        users: dict[LiftedCall, set[Expr | None]] = {}
        for expr in exprs:
            if isinstance(expr, LiftedCall):
                users.setdefault(expr, set()).add(None)
            for node in walk(expr):
                for child in node.children():
                    if isinstance(child, LiftedCall):
                        users.setdefault(child, set()).add(node)
        pairs = {
            outer: fused(outer)
            for inner, found in users.items()
            for outer in found
            if len(found) == 1 and isinstance(outer, LiftedCall) and outer.args[0] == inner
        }
        pairs = {outer: one for outer, one in pairs.items() if one is not outer}
        if not pairs:
            return exprs
        outer, one = next(iter(pairs.items()))
        exprs = [transform_up(e, lambda node: one if node == outer else node) for e in exprs]  # noqa: B023


def _with_columns(expr: Expr, made: Made) -> Expr:
    if not made or not has_lifted(expr):
        return expr
    return transform_up(expr, lambda e: ColumnRef(e.type, made[e]) if e in made else e)


def _collect(expr: Expr, guard: Expr, found: dict[LiftedCall, Expr | None]) -> None:
    """The calls whose arguments and condition hold no other call. A call wanted under several conditions is made where
    any of them is true; None is always."""
    if not has_lifted(expr):
        return
    match expr:
        case LiftedCall() if not any(map(has_lifted, expr.args)):
            if has_lifted(guard):
                return  # its condition is computed first
            if guard == TRUE or (expr in found and found[expr] is None):
                found[expr] = None
            elif expr in found:
                found[expr] = Call(pa.bool_(), "or", (found[expr], guard))  # type: ignore[arg-type]
            else:
                found[expr] = guard
        case Case():
            before: list[Expr] = [guard]
            for condition, value in expr.whens:
                _collect(condition, and_all(before), found)
                _collect(value, and_all([*before, _is("is_true", condition)]), found)
                before.append(_not(_is("is_true", condition)))
            _collect(expr.otherwise, and_all(before), found)
        case Call(name="and" | "or" | "coalesce"):
            before = [guard]
            for arg in expr.args:
                _collect(arg, and_all(before), found)
                match expr.name:
                    case "and":
                        before.append(_not(_is("is_false", arg)))
                    case "or":
                        before.append(_not(_is("is_true", arg)))
                    case _:
                        before.append(_is("is_null", arg))
        case Lambda():
            raise NotSupportedError(
                "a user function or a download inside a lambda", hint="UNNEST the list and call it for each row"
            )
        case _:
            for child in expr.children():
                _collect(child, guard, found)


def _is(name: str, arg: Expr) -> Expr:
    return Call(pa.bool_(), name, (arg,))


def _not(arg: Expr) -> Expr:
    return Call(pa.bool_(), "not", (arg,))
