"""Lowering of joins: equality conjuncts become hash keys, the rest a residual; which side is built on.

The build side of a symmetric join is the right one, unless the left is expected to be much smaller: the optimizer puts
the smaller side right where it may choose.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.errors import NotSupportedError
from sqlengine.expr.nodes import TRUE, Call, Expr, and_all, columns_of, conjuncts
from sqlengine.operators.asof_join import AsofJoin
from sqlengine.operators.base import Operator
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.nested_loop_join import NestedLoopJoin
from sqlengine.operators.positional_join import PositionalJoin
from sqlengine.physical.estimates import estimate
from sqlengine.plan.nodes import Join

if TYPE_CHECKING:
    from sqlengine.physical.lower import Lowering

_FROM_PROBE = {
    "inner": "inner", "cross": "inner", "left": "probe_outer", "full": "full", "semi": "probe_semi",
    "anti": "probe_anti", "mark": "mark", "single": "single",
}  # fmt: skip
# The same join with the sides changed: what was the build side is the probe side.
_SWAPPED = {"inner": "inner", "left": "build_outer", "semi": "build_semi", "anti": "build_anti", "full": "full"}
_SWAP_RATIO = 2.0
_TURNED = {"ge": "le", "gt": "lt", "le": "ge", "lt": "gt"}


def lower_join(lowering: Lowering, plan: Join) -> Operator:
    if plan.kind == "right":
        turned = replace(plan, left=plan.right, right=plan.left, kind="left")
        return lowering.only(lower_join(lowering, turned), plan.schema)
    left, right = lowering.lower(plan.left), lowering.lower(plan.right)
    if plan.kind == "positional":
        return PositionalJoin((left, right), plan.schema)
    pairs, others, null_equal = _equalities(plan)
    if plan.kind == "asof":
        return _asof(lowering, plan, left, right, pairs, others)
    needs_whole_condition = plan.null_aware and (len(pairs) != 1 or others)
    if not pairs or needs_whole_condition:
        residual = None if plan.condition == TRUE else plan.condition
        return NestedLoopJoin((left, right), plan.schema, _FROM_PROBE[plan.kind], residual, plan.null_aware, plan.mark)
    left, left_keys = lowering.with_columns(left, [a for a, _ in pairs])
    right, right_keys = lowering.with_columns(right, [b for _, b in pairs])
    residual = and_all(others) if others else None
    kind = _FROM_PROBE[plan.kind]
    probe, build, probe_keys, build_keys = left, right, left_keys, right_keys
    if plan.kind in _SWAPPED and not plan.null_aware and estimate(left).bytes * _SWAP_RATIO < estimate(right).bytes:
        kind = _SWAPPED[plan.kind]
        probe, build, probe_keys, build_keys = right, left, right_keys, left_keys
    return HashJoin(
        (probe, build), plan.schema, kind, probe_keys, build_keys, residual, plan.null_aware, plan.mark, null_equal,
        shared=True,
    )  # fmt: skip


def _asof(
    lowering: Lowering, plan: Join, left: Operator, right: Operator, pairs: list[tuple[Expr, Expr]], others: list[Expr]
) -> Operator:
    """Equality pairs and the one inequality, turned so that its left side is of the left input."""
    (inequality,) = others
    if not isinstance(inequality, Call) or inequality.name not in _TURNED:
        raise NotSupportedError("ASOF JOIN takes equalities and one inequality")
    (a, b), comparison = inequality.args, inequality.name
    if not columns_of(a) <= set(plan.left.schema.names):
        a, b, comparison = b, a, _TURNED[comparison]
    left, left_keys = lowering.with_columns(left, [*(e for e, _ in pairs), a])
    right, right_keys = lowering.with_columns(right, [*(e for _, e in pairs), b])
    schema = pa.schema([*left.schema, *right.schema])
    joined = AsofJoin(
        (left, right), schema, left_keys[:-1], right_keys[:-1], left_keys[-1], right_keys[-1], comparison, plan.outer
    )
    return lowering.only(joined, plan.schema)


def _equalities(plan: Join) -> tuple[list[tuple[Expr, Expr]], list[Expr], bool]:
    """Pairs (left expression, right expression) compared for equality, the other conjuncts, and whether NULLs match."""
    left, right = set(plan.left.schema.names), set(plan.right.schema.names)
    plain: list[tuple[Expr, Expr]] = []
    null_safe: list[tuple[Expr, Expr]] = []
    safe_exprs: list[Expr] = []
    others: list[Expr] = []
    for part in conjuncts(plan.condition):
        pair = None
        if isinstance(part, Call) and part.name in ("eq", "is_not_distinct"):
            a, b = part.args
            reads_a, reads_b = columns_of(a), columns_of(b)
            if reads_a and reads_b:
                if reads_a <= left and reads_b <= right:
                    pair = (a, b)
                elif reads_a <= right and reads_b <= left:
                    pair = (b, a)
        if pair is None:
            others.append(part)
        elif isinstance(part, Call) and part.name == "eq":
            plain.append(pair)
        else:
            null_safe.append(pair)
            safe_exprs.append(part)
    if plain:
        # One table treats NULLs in one way; the null-safe comparisons are checked on the pairs it finds.
        return plain, others + safe_exprs, False
    return null_safe, others, bool(null_safe)
