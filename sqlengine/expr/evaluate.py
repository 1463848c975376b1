"""The value of an expression for each row of a batch.

Literals stay scalars until a function or the result needs an array. CASE evaluates a branch only for the rows that reach it,
so that a guard (`CASE WHEN d <> 0 THEN n / d`) protects what it guards.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import InternalError
from sqlengine.expr.cast import cast_array
from sqlengine.expr.nodes import Call, Case, Cast, ColumnRef, Expr, Literal
from sqlengine.expr.registry import find_scalar
from sqlengine.settings import Settings

_DEFAULTS = Settings()


def evaluate(expr: Expr, batch: pa.RecordBatch, settings: Settings | None = None) -> pa.Array:
    """An array of the expression's type, one value per row of the batch."""
    value = _value(expr, batch, settings or _DEFAULTS)
    return _as_array(value, expr.type, batch.num_rows)


def predicate_mask(expr: Expr, batch: pa.RecordBatch, settings: Settings | None = None) -> pa.Array:
    """The boolean array of a predicate, with NULLs left in (`RecordBatch.filter` drops them)."""
    return evaluate(expr, batch, settings)


def evaluate_constant(expr: Expr, settings: Settings | None = None) -> Any:
    """The Python value of an expression without columns."""
    row = pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
    return evaluate(expr, row, settings)[0].as_py()


def _as_array(value: Any, type_: pa.DataType, rows: int) -> pa.Array:
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    if isinstance(value, pa.Scalar):
        value = pa.repeat(value, rows) if value.is_valid else pa.nulls(rows, type_)
    if value.type != type_:
        value = value.cast(type_)
    return value


def _value(expr: Expr, batch: pa.RecordBatch, settings: Settings) -> Any:
    match expr:
        case ColumnRef():
            return batch.column(expr.key)
        case Literal():
            return pa.scalar(expr.value, expr.type)
        case Call(name="and" | "or"):
            return _logic(expr, batch, settings)
        case Call():
            entry = find_scalar(expr.name)
            if entry is None:
                raise InternalError(f"no function {expr.name}")
            args = [_value(arg, batch, settings) for arg in expr.args]
            return entry.run(expr, args, batch.num_rows, settings)
        case Cast():
            value = _as_array(_value(expr.arg, batch, settings), expr.arg.type, batch.num_rows)
            return cast_array(value, expr.type, expr.safe)
        case Case():
            return _case(expr, batch, settings)
        case _:
            raise InternalError(f"{type(expr).__name__} cannot be evaluated")


def _logic(call: Call, batch: pa.RecordBatch, settings: Settings) -> Any:
    function = pc.and_kleene if call.name == "and" else pc.or_kleene
    result = _value(call.args[0], batch, settings)
    for arg in call.args[1:]:
        result = function(result, _value(arg, batch, settings))
    return result


def _case(expr: Case, batch: pa.RecordBatch, settings: Settings) -> pa.Array:
    rows = batch.num_rows
    open_rows: pa.Array | None = None  # None: all of them
    pieces: list[pa.Array] = []
    places: list[pa.Array] = []
    current = batch
    every = pa.array(range(rows), pa.int32())
    for condition, value in expr.whens:
        truth = pc.fill_null(evaluate(condition, current, settings), False)
        chosen = current.filter(truth)
        where = every if open_rows is None else open_rows
        if chosen.num_rows:
            pieces.append(evaluate(value, chosen, settings))
            places.append(where.filter(truth))
        rest = pc.invert(truth)
        open_rows = where.filter(rest)
        current = current.filter(rest)
        if not current.num_rows:
            break
    if current.num_rows:
        pieces.append(evaluate(expr.otherwise, current, settings))
        places.append(every if open_rows is None else open_rows)
    if not pieces:
        return pa.nulls(0, expr.type)
    if len(pieces) == 1:
        return pieces[0]
    back = pc.sort_indices(pa.concat_arrays(places))
    return pa.concat_arrays(pieces).take(back)
