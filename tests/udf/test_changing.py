"""ALTER and DROP FUNCTION, plugins, and what users' aggregates cannot do."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import sqlengine
from sqlengine import errors, udaf
from sqlengine.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        made.register("t", {"x": [1, 2, 3]})

        @made.udf
        def half(x: int) -> float:
            if x == 2:
                raise ValueError("two")
            return x / 2

        yield made


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


def described(session: Session, name: str) -> str:
    return {f["name"]: f["description"] for f in session.functions().to_pylist()}[name]


def test_altering(session: Session) -> None:
    session.sql("alter function half set on_error = 'null', batch_bytes = '1MB'")
    assert rows(session, "select half(x) from t order by x") == [(0.5,), (None,), (1.5,)]
    assert described(session, "half") == "[batch_bytes=1000000, on_error=null]"
    session.sql("alter function half with (retries = 3)")
    session.sql("alter function half reset on_error, batch_bytes")
    assert described(session, "half") == "[retries=3]"
    session.sql("alter function half rename to halved")
    assert rows(session, "select halved(3)") == [(1.5,)]
    with pytest.raises(errors.BindError, match="half does not exist"):
        session.sql("select half(3)")
    session.sql("drop function halved")
    with pytest.raises(errors.BindError, match="halved does not exist"):
        session.sql("select halved(3)")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("alter function none set retries = 1", 'there is no user function "none"'),
        ("alter function half set speed = 9", 'unknown option "speed"'),
        ("alter function half set retries = -1", "will not do"),
        ("alter function half rename to upper", "upper exists already"),
        ("alter function half", "expected SET, WITH, RESET or RENAME TO"),
    ],
)
def test_what_cannot_be_altered(session: Session, statement: str, message: str) -> None:
    with pytest.raises(errors.Error, match=message) as caught:
        session.sql(statement)
    assert caught.value.location is not None
    assert described(session, "half") == ""


def test_in_safe_sessions() -> None:
    with sqlengine.connect(safe=True) as session:
        for statement in ("alter function f set retries = 1", "select url_upload('x'::blob, '/tmp/x')"):
            with pytest.raises(errors.Error, match="not allowed in safe mode"):
                session.sql(statement)


def test_plugins(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "shop_functions.py"
    module.write_text("from sqlengine import udf\n\n@udf\ndef tax(x: int) -> float:\n    return x * 0.2\n")
    package = tmp_path / "shop-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[sqlengine.udfs]\nshop = shop_functions\nshop-tax = shop_functions:tax\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(importlib.metadata.entry_points(group="sqlengine.udfs")) == 2
    try:
        assert session.load("shop-tax") == ["tax"]
        session.sql("LOAD 'shop'")
        assert rows(session, "select tax(10)") == [(2.0,)]
        with pytest.raises(errors.InterfaceError, match="cannot be imported") as caught:
            session.load("shops")
        assert caught.value.hint == "a file ends in .py; installed plugins: shop, shop-tax"
    finally:
        sys.modules.pop("shop_functions", None)


def test_a_users_aggregate_before_over(session: Session) -> None:
    @udaf
    class total:
        def __init__(self) -> None:
            self.sum = 0

        def update(self, x: int) -> None:
            self.sum += x

        def finish(self) -> int:
            return self.sum

    session.udf(total)
    assert rows(session, "select total(x) from t") == [(6,)]
    with pytest.raises(errors.NotSupportedError, match="cannot stand before OVER"):
        session.sql("select total(x) over (order by x) from t")


def test_a_blob_may_be_any_buffer() -> None:
    """Arrow keeps memoryviews for ever; what is made of them must not be."""

    def resident() -> int:
        return int(psutil.Process().memory_info().rss)

    with sqlengine.connect(threads=1, batch_bytes="1MB") as session:

        @session.udf
        def filled(x: int) -> bytes:
            return memoryview(bytearray(200_000))  # type: ignore[return-value]

        query = "select sum(octet_length(filled(range))) from range({})"
        rows(session, query.format(10))
        before = resident()
        assert rows(session, query.format(500)) == [(100_000_000,)]
        assert resident() - before < 50 << 20
