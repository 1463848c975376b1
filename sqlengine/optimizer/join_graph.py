"""The graph of a set of relations to be joined: which predicates connect which, and how many rows a subset makes.

Sets of relations are bit masks. Equal columns form classes, so `a = b and b = c` also connects a with c. The rows of a
subset do not depend on the order in which it is joined, so that orders are compared by the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from sqlengine.expr.nodes import Call, ColumnRef, Expr, columns_of
from sqlengine.expr.selectivity import conjunction, filtered, key_domain, table_rows, type_width
from sqlengine.expr.statistics import Stats
from sqlengine.optimizer.cardinality import estimate
from sqlengine.plan.nodes import Plan


def bits_of(mask: int) -> list[int]:
    """The single bits of a mask, lowest first."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low)
        mask ^= low
    return found


class JoinGraph:
    """`needed`: the columns that are read above the joins (None: all)."""

    def __init__(
        self, relations: Sequence[Plan], predicates: Sequence[Expr], held: Mapping[str, Stats], needed: set[str] | None
    ) -> None:
        self.relations = relations
        self.owner = {name: 1 << i for i, r in enumerate(relations) for name in r.schema.names}
        self._classes: list[set[ColumnRef]] = []
        self.others: list[tuple[int, Expr]] = []
        for part in predicates:
            if not self._equality(part):
                self.others.append((self._mask(columns_of(part)), part))
        self.classes = [(self._mask(c.key for c in known), self._by_relation(known)) for known in self._classes]
        self.stats = {1 << i: self._leaf_stats(r, 1 << i, held) for i, r in enumerate(relations)}
        self._all = Stats(
            max((s.rows for s in self.stats.values()), default=1.0),
            0.0,
            {k: c for s in self.stats.values() for k, c in s.columns.items()},
        )
        read = needed if needed is None else needed | {key for part in predicates for key in columns_of(part)}
        self.width = {bit: self._width(bit, read) for bit in self.stats}
        self.next_to = {bit: self._neighbours(bit) for bit in self.stats}
        self._rows: dict[int, float] = {0: 1.0}

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
        for known in self._classes:
            if known & merged:
                merged |= known
            else:
                rest.append(known)
        self._classes = [*rest, merged]
        return True

    def _by_relation(self, known: set[ColumnRef]) -> dict[int, list[ColumnRef]]:
        result: dict[int, list[ColumnRef]] = {}
        for column in sorted(known, key=lambda c: c.key):
            result.setdefault(self.owner[column.key], []).append(column)
        return result

    def own_predicates(self, bit: int) -> list[Expr]:
        """Predicates of one relation alone, those that follow from equal columns of others included."""
        own = [p for mask, p in self.others if mask == bit]
        for _, members in self.classes:
            same = members.get(bit, [])
            own += [Call(pa.bool_(), "eq", (same[0], other)) for other in same[1:]]
        return own

    def _leaf_stats(self, relation: Plan, bit: int, held: Mapping[str, Stats]) -> Stats:
        return filtered(estimate(relation, held), self.own_predicates(bit))

    def _width(self, bit: int, read: set[str] | None) -> float:
        stats = self.stats[bit]
        width = 1.0
        for f in self.relations[bit.bit_length() - 1].schema:
            if read is None or f.name in read:
                known = stats.columns.get(f.name)
                width += known.width if known is not None and known.width is not None else type_width(f.type)
        return width

    def _neighbours(self, bit: int) -> int:
        """The relations that an equality connects with this one."""
        mask = 0
        for known, members in self.classes:
            if bit in members:
                mask |= known
        for known, part in self.others:
            if known & bit and known.bit_count() == 2 and isinstance(part, Call) and part.name == "eq":
                sides = [self._mask(columns_of(arg)) for arg in part.args]
                if all(sides) and not sides[0] & sides[1]:
                    mask |= known
        return mask & ~bit

    def connected(self, left: int, right: int) -> bool:
        return any(self.next_to[bit] & right for bit in bits_of(left))

    def group(self, start: int) -> int:
        """All relations that equalities connect with `start`, itself included."""
        group, new = start, start
        while new:
            reached = 0
            for bit in bits_of(new):
                reached |= self.next_to[bit]
            new = reached & ~group
            group |= new
        return group

    def conditions(self, left: int, right: int) -> list[Expr]:
        """What is to be tested when two sets of relations come together."""
        parts: list[Expr] = []
        for mask, members in self.classes:
            if mask & left and mask & right:
                a = next(members[bit][0] for bit in members if bit & left)
                b = next(members[bit][0] for bit in members if bit & right)
                parts.append(Call(pa.bool_(), "eq", (a, b)))
        both = left | right
        parts += [p for mask, p in self.others if mask & ~both == 0 and mask & left and mask & right]
        return parts

    def rows(self, mask: int) -> float:
        """Expected rows of a set of relations after all predicates among them."""
        known = self._rows.get(mask)
        if known is None:
            bit = mask & -mask
            rest = mask ^ bit
            known = max(1.0, self.stats[bit].rows) * self.rows(rest) * self._share(bit, rest)
            self._rows[mask] = known = max(1.0, known)
        return known

    def _share(self, bit: int, rest: int) -> float:
        share = conjunction([p for m, p in self.others if m & bit and m & rest and not m & ~(bit | rest)], self._all)
        open_classes = [members for mask, members in self.classes if bit in members and mask & rest]
        while open_classes:
            # Several columns of one other table are a key together: classes are taken by the table that shares most.
            counts = {other: sum(other in c for c in open_classes) for c in open_classes for other in c if other & rest}
            partner = max(counts, key=lambda other: (counts[other], -self.stats[other].rows, other))
            shared = [c for c in open_classes if partner in c]
            open_classes = [c for c in open_classes if partner not in c]
            product = 1.0
            for members in shared:
                product *= key_domain([(c, self.stats[b]) for b, cs in members.items() if b & (rest | bit) for c in cs])
            if len(shared) > 1:
                ends = (table_rows(shared[0][b][0], self.stats[b]) for b in (bit, partner))
                product = min(product, max(1.0, min(ends)))
            share /= max(1.0, product)
        return share
