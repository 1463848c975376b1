"""What the engine did about memory, as a short list for people: every spill, shrink and throttle of this process.

The list is bounded: old events fall out, the number of all of them stays.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass

_KEPT = 1000


@dataclass(frozen=True)
class MemoryEvent:
    """`kind`: spill, shrink, throttle or release. `time` in seconds since 1970, `bytes` that it was about, `text` to
    show."""

    number: int
    time: float
    kind: str
    owner: str
    bytes: int
    text: str


_lock = threading.Lock()
_numbers = itertools.count(1)
_kept: deque[MemoryEvent] = deque(maxlen=_KEPT)


def record_event(kind: str, owner: str, size: int, text: str) -> None:
    """Add an event; the oldest goes when there are more than 1000."""
    with _lock:
        _kept.append(MemoryEvent(next(_numbers), time.time(), kind, owner, size, text))


def memory_events(after: int = 0) -> list[MemoryEvent]:
    """The events kept, oldest first, of which the `number` is greater than `after`."""
    with _lock:
        return [event for event in _kept if event.number > after]
