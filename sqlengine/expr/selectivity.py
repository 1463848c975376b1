"""Which share of the rows meets a predicate, and how many rows filters, groupings and joins leave.

The formulas are the textbook ones (Selinger and others, "Access Path Selection", 1979): independence of predicates,
uniform values between min and max, and containment of the smaller value set in joins. Two refinements: the bounds of a
range on one column are taken together, and distinct values after a filter follow Cardenas ("Analysis and performance of
inverted data base structures", 1975).
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Call, Cast, ColumnRef, Expr, Literal, columns_of
from sqlengine.expr.statistics import ColumnStats, Stats

# Used where nothing is known; the customary guesses.
DEFAULTS = {"eq": 0.1, "range": 0.3, "like": 0.1, "other": 0.3, "distinct": 0.1}
_FEW_ROWS = 100.0  # of a smaller table without statistics every row is taken to be different
_LEAST_RANGE = 0.0005  # footers are exact, but the ranges of computed columns are guesses
_LEAST_ANTI = 0.05
_UNIQUE = 0.9  # a column with so many distinct values per row is taken to be a key of its table
_FLIPPED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}
_KEEPS_DISTINCT = frozenset({"add", "subtract", "multiply", "negate", "concat"})
_TEXT_WIDTH = 20.0
_NESTED_WIDTH = 40.0


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


def with_bytes(stats: Stats, schema: pa.Schema) -> Stats:
    """The estimate with the bytes that its rows take with the columns of `schema`."""
    width = 0.0
    for f in schema:
        known = stats.columns.get(f.name)
        width += known.width if known is not None and known.width is not None else type_width(f.type)
    return replace(stats, bytes=stats.rows * width)


def table_stats(raw: Stats, columns: Sequence[tuple[str, str]]) -> Stats:
    """What a source says of itself, under keys (`columns`: pairs of name and key)."""
    facts = {
        key: replace(raw.columns[name], domain=raw.columns[name].distinct, table_rows=raw.rows)
        for name, key in columns
        if name in raw.columns
    }
    return Stats(raw.rows, raw.bytes, facts, raw.origin)


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
        return max(1.0, min(rows, _FEW_ROWS), rows * DEFAULTS["distinct"])
    if isinstance(expr, Cast):
        return distinct_of(expr.arg, stats)
    if isinstance(expr, Call) and expr.name in ("year", "date_part"):
        years = _years(expr, stats)
        if years is not None:
            return min(rows, years)
    product = 1.0
    for key in columns_of(expr):
        product *= distinct_of(ColumnRef(expr.type, key), stats)
    if isinstance(expr, Call) and expr.name not in _KEEPS_DISTINCT:
        product = min(product, max(_FEW_ROWS, rows * DEFAULTS["distinct"]))
    return min(rows, product)


def _years(expr: Call, stats: Stats) -> float | None:
    column = expr.args[-1]
    part = expr.args[0] if len(expr.args) == 2 else None
    if not isinstance(column, ColumnRef) or (part is not None and getattr(part, "value", None) != "year"):
        return None
    facts = stats.columns.get(column.key)
    if facts is None or not isinstance(facts.min, datetime.date) or not isinstance(facts.max, datetime.date):
        return None
    return float(facts.max.year - facts.min.year + 1)


def selectivity(predicate: Expr, stats: Stats) -> float:
    """Between 0 and 1.

    >>> from sqlengine.optimizer.examples import call, number, x
    >>> facts = Stats(1000.0, 0.0, {"x#1": ColumnStats(50.0, 0, 100)})
    >>> selectivity(call("eq", x, number(7)), facts), selectivity(call("lt", x, number(25)), facts)
    (0.02, 0.25)
    """
    match predicate:
        case Literal():
            return 1.0 if predicate.value is True else 0.0
        case Call(name="and"):
            return conjunction(predicate.args, stats)
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


def conjunction(parts: Sequence[Expr], stats: Stats) -> float:
    """The share of the rows that meets all parts; bounds on the same column are one range, not independent.

    >>> from sqlengine.optimizer.examples import call, number, x
    >>> facts = Stats(1000.0, 0.0, {"x#1": ColumnStats(100.0, 0, 100)})
    >>> round(conjunction([call("ge", x, number(40)), call("lt", x, number(50))], facts), 3)
    0.1
    """
    share = 1.0
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for part in _flat(parts):
        bound = _bound(part, stats)
        if bound is None:
            share *= selectivity(part, stats)
            continue
        key, upper, fraction = bound
        side = highs if upper else lows
        side[key] = min(side.get(key, 1.0), fraction)
    for key in lows.keys() | highs.keys():
        low, high = lows.get(key, 1.0), highs.get(key, 1.0)
        both = key in lows and key in highs
        # Two bounds at the same value still leave that value.
        least = 1.0 / distinct_of(ColumnRef(pa.int64(), key), stats) if both else _LEAST_RANGE
        share *= max(least, low + high - 1.0)
    return min(1.0, share)


def _flat(parts: Sequence[Expr]) -> list[Expr]:
    found: list[Expr] = []
    for part in parts:
        found += _flat(part.args) if isinstance(part, Call) and part.name == "and" else [part]
    return found


def _nulls(expr: Expr, stats: Stats) -> float:
    facts = stats.columns.get(expr.key) if isinstance(expr, ColumnRef) else None
    return facts.null_fraction if facts is not None else 0.05


def _plain(expr: Expr) -> Expr:
    while isinstance(expr, Cast):
        expr = expr.arg
    return expr


def _equal(a: Expr, b: Expr, stats: Stats) -> float:
    a, b = _plain(a), _plain(b)
    for column, value in ((a, b), (b, a)):
        facts = stats.columns.get(column.key) if isinstance(column, ColumnRef) else None
        if facts is not None and isinstance(value, Literal) and _outside(value.value, facts):
            return 0.0
    if isinstance(a, Literal) and isinstance(b, Literal):
        return DEFAULTS["eq"]
    known = [distinct_of(e, stats) for e in (a, b) if not isinstance(e, Literal)]
    return 1.0 / max(known)


def _outside(value: Any, facts: ColumnStats) -> bool:
    if isinstance(value, str) and isinstance(facts.min, str) and isinstance(facts.max, str):
        return not facts.min <= value <= facts.max
    low, high, at = _number(facts.min), _number(facts.max), _number(value)
    return low is not None and high is not None and at is not None and not low <= at <= high


def _range(predicate: Call, stats: Stats) -> float:
    bound = _bound(predicate, stats)
    return DEFAULTS["range"] if bound is None else max(_LEAST_RANGE, bound[2])


def _bound(predicate: Expr, stats: Stats) -> tuple[str, bool, float] | None:
    """Of a comparison of a column of known range with a constant: its key, whether it is an upper bound, and its
    share."""
    if not isinstance(predicate, Call) or predicate.name not in _FLIPPED:
        return None
    name, (a, b) = predicate.name, (_plain(arg) for arg in predicate.args)
    if isinstance(a, Literal):
        name, a, b = _FLIPPED[name], b, a
    if not (isinstance(a, ColumnRef) and isinstance(b, Literal)) or a.key not in stats.columns:
        return None
    facts = stats.columns[a.key]
    low, high, at = _number(facts.min), _number(facts.max), _number(b.value)
    if low is None or high is None or at is None:
        return None
    upper = name in ("lt", "le")
    if high <= low:
        return a.key, upper, 1.0
    below = min(1.0, max(0.0, (at - low) / (high - low)))
    return a.key, upper, below if upper else 1.0 - below


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


def scaled(stats: Stats, rows: float) -> Stats:
    """The same columns with another number of rows; of values that repeat, fewer are lost than of rows."""
    share = min(1.0, rows / stats.rows) if stats.rows > 0 else 1.0
    columns = {key: _thinned(c, share, stats.rows, rows) for key, c in stats.columns.items()}
    return Stats(rows, stats.bytes * share, columns, stats.origin)


def _thinned(facts: ColumnStats, share: float, before: float, rows: float) -> ColumnStats:
    if facts.distinct is None:
        return facts
    left = facts.distinct
    if share < 1.0 and left > 1.0:
        left *= 1.0 - (1.0 - share) ** max(1.0, before / left)
    return replace(facts, distinct=max(1.0, min(left, rows)))


def filtered(stats: Stats, parts: Sequence[Expr]) -> Stats:
    """The rows for which all predicates hold, with what the predicates say of single columns."""
    parts = _flat(parts)
    if not parts:
        return stats
    rows = max(stats.rows * conjunction(parts, stats), min(stats.rows, 1.0))
    result = scaled(stats, rows)
    columns = dict(result.columns)
    own: dict[str, list[Expr]] = {}
    for part in parts:
        read = columns_of(part)
        if len(read) == 1:
            own.setdefault(next(iter(read)), []).append(part)
    for key, about in own.items():
        facts = stats.columns.get(key)
        if facts is None:
            continue
        share = conjunction(about, stats)
        distinct = None if facts.distinct is None else max(1.0, min(facts.distinct * share, rows))
        domain = None if facts.domain is None else max(1.0, facts.domain * share)
        table_rows = None if facts.table_rows is None else max(1.0, facts.table_rows * share)
        facts = replace(facts, distinct=distinct, domain=domain, table_rows=table_rows)
        for part in about:
            facts = _bounded(facts, part)
        columns[key] = facts
    return replace(result, columns=columns)


def _bounded(facts: ColumnStats, part: Expr) -> ColumnStats:
    if not isinstance(part, Call) or len(part.args) != 2:
        return facts
    name, (a, b) = part.name, part.args
    if isinstance(a, Literal):
        name, a, b = _FLIPPED.get(name, name), b, a
    if not isinstance(a, ColumnRef) or not isinstance(b, Literal):
        return facts
    low, high, at = _number(facts.min), _number(facts.max), _number(b.value)
    match name:
        case "eq":
            return replace(facts, distinct=1.0, min=b.value, max=b.value)
        case "lt" | "le" if high is not None and at is not None and at < high:
            return replace(facts, max=b.value)
        case "gt" | "ge" if low is not None and at is not None and at > low:
            return replace(facts, min=b.value)
        case _:
            return facts


def group_count(keys: Sequence[Expr], stats: Stats) -> float:
    """Distinct combinations of the keys."""
    if not keys:
        return 1.0
    product = 1.0
    for key in keys:
        product *= distinct_of(key, stats)
    return max(min(product, stats.rows), min(stats.rows, 1.0))


def is_key(facts: ColumnStats | None) -> bool:
    """Whether the column looks like a key of the table that it comes from."""
    return (
        facts is not None
        and facts.domain is not None
        and facts.table_rows is not None
        and facts.domain >= _UNIQUE * facts.table_rows
    )


def key_domain(columns: Sequence[tuple[Expr, Stats]]) -> float:
    """The number of values that equal columns of joined tables draw from: a key's values contain those that refer to
    it, else the larger set contains the smaller.

    >>> from sqlengine.optimizer.examples import x, y
    >>> orders = Stats(10.0, 0.0, {"x#1": ColumnStats(10.0, domain=100.0, table_rows=100.0)})
    >>> lines = Stats(400.0, 0.0, {"y#2": ColumnStats(90.0, domain=90.0, table_rows=400.0)})
    >>> key_domain([(x, orders), (y, lines)])
    100.0
    """
    keys: list[float] = []
    sizes: list[float] = []
    for expr, stats in columns:
        column = _plain(expr)
        facts = stats.columns.get(column.key) if isinstance(column, ColumnRef) else None
        known = facts.domain if facts is not None and facts.domain is not None else distinct_of(expr, stats)
        (keys if is_key(facts) else sizes).append(max(1.0, known))
    return min(keys) if keys else max(sizes)


def table_rows(expr: Expr, stats: Stats) -> float:
    """Rows of the table that a column comes from, as far as known."""
    column = _plain(expr)
    facts = stats.columns.get(column.key) if isinstance(column, ColumnRef) else None
    return stats.rows if facts is None or facts.table_rows is None else facts.table_rows


def pairs_share(pairs: Sequence[tuple[Expr, Expr]], left: Stats, right: Stats) -> float:
    """The share of the cross product in which all pairs (left expression, right expression) are equal. Several pairs
    together select no more than a key of the smaller table would."""
    if not pairs:
        return 1.0
    product = 1.0
    for a, b in pairs:
        product *= key_domain([(a, left), (b, right)])
    if len(pairs) > 1:
        ends = [max(table_rows(a, left) for a, _ in pairs), max(table_rows(b, right) for _, b in pairs)]
        product = min(product, max(1.0, min(ends)))
    return 1.0 / max(1.0, product)


def matched_share(pairs: Sequence[tuple[Expr, Expr]], left: Stats, right: Stats) -> float:
    """The share of the left rows that have an equal row on the right."""
    if not pairs:
        return min(1.0, right.rows)
    share = 1.0
    for a, b in pairs:
        share = min(share, distinct_of(b, right) / key_domain([(a, left), (b, right)]))
    return min(1.0, share)


def equi_join(
    kind: str, pairs: Sequence[tuple[Expr, Expr]], left: Stats, right: Stats, others: Sequence[Expr] = ()
) -> Stats:
    """The result of a join on equal pairs (left expression, right expression) and other conditions. `kind` as in the
    logical and the physical join; for the latter left is the probe side."""
    columns: Mapping[str, ColumnStats] = {**left.columns, **right.columns}
    match kind:
        case "build_semi" | "build_anti":
            return equi_join(kind.removeprefix("build_"), [(b, a) for a, b in pairs], right, left, others)
        case "semi" | "anti" | "probe_semi" | "probe_anti":
            share = matched_share(pairs, left, right)
            rows = left.rows * (share if kind.endswith("semi") else max(_LEAST_ANTI, 1.0 - share))
            return scaled(left, max(rows, min(left.rows, 1.0)))
        case "single" | "mark" | "positional" | "asof":
            return Stats(left.rows, 0.0, columns, left.origin)
    product = left.rows * right.rows
    rows = product * pairs_share(pairs, left, right)
    if others:
        rows *= conjunction(others, Stats(max(left.rows, right.rows), 0.0, columns))
    least = min(product, 1.0)
    if kind in ("left", "full", "probe_outer"):
        least = max(least, left.rows)
    if kind in ("right", "full", "build_outer"):
        least = max(least, right.rows)
    rows = max(rows, least)
    # A value is lost only with all its rows.
    columns = {**scaled(left, min(left.rows, rows)).columns, **scaled(right, min(right.rows, rows)).columns}
    return Stats(rows, 0.0, columns, left.origin)
