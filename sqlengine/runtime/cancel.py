"""Cancellation: one flag per query, checked between batches, with the reason why."""

from __future__ import annotations

import threading
import time

from sqlengine.errors import Error, Interrupted, QueryTimeout


class Cancel:
    """Set once, from any thread; `check()` raises in the threads that work. `deadline` is in `time.monotonic()`
    seconds."""

    def __init__(self, deadline: float | None = None, timeout: float | None = None) -> None:
        self._event = threading.Event()
        self._reason: Error | None = None
        self.deadline = deadline
        self.timeout = timeout

    def cancel(self, reason: Error | None = None) -> None:
        if not self._event.is_set():
            self._reason = reason or Interrupted("query cancelled")
            self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise if the query was cancelled or its time is over."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.cancel(QueryTimeout(f"query ran longer than {self.timeout:.3g} s"))
        if self._event.is_set():
            # A new exception each time: several threads may raise it, and a traceback belongs to one of them.
            reason = self._reason
            assert reason is not None
            raise type(reason)(reason.message, code=reason.code, hint=reason.hint)

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond a cancellation; raises like `check`."""
        self._event.wait(seconds)
        self.check()
