"""A gather: several tasks run on threads, one consumer takes their batches, in the order of the input if wanted.

Each producer has a short queue of its own (back-pressure). Scans set `task.position` to the place of the split they
read and take splits in rising order, so a producer never goes back; the consumer may take the batch at the head of a
queue once every other producer has something later in its queue or is at a later position itself.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.memory import MemoryPool

_QUEUED_BATCHES = 2


class Stopped(Exception):
    """Raised in a producer whose consumer wants no more."""


class Producer:
    """One thread's queue. `position` tells where it is now (a callable, read live)."""

    def __init__(self) -> None:
        self.queue: deque[tuple[Any, pa.RecordBatch]] = deque()
        self.done = False
        self.position: Any = -1


class Gather:
    """Run `work(number, gather)` on `count` threads; iterate to take what they `put`."""

    def __init__(
        self, count: int, work: Callable[[int, Gather], None], ordered: bool, cancel: Cancel, pool: MemoryPool
    ) -> None:
        self._changed = threading.Condition()
        self._producers = [Producer() for _ in range(count)]
        self._ordered = ordered
        self._cancel = cancel
        self._pool = pool
        self._error: BaseException | None = None
        self.stopped = False
        self._threads = [
            threading.Thread(target=self._run, args=(number, work), name=f"sqlengine-{number}", daemon=True)
            for number in range(count)
        ]

    def _run(self, number: int, work: Callable[[int, Gather], None]) -> None:
        try:
            work(number, self)
        except Stopped:
            pass
        except BaseException as error:
            # The error outlives this thread, and with it the frames it passed: what they hold is let go now.
            traceback.clear_frames(error.__traceback__)
            with self._changed:
                if self._error is None:
                    self._error = error
                self.stopped = True
        finally:
            with self._changed:
                self._producers[number].done = True
                self._changed.notify_all()

    def check(self) -> None:
        if self.stopped:
            raise Stopped

    def at(self, number: int, position: Any) -> None:
        """The producer says how far it is."""
        producer = self._producers[number]
        if producer.position != position:
            with self._changed:
                producer.position = position
                self._changed.notify_all()

    def put(self, number: int, position: Any, batch: pa.RecordBatch) -> None:
        producer = self._producers[number]
        with self._changed:
            producer.position = position
            while len(producer.queue) >= (1 if self._pool.slow else _QUEUED_BATCHES) and not self.stopped:
                self._changed.wait(0.1)
                self._cancel.check()
            self.check()
            producer.queue.append((position, batch))
            self._changed.notify_all()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for thread in self._threads:
            thread.start()
        try:
            while True:
                batch = self._next()
                if batch is None:
                    return
                yield batch
        except KeyboardInterrupt:
            # Whoever pressed Ctrl-C wants the whole query to end, also what runs below and never looks at this gather.
            self._cancel.cancel()
            raise
        finally:
            self.close()

    def _next(self) -> pa.RecordBatch | None:
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                chosen = self._choose()
                if chosen is not None:
                    _, batch = chosen.queue.popleft()
                    self._changed.notify_all()
                    return batch
                if all(producer.done and not producer.queue for producer in self._producers):
                    return None
                self._changed.wait(0.1)
                self._cancel.check()

    def _choose(self) -> Producer | None:
        ready = [producer for producer in self._producers if producer.queue]
        if not ready:
            return None
        if not self._ordered:
            return ready[0]
        first = min(ready, key=lambda producer: producer.queue[0][0])
        place = first.queue[0][0]
        for other in self._producers:
            if not other.queue and not other.done and not _later(other.position, place):
                return None
        return first

    def close(self) -> None:
        """Stop the producers and wait until they have ended (they look at `stopped` between batches)."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()
            for producer in self._producers:
                producer.queue.clear()
            # Not Thread.join: an interrupt inside it would mark a live thread as ended.
            for producer, thread in zip(self._producers, self._threads, strict=True):
                while thread.ident is not None and not producer.done:
                    self._changed.wait(0.1)


def _later(position: Any, place: Any) -> bool:
    if position == -1:
        return False  # not started: may still be given the earliest split
    return bool(position > place)
