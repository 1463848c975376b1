"""One SELECT: clauses are bound over FROM, then put into the plan in the order in which SQL evaluates them.

FROM, WHERE, the UNNESTs of group keys, GROUP BY, HAVING, windows, QUALIFY, the other UNNESTs, the select list,
DISTINCT, ORDER BY, LIMIT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError, ParseError
from sqlengine.expr.nodes import ColumnRef, Expr, SortKey, WindowCall, and_all
from sqlengine.plan import nodes as p
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.from_clause import bind_from, sampled
from sqlengine.sql.grouping import Grouping
from sqlengine.sql.ordering import OrderItem, limited, order_items
from sqlengine.sql.scope import Scope
from sqlengine.sql.select_level import AGGREGATES, ANY_CALL, NO_CALL, SelectLevel
from sqlengine.sql.stars import conditions_of_columns, select_items

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names

Over = Callable[[Expr, exp.Expression], Expr]


def bind_select(binder: Binder, tree: exp.Select, outer: Scope | None) -> tuple[p.Plan, Names]:
    check_consumed(tree, binder.text)
    if not tree.expressions:
        raise ParseError("the select list is empty", hint="name a column, or use *", location=binder.text.of(tree))
    plan, scope = bind_from(binder, tree, outer)
    if tree.args.get("sample") is not None:
        plan = sampled(binder, tree.args["sample"], plan)
    level = SelectLevel(binder, scope, _named_windows(binder, tree))
    items = select_items(binder, tree, scope)
    for item in items:
        if item.node is not None:
            level.aliases.setdefault(item.name.lower(), item.node)
    plan = _where(level, tree, plan)
    having, qualify = tree.args.get("having"), tree.args.get("qualify")
    grouping = Grouping(level, tree.args.get("group"), having is not None, items)
    values = [item.value(level) for item in items]
    names = tuple(item.name for item in items)
    kept = None if having is None else level.expressions("HAVING", AGGREGATES).boolean(having.this)
    chosen = None
    if qualify is not None:
        chosen = level.expressions("QUALIFY", AGGREGATES | {"window"}).boolean(qualify.this)
    distinct = tree.args.get("distinct")
    on = _distinct_on(level, distinct, names)
    order = tree.args.get("order")
    sort = order_items(level.expressions("ORDER BY", ANY_CALL), order, names)

    over: Over = lambda expr, node: expr  # noqa: E731
    below = grouping.unnested_keys()
    if below:
        plan = p.Unnest(plan, tuple((key, level.unnests[key]) for key in below))
    if grouping.active:
        plan = grouping.apply(plan)
        over = grouping.over
    if kept is not None and having is not None:
        plan = p.Filter(plan, over(kept, having))
    if level.windows:
        plan = p.Window(plan, tuple((key, _windowed(over, call, tree)) for key, call in level.windows.items()))
    if chosen is not None and qualify is not None:
        if not level.windows:
            raise BindError(
                "QUALIFY needs a window function in it or in the select list", code="qualify_without_window",
                hint="use HAVING or WHERE", location=binder.text.of(qualify),
            )  # fmt: skip
        plan = p.Filter(plan, over(chosen, qualify))
    above = [(key, over(e, tree)) for key, e in level.unnests.items() if key not in below]
    if above:
        plan = p.Unnest(plan, tuple(above))

    columns = [
        (binder.keys.make(item.name), over(value, item.node or tree)) for item, value in zip(items, values, strict=True)
    ]
    placed = _Placed(binder, columns, over)
    keys = [placed.sort_key(item, distinct is not None and not on) for item in sort]
    groups = tuple(placed.column(item, False) for item in on)
    plan = p.Project(plan, (*columns, *placed.hidden))
    if distinct is not None:
        plan = p.Distinct(plan, groups, tuple(keys)) if on else p.Distinct(plan)
    if keys:
        plan = p.Sort(plan, tuple(keys))
    plan = limited(binder, tree, plan)
    if placed.hidden:
        plan = p.Project(plan, tuple((key, ColumnRef(e.type, key)) for key, e in columns))
    return plan, names


def _named_windows(binder: Binder, tree: exp.Select) -> dict[str, exp.Window]:
    named: dict[str, exp.Window] = {}
    for window in tree.args.get("windows") or ():
        name = window.this.name.lower()
        if name in named:
            raise BindError(f'window "{name}" is defined twice', code="window_twice", location=binder.text.of(window))
        named[name] = window
    return named


def _where(level: SelectLevel, tree: exp.Select, plan: p.Plan) -> p.Plan:
    where = tree.args.get("where")
    if where is None:
        return plan
    conditions = conditions_of_columns(level.binder, where.this, level.scope)
    binder = level.expressions("WHERE", NO_CALL)
    return p.Filter(plan, and_all([binder.boolean(condition) for condition in conditions]))


def _windowed(over: Over, call: WindowCall, tree: exp.Select) -> WindowCall:
    children = tuple(over(child, tree) for child in call.children())
    changed = call.with_children(children)
    assert isinstance(changed, WindowCall)
    return changed


def _distinct_on(level: SelectLevel, distinct: exp.Expression | None, names: tuple[str, ...]) -> list[OrderItem]:
    """The expressions of DISTINCT ON, which may be positions and aliases like those of ORDER BY."""
    if distinct is None or distinct.args.get("on") is None:
        return []
    on = distinct.args["on"]
    parts = on.expressions if isinstance(on, exp.Tuple) else [on.this if isinstance(on, exp.Paren) else on]
    order = exp.Order(expressions=[exp.Ordered(this=part) for part in parts])
    return order_items(level.expressions("DISTINCT ON", ANY_CALL), order, names, "DISTINCT ON")


class _Placed:
    """ORDER BY and DISTINCT ON over the projected columns; what is not among them becomes a hidden column."""

    def __init__(self, binder: Binder, columns: list[tuple[str, Expr]], over: Over) -> None:
        self._binder = binder
        self._columns = columns
        self._over = over
        self.hidden: list[tuple[str, Expr]] = []

    def sort_key(self, item: OrderItem, only_listed: bool) -> SortKey:
        return SortKey(self.column(item, only_listed), item.descending, item.nulls_first)

    def column(self, item: OrderItem, only_listed: bool) -> Expr:
        if item.place is not None:
            key, value = self._columns[item.place]
            return ColumnRef(value.type, key)
        assert item.expr is not None
        value = self._over(item.expr, item.node)
        same = next((key for key, e in (*self._columns, *self.hidden) if e == value), None)
        if same is None:
            if only_listed:
                raise BindError(
                    "with DISTINCT, ORDER BY may only use columns of the select list", code="order_by_distinct",
                    location=self._binder.text.of(item.node),
                )  # fmt: skip
            same = self._binder.keys.make("order")
            self.hidden.append((same, value))
        return ColumnRef(value.type, same)
