"""Typing rules for functions with fixed argument types, and the row-by-row way for functions Arrow does not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.expr.coercion import is_number, is_text_literal
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings

Types = tuple[Sequence[pa.DataType], pa.DataType]
TEXT, BLOB, INT, DOUBLE, BOOL = pa.string(), pa.binary(), pa.int64(), pa.float64(), pa.bool_()


def takes(
    *types: pa.DataType, gives: pa.DataType, least: int | None = None, more: bool = False
) -> Callable[[Sequence[Expr]], Types]:
    """Fixed argument types; those from `least` on are optional, the last one may repeat with `more`."""
    fewest = len(types) if least is None else least

    def infer(args: Sequence[Expr]) -> Types:
        if len(args) < fewest or (len(args) > len(types) and not more):
            wanted = (
                str(fewest) if fewest == len(types) and not more else f"{fewest} to {'many' if more else len(types)}"
            )
            raise NoMatch(f"it takes {wanted} argument{'' if wanted == '1' else 's'}")
        wants = [*types, *[types[-1]] * (len(args) - len(types))][: len(args)] if types else []
        for arg, want in zip(args, wants, strict=True):
            if not accepts(arg, want):
                raise NoMatch("cast the arguments to types that fit")
        return wants, gives

    return infer


def accepts(arg: Expr, want: pa.DataType) -> bool:
    """Whether an argument may be cast to the wanted type without being asked to."""
    t = pa.types
    have = arg.type
    if have == want or t.is_null(have) or is_text_literal(arg):
        return True
    if t.is_string(want):
        return not t.is_binary(have)
    if is_number(want):
        if t.is_floating(want):
            return is_number(have)
        return bool(t.is_integer(have) or t.is_boolean(have) or (t.is_decimal(have) and have.scale == 0))
    if t.is_timestamp(want):
        return bool(t.is_date(have) or t.is_timestamp(have))
    return False


def is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_))


def constant(value: Any) -> Any:
    """The Python value of a constant argument; None for a column (and for NULL)."""
    return value.as_py() if isinstance(value, pa.Scalar) else None


def each_value(
    name: str,
    types: tuple[pa.DataType, ...],
    gives: pa.DataType,
    function: Callable[..., Any],
    doc: str,
    category: str,
    aliases: tuple[str, ...] = (),
) -> None:
    """Register a function of Python values that Arrow has no kernel for."""

    @scalar(name, takes(*types, gives=gives), doc, category=category, aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return by_row(function, args, rows, gives)


def by_row(function: Callable[..., Any], args: Sequence[Any], rows: int, type_: pa.DataType) -> Any:
    """`function` of the Python values of each row (NULL where one is), each distinct set of values once."""
    if all(isinstance(a, pa.Scalar) for a in args):
        values = [a.as_py() for a in args]
        return pa.scalar(None if None in values else function(*values), type_)
    columns = [a.to_pylist() if not isinstance(a, pa.Scalar) else None for a in args]
    constants = [a.as_py() if isinstance(a, pa.Scalar) else None for a in args]
    if any(isinstance(a, pa.Scalar) and not a.is_valid for a in args):
        return pa.scalar(None, type_)
    varying = [i for i, c in enumerate(columns) if c is not None]
    if len(varying) == 1:
        at = varying[0]
        head, tail = constants[:at], constants[at + 1 :]
        column = columns[at]
        assert column is not None
        if any(isinstance(v, list | dict) for v in column[:1]) or pa.types.is_nested(args[at].type):
            return pa.array([None if v is None else function(*head, v, *tail) for v in column], type_)
        known = {v: None if v is None else function(*head, v, *tail) for v in set(column)}
        return pa.array([known[v] for v in column], type_)
    lists = [c if c is not None else [k] * rows for c, k in zip(columns, constants, strict=True)]
    return pa.array(
        [None if any(v is None for v in row) else function(*row) for row in zip(*lists, strict=True)], type_
    )
