"""How many rows and bytes a plan is expected to give, and what its columns look like.

The formulas are the textbook ones (Selinger and others, "Access Path Selection", 1979): independence of predicates,
uniform values between min and max, and containment of the smaller value set in joins. Numbers without a source:
`selectivity.DEFAULTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from sqlengine.expr.nodes import Call, ColumnRef, Expr, Literal, conjuncts
from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.optimizer.selectivity import distinct_of, join_selectivity, selectivity
from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import Plan

_TEXT_WIDTH = 20.0
_NESTED_WIDTH = 40.0
_AVERAGE_LIST = 5.0
_UNKNOWN_ROWS = 1000.0


def estimate(plan: Plan, held: Mapping[str, Stats] | None = None) -> Stats:
    """Expected rows, bytes and column facts of a plan. `held`: the estimates of plans that `SharedRef`s read."""
    return _with_bytes(_estimate(plan, held or {}), plan)


def type_width(type_: pa.DataType) -> float:
    """Bytes of one value in Arrow form, guessed for values of variable length."""
    if pa.types.is_boolean(type_):
        return 0.125
    if pa.types.is_string(type_) or pa.types.is_binary(type_):
        return _TEXT_WIDTH
    try:
        return float(type_.bit_width) / 8
    except ValueError:
        return _NESTED_WIDTH


def _with_bytes(stats: Stats, plan: Plan) -> Stats:
    width = 0.0
    for f in plan.schema:
        known = stats.columns.get(f.name)
        width += known.width if known is not None and known.width is not None else type_width(f.type)
    return replace(stats, bytes=stats.rows * width)


def _scaled(stats: Stats, rows: float) -> Stats:
    """The same columns with fewer rows: no column has more distinct values than there are rows."""
    columns = {
        key: replace(c, distinct=min(c.distinct, max(1.0, rows))) if c.distinct is not None else c
        for key, c in stats.columns.items()
    }
    return Stats(rows, stats.bytes, columns, stats.origin)


def _estimate(plan: Plan, held: Mapping[str, Stats]) -> Stats:
    match plan:
        case plans.Scan():
            raw = plan.source.stats([name for name, _ in plan.columns])
            columns = {key: raw.columns[name] for name, key in plan.columns if name in raw.columns}
            stats = Stats(raw.rows, raw.bytes, columns, raw.origin)
            return _filtered(stats, plan.filters)
        case plans.Values():
            return Stats(float(len(plan.rows)), 0.0, {}, "actual")
        case plans.TableFunction():
            return Stats(_UNKNOWN_ROWS, 0.0)
        case plans.Filter():
            return _filtered(_estimate(plan.input, held), tuple(conjuncts(plan.predicate)))
        case plans.Project():
            below = _estimate(plan.input, held)
            return Stats(below.rows, 0.0, {k: _column(e, below) for k, e in plan.columns}, below.origin)
        case plans.Aggregate():
            return _aggregate(plan, _estimate(plan.input, held))
        case plans.Distinct():
            below = _estimate(plan.input, held)
            exprs = plan.on if plan.on is not None else [ColumnRef(f.type, f.name) for f in plan.schema]
            return _scaled(below, _groups(tuple(exprs), below))
        case plans.Sort():
            below = _estimate(plan.input, held)
            return below if plan.limit is None else _scaled(below, min(below.rows, float(plan.limit)))
        case plans.Limit():
            below = _estimate(plan.input, held)
            if plan.percent is not None:
                return _scaled(below, below.rows * plan.percent / 100)
            left = max(0.0, below.rows - plan.offset)
            return _scaled(below, left if plan.count is None else min(left, float(plan.count)))
        case plans.Sample():
            below = _estimate(plan.input, held)
            rows = below.rows * plan.fraction if plan.fraction is not None else min(below.rows, float(plan.rows or 0))
            return _scaled(below, rows)
        case plans.OneRowOnly():
            return _scaled(_estimate(plan.input, held), 1.0)
        case plans.Join():
            return _join(plan, _estimate(plan.left, held), _estimate(plan.right, held))
        case plans.Union():
            inputs = [_estimate(child, held) for child in plan.inputs]
            return Stats(sum(s.rows for s in inputs), 0.0, {}, inputs[0].origin if inputs else "default")
        case plans.SetOperation():
            left, right = _estimate(plan.left, held), _estimate(plan.right, held)
            return Stats(min(left.rows, right.rows) if plan.kind == "intersect" else left.rows, 0.0, {}, left.origin)
        case plans.Unnest():
            return _scaled(below := _estimate(plan.input, held), below.rows * _AVERAGE_LIST)
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


def _filtered(stats: Stats, predicates: tuple[Expr, ...]) -> Stats:
    share = 1.0
    for part in predicates:
        share *= selectivity(part, stats)
    result = _scaled(stats, max(stats.rows * share, min(stats.rows, 1.0)))
    for part in predicates:
        if isinstance(part, Call) and part.name == "eq":
            for a, b in (part.args, part.args[::-1]):
                if isinstance(a, ColumnRef) and isinstance(b, Literal):
                    facts = {**result.columns, a.key: ColumnStats(1.0, b.value, b.value)}
                    result = replace(result, columns=facts)
    return result


def _column(expr: Expr, stats: Stats) -> ColumnStats:
    if isinstance(expr, ColumnRef):
        return stats.columns.get(expr.key, ColumnStats())
    if isinstance(expr, Literal):
        return ColumnStats(1.0, expr.value, expr.value)
    return ColumnStats(distinct_of(expr, stats))


def _groups(keys: tuple[Expr, ...], stats: Stats) -> float:
    if not keys:
        return 1.0
    product = 1.0
    for key in keys:
        product *= distinct_of(key, stats)
    return max(min(product, stats.rows), min(stats.rows, 1.0))


def _aggregate(plan: plans.Aggregate, below: Stats) -> Stats:
    if plan.sets is None:
        rows = _groups(tuple(e for _, e in plan.keys), below)
    else:
        rows = sum(_groups(tuple(plan.keys[i][1] for i in chosen), below) for chosen in plan.sets)
    columns = {key: _column(e, below) for key, e in plan.keys}
    return _scaled(Stats(rows, 0.0, columns, below.origin), rows)


def _join(plan: plans.Join, left: Stats, right: Stats) -> Stats:
    both = Stats(left.rows * right.rows, 0.0, {**left.columns, **right.columns}, left.origin)
    if plan.kind in ("single", "mark", "positional", "asof"):
        return Stats(left.rows, 0.0, both.columns, left.origin)
    share = join_selectivity(conjuncts(plan.condition), left, right)
    matched = both.rows * share
    match plan.kind:
        case "semi" | "anti":
            # Of the left rows those whose value is among the right side's.
            fraction = min(1.0, right.rows * share) if conjuncts(plan.condition) else min(1.0, right.rows)
            rows = left.rows * (fraction if plan.kind == "semi" else max(0.05, 1.0 - fraction))
            return _scaled(left, max(rows, min(left.rows, 1.0)))
        case "left":
            matched = max(matched, left.rows)
        case "right":
            matched = max(matched, right.rows)
        case "full":
            matched = max(matched, left.rows, right.rows)
        case _:
            matched = max(matched, min(both.rows, 1.0))
    return _scaled(both, matched)
