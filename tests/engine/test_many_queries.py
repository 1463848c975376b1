"""Many queries at once in one session, each larger than its part of the budget: all right, no deadlock."""

from __future__ import annotations

import faulthandler
import sys
import threading
from dataclasses import replace

import pyarrow as pa

import sqlengine
from sqlengine.runtime.guard import MemoryGuard
from sqlengine.runtime.memory import MemoryPool
from sqlengine.session import Session

ROWS = 100_000
QUERIES = (
    "select v, k, s from t order by k, v",
    "select k, count(*) as n, sum(v) as x, min(s) as m from t group by k order by k",
    "select a.v, b.s from t a join t b on a.v = b.k order by a.v, b.s",
    "select v, sum(k) over (order by v) as x from t order by v",
    "select distinct s, k from t order by s, k",
)
AT_ONCE = 10
SECONDS = 240.0  # a machine with much else to do; a deadlock takes for ever


def small_pool(session: Session, capacity: int) -> None:
    session._settings = replace(session._settings, batch_bytes=32 << 10)
    session._pool = MemoryPool(capacity)
    session._guard = MemoryGuard(1 << 40, session.weight, session._pool)


def test_ten_spilling_queries_in_one_session() -> None:
    numbers = range(ROWS)
    table = pa.table(
        {
            "v": pa.array(numbers, pa.int64()),
            "k": pa.array([(n * 7919) % ROWS for n in numbers], pa.int64()),
            "s": pa.array([f"text {(n * 104729) % 5003}" for n in numbers], pa.string()),
        }
    )
    with sqlengine.connect(threads=2) as session:
        session.register("t", table)
        expected = [session.sql(query).to_arrow() for query in QUERIES]
        small_pool(session, 12 << 20)
        wrong: list[str] = []

        def work(number: int) -> None:
            place = number % len(QUERIES)
            try:
                relation = session.sql(QUERIES[place])
                if not relation.to_arrow().equals(expected[place]):
                    wrong.append(f"{number}: another answer")
            except Exception as error:
                wrong.append(f"{number}: {error}")

        def give_up() -> None:
            faulthandler.dump_traceback(sys.stderr)
            session.interrupt()

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(AT_ONCE)]
        before = session._spill.written
        for thread in threads:
            thread.start()
        watchdog = threading.Timer(SECONDS, give_up)
        watchdog.start()
        for thread in threads:
            thread.join(SECONDS + 20)
        watchdog.cancel()
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert session._spill.written > before
        assert session._pool.peak <= session._pool.capacity and session._pool.used == 0
