"""The share of rows for which a predicate is true, from what is known about its columns."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

from sqlengine.expr.nodes import Call, Cast, ColumnRef, Expr, Literal, columns_of
from sqlengine.expr.statistics import Stats

# Used where nothing is known; the customary guesses.
DEFAULTS = {"eq": 0.1, "range": 0.3, "like": 0.1, "other": 0.3, "distinct": 0.1}
_FLIPPED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


def distinct_of(expr: Expr, stats: Stats) -> float:
    """Distinct values of an expression over an input, at least 1."""
    if isinstance(expr, Literal):
        return 1.0
    rows = max(1.0, stats.rows)
    if isinstance(expr, ColumnRef):
        facts = stats.columns.get(expr.key)
        if facts is not None and facts.distinct is not None:
            return max(1.0, min(facts.distinct, rows))
        if facts is not None:
            low, high = _number(facts.min), _number(facts.max)
            if isinstance(facts.min, int | datetime.date) and low is not None and high is not None:
                return max(1.0, min(rows, high - low + 1))
        return max(1.0, rows * DEFAULTS["distinct"])
    if isinstance(expr, Cast):
        return distinct_of(expr.arg, stats)
    product = 1.0
    for key in columns_of(expr):
        node = ColumnRef(expr.type, key)
        product *= distinct_of(node, stats)
    return min(rows, product)


def selectivity(predicate: Expr, stats: Stats) -> float:
    """Between 0 and 1.

    >>> from sqlengine.expr.statistics import ColumnStats
    >>> from sqlengine.optimizer.examples import call, number, x
    >>> facts = Stats(1000.0, 0.0, {"x#1": ColumnStats(50.0, 0, 100)})
    >>> selectivity(call("eq", x, number(7)), facts), selectivity(call("lt", x, number(25)), facts)
    (0.02, 0.25)
    """
    match predicate:
        case Literal():
            return 1.0 if predicate.value is True else 0.0
        case Call(name="and"):
            share = 1.0
            for arg in predicate.args:
                share *= selectivity(arg, stats)
            return share
        case Call(name="or"):
            miss = 1.0
            for arg in predicate.args:
                miss *= 1.0 - selectivity(arg, stats)
            return 1.0 - miss
        case Call(name="not"):
            return 1.0 - selectivity(predicate.args[0], stats)
        case Call(name="eq" | "is_not_distinct"):
            return _equal(predicate.args[0], predicate.args[1], stats)
        case Call(name="ne" | "is_distinct"):
            return 1.0 - _equal(predicate.args[0], predicate.args[1], stats)
        case Call(name="in"):
            return min(1.0, sum(_equal(predicate.args[0], value, stats) for value in predicate.args[1:]))
        case Call(name="lt" | "le" | "gt" | "ge"):
            return _range(predicate, stats)
        case Call(name="is_null"):
            return _nulls(predicate.args[0], stats)
        case Call(name="is_not_null"):
            return 1.0 - _nulls(predicate.args[0], stats)
        case Call(name="like" | "ilike" | "glob" | "starts_with" | "contains" | "regexp_matches"):
            return DEFAULTS["like"]
        case _:
            return DEFAULTS["other"]


def _nulls(expr: Expr, stats: Stats) -> float:
    facts = stats.columns.get(expr.key) if isinstance(expr, ColumnRef) else None
    return facts.null_fraction if facts is not None else 0.05


def _equal(a: Expr, b: Expr, stats: Stats) -> float:
    for column, value in ((a, b), (b, a)):
        facts = stats.columns.get(column.key) if isinstance(column, ColumnRef) else None
        if facts is not None and isinstance(value, Literal):
            low, high, at = _number(facts.min), _number(facts.max), _number(value.value)
            if low is not None and high is not None and at is not None and not low <= at <= high:
                return 0.0
    if isinstance(a, Literal) and isinstance(b, Literal):
        return DEFAULTS["eq"]
    known = [distinct_of(e, stats) for e in (a, b) if not isinstance(e, Literal)]
    return 1.0 / max(known)


def _range(predicate: Call, stats: Stats) -> float:
    name, (a, b) = predicate.name, predicate.args
    if isinstance(a, Literal):
        name, a, b = _FLIPPED[name], b, a
    if not (isinstance(a, ColumnRef) and isinstance(b, Literal)) or a.key not in stats.columns:
        return DEFAULTS["range"]
    facts = stats.columns[a.key]
    low, high, at = _number(facts.min), _number(facts.max), _number(b.value)
    if low is None or high is None or at is None:
        return DEFAULTS["range"]
    if high <= low:
        return 1.0
    below = min(1.0, max(0.0, (at - low) / (high - low)))
    return below if name in ("lt", "le") else 1.0 - below


def _number(value: Any) -> float | None:
    match value:
        case bool() | None:
            return None
        case int() | float() | decimal.Decimal():
            return float(value)
        case datetime.datetime():
            return value.replace(tzinfo=datetime.UTC).timestamp() / 86400
        case datetime.date():
            return float(value.toordinal() - datetime.date(1970, 1, 1).toordinal())
        case _:
            return None


def join_selectivity(parts: Sequence[Expr], left: Stats, right: Stats) -> float:
    """The share of the cross product that meets the conditions: for an equality one over the larger number of distinct
    values; several equalities together are not taken to be more selective than a key of the larger side."""
    columns = {**left.columns, **right.columns}
    both = Stats(max(left.rows, right.rows), 0.0, columns)
    equal, rest = 1.0, 1.0
    for part in parts:
        if isinstance(part, Call) and part.name in ("eq", "is_not_distinct"):
            a, b = part.args
            if columns_of(a) and columns_of(b):
                distinct = max(_side_distinct(a, left, right), _side_distinct(b, left, right))
                equal *= 1.0 / distinct
                continue
        rest *= selectivity(part, both)
    return max(equal, 1.0 / max(1.0, left.rows, right.rows)) * rest if equal < 1.0 else rest


def _side_distinct(expr: Expr, left: Stats, right: Stats) -> float:
    on_left = columns_of(expr) & left.columns.keys()
    return distinct_of(expr, left if on_left else right)
