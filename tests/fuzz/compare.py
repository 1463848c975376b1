"""Comparing answers: any order unless the query orders, floats nearly, integers and decimals by value."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from typing import Any

Row = tuple[Any, ...]


def same_answer(found: Sequence[Row], expected: Sequence[Row], ordered: bool) -> bool:
    if len(found) != len(expected):
        return False
    if ordered:
        return all(map(_same_row, found, expected))
    found, expected = sorted(found, key=_key), sorted(expected, key=_key)
    return all(map(_same_row, found, expected)) or _pair_off(found, expected)


def _pair_off(found: Sequence[Row], expected: Sequence[Row]) -> bool:
    """Whether each row finds a partner, where floats that are nearly equal have put the rows in another order."""
    left = list(expected)
    for row in found:
        partner = next((i for i, other in enumerate(left) if _same_row(row, other)), None)
        if partner is None:
            return False
        del left[partner]
    return True


def _same_row(a: Row, b: Row) -> bool:
    return len(a) == len(b) and all(map(_same, a, b))


def _key(row: Row) -> tuple[Any, ...]:
    return tuple((value is None, _rounded(value)) for value in row)


def _rounded(value: Any) -> Any:
    """What sums of floats in another order agree in, with types that compare to each other as text."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float | int | decimal.Decimal):
        return f"{float(value) + 0.0:.6g}"
    return str(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None:
            return a is b
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-7) or (math.isnan(a) and math.isnan(b))
    return (type(a) is type(b) and bool(a == b)) or (_number(a) and _number(b) and a == b)


def _number(value: Any) -> bool:
    return isinstance(value, int | decimal.Decimal) and not isinstance(value, bool)
