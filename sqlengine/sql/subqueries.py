"""Subqueries in expressions become joins onto the input of the node that holds them.

A conjunct of a filter that is EXISTS, IN or their negation becomes a semi or anti join. Anywhere else a subquery
becomes a column: of a left or single join (scalar), or of a mark join (EXISTS, IN). Comparisons with ANY and ALL are
decided by the smallest and largest value, the number of rows and the number of NULLs of the subquery.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from sqlengine.errors import NotSupportedError
from sqlengine.expr.nodes import (
    FALSE,
    TRUE,
    AggregateCall,
    Call,
    Case,
    ColumnRef,
    Expr,
    KeyMaker,
    Literal,
    Subquery,
    and_all,
    columns_of,
    conjuncts,
    null_of,
)
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import outer_refs, restrict, walk_exprs, with_fresh_keys
from sqlengine.plan.nodes import DependentJoin, Plan, map_exprs
from sqlengine.sql.dependent_join import unnest
from sqlengine.tree import walk

_BOOL = pa.bool_()
_NEGATED = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


def subqueries_to_joins(node: Plan, maker: KeyMaker) -> Plan:
    """The node without `Subquery` expressions. Its inputs, and the plans of its subqueries, have none any more."""
    if not any(isinstance(e, Subquery) for e in walk_exprs(node)):
        return node
    match node:
        case plans.Filter():
            return _filter(node, maker)
        case plans.Join():
            return _join(node, maker)
        case plans.Values():
            return _values(node, maker)
        case plans.Project() | plans.Aggregate() | plans.Sort() | plans.Window() | plans.Distinct() | plans.Unnest():
            attach = Attach(node.input, maker)
            exprs = {id(e): attach.rewrite(e) for e in node.exprs()}
            wide = attach.plan
            # First the wider input, whose columns the new expressions read.
            changed = map_exprs(node.with_children((wide,)), lambda e: exprs[id(e)])
            return (
                changed if isinstance(node, plans.Project | plans.Aggregate) else restrict(changed, node.schema.names)
            )
        case _:
            raise NotSupportedError(f"a subquery in {type(node).__name__} is not supported")


class Attach:
    """A growing plan: subqueries are joined onto it and leave a column behind; equal subqueries are joined once."""

    def __init__(self, plan: Plan, maker: KeyMaker) -> None:
        self.plan = plan
        self.maker = maker
        self._done: list[tuple[Subquery, Expr]] = []

    def rewrite(self, expr: Expr) -> Expr:
        """The expression with every subquery replaced."""
        children = expr.children()
        new = tuple(self.rewrite(child) for child in children)
        if any(a is not b for a, b in zip(new, children, strict=True)):
            expr = expr.with_children(new)
        if not isinstance(expr, Subquery):
            return expr
        for known, value in self._done:
            if known.plan is expr.plan and known == expr:
                return value
        value = self._value(expr)
        self._done.append((expr, value))
        return value

    def _value(self, sub: Subquery) -> Expr:
        match sub.kind:
            case "scalar":
                columns = self.join_scalar(sub.plan)
                return columns[0]
            case "exists":
                return self._exists(sub)
            case "in":
                return self._in(sub)
            case "any" if sub.comparison == "eq":
                return self._in(sub)
            case "all" if sub.comparison == "ne":
                return Call(_BOOL, "not", (self._in(sub),))
            case "any" | "all":
                return self._quantified(sub)
            case _:
                raise NotSupportedError(f"a subquery of kind {sub.kind} is not supported")

    def _own(self, plan: Plan) -> Plan:
        """The subquery's plan, with new keys if it was joined onto this plan before."""
        if set(plan.schema.names) & set(self.plan.schema.names):
            return with_fresh_keys(plan, self.maker)[0]
        return plan

    def join_scalar(self, plan: Plan) -> list[Expr]:
        """Join the one row of a scalar subquery; its columns."""
        plan = self._own(plan)
        correlated = outer_refs(plan).keys() & set(self.plan.schema.names)
        if correlated:
            kind = "left" if at_most_one_row(plan) else "single"
        else:
            kind = "cross"
            if not exactly_one_row(plan):
                plan = plans.OneRowOnly(plan)
        self.plan = unnest(DependentJoin(self.plan, plan, kind), self.maker)
        return [ColumnRef(f.type, f.name) for f in plan.schema]

    def _exists(self, sub: Subquery) -> Expr:
        plan = _rows_only(self._own(sub.plan))
        if exactly_one_row(plan):
            return TRUE
        if not outer_refs(plan).keys() & set(self.plan.schema.names):
            count = self.maker.make("count")
            call = AggregateCall(pa.int64(), "count_star", ())
            (number,) = self.join_scalar(plans.Aggregate(plans.Limit(plan, 1), (), ((count, call),)))
            return Call(_BOOL, "gt", (number, Literal(pa.int64(), 0)))
        mark = self.maker.make("exists")
        self.plan = unnest(DependentJoin(self.plan, plan, "mark", mark=mark), self.maker)
        return ColumnRef(_BOOL, mark)

    def _in(self, sub: Subquery) -> Expr:
        plan, condition = _compared(sub, self._own(sub.plan))
        mark = self.maker.make("in")
        join = DependentJoin(self.plan, plan, "mark", condition, mark, null_aware=True)
        self.plan = unnest(join, self.maker)
        return ColumnRef(_BOOL, mark)

    def _quantified(self, sub: Subquery) -> Expr:
        """`x > ANY`: true if x is greater than the smallest, else NULL if x or any value is NULL, else false. Of no
        rows ANY is false and ALL true."""
        if len(sub.args) != 1:
            raise NotSupportedError(f"{sub.kind.upper()} with rows of several values is not supported")
        if sub.kind == "any" and sub.comparison == "ne":
            return Call(_BOOL, "not", (self._value(replace(sub, kind="all", comparison="eq")),))
        plan, _ = _compared(sub, self._own(sub.plan))
        x, field = _arguments(sub, plan)[0]
        low, high, rows, known = (self.maker.make(n) for n in ("min", "max", "count", "count"))
        calls = (
            (low, AggregateCall(field.type, "min", (field,))),
            (high, AggregateCall(field.type, "max", (field,))),
            (rows, AggregateCall(pa.int64(), "count_star", ())),
            (known, AggregateCall(pa.int64(), "count", (field,))),
        )
        smallest, largest, count, not_null = self.join_scalar(plans.Aggregate(plan, (), calls))
        is_any = sub.kind == "any"
        if sub.comparison == "eq":  # ALL
            tests: list[Expr] = [Call(_BOOL, "eq", (x, smallest)), Call(_BOOL, "eq", (x, largest))]
        else:
            greater = sub.comparison in ("gt", "ge")
            tests = [Call(_BOOL, sub.comparison, (x, smallest if greater == is_any else largest))]
        decided: Expr = and_all(tests) if is_any else Call(_BOOL, "not", (and_all(tests),))
        has_null = Call(_BOOL, "gt", (count, not_null))
        unknown = Call(_BOOL, "or", (Call(_BOOL, "is_null", (x,)), has_null))
        none = Call(_BOOL, "eq", (count, Literal(pa.int64(), 0)))
        end, found = (FALSE, TRUE) if is_any else (TRUE, FALSE)
        return Case(_BOOL, ((none, end), (decided, found), (unknown, null_of(_BOOL))), end)


