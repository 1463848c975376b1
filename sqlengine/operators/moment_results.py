"""From counts, means and sums of deviations (the states of `Moments`) to the values of the statistical aggregates."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_NULL = pa.scalar(None, pa.float64())

# The kind of moments that a call keeps.
MOMENT_KINDS = {
    **dict.fromkeys(("var_samp", "var_pop", "stddev_samp", "stddev_pop", "sem"), "spread"),
    **dict.fromkeys(("skewness", "kurtosis", "kurtosis_pop"), "shape"),
    **dict.fromkeys(
        ("corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept"), "pair"
    ),
    **dict.fromkeys(("regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy"), "pair"),
    **dict.fromkeys(("fsum", "favg", "geometric_mean"), "exact"),
}
MOMENT_PARTS = {"spread": 3, "shape": 5, "pair": 6, "exact": 3}


def moment_result(name: str, parts: list[pa.Array]) -> pa.Array:
    """The values of the call `name` from the parts of its moments, one per group."""
    match MOMENT_KINDS[name]:
        case "spread":
            return _spread(name, parts[0], parts[2])
        case "shape":
            return _shape(name, parts[0], *parts[2:])
        case "pair":
            return _pair(name, *parts)
        case _:
            return _sum(name, *parts)


def _where(condition: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(condition, values, _NULL)


def _spread(name: str, n: pa.Array, m2: pa.Array) -> pa.Array:
    less = 0.0 if name.endswith("_pop") else 1.0
    divisor = pc.subtract(n, less)
    variance = _where(pc.greater(divisor, 0.0), pc.divide(m2, divisor))
    match name:
        case "stddev_samp" | "stddev_pop":
            return pc.sqrt(variance)
        case "sem":
            return _where(pc.greater(n, 0.0), pc.divide(pc.sqrt(pc.divide(m2, n)), pc.sqrt(n)))
        case _:
            return variance


def _shape(name: str, n: pa.Array, m2: pa.Array, m3: pa.Array, m4: pa.Array) -> pa.Array:
    variance = pc.divide(m2, n)
    less_one, less_two, less_three = (pc.subtract(n, float(k)) for k in (1, 2, 3))
    if name == "skewness":
        # Of values that are all equal it is 0 / 0, which is NaN.
        skew = pc.divide(pc.divide(m3, n), pc.power(variance, 1.5))
        factor = pc.divide(pc.sqrt(pc.multiply(n, less_one)), less_two)
        return _where(pc.greater(less_two, 0.0), pc.multiply(factor, skew))
    ratio = pc.divide(pc.divide(m4, n), pc.multiply(variance, variance))
    spread = pc.greater(variance, 0.0)
    if name == "kurtosis_pop":
        return _where(pc.and_(pc.greater(less_one, 0.0), spread), pc.subtract(ratio, 3.0))
    inner = pc.subtract(pc.multiply(pc.add(n, 1.0), ratio), pc.multiply(3.0, less_one))
    value = pc.divide(pc.multiply(less_one, inner), pc.multiply(less_two, less_three))
    return _where(pc.and_(pc.greater(less_three, 0.0), spread), value)


def _pair(name: str, n: pa.Array, my: pa.Array, mx: pa.Array, syy: pa.Array, sxx: pa.Array, sxy: pa.Array) -> pa.Array:
    some, varies = pc.greater(n, 0.0), pc.greater(sxx, 0.0)
    slope = _where(varies, pc.divide(sxy, sxx))
    match name:
        case "regr_count":
            return n.cast(pa.uint32())
        case "regr_avgx":
            return _where(some, mx)
        case "regr_avgy":
            return _where(some, my)
        case "regr_sxx":
            return _where(some, sxx)
        case "regr_syy":
            return _where(some, syy)
        case "regr_sxy":
            return _where(some, sxy)
        case "covar_pop":
            return _where(some, pc.divide(sxy, n))
        case "covar_samp":
            return _where(pc.greater(n, 1.0), pc.divide(sxy, pc.subtract(n, 1.0)))
        case "regr_slope":
            return _where(some, pc.divide(sxy, sxx))  # NaN where x is always the same
        case "regr_intercept":
            return pc.subtract(my, pc.multiply(slope, mx))
    correlation = pc.divide(sxy, pc.multiply(pc.sqrt(sxx), pc.sqrt(syy)))
    if name == "corr":
        return _where(some, correlation)
    # regr_r2: a line through constant values fits exactly.
    squared = pc.if_else(pc.equal(syy, 0.0), 1.0, pc.multiply(correlation, correlation))
    return _where(varies, squared)


def _sum(name: str, n: pa.Array, total: pa.Array, lost: pa.Array) -> pa.Array:
    exact = pc.if_else(pc.is_finite(total), pc.add(total, lost), total)
    match name:
        case "favg":
            exact = pc.divide(exact, n)
        case "geometric_mean":
            exact = pc.exp(pc.divide(exact, n))
    return _where(pc.greater(n, 0.0), exact)
