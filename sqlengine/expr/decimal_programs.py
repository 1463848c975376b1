"""Sums, differences and products of decimals of at most 18 digits, as one pass over the rows.

`l_extendedprice * (1 - l_discount) * (1 + l_tax)` call by call writes two columns that only the next call reads. Here a
tree of such calls over columns and constants becomes a small postfix program that runs block by block; nothing between
leaves the cache. Whatever does not fit this form is evaluated call by call, as is an expression whose result is out of
range, so that the error names the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from sqlengine.expr.nodes import Call, ColumnRef, Expr, Literal
from sqlengine.kernels import decimals

_CODES = {"add": 0, "subtract": 1, "multiply": 2}
_CHECKED_PRODUCT = 3
_DEEPEST = 8


@dataclass(frozen=True)
class DecimalProgram:
    """Steps for the kernel, and the keys of the columns they push."""

    steps: tuple[tuple[int, int, int, int, int], ...]
    columns: tuple[str, ...]
    type: pa.DataType

    def run(self, batch: pa.RecordBatch) -> pa.Array:
        return decimals.program(self.steps, [batch.column(key) for key in self.columns], self.type)


@lru_cache(maxsize=512)
def decimal_program(expr: Expr) -> DecimalProgram | None:
    """The program of a call, if it has at least two operations and the form described above."""
    if not isinstance(expr, Call) or expr.name not in _CODES or not any(isinstance(a, Call) for a in expr.args):
        return None
    steps: list[tuple[int, int, int, int, int]] = []
    columns: list[str] = []
    depth = _compile(expr, steps, columns)
    return DecimalProgram(tuple(steps), tuple(columns), expr.type) if depth is not None and columns else None


def _small(type_: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(type_) and type_.precision <= 18)


def _compile(expr: Expr, steps: list[tuple[int, int, int, int, int]], columns: list[str]) -> int | None:
    """Append the steps that leave the expression on the stack; how deep the stack gets, None if it cannot be done."""
    if not _small(expr.type):
        return None
    match expr:
        case ColumnRef():
            if expr.key not in columns:
                columns.append(expr.key)
            steps.append((decimals.PUSH_COLUMN, columns.index(expr.key), 0, 0, 0))
            return 1
        case Literal():
            if expr.value is None:
                return None
            steps.append((decimals.PUSH_CONSTANT, int(expr.value.scaleb(expr.type.scale)), 0, 0, 0))
            return 1
        case Call() if expr.name in _CODES and len(expr.args) == 2:
            a, b = expr.args
            if expr.name == "multiply":
                checked = a.type.precision + b.type.precision > expr.type.precision
                step = (_CHECKED_PRODUCT if checked else _CODES["multiply"], 0, 0, 0, 10**expr.type.precision)
            else:
                scale = expr.type.scale
                if max(s.type.precision - s.type.scale for s in (a, b)) + scale >= expr.type.precision:
                    return None  # the sum could have a digit more than its type
                step = (_CODES[expr.name], 0, 10 ** (scale - a.type.scale), 10 ** (scale - b.type.scale), 0)
            left = _compile(a, steps, columns)
            right = _compile(b, steps, columns)
            if left is None or right is None:
                return None
            steps.append(step)
            depth = max(left, right + 1)
            return depth if depth <= _DEEPEST else None
    return None
