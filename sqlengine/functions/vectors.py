"""Lists of numbers as vectors: products and distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.errors import DataError
from sqlengine.expr.coercion import common_type
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import DOUBLE, Types, by_row
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.lists import element_type
from sqlengine.settings import Settings


def _vector_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes two lists of numbers")
    type_ = common_type(element_type(args[0]), element_type(args[1]))
    type_ = pa.float32() if type_ == pa.float32() else DOUBLE
    return (pa.list_(type_), pa.list_(type_)), type_


def _vectors(
    name: str, function: Callable[[list[float], list[float]], float | None], doc: str, more: tuple[str, ...]
) -> None:
    def one(a: list[float | None], b: list[float | None]) -> float | None:
        if len(a) != len(b):
            raise DataError(
                f"{name} takes lists of one length, these have {len(a)} and {len(b)}", code="invalid_argument"
            )
        if None in a or None in b:
            raise DataError(f"{name} takes lists without NULL", code="invalid_argument")
        return function(a, b)  # type: ignore[arg-type]

    @scalar(f"list_{name}", _vector_types, doc, category="list", aliases=(f"array_{name}", *more))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return by_row(one, args, rows, call.type)


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _distance(a: list[float], b: list[float]) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)


def _cosine(a: list[float], b: list[float]) -> float | None:
    size = (_dot(a, a) * _dot(b, b)) ** 0.5
    if not a:
        return None
    if not size or size != size:
        return float("nan")
    cosine = float(_dot(a, b) / size)
    return cosine if cosine != cosine else max(-1.0, min(1.0, cosine))


def _cosine_distance(a: list[float], b: list[float]) -> float | None:
    cosine = _cosine(a, b)
    return None if cosine is None else 1 - cosine


_vectors("inner_product", _dot, "Sum of products.", ("list_dot_product", "array_dot_product"))
_vectors("distance", _distance, "Euclidean distance.", ())
_vectors("cosine_similarity", _cosine, "Cosine of the angle.", ())
_vectors("cosine_distance", _cosine_distance, "1 less the cosine of the angle.", ())
_vectors("negative_inner_product", lambda a, b: -_dot(a, b), "Sum of products with the other sign.",
         ("list_negative_dot_product", "array_negative_dot_product"))  # fmt: skip


def _cross_types(args: Sequence[Expr]) -> Types:
    (type_, _), result = _vector_types(args)
    for arg in args:
        if pa.types.is_fixed_size_list(arg.type) and arg.type.list_size != 3:
            raise NoMatch("it takes arrays of 3 numbers")
    return (type_, type_), pa.list_(result, 3)


@scalar("array_cross_product", _cross_types, "The vector at right angles to two vectors.", category="list")
def _cross_product(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(a: list[float], b: list[float]) -> list[float]:
        if len(a) != 3 or len(b) != 3 or None in a or None in b:
            raise DataError("array_cross_product takes arrays of 3 numbers", code="invalid_argument")
        return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]

    return by_row(one, args, rows, call.type)
