"""The general way out of correlation: a dependent join is pushed down until no node refers to its left side.

After Neumann and Kemper, "Unnesting Arbitrary Queries" (BTW 2015). The *domain* is the set of distinct bindings of the
outer columns that the subquery reads. Pushing it into a plan gives a plan that yields, for every binding at once, the
rows that the subquery has for it, each with the binding as further columns. Leaves that do not depend on the outer
query are crossed with the domain as late as possible; nodes that look across rows do so per binding.

A held plan (`SharedPlan`, `Recursion`) that depends on the outer query carries the binding in further columns of its
own, and whoever reads it gets them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from sqlengine.errors import NotSupportedError
from sqlengine.expr.nodes import TRUE, Call, Case, ColumnRef, Expr, KeyMaker, Literal, and_all, display_name
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import expr_outer_refs, outer_refs, ref, refs, replace_outer
from sqlengine.plan.nodes import Plan
from sqlengine.sql.correlation import empty_value, limit_below_project, limit_per_group
from sqlengine.tree import walk

Binding = dict[str, str]  # key of an outer column -> key of the column that holds its value in a pushed plan


@dataclass(frozen=True)
class Domain:
    """The held plan of distinct bindings: its `name` and the outer columns (its keys are theirs)."""

    name: str
    columns: tuple[tuple[str, pa.DataType], ...]
    maker: KeyMaker
    held: Mapping[str, Binding] = field(default_factory=dict)  # plans held inside that carry the binding

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for key, _ in self.columns)

    def read(self) -> tuple[Plan, Binding]:
        binding = {key: self.maker.make(display_name(key)) for key, _ in self.columns}
        return plans.SharedRef(self.name, tuple((key, binding[key], t) for key, t in self.columns)), binding

    def reaches(self, plan: Plan) -> bool:
        """Whether the plan depends on the binding."""
        if outer_refs(plan).keys() & self.keys:
            return True
        return any(isinstance(node, plans.SharedRef) and node.name in self.held for node in walk(plan))

    def holding(self, name: str, binding: Binding) -> Domain:
        return replace(self, held={**self.held, name: binding})


def push_domain(plan: Plan, domain: Domain) -> tuple[Plan, Binding]:
    """The plan for all bindings at once, with the columns that hold the binding; no outer reference is left in it."""
    if not domain.reaches(plan):
        if plan == plans.ONE_ROW:
            return domain.read()
        bindings, binding = domain.read()
        return plans.Join(bindings, plan, "cross"), binding
    plan = limit_below_project(plan)
    match plan:
        case plans.Filter():
            below, binding = push_domain(plan.input, domain)
            return plans.Filter(below, _bound(plan.predicate, binding, domain)), binding
        case plans.Project():
            below, binding = push_domain(plan.input, domain)
            columns = tuple((key, _bound(e, binding, domain)) for key, e in plan.columns)
            return plans.Project(below, (*columns, *refs(below, binding.values()))), binding
        case plans.Values():
            return _values(plan, domain)
        case plans.Aggregate():
            return _aggregate(plan, domain)
        case plans.Distinct():
            below, binding = push_domain(plan.input, domain)
            if plan.on is None:
                return plans.Distinct(_with_binding(below, plan.schema.names, binding)), binding
            on = tuple(_bound(e, binding, domain) for e in plan.on)
            order = tuple(replace(k, expr=_bound(k.expr, binding, domain)) for k in plan.order_by)
            return plans.Distinct(below, (*on, *_values_of(below, binding)), order), binding
        case plans.Window():
            below, binding = push_domain(plan.input, domain)
            parts = _values_of(below, binding)
            calls = []
            for key, call in plan.calls:
                bound = _bound(call, binding, domain)
                assert isinstance(bound, type(call))
                calls.append((key, replace(bound, partition_by=(*bound.partition_by, *parts))))
            return plans.Window(below, tuple(calls)), binding
        case plans.Sort():
            below, binding = push_domain(plan.input, domain)
            keys = tuple(replace(k, expr=_bound(k.expr, binding, domain)) for k in plan.keys)
            if plan.limit is None:
                return plans.Sort(below, keys), binding
            limited = limit_per_group(
                replace(plan, input=below, keys=keys), below, _values_of(below, binding), domain.maker
            )
            return limited, binding
        case plans.Limit():
            if plan.percent is not None:
                raise NotSupportedError("LIMIT with a percentage in a correlated subquery is not supported")
            below, binding = push_domain(plan.input, domain)
            return limit_per_group(plan, below, _values_of(below, binding), domain.maker), binding
        case plans.Sample():
            if plan.rows is not None:
                raise NotSupportedError("a sample of a fixed number of rows in a correlated subquery is not supported")
            below, binding = push_domain(plan.input, domain)
            return replace(plan, input=below), binding
        case plans.Unnest():
            below, binding = push_domain(plan.input, domain)
            columns = tuple((key, _bound(e, binding, domain)) for key, e in plan.columns)
            return replace(plan, input=below, columns=columns), binding
        case plans.OneRowOnly():
            below, binding = push_domain(plan.input, domain)
            return _fill(below, binding, domain, {}, plan.schema.names, "single")
        case plans.Join():
            return _join(plan, domain)
        case plans.Union():
            inputs = [_side(child, domain) for child in plan.inputs]
            binding = {key: domain.maker.make(display_name(key)) for key in inputs[0][1]}
            return replace(plan, inputs=tuple(p for p, _ in inputs), keys=(*plan.keys, *binding.values())), binding
        case plans.SetOperation():
            (left, old), (right, _) = _side(plan.left, domain), _side(plan.right, domain)
            binding = {key: domain.maker.make(display_name(key)) for key in old}
            return replace(plan, left=left, right=right, keys=(*plan.keys, *binding.values())), binding
        case plans.SharedPlan():
            return _shared_plan(plan, domain)
        case plans.SharedRef():
            inner = domain.held[plan.name]
            binding = {key: domain.maker.make(display_name(key)) for key, _ in domain.columns}
            extra = tuple((inner[key], binding[key], t) for key, t in domain.columns)
            return replace(plan, columns=(*plan.columns, *extra)), binding
        case plans.Recursion():
            return _recursion(plan, domain)
        case _:
            raise NotSupportedError(f"a correlated subquery through {type(plan).__name__} is not supported")


def same_binding(left: Mapping[str, Expr], right: Mapping[str, Expr]) -> Expr:
    """The condition that two bindings are the same one (NULLs are equal)."""
    return and_all([Call(pa.bool_(), "is_not_distinct", (left[key], right[key])) for key in left])


def _bound(expr: Expr, binding: Binding, domain: Domain) -> Expr:
    if not expr_outer_refs(expr):
        return expr
    return replace_outer(expr, {key: ColumnRef(t, binding[key]) for key, t in domain.columns})


def _values_of(plan: Plan, binding: Binding) -> tuple[Expr, ...]:
    return tuple(ref(plan, key) for key in binding.values())


def _by_key(plan: Plan, binding: Binding) -> dict[str, Expr]:
    return {key: ref(plan, name) for key, name in binding.items()}


def _with_binding(plan: Plan, names: list[str], binding: Binding) -> Plan:
    return plans.Project(plan, (*refs(plan, names), *refs(plan, binding.values())))


def _side(plan: Plan, domain: Domain) -> tuple[Plan, Binding]:
    """The pushed plan with its own columns first and the binding last, in the order of the domain."""
    below, binding = push_domain(plan, domain)
    ordered = {key: binding[key] for key, _ in domain.columns}
    return _with_binding(below, plan.schema.names, ordered), ordered


def _values(plan: plans.Values, domain: Domain) -> tuple[Plan, Binding]:
    rows: list[Plan] = []
    binding: Binding = {}
    for row in plan.rows:
        below, binding = domain.read()
        named = tuple((key, _bound(e, binding, domain)) for (key, _), e in zip(plan.columns, row, strict=True))
        rows.append(plans.Project(below, (*named, *refs(below, binding.values()))))
    if len(rows) == 1:
        return rows[0], binding
    binding = {key: domain.maker.make(display_name(key)) for key in binding}
    return plans.Union(tuple(rows), (*plan.schema.names, *binding.values())), binding


def _aggregate(plan: plans.Aggregate, domain: Domain) -> tuple[Plan, Binding]:
    below, binding = push_domain(plan.input, domain)
    first = refs(below, binding.values())
    n = len(first)
    sets = plan.sets
    empty = 0 if sets is None else sum(not chosen for chosen in sets)
    if empty > 1:
        raise NotSupportedError("several empty grouping sets in a correlated subquery are not supported")
    if sets is not None:
        # The binding comes first, in every set: its bits of the grouping id are the highest, and 0.
        sets = tuple((*range(n), *(i + n for i in chosen)) for chosen in sets)
    keys = tuple((key, _bound(e, binding, domain)) for key, e in plan.keys)
    calls = []
    for key, call in plan.aggregates:
        bound = _bound(call, binding, domain)
        assert isinstance(bound, type(call))
        calls.append((key, bound))
    grouped = plans.Aggregate(below, (*first, *keys), tuple(calls), sets, plan.grouping_key)
    if (plan.keys or plan.sets is not None) and not empty:
        return grouped, binding
    # The empty set has a row also for a binding without any.
    filling: dict[str, Expr] = {key: empty_value(call) for key, call in plan.aggregates}
    if plan.grouping_key is not None:
        filling[plan.grouping_key] = Literal(pa.int64(), (1 << len(plan.keys)) - 1)
    return _fill(grouped, binding, domain, filling, plan.schema.names, "left")


def _fill(
    plan: Plan, binding: Binding, domain: Domain, filling: Mapping[str, Expr], names: list[str], kind: str
) -> tuple[Plan, Binding]:
    """One row per binding: the plan's, or one of NULLs (or of `filling`) where it has none."""
    bindings, all_of = domain.read()
    condition = same_binding(_by_key(bindings, all_of), _by_key(plan, binding))
    wanted = {key: value for key, value in filling.items() if not isinstance(value, Literal) or value.value is not None}
    found = domain.maker.make("found")
    if wanted:
        plan = plans.Project(plan, (*refs(plan), (found, TRUE)))
    joined = plans.Join(bindings, plan, kind, condition)
    columns: list[tuple[str, Expr]] = list(refs(joined, all_of.values()))
    columns += [(key, filled(ref(joined, key), wanted.get(key), found)) for key in names]
    return plans.Project(joined, tuple(columns)), all_of


