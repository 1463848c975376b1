"""Comparison, three-valued logic, NULL tests, IN and the conditional functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.coercion import common_of, is_integer_literal, is_number, is_text_literal
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import Types
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.moves import as_micros, column
from sqlengine.kernels import decimals
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL, sql_name

_PLAIN = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}


def _meeting(args: Sequence[Expr]) -> pa.DataType:
    """The type that all arguments are compared in."""
    type_ = common_of(list(args))
    if type_ is not None:
        return pa.int32() if pa.types.is_null(type_) else type_
    firm = [a for a in args if not is_text_literal(a)]
    texts = [a for a in firm if pa.types.is_string(a.type)]
    others = [a for a in firm if not pa.types.is_string(a.type) and not pa.types.is_null(a.type)]
    if texts and others and all(is_integer_literal(a) for a in others):
        return (
            pa.int32() if common_of(others) == pa.int32() else pa.int64()
        )  # text beside a literal number is read as a number
    shown = " with ".join(dict.fromkeys(sql_name(a.type) for a in args))
    raise NoMatch(f"cannot compare {shown}: cast one of them")


def _comparable(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("this operator takes two arguments")
    if any(pa.types.is_boolean(a.type) for a in args) and any(is_number(a.type) for a in args):
        return (pa.int64(), pa.int64()) if all(not pa.types.is_floating(a.type) for a in args) else (
            pa.float64(),
        ) * 2, pa.bool_()
    type_ = _meeting(args)
    return (type_, type_), pa.bool_()


def compare(name: str, a: Any, b: Any, rows: int) -> Any:
    """A comparison of values of one type; NULL where either is NULL. At least one side is an array."""
    t = pa.types
    if t.is_floating(a.type):
        return _compare_floats(name, a, b)
    if t.is_decimal128(a.type) and a.type == b.type:
        return decimals.compare(name, a, b)
    if a.type == INTERVAL:
        return _PLAIN[name](as_micros(a), as_micros(b))
    if t.is_nested(a.type):
        return _compare_nested(name, a, b, rows)
    return _PLAIN[name](a, b)


def _compare_floats(name: str, a: Any, b: Any) -> Any:
    """NaN is equal to itself and greater than all else."""
    plain = _PLAIN[name](a, b)
    x, y = pc.is_nan(a), pc.is_nan(b)
    odd = pc.or_(x, y)
    if isinstance(odd, pa.Array) and not pc.any(odd).as_py():
        return plain
    both = pc.and_(x, y)
    value = {
        "eq": both, "ne": pc.invert(both), "lt": pc.and_(y, pc.invert(x)), "le": y, "gt": pc.and_(x, pc.invert(y)),
        "ge": x,
    }[name]  # fmt: skip
    return pc.if_else(odd, value, plain)


def order(a: Any, b: Any) -> int:
    """Nested values in DuckDB's order: element by element, NULL greatest, NaN before NULL, shorter first."""
    if a is None or b is None:
        return (a is None) - (b is None)
    if isinstance(a, dict):
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=False):
            found = order(x, y)
            if found:
                return found
        return (len(a) > len(b)) - (len(a) < len(b))
    if isinstance(a, float) and (a != a or b != b):
        return int(a != a) - int(b != b)
    return int(a > b) - int(a < b)


def _compare_nested(name: str, a: Any, b: Any, rows: int) -> pa.Array:
    holds: Callable[[int], bool] = {
        "eq": lambda c: c == 0, "ne": lambda c: c != 0, "lt": lambda c: c < 0, "le": lambda c: c <= 0,
        "gt": lambda c: c > 0, "ge": lambda c: c >= 0,
    }[name]  # fmt: skip
    pairs = zip(column(a, rows).to_pylist(), column(b, rows).to_pylist(), strict=True)
    return pa.array([None if x is None or y is None else holds(order(x, y)) for x, y in pairs], pa.bool_())


