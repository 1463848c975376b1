"""Functions that yield rows, in FROM: constants, columns of tables on the left, several columns, bounded batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import sqlengine
from sqlengine import errors, udf
from sqlengine.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        made.register("t", {"x": [0, 1, 2, None], "s": ["a", "b", "c", "d"]})
        yield made


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


@udf.table
def countdown(n: int) -> Iterator[int]:
    yield from range(n, 0, -1)


@udf.table(returns="STRUCT(word VARCHAR, size BIGINT)")
def words(text: str) -> Iterator[tuple[str, int]]:
    for word in text.split():
        yield word, len(word)


def test_constants(session: Session) -> None:
    session.udf(countdown)
    assert rows(session, "select * from countdown(3)") == [(3,), (2,), (1,)]
    assert rows(session, "select c.n + 1 from countdown(2) c(n)") == [(3,), (2,)]
    assert rows(session, "select count(*) from countdown(0)") == [(0,)]
    assert rows(session, "select count(*) from countdown(null)") == [(0,)]


def test_columns_of_tables_on_the_left(session: Session) -> None:
    session.udf(countdown)
    expected = [("b", 1), ("c", 2), ("c", 1)]
    assert rows(session, "select s, n from t, countdown(t.x) c(n)") == expected
    assert rows(session, "select s, n from t cross join lateral countdown(t.x) c(n) where s >= 'b'") == expected
    assert rows(session, "select s, n from t left join countdown(t.x + 0) c(n) on true order by s, n") == [
        ("a", None), ("b", 1), ("c", 1), ("c", 2), ("d", None),
    ]  # fmt: skip
    assert rows(session, "select s, sum(n) from t, countdown(t.x) c(n) where n > 1 group by s") == [("c", 2)]
    assert rows(session, "select s, (select sum(n) from countdown(t.x) c(n)) from t order by s") == [
        ("a", None), ("b", 1), ("c", 3), ("d", None),
    ]  # fmt: skip


def test_several_columns_and_nested_calls(session: Session) -> None:
    session.udf(words)

    @session.udf
    def doubled(text: str) -> str:
        return f"{text} {text}"

    assert rows(session, "select word, size from words('one three')") == [("one", 3), ("three", 5)]
    assert rows(session, "select s, word from t, words(doubled(s)) where s < 'c'") == [
        ("a", "a"), ("a", "a"), ("b", "b"), ("b", "b"),
    ]  # fmt: skip


def test_batches_are_bounded(session: Session) -> None:
    @session.udf(kind="table", returns=str, args=["BIGINT"])
    def wide(n: int) -> Iterator[str]:
        for _ in range(n):
            yield "w" * 10_000

    relation = session.sql("select s, v from t, wide(t.x * 500, batch_bytes => '100kB') w(v)")
    sizes = [batch.num_rows for batch in relation.batches()]
    assert sum(sizes) == 1500
    assert max(sizes) <= 11
    # A consumer that stops closes the generator.
    closed = []

    @session.udf(kind="table", returns=int, args=[])
    def endless() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed.append(True)

    assert rows(session, "select * from endless() limit 2") == [(1,), (2,)]
    assert closed


def test_errors(session: Session) -> None:
    @session.udf(kind="table", returns=int, args=["BIGINT"])
    def failing(n: int) -> Iterator[int]:
        yield n
        if n == 1:
            raise ValueError("one")
        yield -n

    with pytest.raises(errors.UDFError, match=r"failing\(1\) at row 2 of its input: ValueError"):
        rows(session, "select * from t, failing(x)")
    assert rows(session, "select s, v from t, failing(x, on_error => 'null') f(v)") == [
        ("a", 0), ("a", 0), ("b", 1), ("c", 2), ("c", -2),
    ]  # fmt: skip
    with pytest.raises(errors.BindError, match="gives rows, it cannot stand in an expression"):
        session.sql("select failing(1)")
    session.udf(lambda x: x, name="plain", returns=int, args=["BIGINT"])
    with pytest.raises(errors.BindError, match="gives one value, not rows"):
        session.sql("select * from plain(1)")
    with pytest.raises(errors.NotSupportedError, match="runs in this process"):
        rows(session, "select * from failing(1, isolate => 'process')")

    @session.udf(kind="table", returns=int, args=[])
    def wrong() -> Iterator[Any]:
        yield "text"

    with pytest.raises(errors.UDFError, match="returned 'text', which is not BIGINT"):
        rows(session, "select * from wrong()")


def test_unnest_of_a_list_that_a_function_gives(session: Session) -> None:
    @session.udf
    def letters(text: str) -> list[str]:
        return list(text)

    session.register("texts", {"id": [1, 2, 3], "body": ["ab", "c", ""]})
    query = "select id, upper(letter) from texts, unnest(letters(body)) as l(letter) order by all"
    assert rows(session, query) == [(1, "A"), (1, "B"), (2, "C")]
