"""The order of inner joins: the cheapest by estimates, cheapest meaning that the fewest rows are made in between.

1. A tree of inner and cross joins (and the filters and plain projections between them) is flattened into relations and
   predicates. Equal columns form classes, so `a = b and b = c` also connects a with c.
2. Up to `_EXACT` relations: dynamic programming over connected subsets. More: greedily, the cheapest pair first.
3. The smaller side of each join is put right, where the table is built.
Relations that nothing connects are crossed last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.nodes import Call, ColumnRef, Expr, and_all, columns_of, conjuncts
from sqlengine.expr.statistics import Stats
from sqlengine.optimizer.cardinality import estimate
from sqlengine.optimizer.selectivity import distinct_of, selectivity
from sqlengine.optimizer.traits import is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import restrict
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings

_EXACT = 9


def join_order(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y, z
    >>> small, large, key = table("s", x, rows=10), table("l", y, rows=10000), table("k", z, rows=100)
    >>> tests = and_all([call("eq", x, z), call("eq", y, z)])
    >>> tree = plans.Join(plans.Join(small, large, "cross"), key, "inner", tests)
    >>> top = join_order(tree, Settings()).input
    >>> top.kind, top.left.kind, top.left.left.name
    ('inner', 'inner', 'l')
    """
    return _ordered(plan, {})


def _ordered(plan: Plan, held: dict[str, Stats]) -> Plan:
    if isinstance(plan, plans.Join) and plan.kind in ("inner", "cross"):
        relations: list[Plan] = []
        predicates: list[Expr] = []
        _flatten(plan, relations, predicates)
        relations = [_ordered(r, held) for r in relations]
        return restrict(_Search(relations, predicates, held).best(), plan.schema.names)
    if isinstance(plan, plans.SharedPlan):
        definition = _ordered(plan.definition, held)
        inside = {**held, plan.name: estimate(definition, held)}
        return plans.SharedPlan(plan.name, definition, _ordered(plan.body, inside))
    children = plan.children()
    new = tuple(_ordered(child, held) for child in children)
    return plan if all(a is b for a, b in zip(new, children, strict=True)) else plan.with_children(new)


def _flatten(plan: Plan, relations: list[Plan], predicates: list[Expr]) -> None:
    match plan:
        case plans.Join(kind="inner" | "cross"):
            _flatten(plan.left, relations, predicates)
            _flatten(plan.right, relations, predicates)
            predicates.extend(conjuncts(plan.condition))
        case plans.Filter(input=plans.Join(kind="inner" | "cross")) if not is_volatile(plan.predicate):
            _flatten(plan.input, relations, predicates)
            predicates.extend(conjuncts(plan.predicate))
        case plans.Project() if _only_passes(plan) and isinstance(plan.input, plans.Join | plans.Project):
            _flatten(plan.input, relations, predicates)
        case _:
            relations.append(plan)


def _only_passes(plan: plans.Project) -> bool:
    return all(isinstance(e, ColumnRef) and e.key == key for key, e in plan.columns)


@dataclass(frozen=True)
class _Part:
    plan: Plan
    rows: float
    cost: float
    width: float


