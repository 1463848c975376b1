"""The budget that operators share, and who holds what of it.

A pipeline takes the sum of its operators' floors before it starts (`MemoryPool.admit`, first come first served), or
waits; after that nothing waits for memory: a reservation that wants more than its floor asks `try_grow`, and False
means "spill your own". Above the floors the rest of the pool is shared fairly: no reservation may take more than its
equal part while others that can spill are open, so that a late operator still finds room.

One exception to "nobody forces another to spill": finished stage outputs (`register_evictable`), inside which no
operator runs, are pushed to disk before a task waits, and before `grow` fails. That is done outside the lock, since it
writes files.

Floors of a task are held by its `TaskMemory`; a reservation uses its floor first and the pool's free bytes after it.

The pool knows what is reserved, not what is resident. Whoever compares the two (`MemoryGuard`) may lower the `ceiling`,
up to which reservations that can spill grow, and set `slow`, at which readers and queues take less at a time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.errors import MemoryLimitError, SpillError
from sqlengine.runtime.allocators import release_free_memory
from sqlengine.runtime.cancel import Cancel
from sqlengine.settings import format_bytes

log = logging.getLogger("sqlengine")
# Rounds of a tenth of a second in which no pipeline runs and nothing can be evicted, before waiting is an error.
_IDLE_WAITS = 30
_ALL = 1 << 60
# At least this part of the capacity is evicted at once.
_EVICTED_SHARE = 16


@dataclass(frozen=True)
class Holder:
    """One reservation as errors and `sqlengine_memory()` show it; sizes in bytes."""

    task: str
    operator: str
    bytes: int
    floor: int
    spills: bool


class MemoryPool:
    """`capacity` bytes; `used` counts the floors of admitted tasks and what reservations hold above their floors."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.ceiling = capacity
        self.slow = False
        self._used = 0
        self.peak = 0
        self._lock = threading.RLock()
        self._freed = threading.Condition(self._lock)
        self._queue: deque[object] = deque()
        self._tasks: set[TaskMemory] = set()
        self._evictable: dict[object, Callable[[int], int]] = {}
        self._floors = 0  # of admitted tasks
        self._sharing = 0  # reservations above their floor that can spill, apart from those that may be evicted
        self._unspillable = 0  # bytes above floors that cannot

    @property
    def used(self) -> int:
        return self._used

    def admit(self, name: str, floor: int, cancel: Cancel | None = None) -> TaskMemory:
        """Wait until `floor` bytes are free and take them. Raises MemoryLimitError at once if they never can be."""
        if floor > self.capacity:
            raise MemoryLimitError(
                f"{name} needs at least {format_bytes(floor)}, the memory limit leaves {format_bytes(self.capacity)}",
                hint=f"raise memory_limit by {format_bytes(floor - self.capacity)}, or lower threads or batch_bytes",
            )
        turn = object()
        with self._lock:
            if floor == 0:  # takes nothing, so it need not queue (stage outputs)
                return self._admitted(name, 0, cancel)
            self._queue.append(turn)
            idle = 0
            try:
                while self._queue[0] is not turn or not self._has_room(floor):
                    if self._queue[0] is turn and self._evict():
                        continue
                    if self._queue[0] is not turn or not self._has_room(floor):
                        self._freed.wait(0.1)
                        idle = 0 if self._floors or self._queue[0] is not turn else idle + 1
                        if idle >= _IDLE_WAITS and not self._has_room(floor):
                            raise self._stuck(name, floor)
                    if cancel is not None:
                        cancel.check()
                return self._admitted(name, floor, cancel)
            finally:
                self._queue.remove(turn)
                self._freed.notify_all()

    def _stuck(self, name: str, floor: int) -> MemoryLimitError:
        """Nothing runs that could free anything, and what is held does not give way."""
        return MemoryLimitError(
            f"{name} needs {format_bytes(floor)}, {format_bytes(self._used)} of {format_bytes(self.capacity)} are held "
            f"by what cannot be written to disk{holders_table(self.holders()[:5])}",
            hint="raise memory_limit",
        )

    def _has_room(self, floor: int) -> bool:
        # Alone, a task runs whatever the ceiling says: waiting would not lower what is resident.
        return self._used + floor <= (self.ceiling if self._floors else self.capacity)

    def _admitted(self, name: str, floor: int, cancel: Cancel | None) -> TaskMemory:
        self._take(floor)
        self._floors += floor
        task = TaskMemory(self, name, floor, cancel)
        self._tasks.add(task)
        return task

    def lower_ceiling(self, ceiling: int) -> None:
        """Bound what spilling reservations may take; the capacity gives all back."""
        with self._lock:
            raised = ceiling > self.ceiling
            self.ceiling = max(0, min(self.capacity, ceiling))
            if raised:
                self._freed.notify_all()

    def evict(self, wanted: int = _ALL) -> bool:
        """Write a finished stage output, or `wanted` bytes of it, to disk (what is being read stays); false when there
        is none in memory."""
        with self._lock:
            return self._evict(wanted)

    def largest_query(self) -> Cancel | None:
        """The cancellation of the query that has most reserved."""
        with self._lock:
            sizes: dict[Cancel, int] = {}
            for task in self._tasks:
                if task.query is not None:
                    sizes[task.query] = sizes.get(task.query, 0) + task.floor + sum(r.size for r in task.open)
        return max(sizes, key=lambda query: sizes[query], default=None)

    def register_evictable(self, owner: object, evict: Callable[[int], int]) -> None:
        """`evict(wanted)` frees about so many bytes that no running task uses (finished stage outputs) and returns how
        many; called when a task would otherwise have to wait."""
        with self._lock:
            self._evictable[owner] = evict

    def forget(self, owner: object) -> None:
        with self._lock:
            self._evictable.pop(owner, None)

    def holders(self) -> list[Holder]:
        """All open reservations, the largest first."""
        with self._lock:
            found = [
                Holder(task.name, r.operator, r.size, r.floor, r.spills) for task in self._tasks for r in task.open
            ]
        return sorted(found, key=lambda holder: -holder.bytes)

    def _evict(self, wanted: int = _ALL) -> bool:
        """Called with the lock held once; it is free while files are written, so that running tasks go on."""
        candidates = list(self._evictable.values())
        self._lock.release()
        try:
            for evict in candidates:
                try:
                    if evict(wanted):
                        # Whoever asked may take the memory from another allocator.
                        release_free_memory()
                        return True
                except SpillError as error:
                    # The disk is the problem of the query that spills, not of the one that waits here.
                    log.warning("a finished stage stays in memory: %s", error.message)
            return False
        finally:
            self._lock.acquire()

    def _take(self, n: int) -> None:
        self._used += n
        self.peak = max(self.peak, self._used)

    def _give(self, n: int) -> None:
        if n:
            self._used -= n
            self._freed.notify_all()


