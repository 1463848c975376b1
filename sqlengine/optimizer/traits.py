"""What rules need to know of expressions: may it be moved or repeated, what does it cost."""

from __future__ import annotations

from sqlengine.expr.nodes import (
    Call,
    Case,
    Cast,
    ColumnRef,
    Expr,
    Lambda,
    LiftedCall,
    Literal,
    columns_of,
)
from sqlengine.tree import walk

# Two calls with the same arguments may give different values.
VOLATILE = frozenset({"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "currval", "setseed"})
_CHEAP = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "is_null", "is_not_null", "is_true", "is_false", "is_distinct",
    "is_not_distinct", "and", "or", "not", "add", "subtract", "multiply", "negate",
})  # fmt: skip
_SLOW = frozenset({"regexp_matches", "similar_to", "regexp_replace", "regexp_extract", "levenshtein", "jaccard"})


def has_lifted(expr: Expr) -> bool:
    """Whether the expression has a call that runs as an operator of its own (a user function, a download)."""
    return any(isinstance(node, LiftedCall) for node in walk(expr))


def is_volatile(expr: Expr) -> bool:
    from sqlengine.expr.registry import find_scalar

    for node in walk(expr):
        if isinstance(node, LiftedCall) and node.serial:
            return True
        if isinstance(node, Call):
            if node.name in VOLATILE:
                return True
            if node.name not in _CHEAP and bool(getattr(find_scalar(node.name), "volatile", False)):
                return True
    return False


def may_repeat(expr: Expr) -> bool:
    """Whether an expression may stand in two places: not volatile, cheap, no user function."""
    if isinstance(expr, ColumnRef | Literal):
        return True
    nodes = list(walk(expr))
    return len(nodes) <= 32 and not is_volatile(expr) and not has_lifted(expr)


def cost(expr: Expr) -> float:
    """A rough cost per row, in units of one comparison of numbers."""
    total = 0.0
    for node in walk(expr):
        match node:
            case ColumnRef() | Literal():
                continue
            case Call() if node.name in ("and", "or", "not", "is_null", "is_not_null"):
                total += 0.2
            case Call() if node.name in _CHEAP:
                text = any(str(arg.type) in ("string", "binary") for arg in node.args)
                total += 3 if text else 1
            case Call() if node.name == "in":
                total += 3
            case Call() if node.name in _SLOW:
                total += 40
            case LiftedCall():
                total += 10000
            case Lambda():
                total += 20
            case Cast() | Case():
                total += 3
            case _:
                total += 8
    return total


def reads_only(expr: Expr, columns: set[str]) -> bool:
    return columns_of(expr) <= columns
