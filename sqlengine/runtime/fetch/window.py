"""What may be in flight at a time: connections, connections to one host, and bytes.

Bytes are reserved before they are read: the length that a server announces at once, an unknown length piece by piece.
A body that finds no room waits with its connection open, except the oldest one: results leave in order, so it must go
on. When there is no room even for the oldest, the youngest bodies are dropped and fetched again later; when nothing is
left to drop, it is an error. Each refusal halves how many are started (down to one), each success adds one again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlengine.errors import MemoryLimitError
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.memory import Reservation
from sqlengine.settings import format_bytes


class Dropped(Exception):
    """Raised in the thread of a body that was given up to make room; it is fetched again later."""


class Hosts:
    """At most so many connections to each host, for all tasks together. The oldest row of a task does not wait: those
    that have the connections may be waiting for room, which only it can make."""

    def __init__(self, most: int, connections: int) -> None:
        self._most = most
        self._bounded = most < connections
        self._open: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()

    @contextmanager
    def connection(self, host: str, cancel: Cancel, first: Callable[[], bool]) -> Iterator[None]:
        if not self._bounded:
            yield
            return
        with self._lock:
            turn = self._open.setdefault(host, threading.Semaphore(self._most))
        waited = False
        while not (waited := turn.acquire(timeout=0.05)) and not first():
            cancel.check()
        try:
            yield
        finally:
            if waited:
                turn.release()


class Window:
    """The bytes in flight of one task. Rows are numbered in the order in which they leave."""

    def __init__(self, limit: int, floor: int, reservation: Reservation, connections: int, cancel: Cancel) -> None:
        self._limit = limit
        self._floor = floor  # what the oldest may always have
        self._reservation = reservation
        self._cancel = cancel
        self._changed = threading.Condition()
        self._held: dict[int, int] = {}
        self._total = 0
        self._dropped: set[int] = set()
        self._oldest = 0
        self._waiting = 0  # threads that wait for room
        self._connections = connections
        self.width = connections
        self.closed = False

    def room(self, row: int) -> RowRoom:
        return RowRoom(self, row)

    def oldest(self, row: int) -> None:
        """`row` is the next to leave."""
        self._oldest = row
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def is_oldest(self, row: int) -> bool:
        return row == self._oldest or self.closed

    def grow(self, row: int, size: int) -> None:
        """Take `size` more bytes for a row; waits for room unless it is the oldest."""
        with self._changed:
            while True:
                self._check(row)
                if self._fits(row, size):
                    self._held[row] = self._held.get(row, 0) + size
                    self._total += size
                    self.width = min(self._connections, self.width + 1)
                    return
                self.width = max(1, self.width // 2)
                if row == self._oldest:
                    if self._drop_youngest():
                        continue
                    raise MemoryLimitError(
                        f"a download of {format_bytes(self._held.get(row, 0) + size)} does not fit",
                        hint="raise memory_limit, or lower download.max_bytes with on_error => 'null'",
                    )
                self._waiting += 1
                try:
                    self._changed.wait(0.1)
                finally:
                    self._waiting -= 1

    def _check(self, row: int) -> None:
        if row in self._dropped:
            self._dropped.discard(row)
            raise Dropped
        if self.closed:
            raise Dropped
        self._cancel.check()

    def _fits(self, row: int, size: int) -> bool:
        oldest = row == self._oldest
        # Younger ones leave the floor to the oldest.
        room = self._limit if oldest else self._limit - max(0, self._floor - self._held.get(self._oldest, 0))
        if self._total + size > room and not (oldest and self._total == self._held.get(row, 0)):
            return False
        return self._reservation.try_grow(size)

    def _drop_youngest(self) -> bool:
        youngest = max((r for r in self._held if r != self._oldest), default=None)
        if youngest is None:
            return False
        self._dropped.add(youngest)
        self._give(youngest)
        return True

    def was_dropped(self, row: int) -> bool:
        """Whether a finished row was given up meanwhile; it counts as seen."""
        if row not in self._dropped:  # only ever added while the row is held
            return False
        with self._changed:
            self._dropped.discard(row)
            return True

    def release(self, row: int) -> None:
        """The row has left, or its attempt has failed: its bytes are free."""
        with self._changed:
            self._give(row)

    def _give(self, row: int) -> None:
        size = self._held.pop(row, 0)
        self._total -= size
        self._reservation.shrink(size)
        if self._waiting:
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class RowRoom:
    """The part of the window that one row has."""

    def __init__(self, window: Window, row: int) -> None:
        self._window = window
        self._row = row

    def grow(self, size: int) -> None:
        self._window.grow(self._row, size)

    def forget(self) -> None:
        self._window.release(self._row)

    def is_first(self) -> bool:
        return self._window.is_oldest(self._row)
