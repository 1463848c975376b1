"""The value of an expression for each row of a batch.

Literals stay scalars until a function or the result needs an array. CASE evaluates a branch only for the rows that
reach it, so that a guard (`CASE WHEN d <> 0 THEN n / d`) protects what it guards; AND and OR evaluate what may fail or
is costly only for the rows that the left side leaves open. A subexpression that occurs twice in one call is computed
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, InternalError
from sqlengine.expr.cast import cast_array
from sqlengine.expr.decimal_programs import decimal_program
from sqlengine.expr.nodes import Call, Case, Cast, ColumnRef, Expr, Lambda, Literal, columns_of
from sqlengine.expr.registry import find_scalar
from sqlengine.kernels.decimals import OutOfRange
from sqlengine.settings import Settings
from sqlengine.tree import walk

_DEFAULTS = Settings()
# Calls that cannot fail and cost little: AND and OR do not narrow the rows for them.
_CHEAP = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "is_null", "is_not_null", "is_true", "is_false", "is_not_true", "is_not_false",
    "is_distinct", "is_not_distinct", "and", "or", "not", "in", "coalesce",
})  # fmt: skip
_FUSED = frozenset({"add", "subtract", "multiply"})


@dataclass
class _Rows:
    """The batch that expressions are evaluated on, and the values of subexpressions that are wanted again."""

    batch: pa.RecordBatch
    settings: Settings
    shared: frozenset[Expr] = frozenset()
    known: dict[Expr, Any] = field(default_factory=dict)


def evaluate(expr: Expr, batch: pa.RecordBatch, settings: Settings | None = None) -> pa.Array:
    """An array of the expression's type, one value per row of the batch."""
    return evaluate_all((expr,), batch, settings)[0]


def evaluate_all(exprs: Sequence[Expr], batch: pa.RecordBatch, settings: Settings | None = None) -> list[pa.Array]:
    """`evaluate` of several expressions, which share their common subexpressions."""
    rows = _Rows(batch, settings or _DEFAULTS, _repeated(tuple(exprs)))
    return [_as_array(_value(expr, rows), expr.type, batch.num_rows) for expr in exprs]


def predicate_mask(expr: Expr, batch: pa.RecordBatch, settings: Settings | None = None) -> pa.Array:
    """The boolean array of a predicate, with NULLs left in (`RecordBatch.filter` drops them)."""
    return evaluate(expr, batch, settings)


def evaluate_constant(expr: Expr, settings: Settings | None = None) -> Any:
    """The Python value of an expression without columns."""
    row = pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
    return evaluate(expr, row, settings)[0].as_py()


@lru_cache(maxsize=512)
def _repeated(exprs: tuple[Expr, ...]) -> frozenset[Expr]:
    """Calls and casts that occur more than once outside CASE branches and lambdas, and are not volatile."""
    seen: set[Expr] = set()
    again: set[Expr] = set()

    def visit(expr: Expr) -> None:
        if isinstance(expr, Case | Lambda | ColumnRef | Literal):
            return
        if expr in seen:
            again.add(expr)
            return
        seen.add(expr)
        for child in expr.children():
            visit(child)

    for expr in exprs:
        visit(expr)
    return frozenset(e for e in again if not any(isinstance(n, Call) and _volatile(n.name) for n in walk(e)))


def is_volatile(expr: Expr) -> bool:
    """Whether the same values may give another result the next time, or a function is not known here."""
    return any(isinstance(node, Call) and _volatile(node.name) for node in walk(expr))


def _volatile(name: str) -> bool:
    entry = find_scalar(name)
    return entry is None or entry.volatile


def _as_array(value: Any, type_: pa.DataType, rows: int) -> pa.Array:
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    if isinstance(value, pa.Scalar):
        value = repeat(value, type_, rows)
    if value.type != type_:
        value = value.cast(type_)
    return value


def repeat(value: pa.Scalar, type_: pa.DataType, rows: int) -> pa.Array:
    """A constant as a column."""
    if not value.is_valid:
        return pa.nulls(rows, type_)
    if pa.types.is_nested(type_) or pa.types.is_interval(type_):
        return one(value).take(pa.repeat(pa.scalar(0, pa.int32()), rows))
    return pa.repeat(value, rows)


def one(value: pa.Scalar) -> pa.Array:
    """A column of one row."""
    if not value.is_valid:
        return pa.nulls(1, value.type)
    if pa.types.is_nested(value.type) or pa.types.is_interval(value.type):
        return pa.array([value.as_py()], value.type)
    return pa.repeat(value, 1)


