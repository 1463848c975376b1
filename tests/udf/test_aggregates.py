"""Aggregates that a user wrote: groups, modifiers, several at once, groups larger than memory, failures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

import sqlengine
from sqlengine import errors, udaf
from sqlengine.runtime.memory import MemoryPool
from sqlengine.session import Session


@udaf
class Spread:
    """The largest value less the smallest."""

    def __init__(self) -> None:
        self.low: int | None = None
        self.high: int | None = None

    def update(self, x: int) -> None:
        self.low = x if self.low is None else min(self.low, x)
        self.high = x if self.high is None else max(self.high, x)

    def finish(self) -> int | None:
        return None if self.low is None or self.high is None else self.high - self.low


@udaf
class Path:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def update(self, step: str, times: int = 1) -> None:
        self.steps += [step] * times

    def finish(self) -> str:
        return ">".join(self.steps)


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        made.register("t", {"k": ["a", "a", "b", "b", "b"], "x": [5, 9, None, 1, 4], "s": ["p", "q", "r", "s", "r"]})
        made.udf(Spread)
        made.udf(Path)
        yield made


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


def test_groups(session: Session) -> None:
    assert rows(session, "select k, spread(x), sum(x), path(s) from t group by k order by k") == [
        ("a", 4, 14, "p>q"),
        ("b", 3, 5, "r>s>r"),
    ]
    assert rows(session, "select spread(x) from t") == [(8,)]
    assert rows(session, "select spread(x) from t where false") == [(None,)]
    assert rows(session, "select k from t group by k having spread(x) > 3") == [("a",)]


def test_modifiers(session: Session) -> None:
    assert rows(session, "select path(s order by s desc), path(distinct s), path(s, 2) from t where k = 'b'") == [
        ("s>r>r", "r>s", "r>r>s>s>r>r")
    ]
    assert rows(session, "select path(s) filter (x > 3), spread(x) filter (x > 3) from t") == [("p>q>r", 5)]
    assert rows(session, "select k, spread(x) from t group by rollup (k) order by k") == [("a", 4), ("b", 3), (None, 8)]


def test_a_group_larger_than_memory() -> None:
    count = 300_000
    with sqlengine.connect(threads=1, batch_bytes="64KiB") as session:
        session.register("n", pa.table({"x": range(count)}))
        session.udf(Spread)
        session._pool = MemoryPool(3 << 20)
        relation = session.sql("select spread(x), spread(-x) from n")
        assert relation.fetchall() == [(count - 1, count - 1)]
        assert relation.stats is not None
        assert relation.stats["spilled"] > 0


def test_failures(session: Session) -> None:
    class Picky:
        def update(self, x: int) -> None:
            if x == 4:
                raise ValueError("four")

        def finish(self) -> int:
            return 1

    session.udf(Picky, name="picky", kind="aggregate")
    with pytest.raises(errors.UDFError, match=r"picky.. of a group: ValueError: 'four'"):
        rows(session, "select k, picky(x) from t group by k")
    assert rows(session, "select k, picky(x, on_error => 'null') from t group by k order by k") == [
        ("a", 1),
        ("b", None),
    ]
    with pytest.raises(errors.BindError, match="wants BIGINT"):
        session.sql("select spread(s) from t")
    with pytest.raises(errors.InterfaceError, match="a class with update"):
        udaf(lambda x: x)
    with pytest.raises(errors.BindError, match="cannot stand in WHERE"):
        session.sql("select 1 from t where spread(x) > 1")
