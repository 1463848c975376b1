"""User functions in SQL: kinds, types, NULLs, options, how often they are called, and the batches they see."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import sqlengine
from sqlengine import errors, udf
from sqlengine.session import Session

ISOLATION = ["thread", "process"]


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        made.register("t", {"x": list(range(100)), "n": [None if i % 3 == 0 else i for i in range(100)]})
        yield made


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


@pytest.mark.parametrize("isolate", ISOLATION)
def test_a_row_function(session: Session, isolate: str) -> None:
    @session.udf(isolate=isolate)
    def double(x: int) -> int:
        return 2 * x

    assert rows(session, "select double(21)") == [(42,)]
    assert rows(session, "select x from t where double(x) = 14") == [(7,)]
    assert rows(session, "select sum(double(x)), count(double(n)) from t") == [(9900, 66)]
    assert double(4) == 8


@pytest.mark.parametrize("isolate", ISOLATION)
def test_an_arrow_function(session: Session, isolate: str) -> None:
    @session.udf(kind="arrow", returns="DOUBLE", isolate=isolate)
    def half(values: pa.Array) -> pa.Array:
        return pc.divide(values.cast(pa.float64()), 2.0)

    assert rows(session, "select half(x) from t order by x limit 2") == [(0.0,), (0.5,)]
    # NULL rows are not passed, and are NULL.
    assert rows(session, "select count(half(n)), count(*) from t") == [(66, 100)]


def test_a_class_has_one_instance_per_worker(session: Session) -> None:
    made = []

    class Counter:
        def __init__(self) -> None:
            made.append(self)
            self.calls = 0

        def __call__(self, x: int) -> int:
            self.calls += 1
            return self.calls

    session.udf(Counter, name="counter")
    assert rows(session, "select max(counter(x)) from t") == [(100,)]
    assert len(made) == 1


def test_coroutines_run_together(session: Session) -> None:
    running, most = 0, 0

    @session.udf(concurrency=10)
    async def slow(x: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return x + 1

    assert rows(session, "select sum(slow(x)) from t") == [(5050,)]
    assert most == 10


def test_types_from_hints(session: Session) -> None:
    @udf
    def every(a: str, b: float | None = None, c: list[int] | None = None) -> dict[str, int]:
        return {a: len(c or [])}

    definition = every.definition
    assert definition.args == (pa.string(), pa.float64(), pa.list_(pa.int64()))
    assert (definition.returns, definition.required) == (pa.map_(pa.string(), pa.int64()), 1)

    @udf
    def day(d: datetime.date, n: decimal.Decimal) -> datetime.datetime:
        return datetime.datetime.combine(d, datetime.time())

    assert day.definition.args == (pa.date32(), pa.decimal128(38, 9))
    with pytest.raises(errors.InterfaceError, match="needs a name"):
        udf(lambda x: x)  # no name either
    with pytest.raises(errors.InterfaceError, match="does not say what it returns"):

        @udf
        def silent(x: int):  # type: ignore[no-untyped-def]
            return x


def test_arguments_are_checked_and_cast(session: Session) -> None:
    @session.udf
    def size(text: str, factor: int = 1) -> int:
        return len(text) * factor

    assert rows(session, "select size('abc'), size('abc', 2::tinyint)") == [(3, 6)]
    with pytest.raises(errors.BindError, match="takes 1 to 2 arguments"):
        session.sql("select size()")
    with pytest.raises(errors.BindError, match=r"argument 2 of size.. is VARCHAR, it wants BIGINT"):
        session.sql("select size('a', upper('b'))")
    with pytest.raises(errors.BindError, match="unknown option"):
        session.sql("select size('a', batch_row => 3)")
    with pytest.raises(errors.InterfaceError, match="is built in"):
        session.udf(size, name="upper")


def test_nulls_pass(session: Session) -> None:
    @session.udf(nulls="pass")
    def missing(x: int) -> bool:
        return x is None

    assert rows(session, "select count(*) from t where missing(n)") == [(34,)]


def test_called_once_for_a_row(session: Session) -> None:
    calls: list[int] = []

    @session.udf
    def seen(x: int) -> int:
        calls.append(x)
        return x

    query = "select seen(x), seen(x) + 1, upper('a') from t where x >= 90 and seen(x) > 94 order by seen(x)"
    assert [row[0] for row in rows(session, query)] == [95, 96, 97, 98, 99]
    assert sorted(calls) == list(range(90, 100))  # the cheap predicate first, and the select list reuses the filter's
    calls.clear()
    assert len(rows(session, "select x, seen(x) from t order by x desc limit 3")) == 3
    assert sorted(calls) == [97, 98, 99]  # after the top-N
    calls.clear()
    assert len(rows(session, "select seen(x) from t limit 3")) == 3
    assert len(calls) == 3
    calls.clear()
    assert rows(session, "select sum(case when x < 5 then seen(x) when x > 97 then -seen(x) end) from t") == [(-187,)]
    assert sorted(calls) == [0, 1, 2, 3, 4, 98, 99]
    calls.clear()
    assert rows(session, "select count(*) from t where x < 98 or seen(x) = 98") == [(99,)]
    assert sorted(calls) == [98, 99]


def test_a_volatile_function_is_called_each_time(session: Session) -> None:
    calls: list[int] = []

    @session.udf(deterministic=False)
    def tick(x: int) -> int:
        calls.append(x)
        return len(calls)

    assert rows(session, "select tick(x) = tick(x) from t limit 1") == [(False,)]


def test_nested_calls_joins_and_aggregates(session: Session) -> None:
    @session.udf
    def inc(x: int) -> int:
        return x + 1

    session.register("u", {"y": [5, 6]})
    assert rows(session, "select inc(inc(y)) from u order by inc(y)") == [(7,), (8,)]
    assert rows(session, "select x, y from t join u on inc(x) = inc(y) order by 1") == [(5, 5), (6, 6)]
    assert rows(session, "select x, y from t left join u on x = inc(y) where inc(x) in (7, 8, 9) order by 1") == [
        (6, 5),
        (7, 6),
        (8, None),
    ]
    assert rows(session, "select inc(y) % 2 k, sum(inc(y)) from u group by inc(y) % 2 order by k") == [(0, 6), (1, 7)]
    assert rows(session, "select inc(x) from t where x < 2 union all select inc(y) from u order by 1") == [
        (1,), (2,), (6,), (7,),
    ]  # fmt: skip
    assert rows(session, "select (select max(inc(x)) from t where x < y) from u order by 1") == [(5,), (6,)]


def test_batches_are_bounded_in_rows_and_bytes(session: Session) -> None:
    sizes: list[int] = []

    @session.udf(kind="arrow", returns=pa.string(), args=["BIGINT"])
    def wide(values: pa.Array) -> pa.Array:
        sizes.append(len(values))
        return pa.array(["x" * 10_000] * len(values))

    assert rows(session, "select sum(length(wide(x, batch_bytes => '100kB'))) from t") == [(1_000_000,)]
    assert max(sizes) <= 16
    assert 9 <= sizes[1] <= 10
    sizes.clear()
    rows(session, "select count(wide(x, batch_rows => 7)) from t")
    assert max(sizes) == 7
    lengths = [batch.num_rows for batch in session.sql("select x, wide(x, batch_bytes => '50kB') from t").batches()]
    assert sum(lengths) == 100
    assert max(lengths) <= 16


def test_concurrency_bounds_the_threads() -> None:
    with sqlengine.connect(threads=4, preserve_order=False) as session:
        session.register("u", [{"x": i} for i in range(1000)])
        lock, running, most = threading.Lock(), 0, 0

        @session.udf(concurrency=1)
        def alone(x: int) -> int:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            with lock:
                running -= 1
            return x

        assert rows(session, "select sum(alone(x)) from u") == [(499500,)]
        assert most == 1


def test_functions_of_a_file(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "more.py"
    path.write_text(
        "from sqlengine import udf\n\nFACTOR = 3\n\n"
        "@udf\ndef triple(x: int) -> int:\n    return x * FACTOR\n\n"
        "@udf(isolate='process')\ndef far(x: int) -> int:\n    return triple(x)\n"
    )
    assert session.load(str(path)) == ["triple", "far"]
    assert rows(session, "select triple(2), far(3)") == [(6, 9)]
    with pytest.raises(errors.FileError, match="no file"):
        session.load("nowhere.py")
    with pytest.raises(errors.InterfaceError, match="it offers far, triple"):
        session.load(f"{path}:quadruple")


def test_plans_show_the_calls(session: Session) -> None:
    @session.udf
    def shown(x: int) -> int:
        return x

    text = session.sql("select shown(x) from t").explain("physical")
    assert "CallUdf" in text
    assert "shown(" in text


def test_functions_from_sql(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(
        "from sqlengine import udf\n\ndef plain(x: int) -> int:\n    return x + 1\n\n"
        "@udf\ndef made(x: int) -> int:\n    return -x\n"
    )
    session.sql(f"load '{path}'")
    session.sql(f"create function plus_one language python as '{path}:plain' with (batch_rows = 5, on_error = 'null')")
    assert rows(session, "select made(3), plus_one(3)") == [(-3, 4)]
    with pytest.raises(errors.InterfaceError, match="exists already"):
        session.sql(f"create function plus_one language python as '{path}:plain'")
    session.sql("set udf.made.batch_bytes = '8MB'")
    kinds = {row[0]: row[1:] for row in session.sql("show functions").fetchall()}
    assert kinds["made"] == ("user row", "[batch_bytes=8000000]")
    assert kinds["plus_one"] == ("user row", "[batch_rows=5, on_error=null]")
    session.sql("reset udf.made.batch_bytes")
    assert {row[0]: row[2] for row in session.sql("show functions").fetchall()}["made"] == ""
    with pytest.raises(errors.InterfaceError, match="unknown option"):
        session.sql("set udf.made.batch_byte = 1")
    with pytest.raises(errors.InterfaceError, match="no user function"):
        session.sql("set udf.nobody.batch_bytes = 1")


def test_functions_of_the_callers_frame() -> None:
    @udf
    def around(x: int) -> int:
        return x * 10

    assert around.definition.name == "around"
    assert sqlengine.sql("select around(4)").fetchall() == [(40,)]
    with pytest.raises(errors.BindError, match="does not exist"):
        sqlengine.sql("select around(4)", capture=False)