def _arguments(sub: Subquery, plan: Plan) -> list[tuple[Expr, Expr]]:
    """The compared pairs, brought to a common type."""
    from sqlengine.expr.coercion import cast_to, common_type

    pairs: list[tuple[Expr, Expr]] = []
    for arg, field in zip(sub.args, plan.schema, strict=True):
        value: Expr = ColumnRef(field.type, field.name)
        if arg.type != field.type:
            wanted = common_type(arg.type, field.type)
            if wanted is None:
                raise NotSupportedError(
                    f"comparison of {arg.type} with {field.type} in a subquery", location=sub.location
                )
            arg, value = cast_to(arg, wanted), cast_to(value, wanted)
        pairs.append((arg, value))
    return pairs


def _compared(sub: Subquery, plan: Plan) -> tuple[Plan, Expr]:
    return plan, and_all([Call(_BOOL, "eq", pair) for pair in _arguments(sub, plan)])


def _rows_only(plan: Plan) -> Plan:
    """What of a plan decides whether it has rows."""
    while isinstance(plan, plans.Project | plans.Distinct) or (isinstance(plan, plans.Sort) and plan.limit is None):
        plan = plan.input
    if isinstance(plan, plans.Aggregate) and plan.keys and plan.sets is None:
        return _rows_only(plan.input)
    if isinstance(plan, plans.Limit) and plan.offset == 0 and plan.percent is None and plan.count:
        return _rows_only(plan.input)
    return plan