class TaskMemory:
    """What an admitted task may use: its floor, of which each reservation has its part."""

    def __init__(self, pool: MemoryPool, name: str, floor: int, query: Cancel | None = None) -> None:
        self.pool = pool
        self.query = query
        self.name = name
        self.floor = floor
        self.open: set[Reservation] = set()

    def reservation(self, operator: str, floor: int, spills: bool) -> Reservation:
        with self.pool._lock:
            made = Reservation(self, operator, floor, spills)
            self.open.add(made)
            return made

    def close(self) -> None:
        """Give everything back, also what reservations forgot."""
        pool = self.pool
        with pool._lock:
            for reservation in list(self.open):
                reservation.close()
            pool._tasks.discard(self)
            pool._floors -= self.floor
            pool._give(self.floor)
            self.floor = 0

    def __enter__(self) -> TaskMemory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Reservation:
    """Bytes one operator holds. Thread-safe. `peak` is the most it ever held."""

    def __init__(self, task: TaskMemory, operator: str, floor: int, spills: bool) -> None:
        self._task = task
        self._pool = task.pool
        self.operator = operator
        self.floor = floor
        self.spills = spills
        self.size = 0
        self.peak = 0
        self._counted = False  # among those that share what is above the floors

    def try_grow(self, n: int) -> bool:
        """Take `n` more bytes if the floor, or the pool and this reservation's fair share, allow it. Never blocks."""
        pool = self._pool
        with pool._lock:
            above = max(0, self.size - self.floor)
            wanted = max(0, self.size + n - self.floor)
            extra = wanted - above
            if extra > 0:
                if pool._used + extra > (pool.ceiling if self.spills else pool.capacity):
                    return False
                if self.spills:
                    # Floors, and what cannot spill, are spoken for; those above their floor share the rest.
                    sharing = pool._sharing + (not self._counted)
                    if wanted * sharing > pool.ceiling - pool._floors - pool._unspillable:
                        return False
                    pool._sharing = sharing
                    self._counted = True
                else:
                    pool._unspillable += extra
                pool._take(extra)
            self._task.open.add(self)  # a closed one that is used again belongs to its task again
            self.size += n
            self.peak = max(self.peak, self.size)
            return True

    def grow(self, n: int) -> None:
        """Take `n` more bytes, for which finished stages are written to disk if need be, or raise MemoryLimitError with
        the top holders."""
        pool = self._pool
        while not self.try_grow(n):
            if not pool.evict():
                break
        else:
            return
        raise MemoryLimitError(
            f"{self.operator} of {self._task.name} needs {format_bytes(n)} more (it has {format_bytes(self.size)}); "
            f"{format_bytes(pool.used)} of {format_bytes(pool.capacity)} are taken{holders_table(pool.holders()[:5])}",
            hint="raise memory_limit, or lower threads, batch_rows or batch_bytes",
        )

    def evict_others(self, wanted: int = _ALL) -> bool:
        """Write one finished stage to disk, or some of it; false when there is none in memory."""
        return self._pool.evict(wanted)

    def try_grow_first(self, n: int) -> bool:
        """As `try_grow`, but finished stages give way: for whoever would else write more than they hold."""
        while not self.try_grow(n):
            if not self._pool.evict(max(n, self._pool.capacity // _EVICTED_SHARE)):
                return False
        return True

    def settle(self) -> None:
        """What is held may be evicted from now on, so it takes no share from those who work."""
        with self._pool._lock:
            self._pool._sharing -= self._counted
            self._counted = False

    def try_resize(self, n: int) -> bool:
        if n >= self.size:
            return self.try_grow(n - self.size)
        self.shrink(self.size - n)
        return True

    def shrink(self, n: int) -> None:
        pool = self._pool
        with pool._lock:
            n = min(n, self.size)
            above = max(0, self.size - self.floor)
            self.size -= n
            still = max(0, self.size - self.floor)
            if not self.spills:
                pool._unspillable -= above - still
            elif self._counted and not still:
                pool._sharing -= 1
                self._counted = False
            pool._give(above - still)

    @contextmanager
    def borrowed(self, n: int) -> Iterator[bool]:
        """`n` bytes for as long as the block runs, for a working copy; false when they are refused."""
        granted = self.try_grow(n)
        try:
            yield granted
        finally:
            if granted:
                self.shrink(n)

    def close(self) -> None:
        with self._pool._lock:
            self.shrink(self.size)
            self._task.open.discard(self)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def holders_table(holders: list[Holder]) -> str:
    """The largest holders as aligned lines below a message, or nothing."""
    rows = [
        (h.operator, format_bytes(h.bytes), f"floor {format_bytes(h.floor)}", "spills" if h.spills else "cannot spill")
        for h in holders
        if h.bytes
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("\n  " + "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def pinned_bytes(batch: pa.RecordBatch) -> int:
    """Bytes that holding the batch keeps alive (whole buffers, shared ones once), not just those it shows."""
    return int(batch.get_total_buffer_size())


def compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch itself, or a copy if it is a slice that pins much more than it shows."""
    if batch.num_columns == 0 or pinned_bytes(batch) <= 1.25 * batch.nbytes + 4096:
        return batch
    # Concatenation copies just the rows wanted, of nested and text columns too; of one array alone it copies nothing.
    columns = [pa.concat_arrays([column, column.slice(0, 0)]) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
