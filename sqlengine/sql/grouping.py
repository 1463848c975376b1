"""GROUP BY of one SELECT: its keys and sets, and the aggregates that its clauses name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.nodes import AggregateCall, ColumnRef, Expr, OuterRef, Subquery
from sqlengine.expr.registry import bind_aggregate, find_aggregate
from sqlengine.plan import nodes as p
from sqlengine.sql.scope import Scope
from sqlengine.tree import transform_up

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder


class Grouping:
    """GROUP BY of one SELECT: keys, and the aggregates that its clauses name, each computed once."""

    def __init__(
        self,
        binder: Binder,
        tree: exp.Select,
        scope: Scope,
        items: list[tuple[str, exp.Expression | Expr]],
        aliases: dict[str, exp.Expression],
    ) -> None:
        self._binder = binder
        self._scope = scope
        self._aliases = aliases
        self._tree = tree
        self._keys: list[tuple[str, Expr]] = []
        self._calls: list[tuple[str, AggregateCall]] = []
        group = tree.args.get("group")
        clauses = [n for _, n in items if isinstance(n, exp.Expression)]
        clauses += [tree.args[c] for c in ("having", "order") if tree.args.get(c) is not None]
        self.active = group is not None or tree.args.get("having") is not None or any(map(_has_aggregate, clauses))
        self._sets: tuple[tuple[int, ...], ...] | None = None
        if group is not None:
            self._bind_keys(group, items)

    def _bind_keys(self, group: exp.Group, items: list[tuple[str, exp.Expression | Expr]]) -> None:
        if group.args.get("all"):
            for _, item in items:
                if isinstance(item, Expr):
                    self._key(item)
                elif not _has_aggregate(item):
                    self._key(self._plain(item))
            return
        kinds = {exp.Rollup: "rollup", exp.Cube: "cube", exp.GroupingSets: "grouping_sets"}
        for node in group.expressions:
            if type(node) not in kinds:
                self._key(self._key_expr(node, items))
        plain = tuple(range(len(self._keys)))
        sets: list[tuple[int, ...]] | None = None
        for type_, kind in kinds.items():
            inside = [n for n in group.expressions if isinstance(n, type_)]
            for node in (*inside, *(group.args.get(kind) or ())):
                made = self._set_list(kind, node, items)
                sets = made if sets is None else [(*a, *b) for a in sets for b in made]
        if sets is not None:
            self._sets = tuple(tuple(dict.fromkeys((*plain, *s))) for s in sets)

    def _set_list(self, kind: str, node: exp.Expression, items: Any) -> list[tuple[int, ...]]:
        groups = []
        for item in node.expressions:
            inner = (
                item.expressions
                if isinstance(item, exp.Tuple)
                else [item.this if isinstance(item, exp.Paren) else item]
            )
            groups.append(tuple(self._key(self._key_expr(part, items)) for part in inner))
        if kind == "rollup":
            return [tuple(k for g in groups[:n] for k in g) for n in range(len(groups), -1, -1)]
        if kind == "cube":
            return [
                tuple(k for i, g in enumerate(groups) if mask >> (len(groups) - 1 - i) & 1 for k in g)
                for mask in range((1 << len(groups)) - 1, -1, -1)
            ]
        return groups

    def _key_expr(self, node: exp.Expression, items: list[tuple[str, exp.Expression | Expr]]) -> Expr:
        if isinstance(node, exp.Literal) and not node.is_string:
            place = int(node.name)
            if not 1 <= place <= len(items):
                raise BindError(
                    f"GROUP BY position {place} is not in the select list", code="bad_position",
                    location=self._binder.text.of(node),
                )  # fmt: skip
            item = items[place - 1][1]
            return item if isinstance(item, Expr) else self._plain(item)
        return self._plain(node)

    def _plain(self, node: exp.Expression) -> Expr:
        return self._binder.expressions(self._scope, "GROUP BY", aliases=self._aliases).bind(node)

    def _key(self, expr: Expr) -> int:
        for number, (_, known) in enumerate(self._keys):
            if known == expr:
                return number
        name = expr.key.rpartition("#")[0] if isinstance(expr, ColumnRef) else "key"
        self._keys.append((self._binder.keys.make(name), expr))
        return len(self._keys) - 1

    def apply(self, plan: p.Plan) -> tuple[p.Plan, Callable[[exp.Expression, bool], Expr]]:
        """The plan with the aggregation, and how to bind expressions above it."""
        binder = self._binder
        if not self.active:

            def bind(node: exp.Expression, condition: bool) -> Expr:
                over = binder.expressions(self._scope, "the select list", aliases=self._aliases)
                return over.boolean(node) if condition else over.bind(node)

            return plan, bind
        # All clauses are bound once to collect the aggregates, so that the node below them is complete.
        for clause in self._clauses():
            self._above(clause, False)
        node = p.Aggregate(plan, tuple(self._keys), tuple(self._calls), self._sets)
        return node, self._above

    def _clauses(self) -> list[exp.Expression]:
        nodes = [n.this if isinstance(n, exp.Alias) else n for n in self._tree.expressions]
        nodes = [
            n
            for n in nodes
            if not isinstance(n, exp.Star) and not (isinstance(n, exp.Column) and isinstance(n.this, exp.Star))
        ]
        if self._tree.args.get("having") is not None:
            nodes.append(self._tree.args["having"].this)
        if self._tree.args.get("order") is not None:
            nodes += [o.this for o in self._tree.args["order"].expressions if _has_aggregate(o)]
        return nodes

    def _above(self, node: exp.Expression, condition: bool) -> Expr:
        """An expression over the groups: keys and aggregates become columns, any other column is an error."""
        raw = self._binder.expressions(self._scope, "this clause", aggregate=self._aggregate, aliases=self._aliases)
        expr = raw.boolean(node) if condition else raw.bind(node)
        return self._over_groups(expr, node)

    def _over_groups(self, expr: Expr, node: exp.Expression) -> Expr:
        made = {key for key, _ in self._calls}
        known = {e: ColumnRef(e.type, key) for key, e in self._keys}

        def rewrite(e: Expr) -> Expr:
            if e in known:
                return known[e]
            if isinstance(e, ColumnRef):
                if e.key in made:
                    return e
                raise self._not_grouped(e.key, node)
            if isinstance(e, Subquery):
                inner = transform_plan(e.plan, known)
                args = tuple(rewrite(a) for a in e.args)
                return Subquery(e.type, e.kind, inner, args, e.comparison, e.location)
            children = e.children()
            new = tuple(rewrite(c) for c in children)
            return e.with_children(new) if any(a is not b for a, b in zip(new, children, strict=True)) else e

        return rewrite(expr)

    def check_column(self, expr: Expr, name: str) -> Expr:
        """A column that came from a star."""
        for key, e in self._keys:
            if e == expr:
                return ColumnRef(e.type, key)
        raise self._not_grouped(name, self._tree)

    def _not_grouped(self, key: str, node: exp.Expression) -> BindError:
        name = key.rpartition("#")[0] or key
        return BindError(
            f'column "{name}" must be in GROUP BY or inside an aggregate', code="not_grouped",
            hint=f"add {name} to GROUP BY, or use any_value({name})", location=self._binder.text.of(node),
        )  # fmt: skip

    def _aggregate(self, node: exp.Expression, name: str) -> Expr:
        binder = self._binder
        location = binder.text.of(node)
        filter_: exp.Expression | None = None
        if isinstance(node, exp.Filter):
            raise NotSupportedError("FILTER here", location=location)
        inner = node.this if not isinstance(node, exp.Anonymous) else None
        args = list(node.expressions) if isinstance(node, exp.Anonymous) else ([inner] if inner is not None else [])
        distinct = False
        if args and isinstance(args[0], exp.Distinct):
            distinct = True
            args = list(args[0].expressions)
        if args and isinstance(args[0], exp.Star):
            args = []
        if any(isinstance(a, exp.Order) for a in args):
            raise NotSupportedError(f"ORDER BY inside {name}() is not supported yet", location=location)
        parent = node.parent
        if isinstance(parent, exp.Filter):
            filter_ = parent.expression.this if isinstance(parent.expression, exp.Where) else parent.expression
        plain = binder.expressions(self._scope, "the argument of an aggregate")
        bound = [plain.bind(a) for a in args]
        condition = plain.boolean(filter_) if filter_ is not None else None
        call = bind_aggregate(name, bound, distinct=distinct, filter=condition, location=location)
        for key, known in self._calls:
            if known == call:
                return ColumnRef(call.type, key)
        key = binder.keys.make(name)
        self._calls.append((key, call))
        return ColumnRef(call.type, key)


def transform_plan(plan: p.Plan, known: dict[Expr, ColumnRef]) -> p.Plan:
    """A correlated subquery above an aggregation: its references to key columns now mean the keys of the groups."""
    outer = {e.key: ref for e, ref in known.items() if isinstance(e, ColumnRef)}

    def change(node: p.Plan) -> p.Plan:
        def rewrite(e: Expr) -> Expr:
            return transform_up(
                e,
                lambda x: (
                    OuterRef(x.type, outer[x.key].key, x.depth) if isinstance(x, OuterRef) and x.key in outer else x
                ),
            )

        return p.map_exprs(node, rewrite)

    return transform_up(plan, change)


def _has_aggregate(node: exp.Expression) -> bool:
    """Whether the expression has an aggregate of this query level."""

    if isinstance(node, exp.Query | exp.Subquery):
        return False
    if isinstance(node, exp.AggFunc):
        return True
    if isinstance(node, exp.Anonymous) and find_aggregate(node.name):
        return True
    children = [
        c for v in node.args.values() for c in (v if isinstance(v, list) else [v]) if isinstance(c, exp.Expression)
    ]
    return any(map(_has_aggregate, children))