def _value(expr: Expr, rows: _Rows) -> Any:
    if expr in rows.shared:
        if expr not in rows.known:
            rows.known[expr] = _computed(expr, rows)
        return rows.known[expr]
    return _computed(expr, rows)


def _computed(expr: Expr, rows: _Rows) -> Any:
    match expr:
        case ColumnRef():
            return rows.batch.column(expr.key)
        case Literal():
            return pa.scalar(expr.value, expr.type)
        case Call(name="and" | "or"):
            return _logic(expr, rows)
        case Call(name="coalesce") if not all(isinstance(a, ColumnRef | Literal) for a in expr.args):
            return _coalesce(expr, rows)
        case Call(name="try"):
            return _try(expr, rows)
        case Call():
            if expr.name in _FUSED and pa.types.is_decimal128(expr.type):
                program = decimal_program(expr)
                if program is not None:
                    try:
                        return program.run(rows.batch)
                    except OutOfRange:
                        pass  # call by call, for an error that names the call
            return _call(expr, rows)
        case Cast():
            value = _value(expr.arg, rows)
            array = one(value) if isinstance(value, pa.Scalar) else value
            try:
                result = cast_array(array, expr.type, expr.safe, rows.settings.timezone)
            except DataError as error:
                error.location = error.location or expr.location
                raise
            return result[0] if isinstance(value, pa.Scalar) else result
        case Case():
            return _case(expr, rows)
        case Lambda():
            return BoundLambda(expr, rows.batch, rows.settings)
        case _:
            raise InternalError(f"{type(expr).__name__} cannot be evaluated")


def _call(expr: Call, rows: _Rows) -> Any:
    entry = find_scalar(expr.name)
    if entry is None:
        raise InternalError(f"no function {expr.name}")
    args = [_value(arg, rows) for arg in expr.args]
    if entry.strict and any(isinstance(a, pa.Scalar) and not a.is_valid for a in args):
        return pa.scalar(None, expr.type)
    try:
        if not args or entry.volatile or not all(isinstance(a, pa.Scalar) for a in args):
            return entry.run(expr, args, rows.batch.num_rows, rows.settings)
        args[entry.main] = one(args[entry.main])
        result = entry.run(expr, args, 1, rows.settings)
    except DataError as error:
        error.location = error.location or expr.location
        raise
    return result if isinstance(result, pa.Scalar) else result[0]


def _guarded(expr: Expr) -> bool:
    """Whether evaluating the expression may fail or is worth saving for rows that are decided already."""
    return any(isinstance(n, Cast | Case) or (isinstance(n, Call) and n.name not in _CHEAP) for n in walk(expr))


def _logic(call: Call, rows: _Rows) -> Any:
    conjunction = call.name == "and"
    function = pc.and_kleene if conjunction else pc.or_kleene
    result = _value(call.args[0], rows)
    for arg in call.args[1:]:
        if _guarded(arg):
            if isinstance(result, pa.Scalar):
                if result.is_valid and result.as_py() != conjunction:
                    return result
                result = function(result, _value(arg, rows))
                continue
            open_rows = pc.fill_null(result if conjunction else pc.invert(result), True)
            count = pc.sum(open_rows).as_py() or 0
            if count == 0:
                return result
            if count < len(open_rows):
                part = evaluate(arg, _filtered(rows.batch, open_rows), rows.settings)
                filled = pc.replace_with_mask(pa.repeat(pa.scalar(not conjunction), len(open_rows)), open_rows, part)
                result = function(result, filled)
                continue
        result = function(result, _value(arg, rows))
    return result


def _coalesce(call: Call, rows: _Rows) -> Any:
    """The first value that is not NULL; later arguments are evaluated only for rows still without one."""
    result = _as_array(_value(call.args[0], rows), call.type, rows.batch.num_rows)
    for arg in call.args[1:]:
        missing = result.is_null()
        count = result.null_count
        if count == 0:
            break
        if (
            isinstance(arg, ColumnRef | Literal)
            and not pa.types.is_nested(call.type)
            and not pa.types.is_interval(call.type)
        ):
            result = pc.coalesce(result, _value(arg, rows))
        elif count == len(result):
            result = _as_array(_value(arg, rows), call.type, len(result))
        else:
            part = evaluate(arg, _filtered(rows.batch, missing), rows.settings)
            result = _merged([result.filter(pc.invert(missing)), part], [pc.invert(missing), missing])
    return result


def _filtered(batch: pa.RecordBatch, mask: pa.Array) -> pa.RecordBatch:
    if batch.num_columns:
        return batch.filter(mask)
    return pa.RecordBatch.from_struct_array(pa.array([{}] * (pc.sum(mask).as_py() or 0), pa.struct([])))


