"""Where NULLs go: expressions that are certainly NULL, predicates that NULLs cannot pass."""

from __future__ import annotations

from sqlengine.expr.nodes import TRUE, Call, Cast, ColumnRef, Expr, Literal

# NULL if any argument is: comparisons, arithmetic, most text functions; what is not here is taken not to be.
_STRICT = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "add", "subtract", "multiply", "divide", "int_divide", "negate",
    "modulo", "power", "like", "ilike", "not", "similar_to", "regexp_matches", "glob", "upper", "lower", "length",
    "substring", "abs", "round", "year", "month", "day", "date_part", "trim", "starts_with", "contains",
})  # fmt: skip


def rejects_nulls(predicate: Expr, columns: set[str]) -> bool:
    """Whether the predicate cannot be true in a row in which all of `columns` are NULL.

    Sound, not complete: false when in doubt.
    """
    match predicate:
        case Literal():
            return predicate != TRUE
        case Call(name="and"):
            return any(rejects_nulls(arg, columns) for arg in predicate.args)
        case Call(name="or"):
            return all(rejects_nulls(arg, columns) for arg in predicate.args)
        case Call(name="is_not_null"):
            return certainly_null(predicate.args[0], columns)
        case Call(name="not", args=(Call(name="is_null") as inner,)):
            return certainly_null(inner.args[0], columns)
        case Call(name="is_true"):
            return rejects_nulls(predicate.args[0], columns)
        case _:
            return certainly_null(predicate, columns)


def certainly_null(expr: Expr, columns: set[str]) -> bool:
    """Whether the expression is NULL wherever the columns are; false when in doubt."""
    match expr:
        case ColumnRef():
            return expr.key in columns
        case Literal():
            return expr.value is None
        case Cast():
            return certainly_null(expr.arg, columns)
        case Call(name="in"):
            return certainly_null(expr.args[0], columns)
        case Call() if expr.name in _STRICT:
            return any(certainly_null(arg, columns) for arg in expr.args)
        case Call(name="and" | "or"):
            return all(certainly_null(arg, columns) for arg in expr.args)
        case _:
            return False
