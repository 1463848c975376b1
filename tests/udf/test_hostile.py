"""User functions that raise, lie, leak, crash, hang and fork: a clean outcome, no process left, the session usable."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pyarrow as pa
import pytest

import sqlengine
from sqlengine import errors
from sqlengine.session import Session

ISOLATION = ["thread", "process"]


@pytest.fixture
def session() -> Iterator[Session]:
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with sqlengine.connect(threads=2) as made:
        made.register("t", {"x": list(range(100))})
        yield made
        assert made.sql("select count(*) from t").fetchall() == [(100,)]
    after = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    assert not [p for p in after if p.pid not in before]


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


@pytest.mark.parametrize("isolate", ISOLATION)
@pytest.mark.parametrize("kind", ["row", "arrow"])
def test_raising(session: Session, isolate: str, kind: str) -> None:
    def guilty(x: Any) -> Any:
        if kind == "row":
            if x == 41:
                raise ValueError("not this one")
            return x
        if 41 in x.to_pylist():
            raise ValueError("not this one")
        return x

    session.udf(guilty, kind=kind, returns=pa.int64(), args=["BIGINT"], isolate=isolate)
    with pytest.raises(errors.UDFError, match=r"guilty\(41\) at row 42 of its input: ValueError") as caught:
        rows(session, "select guilty(x) from t")
    assert isinstance(caught.value.__cause__, ValueError)
    assert 'raise ValueError("not this one")' in caught.value.message
    assert rows(session, "select count(guilty(x, on_error => 'null')), sum(guilty(x, on_error => 'log')) from t") == [
        (99, 4909)
    ]


@pytest.mark.parametrize("isolate", ISOLATION)
def test_wrong_types_and_lengths(session: Session, isolate: str) -> None:
    def wrong(x: int) -> int:
        return "seven" if x == 7 else x  # type: ignore[return-value]

    def short(x: pa.Array) -> pa.Array:
        return x.slice(1)

    def other(x: pa.Array) -> pa.Array:
        return pa.array([[1]] * len(x))

    session.udf(wrong, isolate=isolate)
    session.udf(short, kind="arrow", returns="BIGINT", isolate=isolate)
    session.udf(other, kind="arrow", returns="BIGINT", isolate=isolate)
    with pytest.raises(errors.UDFError, match=r"wrong\(7\) at row 8 .*returned 'seven', which is not BIGINT"):
        rows(session, "select wrong(x) from t")
    assert rows(session, "select count(wrong(x, on_error => 'null')) from t") == [(99,)]
    with pytest.raises(errors.UDFError, match="returned 0 values for 1 rows"):
        rows(session, "select short(x) from t")
    with pytest.raises(errors.UDFError, match="it is declared int64"):
        rows(session, "select other(x) from t")


def test_retries(session: Session) -> None:
    failed: dict[int, int] = {}

    @session.udf(retries=2, backoff=0.001)
    def flaky(x: int) -> int:
        failed[x] = failed.get(x, 0) + 1
        if x % 10 == 0 and failed[x] <= 2:
            raise OSError("try again")
        return x

    assert rows(session, "select sum(flaky(x)) from t") == [(4950,)]
    failed.clear()
    with pytest.raises(errors.UDFError, match="OSError"):
        rows(session, "select sum(flaky(x, retries => 1)) from t")


def crash(x: int) -> int:
    import ctypes

    if x == 30:
        ctypes.string_at(0)
    return x


def leave(x: int) -> int:
    import os

    if x == 30:
        os._exit(3)
    return x


def sleep(x: int) -> int:
    import time

    if x == 30:
        time.sleep(1000)
    return x


def grow(x: int) -> int:
    if x == 30:
        hoard = []
        while True:
            hoard.append(bytearray(1 << 20))
    return x


@pytest.mark.parametrize(
    ("function", "message", "settings"),
    [
        (crash, "ended by SIGSEGV", {}),
        (leave, "left with exit code 3", {}),
        (sleep, "ran longer than 0.5 s", {"timeout": 0.5}),
        (grow, "its worker grew over", {"memory": "60MB"}),
    ],
    ids=["segfault", "exit", "hang", "memory"],
)
def test_a_worker_that_does_not_survive(session: Session, function: Any, message: str, settings: Any) -> None:
    session.udf(function, name="deadly", isolate="process", **settings)
    with pytest.raises(errors.UDFError, match=rf"deadly\(30\) at row 31 of its input: .*{message}"):
        rows(session, "select deadly(x) from t where x between 28 and 33 or x < 28")
    assert rows(session, "select count(deadly(x, on_error => 'null')), count(*) from t") == [(99, 100)]


@pytest.mark.parametrize("kind", ["sleeps", "spins"])
def test_a_thread_that_never_ends(session: Session, kind: str) -> None:
    """Nobody waits for it any more; where Python runs it ends at its next line."""

    def endless(x: int) -> int:
        while x == 30:
            time.sleep(3600 if kind == "sleeps" else 0)
        return x

    session.udf(endless, isolate="thread", timeout=0.5)
    with pytest.raises(errors.UDFError, match=r"endless\(30\) at row 31 of its input: ran longer than 0.5 s"):
        rows(session, "select endless(x) from t")
    assert rows(session, "select count(endless(x, on_error => 'null')), count(*) from t") == [(99, 100)]


def test_a_worker_that_creeps_is_replaced(session: Session) -> None:
    kept: list[bytearray] = []

    @session.udf(isolate="process", memory="60MB", batch_rows=1)
    def leaks(x: int) -> int:
        import os

        kept.append(bytearray(8 << 20))
        return os.getpid()

    [(rows_, workers)] = rows(session, "select count(*), count(distinct leaks(x)) from t where x < 40")
    assert rows_ == 40
    assert 4 <= workers <= 20


def test_an_allocation_that_is_far_too_large(session: Session) -> None:
    @session.udf(isolate="process", memory="50MB")
    def large(x: int) -> int:
        return len(bytearray(1 << 40 if x == 3 else 10))

    with pytest.raises(errors.UDFError, match=r"large\(3\) .*: (out of memory|.*grew over)"):
        rows(session, "select large(x) from t")
    assert rows(session, "select count(large(x, on_error => 'null')) from t") == [(99,)]


INTERRUPTED = """
import sys, time, psutil, sqlengine
session = sqlengine.connect(threads=2)
session.register("t", {"x": list(range(100))})
def f(x: int) -> int:
    if x == 0:
        print("called", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600) if sys.argv[1] == "sleeps" else None
