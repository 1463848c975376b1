"""What the values of functions were seen to take: the second query knows what the first one found out."""

from __future__ import annotations

from sqlengine.runtime import history
from sqlengine.runtime.udf.function import UserFunction


def observe(function: UserFunction, rows: int, size: int) -> None:
    """`rows` values took `size` bytes in one run."""
    history.see(_key(function), rows, size)


def observed_width(function: UserFunction) -> float | None:
    """Bytes of a value, if any was seen."""
    return history.width(_key(function))


def _key(function: UserFunction) -> str:
    return f"udf {function.name} {function.returns}"
