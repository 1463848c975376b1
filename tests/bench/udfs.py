"""`python -m tests.bench.udfs`: user functions that inflate their input, and how fast calls are, by every engine.

Engines that know a budget get it; all get 2 threads and otherwise their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tests.bench.calls import THREADS, Case, Prepare, main

_ROWS, _WIDE = 2000, 1_000_000
_CALLS = 1_000_000


def _widened(numbers: Any) -> list[str]:
    return [chr(97 + n % 26) * _WIDE for n in numbers]


def _session(options: Mapping[str, Any]) -> Any:
    import sqlengine

    return sqlengine.connect(memory_limit=f"{options['limit']}MB", threads=THREADS)


def _ours(query: str, target: Any, **settings: Any) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        session = _session(options)
        session.register("t", pa.table({"x": range(_ROWS)}))
        session.register("m", pa.table({"x": range(_CALLS)}))
        session.udf(target, name="f", **settings)
        return lambda: session.sql(query).fetchall()[0][0]

    return prepare


def _vector(x: pa.Array) -> pa.Array:
    return pa.array(_widened(x.to_pylist()))


def _row(x: int) -> str:
    return chr(97 + x % 26) * _WIDE


def _large_row(x: int) -> str:
    return chr(97 + x % 26) * (150_000_000 if x == 1000 else 1000)


def _pieces(x: int) -> Iterator[str]:
    for n in range(200):
        yield chr(97 + (x + n) % 26) * 50_000


def _linear(x: int) -> int:
    return 2 * x + 1


def _linear_vector(x: pa.Array) -> pa.Array:
    return pc.add(pc.multiply(x, 2), 1)


def _busy(x: int) -> int:
    """About 1 ms of Python."""
    total = 0
    for n in range(20_000):
        total += n ^ x
    return total


_SUM = "select sum(length(f(x))) from t"


def _duckdb(kind: str, target: Any, result: Any, query: str) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        import duckdb

        connection = duckdb.connect(config={"threads": THREADS, "memory_limit": f"{options['limit']}MB"})
        connection.create_function("f", target, ["BIGINT"], result, type=kind)
        connection.execute(f"create table t as select range as x from range({_ROWS})")
        connection.execute(f"create table m as select range as x from range({_CALLS})")
        return lambda: connection.execute(query).fetchall()[0][0]

    return prepare


def _polars(by_row: bool, target: Any, count: int, length: bool) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        import polars as pl

        type_ = pl.String if length else pl.Int64
        column = pl.col("x")
        made = (
            column.map_elements(target, return_dtype=type_)
            if by_row
            else column.map_batches(lambda s: pl.Series(target(s.to_arrow())), return_dtype=type_)
        )
        frame = pl.LazyFrame({"x": range(count)}).select(made.alias("v"))
        value = pl.col("v").str.len_bytes().sum() if length else pl.col("v").sum()
        return lambda: frame.select(value).collect(engine="streaming").item()

    return prepare


def _daft(by_row: bool, target: Any, count: int, length: bool, **settings: Any) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        import daft

        type_ = daft.DataType.string() if length else daft.DataType.int64()
        if by_row:

            def one(x: int) -> Any:
                return target(x)

            call = daft.func(one, return_dtype=type_, **settings)
        else:

            def many(x: Any) -> Any:
                return daft.Series.from_arrow(target(x.to_arrow()))

            call = daft.func.batch(return_dtype=type_)(many)
        frame = daft.from_pydict({"x": list(range(count))}).select(call(daft.col("x")).alias("v"))
        value = daft.col("v").length() if length else daft.col("v")
        return lambda: next(iter(frame.select(value.alias("n")).sum("n").to_pydict().values()))[0]

    return prepare


def _datafusion(target: Any, count: int, length: bool) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        import datafusion

        context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
        type_ = pa.string() if length else pa.int64()
        context.register_udf(datafusion.udf(target, [pa.int64()], type_, "immutable", name="f"))
        context.register_record_batches("t", [[b] for b in pa.table({"x": range(count)}).to_batches()])
        query = "select sum(octet_length(f(x))) from t" if length else "select sum(f(x)) from t"
        return lambda: context.sql(query).to_pydict().popitem()[1][0]

    return prepare


CASES = {
    "inflate_vector": Case(
        "2,000 integers become texts of 1 MB by a vectorised function; the sum of their lengths.",
        {
            "sqlengine": _ours(_SUM, _vector, kind="arrow", returns="VARCHAR", args=["BIGINT"]),
            "duckdb": _duckdb("arrow", _vector, "VARCHAR", _SUM),
            "polars": _polars(False, _vector, _ROWS, True),
            "daft": _daft(False, _vector, _ROWS, True),
            "datafusion": _datafusion(_vector, _ROWS, True),
        },
    ),
    "inflate_row": Case(
        "The same by a function of one row.",
        {
            "sqlengine": _ours(_SUM, _row),
            "duckdb": _duckdb("native", _row, "VARCHAR", _SUM),
            "polars": _polars(True, _row, _ROWS, True),
            "daft": _daft(True, _row, _ROWS, True),
        },
    ),
    "inflate_process": Case(
        "The same in a worker process, by vectors and by rows.",
        {
            "sqlengine vectors": _ours(
                _SUM, _vector, kind="arrow", returns="VARCHAR", args=["BIGINT"], isolate="process"
            ),
            "sqlengine rows": _ours(_SUM, _row, isolate="process"),
            "daft": _daft(True, _row, _ROWS, True, use_process=True),
        },
    ),
    "inflate_generator": Case(
        "2,000 rows become 200 rows of 50 KB each: 20 GB of text.",
        {"sqlengine": _ours("select sum(length(v)) from t, f(x) as g(v)", _pieces, kind="table", returns="VARCHAR")},
    ),
    "inflate_one": Case(
        "One value of 150 MB among 1,999 of 1 KB.",
        {
            "sqlengine": _ours(_SUM, _large_row),
            "duckdb": _duckdb("native", _large_row, "VARCHAR", _SUM),
            "polars": _polars(True, _large_row, _ROWS, True),
            "daft": _daft(True, _large_row, _ROWS, True),
        },
    ),
    "calls_row": Case(
        "A function of one row, called a million times.",
        {
            "sqlengine": _ours("select sum(f(x)) from m", _linear),
            "duckdb": _duckdb("native", _linear, "BIGINT", "select sum(f(x)) from m"),
            "polars": _polars(True, _linear, _CALLS, False),
            "daft": _daft(True, _linear, _CALLS, False),
        },
        limit=1000,
    ),
    "calls_vector": Case(
        "A vectorised function over a million rows.",
        {
            "sqlengine": _ours(
                "select sum(f(x)) from m", _linear_vector, kind="arrow", returns="BIGINT", args=["BIGINT"]
            ),
            "duckdb": _duckdb("arrow", _linear_vector, "BIGINT", "select sum(f(x)) from m"),
            "polars": _polars(False, _linear_vector, _CALLS, False),
            "daft": _daft(False, _linear_vector, _CALLS, False),
            "datafusion": _datafusion(_linear_vector, _CALLS, False),
        },
        limit=1000,
    ),
    "busy_process": Case(
        "2,000 calls of 1 ms of Python in one and in two worker processes.",
        {
            "sqlengine 1 worker": _ours("select sum(f(x)) from t", _busy, isolate="process", concurrency=1),
            "sqlengine 2 workers": _ours("select sum(f(x)) from t", _busy, isolate="process", concurrency=2),
            "sqlengine thread": _ours("select sum(f(x)) from t", _busy),
            "daft": _daft(True, _busy, _ROWS, False, use_process=True),
        },
        limit=1000,
    ),
}

if __name__ == "__main__":
    main("tests.bench.udfs", "User functions", CASES)
