"""Expressions of constants are computed once, at planning time."""

from __future__ import annotations

import pyarrow as pa

from sqlengine.errors import Error
from sqlengine.expr.nodes import Call, Case, Cast, Expr, Lambda, Literal
from sqlengine.optimizer.traits import has_lifted, is_volatile
from sqlengine.plan.keys import map_plan_exprs
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings


def fold_constants(plan: Plan, settings: Settings) -> Plan:
    """What fails to compute stays: a query that never reaches the expression must not fail because of it.

    >>> from sqlengine.optimizer.examples import call, number, table, x
    >>> sum_ = call("add", number(1), number(2), type=pa.int64())
    >>> from sqlengine.plan.nodes import Filter
    >>> fold_constants(Filter(table("t", x), call("eq", x, sum_)), Settings()).predicate.args[1].value
    3
    """
    return map_plan_exprs(plan, lambda e: _fold(e, settings))


def _fold(expr: Expr, settings: Settings) -> Expr:
    from sqlengine.expr.evaluate import evaluate

    if not isinstance(expr, Call | Cast | Case) or not all(isinstance(c, Literal) for c in expr.children()):
        return expr
    if isinstance(expr, Lambda) or is_volatile(expr) or has_lifted(expr):
        return expr
    one_row = pa.RecordBatch.from_arrays([pa.nulls(1)], names=["row"])
    try:
        value = evaluate(expr, one_row, settings)[0]
        plain = value.as_py()
        # A value that Python cannot hold exactly (nanoseconds, for one) stays an expression.
        if not pa.scalar(plain, expr.type).equals(value) and plain == plain:
            return expr
        return Literal(expr.type, plain)
    except (Error, pa.ArrowException, ValueError, TypeError, OverflowError, ImportError):
        return expr
