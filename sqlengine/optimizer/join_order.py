"""The order of inner joins: the cheapest by estimates.

1. A tree of inner and cross joins (and the filters and plain projections between them) is flattened into relations and
   predicates: a `JoinGraph`.
2. A relation of one row (a scalar subquery) joins the relation that it restricts before all else: it is a filter.
3. Relations that equalities connect are ordered by dynamic programming over connected subsets, up to `_EXACT` of them;
   more of them greedily, the pair that makes the fewest rows first. What nothing connects is crossed last.
4. The smaller side of each join is put right, where the table is built.

Cost: rows put into tables, rows that look up, rows made, each with their width; pairs compared where there is no
equality. Source: Moerkotte and Neumann, "Analysis of two existing and one new dynamic programming algorithm", 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlengine.expr.nodes import ColumnRef, Expr, and_all, columns_of, conjuncts
from sqlengine.expr.statistics import Stats
from sqlengine.optimizer.cardinality import estimate
from sqlengine.optimizer.join_graph import JoinGraph, bits_of
from sqlengine.optimizer.simplify_predicates import factored
from sqlengine.optimizer.traits import is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import restrict
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings

_EXACT = 9
_COMPARED = 24  # with more parts not even all pairs are compared
_PROBE, _BUILD, _MADE, _PAIR = 1.0, 3.0, 0.5, 0.1
_BYTE = 1 / 64  # of moving one byte, beside the cost of a row


def join_order(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y, z
    >>> small, large, key = table("s", x, rows=10), table("l", y, rows=10000), table("k", z, rows=100)
    >>> tests = and_all([call("eq", x, z), call("eq", y, z)])
    >>> tree = plans.Join(plans.Join(small, large, "cross"), key, "inner", tests)
    >>> top = join_order(tree, Settings()).input
    >>> top.kind, top.left.name, top.right.kind
    ('inner', 'l', 'inner')
    """
    return _ordered(plan, {}, None)


def _ordered(plan: Plan, held: Mapping[str, Stats], needed: set[str] | None) -> Plan:
    if _is_joined(plan):
        relations: list[Plan] = []
        predicates: list[Expr] = []
        _flatten(plan, relations, predicates)
        below = needed if needed is None else needed | {key for p in predicates for key in columns_of(p)}
        relations = [_ordered(r, held, below) for r in relations]
        return restrict(_best(relations, predicates, held, needed), plan.schema.names)
    if isinstance(plan, plans.SharedPlan):
        definition = _ordered(plan.definition, held, None)
        inside = {**held, plan.name: estimate(definition, held)}
        return plans.SharedPlan(plan.name, definition, _ordered(plan.body, inside, needed))
    match plan:
        case plans.Project() | plans.Aggregate():
            needed = {key for e in plan.exprs() for key in columns_of(e)}
        case plans.Filter() | plans.Join() | plans.Sort() | plans.Limit() | plans.Window():
            needed = needed if needed is None else needed | {key for e in plan.exprs() for key in columns_of(e)}
        case _:
            needed = None
    children = plan.children()
    new = tuple(_ordered(child, held, needed) for child in children)
    return plan if all(a is b for a, b in zip(new, children, strict=True)) else plan.with_children(new)


def _is_joined(plan: Plan) -> bool:
    """Whether the plan is an inner or cross join whose order is free, with or without a filter above."""
    match plan:
        case plans.Join(kind="inner" | "cross"):
            return not is_volatile(plan.condition)
        case plans.Filter():
            return not is_volatile(plan.predicate) and _is_joined(plan.input)
        case _:
            return False


def _flatten(plan: Plan, relations: list[Plan], predicates: list[Expr]) -> None:
    match plan:
        case plans.Join() if _is_joined(plan):
            _flatten(plan.left, relations, predicates)
            _flatten(plan.right, relations, predicates)
            # What all branches of an OR share may connect relations that nothing else connects.
            predicates.extend(conjuncts(factored(plan.condition)))
        case plans.Filter() if _is_joined(plan):
            _flatten(plan.input, relations, predicates)
            predicates.extend(conjuncts(factored(plan.predicate)))
        case plans.Project() if _only_passes(plan) and isinstance(plan.input, plans.Join | plans.Project):
            _flatten(plan.input, relations, predicates)
        case _:
            relations.append(plan)


def _only_passes(plan: plans.Project) -> bool:
    return all(isinstance(e, ColumnRef) and e.key == key for key, e in plan.columns)


@dataclass(frozen=True)
class _Part:
    """A set of relations joined so far."""

    mask: int
    plan: Plan | None  # None until the order is settled
    halves: tuple[_Part, _Part] | None
    rows: float
    width: float
    cost: float