class _Search:
    """One search over one set of relations; sets of relations are bit masks."""

    def __init__(self, relations: list[Plan], predicates: list[Expr], held: dict[str, Stats]) -> None:
        self.relations = relations
        self.stats = [estimate(r, held) for r in relations]
        self.owner = {name: 1 << i for i, r in enumerate(relations) for name in r.schema.names}
        self.columns = Stats(
            max((s.rows for s in self.stats), default=1.0),
            0.0,
            {k: c for s in self.stats for k, c in s.columns.items()},
        )
        self.classes: list[set[ColumnRef]] = []
        self.others: list[tuple[int, Expr]] = []
        for part in predicates:
            if not self._equality(part):
                self.others.append((self._mask(columns_of(part)), part))

    def _mask(self, columns: Iterable[str]) -> int:
        mask = 0
        for name in columns:
            mask |= self.owner[name]
        return mask

    def _equality(self, part: Expr) -> bool:
        """Enter an equality of two columns of different relations into the classes."""
        if not isinstance(part, Call) or part.name != "eq":
            return False
        a, b = part.args
        if not isinstance(a, ColumnRef) or not isinstance(b, ColumnRef) or a.type != b.type:
            return False
        if self.owner[a.key] == self.owner[b.key]:
            return False
        merged = {a, b}
        rest = []
        for known in self.classes:
            if known & merged:
                merged |= known
            else:
                rest.append(known)
        self.classes = [*rest, merged]
        return True

    def _members(self, known: set[ColumnRef], mask: int) -> list[ColumnRef]:
        return sorted((c for c in known if self.owner[c.key] & mask), key=lambda c: c.key)

    def _conditions(self, left: int, right: int) -> list[Expr]:
        """What is to be tested when two sets of relations come together; nothing if they are not connected."""
        parts: list[Expr] = []
        for known in self.classes:
            a, b = self._members(known, left), self._members(known, right)
            if a and b:
                parts.append(Call(pa.bool_(), "eq", (a[0], b[0])))
        both = left | right
        parts += [p for mask, p in self.others if mask & ~both == 0 and mask & left and mask & right]
        return parts

    def _rows_joined(self, left: _Part, right: _Part, parts: list[Expr]) -> float:
        equal, other = 1.0, 1.0
        for part in parts:
            if isinstance(part, Call) and part.name == "eq" and all(isinstance(a, ColumnRef) for a in part.args):
                distinct = [min(self._distinct(a), max(left.rows, right.rows, 1.0)) for a in part.args]
                equal /= max(1.0, *distinct)
            else:
                other *= selectivity(part, self.columns)
        # Several equalities are at most as selective as a key of the larger side.
        equal = max(equal, 1.0 / max(1.0, left.rows, right.rows)) if equal < 1.0 else 1.0
        return max(1.0, left.rows * right.rows * equal * other)

    def _distinct(self, column: Expr) -> float:
        assert isinstance(column, ColumnRef)
        owner = self.owner[column.key].bit_length() - 1
        return distinct_of(column, self.stats[owner])

    def _join(self, left: _Part, right: _Part, parts: list[Expr]) -> _Part:
        if left.rows * left.width < right.rows * right.width:
            left, right = right, left
        rows = self._rows_joined(left, right, parts)
        plan = plans.Join(left.plan, right.plan, "inner" if parts else "cross", and_all(parts))
        # Rows made, and rows put into the table.
        cost = left.cost + right.cost + rows + right.rows * 0.5
        return _Part(plan, rows, cost, left.width + right.width)

    def _leaves(self) -> dict[int, _Part]:
        leaves = {}
        for i, (relation, stats) in enumerate(zip(self.relations, self.stats, strict=True)):
            # Equal columns within one relation (by way of others) and predicates of one relation alone.
            own = [p for mask, p in self.others if mask == 1 << i]
            for known in self.classes:
                first, *more = self._members(known, 1 << i) or [None]
                own += [Call(pa.bool_(), "eq", (first, other)) for other in more if first is not None]
            plan = plans.Filter(relation, and_all(own)) if own else relation
            leaves[1 << i] = _Part(plan, max(1.0, stats.rows), 0.0, max(1.0, stats.bytes / max(1.0, stats.rows)))
        return leaves

    def best(self) -> Plan:
        leaves = self._leaves()
        groups = [self._connected(start, leaves) for start in self._starts(leaves)]
        joined = sorted((self._solve(group, leaves) for group in groups), key=lambda item: item[1].rows)
        mask, result = joined[0]
        for other_mask, other in joined[1:]:
            result = self._join(result, other, self._conditions(mask, other_mask))
            mask |= other_mask
        constant = [p for m, p in self.others if m == 0]
        # Predicates over three or more relations of different groups may come together only at the end.
        return plans.Filter(result.plan, and_all(constant)) if constant else result.plan

    def _connected(self, start: int, leaves: dict[int, _Part]) -> int:
        group = start
        grown = True
        while grown:
            grown = False
            for bit in leaves:
                if not bit & group and self._conditions(group, bit):
                    group |= bit
                    grown = True
        return group

    def _starts(self, leaves: dict[int, _Part]) -> list[int]:
        starts, seen = [], 0
        for bit in leaves:
            if not bit & seen:
                starts.append(bit)
                seen |= self._connected(bit, leaves)
        return starts

    def _solve(self, group: int, leaves: dict[int, _Part]) -> tuple[int, _Part]:
        bits = [bit for bit in leaves if bit & group]
        if len(bits) <= _EXACT:
            found = self._exact(group, {bit: leaves[bit] for bit in bits})
            if found is not None:
                return group, found
        return group, self._greedy({bit: leaves[bit] for bit in bits})

    def _exact(self, group: int, parts: dict[int, _Part]) -> _Part | None:
        best = dict(parts)
        subsets = [s for s in _subsets(group) if s.bit_count() > 1]
        for subset in sorted(subsets, key=lambda s: s.bit_count()):
            low = subset & -subset
            half = (subset - 1) & subset
            while half:
                if half & low and half in best and subset ^ half in best:
                    tests = self._conditions(half, subset ^ half)
                    if tests:
                        candidate = self._join(best[half], best[subset ^ half], tests)
                        if subset not in best or candidate.cost < best[subset].cost:
                            best[subset] = candidate
                half = (half - 1) & subset
        return best.get(group)

    def _greedy(self, parts: dict[int, _Part]) -> _Part:
        parts = dict(parts)
        while len(parts) > 1:
            options = []
            masks = list(parts)
            for i, a in enumerate(masks):
                for b in masks[i + 1 :]:
                    tests = self._conditions(a, b)
                    rows = self._rows_joined(parts[a], parts[b], tests)
                    options.append((not tests, rows, a, b))
            _, _, a, b = min(options)
            joined = self._join(parts[a], parts[b], self._conditions(a, b))
            del parts[a], parts[b]
            parts[a | b] = joined
        return next(iter(parts.values()))


def _subsets(mask: int) -> Iterable[int]:
    part = mask
    while part:
        yield part
        part = (part - 1) & mask