session.udf(f, isolate=sys.argv[2])
try:
    session.sql("select sum(f(x)) from t").fetchall()
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(session.sql("select count(*) from t").fetchall(), psutil.Process().children(), flush=True)
"""


@pytest.mark.parametrize("kind", ["sleeps", "spins"])
@pytest.mark.parametrize("isolate", ISOLATION)
def test_interrupting(kind: str, isolate: str) -> None:
    """Ctrl-C ends a call in either kind of worker at once (0.03 to 0.12 s on an idle machine)."""
    script = INTERRUPTED.replace("sys.argv[1]", repr(kind)).replace("sys.argv[2]", repr(isolate))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stderr.readline() == "called\n"
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - start < 2
        assert process.stdout.read() == "[(100,)] []\n"
    assert process.returncode == 0


def test_forking_and_printing(session: Session) -> None:
    @session.udf(isolate="process")
    def forks(x: int) -> int:
        import os

        print("noise")
        if x == 5 and os.fork() == 0:
            return -1
        return x

    assert rows(session, "select sum(forks(x)) from t") == [(4950,)]


def test_what_cannot_be_sent(session: Session) -> None:
    import threading

    lock = threading.Lock()

    @session.udf(isolate="process")
    def locked(x: int) -> int:
        with lock:
            return x

    with pytest.raises(errors.UDFError, match="cannot be sent to a worker process"):
        rows(session, "select locked(x) from t")


def test_cancelling_a_call(session: Session) -> None:
    session.udf(sleep, isolate="process")
    start = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        list(session.sql("select sleep(x) from t").batches(timeout=1.5))
    assert time.monotonic() - start < 20  # and not 1000
    closing = iter(session.sql("select sleep(x, batch_rows => 5) from t").batches())
    next(closing)
    closing.close()  # type: ignore[attr-defined]
