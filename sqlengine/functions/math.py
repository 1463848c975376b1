"""Numeric functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.coercion import is_number
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.expr.overloads import takes
from sqlengine.settings import Settings

_DOUBLE = pa.float64()


def _number(args: Sequence[Expr]) -> tuple[Sequence[pa.DataType], pa.DataType]:
    if len(args) != 1 or not is_number(args[0].type):
        raise NoMatch("it takes one number")
    return (args[0].type,), args[0].type


def _double(name: str, function: Callable[[Any], Any], doc: str, aliases: tuple[str, ...] = ()) -> None:
    @scalar(name, takes(_DOUBLE, gives=_DOUBLE), doc, category="math", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return function(args[0])


for _name, _function in {
    "sqrt": pc.sqrt, "exp": pc.exp, "ln": pc.ln, "log2": pc.log2, "log10": pc.log10, "sin": pc.sin, "cos": pc.cos,
    "tan": pc.tan, "asin": pc.asin, "acos": pc.acos, "atan": pc.atan,
}.items():  # fmt: skip
    _double(_name, _function, f"{_name} of a DOUBLE.", ("log",) if _name == "log10" else ())


@scalar("abs", _number, "Without its sign.", category="math")
def _abs(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.abs(args[0])


def _rounding(name: str, function: Callable[[Any], Any], aliases: tuple[str, ...] = ()) -> None:
    @scalar(name, _number, f"{name} to a whole number.", category="math", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return args[0] if pa.types.is_integer(args[0].type) else function(args[0])


_rounding("floor", pc.floor)
_rounding("ceil", pc.ceil, ("ceiling",))
_rounding("trunc", pc.trunc)


def _round_types(args: Sequence[Expr]) -> tuple[Sequence[pa.DataType], pa.DataType]:
    if not 1 <= len(args) <= 2 or not is_number(args[0].type):
        raise NoMatch("it takes a number and how many digits to keep")
    return [args[0].type, pa.int32()][: len(args)], args[0].type


@scalar("round", _round_types, "Rounded to so many digits after the point, halves away from zero.", category="math")
def _round(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    digits = args[1].as_py() if len(args) == 2 else 0
    return pc.round(args[0], digits, round_mode="half_towards_infinity")


@scalar(
    "power",
    takes(_DOUBLE, _DOUBLE, gives=_DOUBLE),
    "The first to the power of the second.",
    category="math",
    aliases=("pow",),
)
def _power(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.power(*args)


@scalar("sign", takes(_DOUBLE, gives=pa.int8()), "-1, 0 or 1.", category="math")
def _sign(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.cast(pc.sign(args[0]), pa.int8())
