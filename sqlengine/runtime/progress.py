"""How far a running query is: sums of what its tasks have measured, made when somebody asks.

1. Each scan is a piece of work that weighs as many bytes as its source has; its done share is that of its splits.
2. A source that is not cut into splits, and a sort, which gives rows only when it has all of them, is a piece that is
   done by the rows it gave of those expected.
3. What a finished stage left is a piece that weighs its bytes; its done share is that of its partitions.
4. The per cent shown are the done share of all that is known, and never fall. The last one is left for the end.

Nothing is counted for it while the query runs, but one number per split and per partition.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from sqlengine.runtime.metrics import OperatorMetrics

_MOST = 0.99


@dataclass(frozen=True)
class Progress:
    """`done` from 0 to 1, None where nothing says; `rows` and `bytes` read so far, `downloads` and `udf_rows` done;
    memory in bytes of the process; `seconds` since the start, `left` until the end as it looks now."""

    seconds: float
    done: float | None
    left: float | None
    rows: int
    bytes: int
    memory: int
    memory_limit: int
    spilled: int
    downloads: int
    udf_rows: int

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / max(self.seconds, 1e-9)


@dataclass
class Work:
    """A piece of work: its weight in bytes, its parts (splits, partitions) and those of them that are done, both in a
    unit of their own."""

    weight: float
    parts: float = 0.0
    done: float = 0.0


@dataclass
class QueryProgress:
    """Of one query. Thread-safe. `sources`, `fetches`, `calls`: the operators whose rows are what was read, downloaded,
    and given to user functions; `key` names a piece of work that is measured by the rows of an operator."""

    sources: Callable[[object], bool]
    fetches: Callable[[object], bool]
    calls: Callable[[object], bool]
    key: Callable[[object], Hashable]
    started: float = field(default_factory=time.perf_counter)
    _work: dict[Hashable, Work] = field(default_factory=dict)
    _running: dict[int, Callable[[], Iterable[tuple[object, OperatorMetrics]]]] = field(default_factory=dict)
    _finished: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    _shown: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, key: Hashable, weight: float) -> None:
        """There is this much to do; a second time under the same key, that much more."""
        with self._lock:
            work = self._work.setdefault(key, Work(0.0))
            work.weight += max(1.0, weight)

    def expect_parts(self, key: Hashable, parts: float) -> None:
        with self._lock:
            if key in self._work:
                self._work[key].parts += parts

    def part_done(self, key: Hashable, size: float) -> None:
        with self._lock:
            if key in self._work:
                self._work[key].done += size

    def enter(self, owner: int, measured: Callable[[], Iterable[tuple[object, OperatorMetrics]]]) -> None:
        """A pipeline runs; `measured()` gives its operators with what they have measured so far."""
        with self._lock:
            self._running[owner] = measured

    def leave(self, owner: int) -> None:
        """The pipeline has ended; its numbers stay."""
        with self._lock:
            measured = self._running.pop(owner, None)
        if measured is not None:
            sums = self._sums(measured())
            with self._lock:
                self._finished = [a + b for a, b in zip(self._finished, sums, strict=True)]

    def _sums(self, measured: Iterable[tuple[object, OperatorMetrics]]) -> list[int]:
        rows = size = downloads = calls = 0
        given: dict[Hashable, int] = {}
        for operator, metrics in measured:
            key = self.key(operator)
            if key in self._work:
                given[key] = given.get(key, 0) + metrics.rows
            if self.sources(operator):
                rows += metrics.rows
                size += metrics.bytes
            elif self.fetches(operator):
                downloads += metrics.rows
            elif self.calls(operator):
                calls += metrics.rows
        for key, count in given.items():
            self._work[key].done = count
        return [rows, size, downloads, calls]

    def look(self, memory: int, memory_limit: int, spilled: int) -> Progress:
        """The numbers as they are now."""
        with self._lock:
            running = list(self._running.values())
            sums = list(self._finished)
        for measured in running:
            sums = [a + b for a, b in zip(sums, self._sums(measured()), strict=True)]
        with self._lock:
            work = [Work(w.weight, w.parts, w.done) for w in self._work.values()]
        total = sum(w.weight for w in work)
        seconds = time.perf_counter() - self.started
        done = left = None
        if total:
            found = sum(w.weight * min(1.0, w.done / w.parts) for w in work if w.parts) / total
            self._shown = done = max(self._shown, min(found, _MOST))
            left = seconds * (1 - done) / done if 0.01 < done < _MOST else None
        rows, size, downloads, calls = sums
        return Progress(seconds, done, left, rows, size, memory, memory_limit, spilled, downloads, calls)
