"""What follows from resident memory: the pool's ceiling, pressure levels, eviction, the end of a query."""

from __future__ import annotations

import threading
import time

import pytest

from sqlengine.errors import MemoryLimitError
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.events import memory_events
from sqlengine.runtime.guard import MemoryGuard, Pressure, pressure_of
from sqlengine.runtime.memory import MemoryPool
from sqlengine.runtime.process_watch import margin

MB = 1 << 20


class Machine:
    """A process of which the test decides the RSS."""

    def __init__(self, limit: int = 300 * MB, weight: int = 100 * MB) -> None:
        self.rss = weight
        self.pool = MemoryPool(limit - weight - limit // 10)
        self.guard = MemoryGuard(limit, weight, self.pool, 0.002, lambda: self.rss)

    def becomes(self, rss: int) -> None:
        self.rss = rss
        seen = threading.Event()
        before = self.guard._watch._sampled
        count = 0

        def counted(value: int) -> None:
            nonlocal count
            before(value)
            count += value == rss
            if count == 4:
                seen.set()

        self.guard._watch._sampled = counted
        assert seen.wait(2)
        self.guard._watch._sampled = before


def test_levels() -> None:
    shares = (0.5, 0.8, 0.9, 0.96, 1.0)
    assert [pressure_of(int(share * 1000), 1000) for share in shares] == list(Pressure)


def test_what_nobody_reserved_lowers_the_ceiling_and_comes_back() -> None:
    machine = Machine()
    pool = machine.pool
    cancel = Cancel()
    with machine.guard.watching(cancel) as peaks, pool.admit("task", 10 * MB, cancel) as task:
        spilling = task.reservation("Sort", 5 * MB, True)
        rigid = task.reservation("Scan", 5 * MB, False)
        machine.becomes(100 * MB + 10 * MB + 30 * MB)  # within the margin
        assert pool.ceiling == pool.capacity
        machine.becomes(100 * MB + 10 * MB + margin(300 * MB) + 100 * MB)  # 100 MB beyond it
        assert pool.ceiling == pool.capacity - 100 * MB
        assert not spilling.try_grow(100 * MB) and spilling.try_grow(50 * MB)
        assert rigid.try_grow(80 * MB), "who cannot spill may use the whole capacity"
        spilling.close()
        rigid.close()
        machine.becomes(110 * MB)
        assert pool.ceiling == pool.capacity
    assert peaks.rss == 246 * MB and peaks.unattributed == 136 * MB


def test_pressure_slows_evicts_and_is_told() -> None:
    machine = Machine()
    written = []
    machine.pool.register_evictable("stage", lambda wanted: written.append(1) or (1 if len(written) == 1 else 0))
    number = memory_events()[-1].number if memory_events() else 0
    with machine.guard.watching(Cancel()):
        machine.becomes(270 * MB)
        assert machine.pool.slow and not written
        machine.becomes(290 * MB)
        assert written
        machine.becomes(150 * MB)
        assert not machine.pool.slow
    kinds = {event.kind for event in memory_events(number)}
    assert {"throttle", "evict"} <= kinds


def test_over_the_limit_for_long_ends_the_largest_query_with_the_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlengine.runtime.guard._OVER_SECONDS", 0.05)
    machine = Machine()
    small, large = Cancel(), Cancel()
    pool = machine.pool
    with (
        machine.guard.watching(small),
        machine.guard.watching(large),
        pool.admit("small", 1 * MB, small),
        pool.admit("large", 2 * MB, large) as task,
    ):
        held = task.reservation("HashJoin", 2 * MB, True)
        assert held.try_grow(40 * MB)
        machine.becomes(301 * MB)
        deadline = time.monotonic() + 2
        while not large.cancelled and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(MemoryLimitError, match=r"over the memory limit(.|\n)*HashJoin +40.0 MiB"):
            large.check()
        assert not small.cancelled


def test_idle_sessions_have_no_thread() -> None:
    machine = Machine()
    with machine.guard.watching(Cancel()):
        with machine.guard.watching(Cancel()):
            assert [t.name for t in threading.enumerate()].count("sqlengine-memory") == 1
        assert any(t.name == "sqlengine-memory" for t in threading.enumerate())
    assert not any(t.name == "sqlengine-memory" for t in threading.enumerate())
