"""GROUP BY of one SELECT: keys, grouping sets, and expressions of the clauses above in terms of the groups."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError
from sqlengine.expr.nodes import Call, Case, ColumnRef, Expr, Lambda, Literal, OuterRef, Subquery, display_name
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import map_expr_tree
from sqlengine.sql.consumed import check_consumed
from sqlengine.tree import walk

if TYPE_CHECKING:
    from sqlengine.sql.select_item import Item
    from sqlengine.sql.select_level import SelectLevel

Sets = list[tuple[int, ...]]
_MOST_SETS = 4096


class Grouping:
    """Keys are bound at once; whether the SELECT groups at all is known when all its clauses are bound (`active`)."""

    def __init__(self, level: SelectLevel, group: exp.Group | None, having: bool, items: list[Item]) -> None:
        self._level = level
        self._items = items
        self._written = group is not None or having
        self._keys: list[tuple[str, Expr]] = []
        self._sets: tuple[tuple[int, ...], ...] | None = None
        self._id = level.binder.keys.make("grouping_id")
        if group is not None:
            check_consumed(group, level.binder.text)
            self._bind(group)

    @property
    def active(self) -> bool:
        return self._written or bool(self._level.aggregates or self._level.groupings)

    def _bind(self, group: exp.Group) -> None:
        if group.args.get("all"):
            for item in self._items:
                value = item.value(self._level)
                if not set(self._level.kinds(value)) & {"aggregate", "grouping", "window"}:
                    self._key(value)
            return
        parts = list(group.expressions)
        for kind in ("rollup", "cube", "grouping_sets"):
            parts += group.args.get(kind) or []
        factors = [self._factor(part) for part in parts]
        if all(len(sets) == 1 and not isinstance(part, _SETS) for sets, part in zip(factors, parts, strict=True)):
            return
        self._check_count(factors, group)
        self._sets = tuple(tuple(dict.fromkeys(k for s in chosen for k in s)) for chosen in product(*factors))

    def _factor(self, part: exp.Expression) -> Sets:
        """The grouping sets of one item of GROUP BY; a plain key is one set of one key."""
        match part:
            case exp.GroupingSets():
                return [s for inner in part.expressions for s in self._set_of(inner)]
            case exp.Rollup():
                groups = [self._together(inner) for inner in part.expressions]
                return [tuple(k for g in groups[:n] for k in g) for n in range(len(groups), -1, -1)]
            case exp.Cube():
                groups = [self._together(inner) for inner in part.expressions]
                self._check_count([[()] * 2] * len(groups), part)
                n = len(groups)
                return [
                    tuple(k for i, g in enumerate(groups) if mask >> (n - 1 - i) & 1 for k in g)
                    for mask in range((1 << n) - 1, -1, -1)
                ]
            case _:
                return [self._together(part)]

    def _set_of(self, part: exp.Expression) -> Sets:
        """The sets of one item of GROUPING SETS, which may be ROLLUP, CUBE or GROUPING SETS again."""
        return self._factor(part) if isinstance(part, _SETS) else [self._together(part)]

    def _together(self, part: exp.Expression) -> tuple[int, ...]:
        inner = part.expressions if isinstance(part, exp.Tuple) else [part]
        return tuple(self._key(self._value(e)) for e in inner)

    def _check_count(self, factors: list[Sets], node: exp.Expression) -> None:
        count = 1
        for sets in factors:
            count *= len(sets)
        if count > _MOST_SETS:
            raise BindError(
                f"more than {_MOST_SETS} grouping sets", code="grouping_sets", location=self._level.binder.text.of(node)
            )

    def _value(self, node: exp.Expression) -> Expr:
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
            place = int(node.name)
            if not 1 <= place <= len(self._items):
                raise BindError(
                    f"GROUP BY position {place} is not in the select list", code="bad_position",
                    hint=f"it has {len(self._items)} columns", location=self._level.binder.text.of(node),
                )  # fmt: skip
            item = self._items[place - 1]
            value = item.value(self._level)
            for kind in self._level.kinds(value):
                if kind in ("aggregate", "window", "grouping"):
                    raise self._level.expressions("GROUP BY").misplaced(
                        kind, f"the {'window function' if kind == 'window' else 'aggregate'} at position {place}",
                        self._level.binder.text.of(node),
                    )  # fmt: skip
            return value
        return self._level.expressions("GROUP BY", frozenset({"unnest"})).bind(node)

    def _key(self, expr: Expr) -> int:
        for number, (_, known) in enumerate(self._keys):
            if known == expr:
                return number
        name = display_name(expr.key) if isinstance(expr, ColumnRef) else "key"
        self._keys.append((self._level.binder.keys.make(name), expr))
        return len(self._keys) - 1

    def unnested_keys(self) -> set[str]:
        """The UNNESTs that keys read, which come before the grouping."""
        return {
            e.key
            for _, key in self._keys
            for e in walk(key)
            if isinstance(e, ColumnRef) and e.key in self._level.unnests
        }

    def apply(self, plan: p.Plan) -> p.Plan:
        sets = self._sets
        if self._level.groupings and sets is None:
            sets = (tuple(range(len(self._keys))),) if self._keys else None
        grouping_key = self._id if self._level.groupings and sets is not None else None
        return p.Aggregate(plan, tuple(self._keys), tuple(self._level.aggregates.items()), sets, grouping_key)

    def over(self, expr: Expr, node: exp.Expression) -> Expr:
        """An expression over the groups: keys and aggregates become columns; any other column is an error."""
        known = {e: ColumnRef(e.type, key) for key, e in self._keys if not isinstance(e, Literal)}
        # A constant key is that key only as a whole item, not wherever the constant stands.
        whole = {e: ColumnRef(e.type, key) for key, e in self._keys}
        if expr in whole:
            return whole[expr]
        level = self._level
        below = self.unnested_keys()
        own = {c.key for c in level.scope.columns}
        outer = {e.key: ref.key for e, ref in known.items() if isinstance(e, ColumnRef)}
        passed = {*level.aggregates, *level.windows, *(k for k in level.unnests if k not in below)}

        def of_group(e: Expr) -> Expr:
            if isinstance(e, OuterRef) and e.key in own:
                if e.key not in outer:
                    raise self._not_grouped(e.key, node)
                return replace(e, key=outer[e.key])
            return e

        def rewrite(e: Expr, inner: frozenset[str]) -> Expr:
            if e in known:
                return known[e]
            if isinstance(e, ColumnRef):
                if e.key in level.groupings:
                    return self._grouping_value(level.groupings[e.key], node)
                if e.key in passed or e.key in inner:
                    return e
                raise self._not_grouped(e.key, node)
            if isinstance(e, Lambda):
                inner = inner | {key for key, _ in e.params}
            if isinstance(e, Subquery):
                e = replace(e, plan=map_expr_tree(e.plan, of_group))
            children = e.children()
            new = tuple(rewrite(c, inner) for c in children)
            return e.with_children(new) if any(a is not b for a, b in zip(new, children, strict=True)) else e

        return rewrite(expr, frozenset())

    def _grouping_value(self, args: tuple[Expr, ...], node: exp.Expression) -> Expr:
        """GROUPING(a, b): one bit per argument, the first the highest, set where it is not in the row's set."""
        places = []
        for arg in args:
            found = next((i for i, (_, e) in enumerate(self._keys) if e == arg), None)
            if found is None:
                raise BindError(
                    "an argument of GROUPING must be a GROUP BY key", code="grouping",
                    location=self._level.binder.text.of(node),
                )  # fmt: skip
            places.append(found)
        n, int64 = len(self._keys), pa.int64()
        cases: dict[int, int] = {}
        for chosen in self._sets or ():
            id_ = sum(1 << (n - 1 - i) for i in range(n) if i not in chosen)
            cases[id_] = sum(1 << (len(places) - 1 - j) for j, place in enumerate(places) if place not in chosen)
        which = ColumnRef(int64, self._id)
        whens = tuple(
            (Call(pa.bool_(), "eq", (which, Literal(int64, id_))), Literal(int64, value))
            for id_, value in cases.items()
            if value
        )
        return Case(int64, whens, Literal(int64, 0)) if whens else Literal(int64, 0)

    def _not_grouped(self, key: str, node: exp.Expression) -> BindError:
        name = display_name(key)
        return BindError(
            f'column "{name}" must be in GROUP BY or inside an aggregate', code="not_grouped",
            hint=f"add {name} to GROUP BY, or use any_value({name})", location=self._level.binder.text.of(node),
        )  # fmt: skip


_SETS = (exp.Rollup, exp.Cube, exp.GroupingSets)
