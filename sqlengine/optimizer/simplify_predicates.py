"""Boolean algebra: constants in AND, OR, NOT and CASE, negations moved inwards, common parts taken out of ORs.

`(a and b) or (a and c)` becomes `a and (b or c)`, so that `a` can become a join condition. From an OR over several
tables whose every branch restricts one of them, the restriction of that table is derived in addition.
"""

from __future__ import annotations

import pyarrow as pa

from sqlengine.expr.nodes import FALSE, TRUE, Call, Case, Expr, Literal, and_all, columns_of, conjuncts
from sqlengine.optimizer.traits import is_volatile
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import map_plan_exprs
from sqlengine.plan.nodes import Plan, map_exprs
from sqlengine.settings import Settings
from sqlengine.tree import transform_up

_BOOL = pa.bool_()
_NEGATED = {
    "eq": "ne", "ne": "eq", "is_null": "is_not_null", "is_not_null": "is_null", "is_distinct": "is_not_distinct",
    "is_not_distinct": "is_distinct",
}  # fmt: skip
# With NaN as the largest value the order is total, so these too have opposites.
_OPPOSITE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


def simplify_predicates(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import call, table, x, y, z
    >>> same, low, high = call("eq", x, y), call("is_null", z), call("is_null", x)
    >>> either = call("or", call("and", same, low), call("and", same, high))
    >>> plan = simplify_predicates(plans.Filter(table("t", x, y, z), either), Settings())
    >>> [p.name for p in conjuncts(plan.predicate)]
    ['eq', 'or']
    """
    plan = map_plan_exprs(plan, _simplify_one)

    def node(plan: Plan) -> Plan:
        if isinstance(plan, plans.Filter) or (isinstance(plan, plans.Join) and plan.kind in ("inner", "cross")):
            return map_exprs(plan, lambda e: _with_derived(factored(e)))
        if isinstance(plan, plans.Join) and not plan.null_aware and plan.kind != "mark":
            return map_exprs(plan, factored)
        return plan

    return transform_up(plan, node)


def or_all(parts: list[Expr]) -> Expr:
    """The disjunction of the parts; FALSE for none."""
    if not parts:
        return FALSE
    result = parts[0]
    for part in parts[1:]:
        result = Call(_BOOL, "or", (result, part))
    return result


def disjuncts(expr: Expr) -> list[Expr]:
    if isinstance(expr, Call) and expr.name == "or":
        return [part for arg in expr.args for part in disjuncts(arg)]
    return [] if expr == FALSE else [expr]


def _simplify_one(expr: Expr) -> Expr:
    match expr:
        case Call(name="and"):
            if FALSE in expr.args:
                return FALSE
            rest = [a for a in expr.args if a != TRUE]
            return and_all(rest) if len(rest) < len(expr.args) else expr
        case Call(name="or"):
            if TRUE in expr.args:
                return TRUE
            rest = [a for a in expr.args if a != FALSE]
            return or_all(rest) if len(rest) < len(expr.args) else expr
        case Call(name="not"):
            return _negated(expr.args[0], expr)
        case Case():
            whens = tuple((c, v) for c, v in expr.whens if not (isinstance(c, Literal) and c.value is not True))
            if whens and whens[0][0] == TRUE:
                return whens[0][1]
            if not whens:
                return expr.otherwise
            return Case(expr.type, whens, expr.otherwise) if len(whens) < len(expr.whens) else expr
        case _:
            return expr


def _negated(arg: Expr, whole: Expr) -> Expr:
    match arg:
        case Literal():
            return arg if arg.value is None else (FALSE if arg.value else TRUE)
        case Call(name="not"):
            return arg.args[0]
        case Call(name="and"):
            return or_all([_negated(a, Call(_BOOL, "not", (a,))) for a in arg.args])
        case Call(name="or"):
            return and_all([_negated(a, Call(_BOOL, "not", (a,))) for a in arg.args])
        case Call() if arg.name in _NEGATED or arg.name in _OPPOSITE:
            return Call(_BOOL, _NEGATED.get(arg.name) or _OPPOSITE[arg.name], arg.args, arg.options, arg.location)
        case _:
            return whole


def factored(expr: Expr) -> Expr:
    """Conjuncts that all branches of an OR share are taken out of it."""
    parts = []
    for part in conjuncts(expr):
        branches = [conjuncts(b) for b in disjuncts(part)]
        if len(branches) < 2:
            parts.append(part)
            continue
        common = [c for c in branches[0] if not is_volatile(c) and all(c in other for other in branches[1:])]
        if not common:
            parts.append(part)
            continue
        rest = [and_all([c for c in branch if c not in common]) for branch in branches]
        parts += common
        if TRUE not in rest:
            parts.append(or_all(rest))
    return and_all(parts) if parts else expr


def _with_derived(expr: Expr) -> Expr:
    """For an OR over several columns' tables: what each branch says of one column alone, as a further conjunct."""
    parts = conjuncts(expr)
    derived: list[Expr] = []
    for part in parts:
        branches = [conjuncts(b) for b in disjuncts(part)]
        if len(branches) < 2 or is_volatile(part):
            continue
        alone = [[c for c in branch if len(columns_of(c)) == 1] for branch in branches]
        for key in sorted(set.intersection(*({k for c in found for k in columns_of(c)} for found in alone))):
            if columns_of(part) == {key}:
                continue
            own = [and_all([c for c in found if columns_of(c) == {key}]) for found in alone]
            new = or_all([own[0], *(o for i, o in enumerate(own) if i and o not in own[:i])])
            if new not in parts and new not in derived:
                derived.append(new)
    return and_all([*parts, *derived]) if derived else expr