def _best(relations: list[Plan], predicates: list[Expr], held: Mapping[str, Stats], needed: set[str] | None) -> Plan:
    graph = JoinGraph(relations, predicates, held, needed)
    leaves: dict[int, _Part] = {}
    for i, relation in enumerate(relations):
        own = graph.own_predicates(1 << i)
        plan = plans.Filter(relation, and_all(own)) if own else relation
        leaves[1 << i] = _Part(1 << i, plan, None, graph.rows(1 << i), graph.width[1 << i], 0.0)
    parts = _with_scalars(graph, leaves)
    groups: list[list[_Part]] = []
    seen = 0
    for part in parts:
        if not part.mask & seen:
            group = part.mask
            for bit in bits_of(part.mask):
                group |= graph.group(bit)
            groups.append([p for p in parts if p.mask & group])
            for member in groups[-1]:
                seen |= member.mask
    solved = [_exact(graph, group) if len(group) <= _EXACT else _greedy(graph, group) for group in groups]
    solved.sort(key=lambda part: part.rows)
    result = _greedy(graph, solved) if len(solved) > 1 else solved[0]
    constant = [p for mask, p in graph.others if mask == 0]
    plan = _plan(graph, result)
    return plans.Filter(plan, and_all(constant)) if constant else plan


def _one_row(plan: Plan) -> bool:
    match plan:
        case plans.OneRowOnly():
            return True
        case plans.Aggregate():
            return not plan.keys and plan.sets is None
        case plans.Values():
            return len(plan.rows) == 1
        case plans.Project() | plans.Filter():
            return _one_row(plan.input)
        case _:
            return False


def _with_scalars(graph: JoinGraph, leaves: dict[int, _Part]) -> list[_Part]:
    """Relations of one row joined to the one relation that they are compared with."""
    parts = dict(leaves)
    for i, relation in enumerate(graph.relations):
        bit = 1 << i
        if graph.next_to[bit] or not _one_row(relation) or len(parts) < 2:
            continue
        partners = [mask & ~bit for mask, _ in graph.others if mask & bit]
        if len(set(partners)) == 1 and partners[0] in parts:
            del parts[bit]
            parts[partners[0] | bit] = _joined(graph, parts.pop(partners[0]), leaves[bit])
    return list(parts.values())


def _joined(graph: JoinGraph, left: _Part, right: _Part, connected: bool = False) -> _Part:
    if _table_cost(left) + right.rows * _PROBE < _table_cost(right) + left.rows * _PROBE:
        left, right = right, left
    mask = left.mask | right.mask
    rows, width = graph.rows(mask), left.width + right.width
    cost = left.cost + right.cost + rows * (_MADE + width * _BYTE)
    if connected:
        cost += left.rows * _PROBE + _table_cost(right)
    else:
        cost += left.rows * right.rows * _PAIR
    return _Part(mask, None, (left, right), rows, width, cost)


def _table_cost(part: _Part) -> float:
    return part.rows * (_BUILD + part.width * _BYTE)


def _exact(graph: JoinGraph, parts: list[_Part]) -> _Part:
    """The cheapest order without a product, over all connected subsets."""
    count = len(parts)
    best: dict[int, _Part] = {1 << i: part for i, part in enumerate(parts)}
    beside = [0] * count  # which parts an equality connects with each part
    for i, part in enumerate(parts):
        for j, other in enumerate(parts):
            if i != j and graph.connected(part.mask, other.mask):
                beside[i] |= 1 << j
    reach = [0] * (1 << count)
    for subset in range(1, 1 << count):
        low = subset & -subset
        reach[subset] = reach[subset ^ low] | beside[low.bit_length() - 1]
    for subset in range(1, 1 << count):
        low = subset & -subset
        if subset == low:
            continue
        half = (subset - 1) & subset
        found: _Part | None = None
        while half:
            if half & low and reach[half] & (subset ^ half):
                left, right = best.get(half), best.get(subset ^ half)
                if left is not None and right is not None and (found is None or left.cost + right.cost < found.cost):
                    candidate = _joined(graph, left, right, True)
                    found = candidate if found is None or candidate.cost < found.cost else found
            half = (half - 1) & subset
        if found is not None:
            best[subset] = found
    return best[(1 << count) - 1]


def _as_written(graph: JoinGraph, parts: list[_Part]) -> _Part:
    """One part after the other, those first that an equality connects: for so many that comparing takes too long."""
    result, rest = parts[0], parts[1:]
    while rest:
        at = next((i for i, part in enumerate(rest) if graph.connected(result.mask, part.mask)), None)
        part = rest.pop(at or 0)
        result = _joined(graph, result, part, at is not None)
    return result


def _greedy(graph: JoinGraph, parts: list[_Part]) -> _Part:
    if len(parts) > _COMPARED:
        return _as_written(graph, parts)
    parts = list(parts)
    while len(parts) > 1:
        options = []
        for i, a in enumerate(parts):
            for j in range(i + 1, len(parts)):
                b = parts[j]
                connected = graph.connected(a.mask, b.mask)
                options.append((not connected, graph.rows(a.mask | b.mask), i, j))
        apart, _, i, j = min(options)
        b = parts.pop(j)
        parts[i] = _joined(graph, parts[i], b, not apart)
    return parts[0]


def _plan(graph: JoinGraph, part: _Part) -> Plan:
    if part.halves is None:
        assert part.plan is not None
        return part.plan
    left, right = part.halves
    tests = graph.conditions(left.mask, right.mask)
    return plans.Join(_plan(graph, left), _plan(graph, right), "inner" if tests else "cross", and_all(tests))
