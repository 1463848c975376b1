"""Names and types of the aggregate functions; their states live with the operators that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sqlengine.expr.coercion import is_number
from sqlengine.expr.nodes import Expr, Literal
from sqlengine.expr.overloads import BOOL, DOUBLE, INT, TEXT, Types
from sqlengine.expr.registry import AggregateFunction, Infer, NoMatch, aggregate
from sqlengine.types import HUGEINT, INTERVAL


def _one(args: Sequence[Expr]) -> pa.DataType:
    if len(args) != 1:
        raise NoMatch("it takes one argument")
    return args[0].type


def _number(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_null(type_):
        return pa.int32()
    if not is_number(type_):
        raise NoMatch("it takes numbers")
    return type_


def _sum(args: Sequence[Expr]) -> Types:
    t = pa.types
    type_ = _one(args)
    if t.is_boolean(type_):
        return (pa.int32(),), HUGEINT
    type_ = _number(type_)
    if t.is_floating(type_):
        return (DOUBLE,), DOUBLE
    return (type_,), HUGEINT if t.is_integer(type_) else pa.decimal128(38, type_.scale)


def _avg(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    t = pa.types
    if t.is_timestamp(type_) or t.is_time(type_):
        return (type_,), type_
    if t.is_date(type_):
        return (pa.timestamp("us"),), pa.timestamp("us")
    if type_ == INTERVAL:
        raise NoMatch("the mean of intervals is not supported: average epoch(x)")
    type_ = _number(type_)
    return (DOUBLE if t.is_floating(type_) else type_,), DOUBLE


def _doubles(count: int) -> Infer:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != count:
            raise NoMatch(f"it takes {count} argument{'s' if count > 1 else ''}")
        for arg in args:
            _number(arg.type)
        return (DOUBLE,) * count, DOUBLE

    return infer


def _regr_count(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes 2 arguments")
    return (DOUBLE, DOUBLE), pa.uint32()


def _same(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    type_ = pa.int32() if pa.types.is_null(type_) else type_
    return (type_,), type_


def _several(type_: pa.DataType) -> pa.DataType:
    return pa.list_(type_)


def _extreme(args: Sequence[Expr]) -> Types:
    """min(x), or min(x, n): a list of the n smallest."""
    if len(args) == 2:
        return (args[0].type, INT), _several(args[0].type)
    return _same(args)


def _arg_extreme(args: Sequence[Expr]) -> Types:
    if len(args) not in (2, 3):
        raise NoMatch("it takes a value and what to order by, and how many of them")
    if len(args) == 3:
        return (args[0].type, args[1].type, INT), _several(args[0].type)
    return (args[0].type, args[1].type), args[0].type


def _quantile_of_sample(args: Sequence[Expr]) -> Types:
    if len(args) not in (2, 3):
        raise NoMatch("it takes a value, a quantile from 0 to 1, and the size of the sample")
    types, result = _quantile(False)(args[:2])
    return (*types, INT)[: len(args)], result


def _boolean(args: Sequence[Expr]) -> Types:
    if not (pa.types.is_boolean(_one(args)) or pa.types.is_null(args[0].type)):
        raise NoMatch("it takes a condition")
    return (BOOL,), BOOL


def _count_if(args: Sequence[Expr]) -> Types:
    return _boolean(args)[0], HUGEINT


def _whole(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    if not pa.types.is_integer(type_):
        raise NoMatch("it takes whole numbers")
    return (type_,), type_


def _count(args: Sequence[Expr]) -> Types:
    if len(args) > 1:
        raise NoMatch("it takes at most one argument")
    return [arg.type for arg in args], INT


def _interpolated(type_: pa.DataType) -> pa.DataType:
    """The type of a value between two values."""
    t = pa.types
    if t.is_null(type_) or t.is_integer(type_) or type_ == HUGEINT:
        return DOUBLE
    if is_number(type_) or t.is_timestamp(type_) or t.is_time(type_):
        return type_
    if t.is_date(type_):
        return pa.timestamp("us")
    raise NoMatch("it takes numbers, dates or times: quantile_disc takes any type")


def _shares(arg: Expr) -> bool:
    """Whether a quantile's second argument is a list of shares; refuses what is neither number nor list."""
    many = bool(pa.types.is_list(arg.type))
    if not (many or is_number(arg.type)):
        raise NoMatch("the quantile is a number from 0 to 1, or a list of them")
    if isinstance(arg, Literal) and arg.value is None:
        raise NoMatch("the quantile cannot be NULL")
    return many


