"""How many rows and bytes a plan is expected to give, and what its columns look like (formulas: `expr.selectivity`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from sqlengine.expr.nodes import AggregateCall, Call, Cast, ColumnRef, Expr, Literal, columns_of, conjuncts
from sqlengine.expr.selectivity import (
    distinct_of,
    equi_join,
    filtered,
    group_count,
    scaled,
    table_stats,
    with_bytes,
)
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan

_AVERAGE_LIST = 5.0
_UNKNOWN_ROWS = 1000.0


def estimate(plan: Plan, held: Mapping[str, Stats] | None = None) -> Stats:
    """Expected rows, bytes and column facts of a plan. `held`: the estimates of plans that `SharedRef`s read."""
    return with_bytes(_estimate(plan, held or {}), plan.schema)


def _scanned(plan: plans.Scan) -> Stats:
    """Rules ask about the same scan again and again, so what it says is kept beside the node's fields."""
    found: Stats | None = plan.__dict__.get("_stats")
    if found is None:
        raw = plan.source.stats([name for name, _ in plan.columns])
        found = filtered(table_stats(raw, plan.columns), plan.filters)
        plan.__dict__["_stats"] = found
    return found


def _estimate(plan: Plan, held: Mapping[str, Stats]) -> Stats:
    match plan:
        case plans.Scan():
            return _scanned(plan)
        case plans.Values():
            return Stats(float(len(plan.rows)), 0.0, {}, "actual")
        case plans.TableFunction():
            return Stats(_UNKNOWN_ROWS, 0.0)
        case plans.Filter():
            return filtered(_estimate(plan.input, held), conjuncts(plan.predicate))
        case plans.Project():
            below = _estimate(plan.input, held)
            return Stats(below.rows, 0.0, {k: _column(e, below) for k, e in plan.columns}, below.origin)
        case plans.Aggregate():
            return _aggregate(plan, _estimate(plan.input, held))
        case plans.Distinct():
            below = _estimate(plan.input, held)
            exprs = plan.on if plan.on is not None else [ColumnRef(f.type, f.name) for f in plan.schema]
            return scaled(below, group_count(exprs, below))
        case plans.Sort():
            below = _estimate(plan.input, held)
            return below if plan.limit is None else scaled(below, min(below.rows, float(plan.limit)))
        case plans.Limit():
            below = _estimate(plan.input, held)
            if plan.percent is not None:
                return scaled(below, below.rows * plan.percent / 100)
            rest = max(0.0, below.rows - plan.offset)
            return scaled(below, rest if plan.count is None else min(rest, float(plan.count)))
        case plans.Sample():
            below = _estimate(plan.input, held)
            kept = below.rows * plan.fraction if plan.fraction is not None else min(below.rows, float(plan.rows or 0))
            return scaled(below, kept)
        case plans.OneRowOnly():
            return scaled(_estimate(plan.input, held), 1.0)
        case plans.Join():
            pairs, others = _pairs(plan)
            return equi_join(plan.kind, pairs, _estimate(plan.left, held), _estimate(plan.right, held), others)
        case plans.Union():
            inputs = [_estimate(child, held) for child in plan.inputs]
            return Stats(sum(s.rows for s in inputs), 0.0, {}, inputs[0].origin if inputs else "default")
        case plans.SetOperation():
            left, right = _estimate(plan.left, held), _estimate(plan.right, held)
            return Stats(min(left.rows, right.rows) if plan.kind == "intersect" else left.rows, 0.0, {}, left.origin)
        case plans.Unnest():
            below = _estimate(plan.input, held)
            return scaled(below, below.rows * _AVERAGE_LIST)
        case plans.SharedPlan():
            return _estimate(plan.body, {**held, plan.name: _estimate(plan.definition, held)})
        case plans.SharedRef():
            known = held.get(plan.name)
            if known is None:
                return Stats(_UNKNOWN_ROWS, 0.0)
            columns = {new: known.columns[old] for old, new, _ in plan.columns if old in known.columns}
            return Stats(known.rows, 0.0, columns, known.origin)
        case plans.Recursion():
            base = _estimate(plan.base, held)
            return Stats(base.rows * 10, 0.0)
        case plans.Write():
            return Stats(1.0, 8.0)
        case _:
            children = plan.children()
            return _estimate(children[0], held) if children else Stats(_UNKNOWN_ROWS, 0.0)


def _column(expr: Expr, stats: Stats) -> ColumnStats:
    match expr:
        case ColumnRef():
            return stats.columns.get(expr.key, ColumnStats())
        case Literal():
            return ColumnStats(1.0, expr.value, expr.value)
        case Cast():
            return replace(_column(expr.arg, stats), width=None)
        case _:
            return ColumnStats(distinct_of(expr, stats))


def _aggregate(plan: plans.Aggregate, below: Stats) -> Stats:
    if plan.sets is None:
        rows = group_count([e for _, e in plan.keys], below)
    else:
        rows = sum(group_count([plan.keys[i][1] for i in chosen], below) for chosen in plan.sets)
    columns = {key: _column(e, below) for key, e in plan.keys}
    if plan.sets is None and len(columns) == 1:
        # One row per value: a key, whatever it was below.
        columns = {key: replace(c, distinct=rows, domain=c.domain or rows, table_rows=c.domain or rows)
                   for key, c in columns.items()}  # fmt: skip
    result = scaled(Stats(rows, 0.0, columns, below.origin), rows)
    size = below.rows / max(1.0, rows)
    made = {key: _aggregated(call, below, size) for key, call in plan.aggregates}
    return replace(result, columns={**result.columns, **made})


def _aggregated(call: AggregateCall, below: Stats, size: float) -> ColumnStats:
    """The range of an aggregate over groups of `size` rows."""
    if call.name in ("count", "count_star"):
        return ColumnStats(None, 0.0, 2 * size)
    facts = _column(call.args[0], below) if call.args else ColumnStats()
    low, high = facts.min, facts.max
    if (
        isinstance(low, bool)
        or not isinstance(low, int | float | Decimal)
        or not isinstance(high, int | float | Decimal)
    ):
        return ColumnStats()
    match call.name:
        case "avg" | "min" | "max":
            return ColumnStats(None, float(low), float(high))
        case "sum":
            return ColumnStats(None, float(low) * size, float(high) * size)
        case _:
            return ColumnStats()


def _pairs(plan: plans.Join) -> tuple[list[tuple[Expr, Expr]], list[Expr]]:
    """Equalities of an expression of the left side with one of the right side, and the other conjuncts."""
    left, right = set(plan.left.schema.names), set(plan.right.schema.names)
    pairs: list[tuple[Expr, Expr]] = []
    others: list[Expr] = []
    for part in conjuncts(plan.condition):
        if isinstance(part, Call) and part.name in ("eq", "is_not_distinct"):
            a, b = part.args
            reads_a, reads_b = columns_of(a), columns_of(b)
            if reads_a and reads_b and reads_a <= left and reads_b <= right:
                pairs.append((a, b))
                continue
            if reads_a and reads_b and reads_a <= right and reads_b <= left:
                pairs.append((b, a))
                continue
        others.append(part)
    return pairs, others