def filled(column: Expr, value: Expr | None, found: str) -> Expr:
    """The column of an outer join where its row was found, else `value`."""
    if value is None:
        return column
    missing = Call(pa.bool_(), "is_null", (ColumnRef(pa.bool_(), found),))
    return Case(column.type, ((missing, value),), column)


def _join(plan: plans.Join, domain: Domain) -> tuple[Plan, Binding]:
    on_left, on_right = domain.reaches(plan.left), domain.reaches(plan.right)
    in_condition = bool(expr_outer_refs(plan.condition) & domain.keys)
    symmetric = plan.kind in ("inner", "cross")
    if symmetric and on_right and not on_left and not in_condition:
        right, binding = push_domain(plan.right, domain)
        return replace(plan, right=right), binding
    if not on_right and plan.kind not in ("right", "full", "positional"):
        left, binding = push_domain(plan.left, domain)
        condition = _bound(plan.condition, binding, domain)
        kind = "inner" if plan.kind == "cross" and condition != TRUE else plan.kind
        return replace(plan, left=left, condition=condition, kind=kind), binding
    if plan.kind in ("asof", "positional"):
        raise NotSupportedError(f"a correlated {plan.kind.upper()} join is not supported")
    left, of_left = push_domain(plan.left, domain)
    right, of_right = push_domain(plan.right, domain)
    same = same_binding(_by_key(left, of_left), _by_key(right, of_right))
    condition = and_all([_bound(plan.condition, of_left, domain), same])
    kind = "inner" if plan.kind == "cross" else plan.kind
    joined = replace(plan, left=left, right=right, condition=condition, kind=kind)
    if plan.kind == "right":
        return joined, of_right
    if plan.kind != "full":
        return joined, of_left
    binding = {key: domain.maker.make(display_name(key)) for key in of_left}
    either = tuple(
        (binding[key], Call(t, "coalesce", (ref(left, of_left[key]), ref(right, of_right[key]))))
        for key, t in domain.columns
    )
    return plans.Project(joined, (*refs(joined, plan.schema.names), *either)), binding


def _shared_plan(plan: plans.SharedPlan, domain: Domain) -> tuple[Plan, Binding]:
    if not domain.reaches(plan.definition):
        body, binding = push_domain(plan.body, domain)
        return replace(plan, body=body), binding
    definition, inner = push_domain(plan.definition, domain)
    body, binding = push_domain(plan.body, domain.holding(plan.name, inner))
    return replace(plan, definition=definition, body=body), binding


def _recursion(plan: plans.Recursion, domain: Domain) -> tuple[Plan, Binding]:
    base, _ = _side(plan.base, domain)
    binding = {key: domain.maker.make(display_name(key)) for key, _ in domain.columns}
    # The step reads the last rows under the recursion's own keys.
    step, _ = _side(plan.step, domain.holding(plan.name, binding))
    n = len(plan.keys)
    using = (*plan.using_key, *range(n, n + len(binding))) if plan.using_key else ()
    keys = (*plan.keys, *binding.values())
    return replace(plan, base=base, step=step, keys=keys, using_key=using), binding
