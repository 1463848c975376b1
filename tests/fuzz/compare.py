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
    if not ordered:
        found, expected = sorted(found, key=_key), sorted(expected, key=_key)
    return all(len(a) == len(b) and all(map(_same, a, b)) for a, b in zip(found, expected, strict=True))


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
