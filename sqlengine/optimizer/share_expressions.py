"""Common subexpressions are computed once: what several columns, keys or aggregates of a node need becomes a column of
a projection below it.

Only what is evaluated for every row anyway is shared: the branches of CASE, the later arguments of AND, OR and
COALESCE, and the bodies of lambdas are left alone, since rows may never reach them. Arithmetic is left alone too: trees
of it run as one pass, which costs less than another column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlengine.expr.nodes import (
    AggregateCall,
    Call,
    Case,
    ColumnRef,
    Expr,
    Lambda,
    LiftedCall,
    Literal,
    WindowCall,
    columns_of,
)
from sqlengine.optimizer.traits import cost, is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import key_maker, refs
from sqlengine.plan.nodes import Plan, map_exprs
from sqlengine.settings import Settings
from sqlengine.tree import transform_up

_WORTH = 6.0  # in the units of `traits.cost`: one arithmetic operation, or comparison of numbers, is 1


def share_expressions(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, number, table, x, y
    >>> twice = call("gcd", x, y, type=x.type)
    >>> columns = (("a#8", twice), ("b#9", call("add", twice, number(1), type=x.type)))
    >>> shared = share_expressions(plans.Project(table("t", x, y), columns), Settings())
    >>> type(shared.input).__name__, len(shared.input.columns)
    ('Project', 1)
    """
    keys = None

    def change(node: Plan) -> Plan:
        nonlocal keys
        if not isinstance(node, plans.Project | plans.Aggregate):
            return node
        found = _repeated(list(node.exprs()))
        if not found:
            return node
        if keys is None:
            keys = key_maker(plan)
        made = {expr: keys.make("shared") for expr in found}
        new = {expr: ColumnRef(expr.type, key) for expr, key in made.items()}
        changed = [_replaced(e, new) for e in node.exprs()]
        read = {key for e in changed for key in columns_of(e)} & set(node.input.schema.names)
        passed = refs(node.input, [name for name in node.input.schema.names if name in read])
        both = plans.Project(node.input, (*refs(node.input), *((key, e) for e, key in made.items())))
        items = iter(changed)
        # While its expressions change the node sees old and new columns; then only those that it reads.
        rewritten = map_exprs(node.with_children((both,)), lambda e: next(items))
        below = plans.Project(node.input, (*passed, *((key, e) for e, key in made.items())))
        return rewritten.with_children((below,))

    return transform_up(plan, change)


def _repeated(exprs: list[Expr]) -> list[Expr]:
    """The largest subexpressions that are evaluated more than once, worth a column."""
    counts = Counter(e for expr in exprs for e in _always(expr) if _shareable(e))
    if not any(count > 1 for count in counts.values()):
        return []
    largest: list[Expr] = []

    def visit(expr: Expr) -> None:
        if counts.get(expr, 0) > 1:
            if expr not in largest:
                largest.append(expr)
            return
        for child in _evaluated(expr):
            visit(child)

    for expr in exprs:
        visit(expr)
    return largest


def _shareable(expr: Expr) -> bool:
    if isinstance(expr, ColumnRef | Literal | AggregateCall | WindowCall | LiftedCall | Lambda):
        return False
    return cost(expr) >= _WORTH and bool(columns_of(expr)) and not is_volatile(expr)


def _always(expr: Expr) -> Iterator[Expr]:
    """The expression and all below it that every row evaluates."""
    yield expr
    for child in _evaluated(expr):
        yield from _always(child)


def _evaluated(expr: Expr) -> tuple[Expr, ...]:
    """The children that are evaluated whenever the expression is."""
    match expr:
        case Case():
            return (expr.whens[0][0],)
        case Call(name="and" | "or" | "coalesce" | "try"):
            return expr.args[:1] if expr.name != "try" else ()
        case Lambda():
            return ()
        case AggregateCall():
            # The filter is tested first, and only rows that pass reach the arguments.
            return expr.children() if expr.filter is None else (expr.filter,)
        case Call() if any(isinstance(arg, Lambda) for arg in expr.args):
            return tuple(arg for arg in expr.args if not isinstance(arg, Lambda))
        case _:
            return expr.children()


def _replaced(expr: Expr, new: dict[Expr, ColumnRef]) -> Expr:
    """Every occurrence, also where it is not always evaluated: the value is there now."""
    return transform_up(expr, lambda e: new.get(e, e))
