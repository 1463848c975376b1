"""Keeping the process within its limit while queries run: resident memory is compared with what the pool gave out.

A `MemoryGuard` watches from the first running query of a session until the last one ends; idle, it costs nothing. At
every sample:

1. What is resident beyond the weight at start and the pool's bytes is unattributed. More of it than the margin that was
   left for it would push the process over its limit once the pool is full, so the pool's ceiling falls by the
   difference. Reservations that can spill are refused beyond the ceiling, and spill.
2. Near the limit, in this order: free memory is returned to the system at once, readers and queues take less at a time,
   nobody who can spill gets more and finished stage outputs are written to disk.
3. Over the limit for a second in spite of all that, the query that has most reserved ends with a MemoryLimitError.

Source of the idea: reconciling a pool with the RSS, as the memory arbitrator of Velox does.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from sqlengine.errors import MemoryLimitError
from sqlengine.runtime.allocators import avoid_huge_pages, release_free_memory
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.events import record_event
from sqlengine.runtime.memory import MemoryPool, holders_table
from sqlengine.runtime.process_watch import ProcessWatch, margin, tree_rss
from sqlengine.settings import format_bytes

_RELEASE_PAUSE = 0.1  # seconds between two rounds of returning memory
_OVER_SECONDS = 1.0


class Pressure(IntEnum):
    """How near the RSS is to the limit: free memory goes back at once, less is taken at a time, finished rows go to
    disk, a query has to end."""

    NONE = 0
    RELEASE = 1
    SLOW = 2
    EVICT = 3
    OVER = 4


_LEVELS = (
    (1.0, Pressure.OVER), (0.95, Pressure.EVICT), (0.88, Pressure.SLOW), (0.75, Pressure.RELEASE),
)  # fmt: skip


def pressure_of(rss: int, limit: int) -> Pressure:
    return next((level for share, level in _LEVELS if rss >= share * limit), Pressure.NONE)


@dataclass
class QueryPeaks:
    """The most that was seen while one query ran, in bytes, of the whole process: resident, reserved, unattributed."""

    rss: int = 0
    reserved: int = 0
    unattributed: int = 0


_live: weakref.WeakSet[MemoryGuard] = weakref.WeakSet()
_live_lock = threading.Lock()


def live_guards() -> list[MemoryGuard]:
    """Those of the sessions of this process, one for each pool."""
    with _live_lock:
        return list({id(guard.pool): guard for guard in _live}.values())


class MemoryGuard:
    """One session's. `limit`: bytes of the process tree; `weight`: its RSS before any work."""

    def __init__(
        self, limit: int, weight: int, pool: MemoryPool, interval: float = 0.025, measure: Callable[[], int] = tree_rss
    ) -> None:
        self.limit = limit
        self.weight = weight
        self.pool = pool
        self.level = Pressure.NONE
        self._margin = margin(limit)
        self._watch = ProcessWatch(self._sampled, interval, measure)
        self._running: dict[Cancel, QueryPeaks] = {}
        self._lock = threading.Lock()
        self._recent: deque[int] = deque(maxlen=3)
        self._released = 0.0
        self._over_since: float | None = None
        with _live_lock:
            _live.add(self)

    @property
    def rss(self) -> int:
        """Of the process tree at the last sample, in bytes."""
        return self._watch.rss

    @contextmanager
    def watching(self, cancel: Cancel) -> Iterator[QueryPeaks]:
        """Watch while a query runs; gives what was seen meanwhile."""
        peaks = QueryPeaks()
        with self._lock:
            if not self._running:
                self.pool.peak = self.pool.used
                avoid_huge_pages(self.limit)
            self._running[cancel] = peaks
            self._watch.start()
        try:
            yield peaks
        finally:
            self._watch.sample()
            peaks.reserved = max(peaks.reserved, self.pool.peak)
            with self._lock:
                self._running.pop(cancel)
                idle = not self._running
                if idle:
                    self._watch.stop()
            if idle:
                self._enter(Pressure.NONE, self._watch.rss)
                self.pool.lower_ceiling(self.pool.capacity)

    def _sampled(self, rss: int) -> None:
        pool = self.pool
        unattributed = rss - self.weight - pool.used
        for peaks in list(self._running.values()):
            peaks.rss = max(peaks.rss, rss)
            peaks.reserved = max(peaks.reserved, pool.used)
            peaks.unattributed = max(peaks.unattributed, unattributed)
        level = pressure_of(rss, self.limit)
        pause = _RELEASE_PAUSE if level < Pressure.SLOW else 0.0
        if level >= Pressure.RELEASE and time.monotonic() - self._released > pause:
            release_free_memory()
            self._released = time.monotonic()
        self._enter(level, rss)
        self._follow(level, unattributed, rss)
        if level >= Pressure.EVICT and pool.evict():
            record_event("evict", "process", rss, f"finished rows written to disk at {format_bytes(rss)} resident")
        self._stop_if_over(level, rss)

    def _enter(self, level: Pressure, rss: int) -> None:
        before, self.level = self.level, level
        if level == before:
            return
        self.pool.slow = level >= Pressure.SLOW
        if level > max(before, Pressure.RELEASE):
            text = f"resident memory {format_bytes(rss)} of {format_bytes(self.limit)}: {level.name.lower()}"
            record_event("throttle", "process", rss, text)

    def _follow(self, level: Pressure, unattributed: int, rss: int) -> None:
        """The ceiling that keeps the process within its limit if the pool fills up to it."""
        pool = self.pool
        # What an operator has just freed is resident for some samples more: that is not lasting.
        self._recent.append(unattributed)
        unattributed = min(self._recent)
        ceiling = pool.capacity - max(0, unattributed - self._margin)
        if ceiling < 0.9 * pool.capacity < pool.ceiling and rss > 0.75 * self.limit:
            text = (
                f"{format_bytes(unattributed)} resident that nobody reserved: operators share {format_bytes(ceiling)}"
            )
            record_event("shrink", "process", pool.capacity - ceiling, text)
        if level >= Pressure.EVICT:
            ceiling = min(ceiling, pool.used)  # who wants more spills now
        pool.lower_ceiling(ceiling)

    def _stop_if_over(self, level: Pressure, rss: int) -> None:
        now = time.monotonic()
        if level < Pressure.OVER:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = now
        elif now - self._over_since > _OVER_SECONDS:
            self._over_since = None
            query = self.pool.largest_query() or next(iter(self._running), None)
            if query is not None:
                query.cancel(self._error(rss))

    def _error(self, rss: int) -> MemoryLimitError:
        pool = self.pool
        rest = rss - self.weight - pool.used
        return MemoryLimitError(
            f"the process has {format_bytes(rss)} resident, over the memory limit of {format_bytes(self.limit)}: "
            f"{format_bytes(self.weight)} before the query, {format_bytes(pool.used)} reserved by operators, "
            f"{format_bytes(max(0, rest))} held by nobody the engine knows of (results kept by the caller, other code)"
            f"{holders_table(pool.holders()[:3])}",
            hint=f"SET memory_limit = '{-(-int(rss * 1.1) // 1_000_000)}MB', or read the result in batches",
        )