def _merged(pieces: list[pa.Array], masks: list[pa.Array]) -> pa.Array:
    """Rows of the pieces back at the places that their masks (disjoint, complete) took them from."""
    places = pa.concat_arrays([pc.indices_nonzero(mask) for mask in masks])
    return pa.concat_arrays(pieces).take(pc.sort_indices(places))


def _try(call: Call, rows: _Rows) -> Any:
    """TRY(x): NULL for the rows where evaluating `x` is a data error."""
    try:
        return _value(call.args[0], rows)
    except DataError:
        n = rows.batch.num_rows
        if n <= 1:
            return pa.nulls(n, call.type)
        halves = [_as_array(_try(call, _Rows(half, rows.settings)), call.type, half.num_rows)
                  for half in (rows.batch.slice(0, n // 2), rows.batch.slice(n // 2))]  # fmt: skip
        return pa.concat_arrays(halves)


@lru_cache(maxsize=512)
def _is_simple(expr: Case) -> bool:
    """Whether no part can fail for any row and all are quick, so that all are computed for all rows."""
    parts = (*(part for when in expr.whens for part in when), expr.otherwise)
    values = (*(value for _, value in expr.whens), expr.otherwise)
    plain = all(value.type == expr.type for value in values) and not pa.types.is_nested(expr.type)
    return plain and len(expr.whens) <= 8 and all(_never_fails(node) for part in parts for node in walk(part))


def _never_fails(node: Expr) -> bool:
    if isinstance(node, Call):
        return node.name in _CHEAP or (node.name in _FUSED and pa.types.is_floating(node.type))
    return isinstance(node, ColumnRef | Literal)


def _simple_case(expr: Case, rows: _Rows) -> Any:
    result = _value(expr.otherwise, rows)
    for condition, value in reversed(expr.whens):
        truth = _value(condition, rows)
        if not isinstance(truth, pa.Scalar):
            result = pc.if_else(pc.fill_null(truth, False) if truth.null_count else truth, _value(value, rows), result)
        elif truth.is_valid and truth.as_py():
            result = _value(value, rows)
    return result


def _case(expr: Case, rows: _Rows) -> Any:
    if _is_simple(expr):
        return _simple_case(expr, rows)
    current = rows.batch
    count = current.num_rows
    where: pa.Array | None = None  # the rows still open, by place; None: all of them
    pieces: list[pa.Array] = []
    places: list[pa.Array] = []
    inner = rows
    for condition, value in expr.whens:
        truth = _value(condition, inner)
        if isinstance(truth, pa.Scalar):
            if not (truth.is_valid and truth.as_py()):
                continue
            truth = pa.repeat(pa.scalar(True), current.num_rows)
        truth = pc.fill_null(truth, False)
        hits = pc.sum(truth).as_py() or 0
        if hits == 0:
            continue
        if hits == current.num_rows:
            if where is None:
                return _value(value, rows)
            pieces.append(evaluate(value, current, rows.settings))
            places.append(where)
            current = current.slice(0, 0)
            break
        if where is None:
            where = (
                pa.array(range(count), pa.int32())
                if count < 256
                else pc.indices_nonzero(pa.repeat(pa.scalar(True), count))
            )
        pieces.append(evaluate(value, _filtered(current, truth), rows.settings))
        places.append(where.filter(truth))
        rest = pc.invert(truth)
        where, current = where.filter(rest), _filtered(current, rest)
        inner = _Rows(current, rows.settings)
    if where is None:
        return _value(expr.otherwise, rows)
    if current.num_rows:
        pieces.append(evaluate(expr.otherwise, current, rows.settings))
        places.append(where)
    back = pc.call_function("inverse_permutation", [pa.concat_arrays([p.cast(pa.int32()) for p in places])])
    return pa.concat_arrays(pieces).take(back)


@dataclass(frozen=True)
class BoundLambda:
    """A lambda together with the rows around it, as list functions get it."""

    expr: Lambda
    batch: pa.RecordBatch
    settings: Settings

    def apply(self, values: Sequence[pa.Array], parents: pa.Array) -> pa.Array:
        """The body for each element: `values` are the parameters' arrays, `parents` the row each element belongs to."""
        names = [key for key, _ in self.expr.params]
        outer = sorted(columns_of(self.expr) - set(names))
        columns = [self.batch.column(key).take(parents) for key in outer]
        arrays = [*columns, *list(values)[: len(names)]]
        if not arrays:
            inner = pa.RecordBatch.from_struct_array(pa.array([{}] * len(parents), pa.struct([])))
        else:
            inner = pa.RecordBatch.from_arrays(arrays, [*outer, *names])
        return evaluate(self.expr.body, inner, self.settings)