def _quantile(continuous: bool) -> Infer:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2:
            raise NoMatch("it takes a value and a quantile from 0 to 1")
        type_ = args[0].type
        # The values themselves are ordered in their own type; the result is what lies between them.
        result = _interpolated(type_) if continuous else (pa.int32() if pa.types.is_null(type_) else type_)
        kept = pa.int32() if pa.types.is_null(type_) else type_
        many = _shares(args[1])
        return (kept, pa.list_(DOUBLE) if many else DOUBLE), pa.list_(result) if many else result

    return infer


def _median(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    t = pa.types
    if t.is_string(type_) or t.is_boolean(type_) or t.is_binary(type_):
        return (type_,), type_
    return (pa.int32() if t.is_null(type_) else type_,), _interpolated(type_)


def _mad(args: Sequence[Expr]) -> Types:
    type_ = _one(args)
    if type_ is not None and (is_number(type_) or pa.types.is_null(type_)):
        return (pa.int32() if pa.types.is_null(type_) else type_,), _interpolated(type_)
    raise NoMatch("it takes numbers")


def _approx_quantile(args: Sequence[Expr]) -> Types:
    if len(args) != 2 or not is_number(args[0].type):
        raise NoMatch("it takes a number and a quantile from 0 to 1")
    t, type_ = pa.types, args[0].type
    result = DOUBLE if t.is_floating(type_) else (INT if t.is_integer(type_) and type_ != pa.int32() else type_)
    many = _shares(args[1])
    return (result, pa.list_(DOUBLE) if many else DOUBLE), pa.list_(result) if many else result


def _approx_count_distinct(args: Sequence[Expr]) -> Types:
    return (_one(args),), INT


def _list(args: Sequence[Expr]) -> Types:
    types, type_ = _same(args)
    return types, pa.list_(type_)


def _texts(args: Sequence[Expr]) -> Types:
    if len(args) not in (1, 2):
        raise NoMatch("it takes a value and what to put between")
    return [TEXT] * len(args), TEXT


def _histogram(args: Sequence[Expr]) -> Types:
    types, type_ = _same(args)
    return types, pa.map_(type_, pa.uint64())


def _entropy(args: Sequence[Expr]) -> Types:
    return _same(args)[0], DOUBLE


_STATE, _ORDERED = "state", "ordered"
_ENTRIES: tuple[tuple[str, Infer, str, str, tuple[str, ...]], ...] = (
    ("count", _count, _STATE, "Number of rows, or of values that are not NULL.", ("count_star",)),
    ("count_if", _count_if, _STATE, "Number of rows where it is true.", ("countif",)),
    ("sum", _sum, _STATE, "Sum; of whole numbers a HUGEINT.", ("sum_no_overflow",)),
    ("avg", _avg, _STATE, "Mean, as DOUBLE.", ("mean",)),
    ("fsum", _doubles(1), _STATE, "Sum of DOUBLEs with compensated rounding.", ("kahan_sum", "sumkahan")),
    ("favg", _doubles(1), _STATE, "Mean of DOUBLEs with compensated rounding.", ()),
    ("min", _extreme, _STATE, "Smallest value; with a number, a list of so many.", ()),
    ("max", _extreme, _STATE, "Greatest value; with a number, a list of so many.", ()),
    ("any_value", _same, _STATE, "The first value that is not NULL.", ()),
    ("first", _same, _STATE, "The first value, NULL or not.", ("arbitrary",)),
    ("last", _same, _STATE, "The last value, NULL or not.", ()),
    ("arg_min", _arg_extreme, _STATE, "The value in the row where another is smallest.", ("min_by", "argmin")),
    ("arg_max", _arg_extreme, _STATE, "The value in the row where another is greatest.", ("max_by", "argmax")),
    ("arg_min_null", _arg_extreme, _ORDERED, "Like arg_min; the value may be NULL.", ()),
    ("arg_max_null", _arg_extreme, _ORDERED, "Like arg_max; the value may be NULL.", ()),
    ("arg_min_nulls_last", _arg_extreme, _ORDERED, "Like arg_min_null; NULLs are taken last.", ()),
    ("arg_max_nulls_last", _arg_extreme, _ORDERED, "Like arg_max_null; NULLs are taken last.", ()),
    ("bool_and", _boolean, _STATE, "Whether all values are true.", ("logical_and", "every")),
    ("bool_or", _boolean, _STATE, "Whether any value is true.", ("logical_or",)),
    ("bit_and", _whole, _STATE, "Bitwise and.", ()),
    ("bit_or", _whole, _STATE, "Bitwise or.", ()),
    ("bit_xor", _whole, _STATE, "Bitwise exclusive or.", ()),
    ("product", _doubles(1), _STATE, "Product, as DOUBLE.", ()),
    ("geometric_mean", _doubles(1), _STATE, "Geometric mean.", ("geomean",)),
    ("stddev_samp", _doubles(1), _STATE, "Standard deviation of a sample.", ("stddev",)),
    ("stddev_pop", _doubles(1), _STATE, "Standard deviation of a population.", ()),
    ("var_samp", _doubles(1), _STATE, "Variance of a sample.", ("variance",)),
    ("var_pop", _doubles(1), _STATE, "Variance of a population.", ()),
    ("sem", _doubles(1), _STATE, "Standard error of the mean.", ()),
    ("skewness", _doubles(1), _STATE, "Skewness of a sample.", ()),
    ("kurtosis", _doubles(1), _STATE, "Excess kurtosis of a sample.", ()),
    ("kurtosis_pop", _doubles(1), _STATE, "Excess kurtosis of a population.", ()),
    ("corr", _doubles(2), _STATE, "Correlation of two columns.", ()),
    ("covar_pop", _doubles(2), _STATE, "Covariance of a population.", ()),
    ("covar_samp", _doubles(2), _STATE, "Covariance of a sample.", ()),
    ("regr_avgx", _doubles(2), _STATE, "Mean of the second argument where both are known.", ()),
    ("regr_avgy", _doubles(2), _STATE, "Mean of the first argument where both are known.", ()),
    ("regr_count", _regr_count, _STATE, "Number of rows where both are known.", ()),
    ("regr_intercept", _doubles(2), _STATE, "Intercept of the regression line.", ()),
    ("regr_r2", _doubles(2), _STATE, "Coefficient of determination.", ()),
    ("regr_slope", _doubles(2), _STATE, "Slope of the regression line.", ()),
    ("regr_sxx", _doubles(2), _STATE, "Sum of squares of the second argument.", ()),
    ("regr_sxy", _doubles(2), _STATE, "Sum of products of both arguments.", ()),
    ("regr_syy", _doubles(2), _STATE, "Sum of squares of the first argument.", ()),
    ("approx_count_distinct", _approx_count_distinct, _STATE, "About how many different values there are.", ()),
    ("approx_quantile", _approx_quantile, _ORDERED, "About the quantile.", ()),
    ("median", _median, _ORDERED, "The middle value, or between the two in the middle.", ()),
    ("quantile_cont", _quantile(True), _ORDERED, "Interpolated quantile.", ("percentile_cont",)),
    ("quantile_disc", _quantile(False), _ORDERED, "The value at a quantile.", ("quantile", "percentile_disc")),
    ("reservoir_quantile", _quantile_of_sample, _ORDERED, "The value at a quantile (of all values).", ()),
    ("mode", _same, _ORDERED, "The value that occurs most often; the first of equals.", ()),
    ("mad", _mad, _ORDERED, "Median of the distances from the median.", ()),
    ("list", _list, _ORDERED, "All values as a list, NULLs too.", ("array_agg",)),
    ("string_agg", _texts, _ORDERED, "Texts joined.", ("group_concat", "listagg")),
    ("histogram", _histogram, _ORDERED, "How often each value occurs, as a map.", ()),
    ("entropy", _entropy, _ORDERED, "Entropy of the values' frequencies.", ()),
)
for _entry in _ENTRIES:
    aggregate(AggregateFunction(*_entry))