def _comparison(name: str) -> None:
    @scalar(name, _comparable, "Comparison; NULL if either side is NULL.", category="operator")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        left, right = args
        return compare(name, left, right, rows)


for _name in _PLAIN:
    _comparison(_name)


def _distinct(args: list[Any], rows: int) -> Any:
    a, b = args
    different = pc.fill_null(compare("ne", a, b, rows), False)
    return pc.or_(different, pc.xor(pc.is_null(a), pc.is_null(b)))


@scalar("is_distinct", _comparable, "Different, with NULL equal to NULL.", category="operator", strict=False)
def _is_distinct(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _distinct(args, rows)


@scalar("is_not_distinct", _comparable, "Equal, with NULL equal to NULL.", category="operator", strict=False)
def _is_not_distinct(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.invert(_distinct(args, rows))


def _booleans(args: Sequence[Expr]) -> Types:
    return [pa.bool_()] * len(args), pa.bool_()


def _anything(args: Sequence[Expr]) -> Types:
    return [arg.type for arg in args], pa.bool_()


for _name, _function, _types, _doc in (
    ("and", pc.and_kleene, _booleans, "Logical and of three values."),
    ("or", pc.or_kleene, _booleans, "Logical or of three values."),
    ("not", pc.invert, _booleans, "Logical negation; NULL stays NULL."),
    ("is_null", pc.is_null, _anything, "Whether the value is NULL."),
    ("is_not_null", pc.is_valid, _anything, "Whether the value is not NULL."),
    ("is_true", lambda x: pc.fill_null(x, False), _booleans, "Whether the value is true (not NULL)."),
    ("is_false", lambda x: pc.fill_null(pc.invert(x), False), _booleans, "Whether the value is false (not NULL)."),
    ("is_not_true", lambda x: pc.invert(pc.fill_null(x, False)), _booleans, "Whether the value is false or NULL."),
    ("is_not_false", lambda x: pc.fill_null(x, True), _booleans, "Whether the value is true or NULL."),
):

    def _logical(call: Call, args: list[Any], rows: int, settings: Settings, function: Any = _function) -> Any:
        return functools.reduce(function, args) if len(args) > 1 else function(args[0])

    scalar(_name, _types, _doc, category="operator", strict=_name == "not")(_logical)


def _same(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("it takes at least one argument")
    type_ = common_of(list(args))
    if type_ is None:
        raise NoMatch(f"{', '.join(dict.fromkeys(sql_name(a.type) for a in args))} have no common type: cast them")
    return [type_] * len(args), type_


def _among(args: Sequence[Expr]) -> Types:
    return [_meeting(args)] * len(args), pa.bool_()


@scalar("in", _among, "Whether the first argument equals one of the others.", category="operator", strict=False)
def _in(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value, *items = args
    t = pa.types
    simple = not (t.is_nested(value.type) or t.is_interval(value.type))
    missing = pa.scalar(None, pa.bool_())
    if simple and len(items) > 3 and isinstance(value, pa.Array) and all(isinstance(item, pa.Scalar) for item in items):
        known = [item.as_py() for item in items if item.is_valid]
        found = pc.is_in(value, value_set=pa.array(known, value.type), skip_nulls=True)
        unknown = len(known) < len(items)
        if not value.null_count and not unknown:
            return found
        return pc.if_else(pc.is_null(value), missing, pc.if_else(found, True, missing) if unknown else found)
    value = column(value, rows)
    result: Any = pa.scalar(False)
    for item in items:
        same = missing if isinstance(item, pa.Scalar) and not item.is_valid else compare("eq", value, item, rows)
        result = pc.or_kleene(result, same)
    return result


def _chosen(args: list[Any], rows: int, picks: list[pa.Array], otherwise: Any, type_: pa.DataType) -> pa.Array:
    """Rows of several columns: the value of the first column whose mask holds, else `otherwise`. For any type."""
    columns = [column(a, rows) for a in (*args, otherwise)]
    index = pa.repeat(pa.scalar(len(args), pa.int64()), rows)
    for at in reversed(range(len(args))):
        index = pc.if_else(picks[at], at, index)
    places = pc.add(pc.multiply(index, rows), pa.array(range(rows), pa.int64()))
    return pa.concat_arrays([c if c.type == type_ else c.cast(type_) for c in columns]).take(places)


@scalar(
    "coalesce", _same, "The first argument that is not NULL.", category="conditional", aliases=("ifnull",), strict=False
)
def _coalesce(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if pa.types.is_nested(call.type) or call.type == INTERVAL:
        columns = [column(a, rows) for a in args]
        return _chosen(columns[:-1], rows, [c.is_valid() for c in columns[:-1]], columns[-1], call.type)
    return pc.coalesce(*args)


def _nullif_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes two arguments")
    type_ = _meeting(args)
    return (type_, type_), type_


@scalar(
    "nullif",
    _nullif_types,
    "The first argument, or NULL if it equals the second.",
    category="conditional",
    strict=False,
)
def _nullif(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    value = column(args[0], rows)
    if isinstance(args[1], pa.Scalar) and not args[1].is_valid:
        return value
    same = pc.fill_null(compare("eq", value, args[1], rows), False)
    return (
        value.take(pc.if_else(same, pa.scalar(None, pa.int64()), pa.array(range(rows), pa.int64())))
        if (pa.types.is_nested(value.type) or value.type == INTERVAL)
        else pc.if_else(same, pa.scalar(None, value.type), value)
    )


def _extreme(name: str, wins: str, plain: Callable[..., Any], doc: str) -> None:
    @scalar(name, _same, doc, category="conditional", strict=False)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        t = pa.types
        if (t.is_integer(call.type) or t.is_date(call.type) or t.is_timestamp(call.type)) and not t.is_null(call.type):
            return plain(*args)
        best = column(args[0], rows)
        for arg in args[1:]:
            other = column(arg, rows)
            better = pc.or_(
                pc.fill_null(compare(wins, other, best, rows), False), pc.and_(best.is_null(), other.is_valid())
            )
            best = _chosen([other], rows, [better], best, call.type)
        return best


_extreme("greatest", "gt", pc.max_element_wise, "The greatest argument that is not NULL.")
_extreme("least", "lt", pc.min_element_wise, "The least argument that is not NULL.")


def _if_types(args: Sequence[Expr]) -> Types:
    if len(args) != 3:
        raise NoMatch("it takes a condition and two values")
    _, type_ = _same(args[1:])
    return (pa.bool_(), type_, type_), type_


@scalar(
    "if",
    _if_types,
    "The second argument where the first is true, else the third.",
    category="conditional",
    strict=False,
)
def _if(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _chosen([args[1]], rows, [pc.fill_null(column(args[0], rows), False)], args[2], call.type)


def _itself(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes one argument")
    return (args[0].type,), args[0].type


@scalar("try", _itself, "The value, or NULL where computing it is an error.", category="conditional", strict=False)
def _try(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return args[0]  # the evaluator catches what its argument raises


def _text_of_type(args: Sequence[Expr]) -> Types:
    return _itself(args)[0], pa.string()


@scalar("typeof", _text_of_type, "The SQL name of the value's type.", category="conditional", strict=False)
def _typeof(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pa.scalar(sql_name(call.args[0].type))


def _raise_types(args: Sequence[Expr]) -> Types:
    return [pa.string()] * len(args), pa.null()


@scalar("error", _raise_types, "Fails with the text as its message.", category="conditional")
def _error(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    from sqlengine.errors import DataError

    texts = column(args[0], rows).drop_null()
    if len(texts):
        raise DataError(str(texts[0].as_py())[:200], code="raised", location=call.location)
    return pa.scalar(None, pa.null())