def exactly_one_row(plan: Plan) -> bool:
    match plan:
        case plans.Aggregate():
            return not plan.keys and plan.sets is None
        case plans.Project() | plans.Sort(limit=None) | plans.Window():
            return exactly_one_row(plan.input)
        case plans.Values():
            return len(plan.rows) == 1
        case plans.OneRowOnly():
            return True
        case plans.Join(kind="cross"):
            return exactly_one_row(plan.left) and exactly_one_row(plan.right)
        case plans.SharedPlan():
            return exactly_one_row(plan.body)
        case _:
            return False


def at_most_one_row(plan: Plan) -> bool:
    match plan:
        case plans.Limit():
            return plan.percent is None and plan.count in (0, 1)
        case plans.Sort() if plan.limit in (0, 1):
            return True
        case plans.Project() | plans.Filter() | plans.Sort() | plans.Distinct():
            return at_most_one_row(plan.input)
        case _:
            return exactly_one_row(plan)


def _filter(node: plans.Filter, maker: KeyMaker) -> Plan:
    parts = conjuncts(node.predicate)
    plain = [p for p in parts if not _has_subquery(p)]
    base: Plan = plans.Filter(node.input, and_all(plain)) if plain else node.input
    later: list[Expr] = []
    for part in parts:
        if not _has_subquery(part):
            continue
        direct = _direct(part, base, maker)
        if direct is None:
            later.append(part)
        else:
            base = direct
    if later:
        attach = Attach(base, maker)
        tests = [attach.rewrite(part) for part in later]
        base = plans.Filter(attach.plan, and_all(tests))
    return restrict(base, node.schema.names)


def _direct(part: Expr, base: Plan, maker: KeyMaker) -> Plan | None:
    """A conjunct that is itself a (negated) EXISTS or IN, as a semi or anti join onto `base`."""
    negated = False
    while isinstance(part, Call) and part.name == "not":
        negated, part = not negated, part.args[0]
    if not isinstance(part, Subquery):
        return None
    if part.kind == "all" and part.comparison == "ne":
        part, negated = replace(part, kind="in"), not negated
    if part.kind == "any" and part.comparison == "eq":
        part = replace(part, kind="in")
    attach = Attach(base, maker)
    part = replace(part, args=tuple(attach.rewrite(a) for a in part.args))
    plan = attach._own(part.plan)
    kind = "anti" if negated else "semi"
    if part.kind == "in":
        plan, condition = _compared(part, plan)
        join = DependentJoin(attach.plan, plan, kind, condition, null_aware=negated)
        return restrict(unnest(join, maker), base.schema.names)
    if part.kind != "exists":
        return None
    plan = _rows_only(plan)
    if exactly_one_row(plan) or not outer_refs(plan).keys() & set(base.schema.names):
        return None
    return unnest(DependentJoin(base, plan, kind), maker)


def _has_subquery(expr: Expr) -> bool:
    return any(isinstance(e, Subquery) for e in walk(expr))


def _join(node: plans.Join, maker: KeyMaker) -> Plan:
    parts = conjuncts(node.condition)
    plain = [p for p in parts if not _has_subquery(p)]
    hard = [p for p in parts if _has_subquery(p)]
    if node.kind in ("inner", "cross"):
        joined = replace(node, kind="inner" if plain else "cross", condition=and_all(plain))
        return subqueries_to_joins(plans.Filter(joined, and_all(hard)), maker)
    left, right = Attach(node.left, maker), Attach(node.right, maker)
    of_left, of_right = set(node.left.schema.names), set(node.right.schema.names)
    tests: list[Expr] = []
    for part in hard:
        reads = _reads(part)
        if not reads & of_right:
            tests.append(left.rewrite(part))
        elif not reads & of_left:
            tests.append(right.rewrite(part))
        else:
            raise NotSupportedError(
                f"a subquery over both sides in the condition of a {node.kind.upper()} join is not supported"
            )
    changed = replace(node, left=left.plan, right=right.plan, condition=and_all([*plain, *tests]))
    return restrict(changed, node.schema.names)


def _reads(expr: Expr) -> frozenset[str]:
    found = columns_of(expr)
    for node in walk(expr):
        if isinstance(node, Subquery):
            found |= outer_refs(node.plan).keys()
    return found


def _values(node: plans.Values, maker: KeyMaker) -> Plan:
    rows: list[Plan] = []
    for row in node.rows:
        keys = node.schema.names if len(node.rows) == 1 else [maker.make("value") for _ in row]
        named = tuple(zip(keys, row, strict=True))
        rows.append(subqueries_to_joins(plans.Project(plans.ONE_ROW, named), maker))
    return rows[0] if len(rows) == 1 else plans.Union(tuple(rows), tuple(node.schema.names))
