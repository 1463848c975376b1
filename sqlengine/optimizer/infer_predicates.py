"""What an equality join says of one side holds for the other: `a.x = b.y and a.x < 5` gives `b.y < 5`."""

from __future__ import annotations

from dataclasses import replace

from sqlengine.expr.nodes import Call, ColumnRef, Expr, and_all, columns_of, conjuncts
from sqlengine.optimizer.push_filters import push_filters
from sqlengine.optimizer.traits import is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import replace_columns
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import transform_up

_ROUNDS = 3
_LONGEST = 16  # conditions with more columns or parts than this are not worth a second evaluation


def infer_predicates(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, number, table, x, y
    >>> low = plans.Filter(table("t", x), call("lt", x, number(5)))
    >>> plan = infer_predicates(plans.Join(low, table("u", y), "inner", call("eq", x, y)), Settings())
    >>> len(plan.right.filters)
    1
    """
    for _ in range(_ROUNDS):
        new = transform_up(plan, _infer)
        if new is plan:
            return plan
        plan = push_filters(new, settings)
    return plan


def _infer(plan: Plan) -> Plan:
    if not isinstance(plan, plans.Join) or plan.null_aware:
        return plan
    to_left = plan.kind in ("inner", "right", "semi")
    to_right = plan.kind in ("inner", "left", "semi", "anti", "mark", "single")
    left, right = set(plan.left.schema.names), set(plan.right.schema.names)
    known_left, known_right = known(plan.left), known(plan.right)
    new_left: list[Expr] = []
    new_right: list[Expr] = []
    for part in conjuncts(plan.condition):
        match part:
            case Call(name="eq", args=(ColumnRef() as a, ColumnRef() as b)) if a.type == b.type:
                if a.key in right:
                    a, b = b, a
                if a.key not in left or b.key not in right:
                    continue
                if to_right:
                    new_right += _moved(known_left, a, b)
                if to_left:
                    new_left += _moved(known_right, b, a)
    new_left = [p for i, p in enumerate(new_left) if p not in known_left and p not in new_left[:i]]
    new_right = [p for i, p in enumerate(new_right) if p not in known_right and p not in new_right[:i]]
    if new_left:
        plan = replace(plan, left=plans.Filter(plan.left, and_all(new_left)))
    if new_right:
        plan = replace(plan, right=plans.Filter(plan.right, and_all(new_right)))
    return plan


def _moved(predicates: list[Expr], source: ColumnRef, target: ColumnRef) -> list[Expr]:
    return [
        replace_columns(p, {source.key: target})
        for p in predicates
        if columns_of(p) == {source.key} and not is_volatile(p) and _short(p)
    ]


def _short(expr: Expr) -> bool:
    return len(conjuncts(expr)) <= _LONGEST


def known(plan: Plan) -> list[Expr]:
    """Predicates over one column that hold for every row of the plan."""
    match plan:
        case plans.Scan():
            return [p for p in plan.filters if len(columns_of(p)) == 1]
        case plans.Filter():
            return [p for p in conjuncts(plan.predicate) if len(columns_of(p)) == 1] + known(plan.input)
        case plans.Project():
            passed = {key for key, e in plan.columns if isinstance(e, ColumnRef) and e.key == key}
            return [p for p in known(plan.input) if columns_of(p) <= passed]
        case plans.Aggregate(sets=None):
            passed = {key for key, e in plan.keys if isinstance(e, ColumnRef) and e.key == key}
            return [p for p in known(plan.input) if columns_of(p) <= passed]
        case plans.Distinct() | plans.Sort() | plans.Limit() | plans.Window() | plans.Unnest() | plans.Sample():
            return known(plan.input)
        case plans.Join(kind="inner" | "cross"):
            return known(plan.left) + known(plan.right)
        case plans.Join(kind="left" | "semi" | "anti" | "mark" | "single" | "asof"):
            return known(plan.left)
        case plans.Join(kind="right"):
            return known(plan.right)
        case _:
            return []
