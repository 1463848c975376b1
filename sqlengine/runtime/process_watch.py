"""The process as the machine sees it: its resident memory, its limit, and the difference from what the pool knows.

`memory_limit` bounds the RSS of the process tree. What operators share is that limit minus what the process weighed
at start minus a margin (`operator_budget`). While queries run, a `ProcessWatch` samples the RSS
(what follows from it is decided in `guard`); `reconcile` sets pool, Arrow and RSS side by side, and what nobody
accounts for is shown as unattributed.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa

from sqlengine.runtime.allocators import release_free_memory
from sqlengine.settings import format_bytes

_LIMIT_SHARE = 0.8
# What is resident beyond what operators reserve: code and Python objects that the first queries bring in, and the
# slack of the allocators, which grows with what they hold. Measured: 10 MB and 8 %.
_MARGIN_BYTES, _MARGIN_SHARE = 12 << 20, 0.08
_LEAST_BUDGET = 64 << 10
_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a huge number
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class MemoryLimit:
    """`bytes`, and `source`: a phrase that says where the number comes from."""

    bytes: int
    source: str


def default_memory_limit() -> MemoryLimit:
    """80 % of the cgroup's limit (v2, then v1) or of the machine's memory, whichever is less."""
    machine = psutil.virtual_memory().total
    found = cgroup_limit()
    if found is not None and found.bytes < machine:
        return MemoryLimit(int(found.bytes * _LIMIT_SHARE), f"80 % of {format_bytes(found.bytes)}, {found.source}")
    return MemoryLimit(int(machine * _LIMIT_SHARE), f"80 % of the machine's {format_bytes(machine)}")


def cgroup_limit(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> MemoryLimit | None:
    """The least limit on the way from this process's cgroup to the root, or None if there is none."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits: list[MemoryLimit] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name, kind = root, "memory.max", "the limit of the cgroup (v2)"
        elif "memory" in controllers.split(","):
            base, name, kind = root / "memory", "memory.limit_in_bytes", "the limit of the cgroup (v1)"
        else:
            continue
        # In a container the path may be that of the host: what is not there is skipped, the root always is.
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            if folder != base and base not in folder.parents:
                break
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdigit() and int(text) < _UNLIMITED:
                limits.append(MemoryLimit(int(text), kind))
    return min(limits, key=lambda limit: limit.bytes, default=None)


def margin(limit: int) -> int:
    """Bytes of a limit that are left to what nobody reserves."""
    return _MARGIN_BYTES + int(limit * _MARGIN_SHARE)


def operator_budget(limit: int, baseline_rss: int) -> int:
    """What operators may share: `limit` minus the process's weight at start minus the margin. At least 64 KiB, so that
    a limit below that fails at admission, with the numbers in the message."""
    return max(_LEAST_BUDGET, limit - baseline_rss - margin(limit))


def limit_for(capacity: int, baseline_rss: int) -> int:
    """The least limit at which operators share `capacity` bytes."""
    return -int(-(baseline_rss + capacity + _MARGIN_BYTES + 1) // (1 - _MARGIN_SHARE))


def process_rss() -> int:
    """Resident bytes of this process alone (cheap: one small file in /proc)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return int(psutil.Process().memory_info().rss)


def peak_rss() -> int:
    """The most resident bytes this process had (what the operating system counts for it may begin with those of the
    process that started it, which is why `getrusage` is only the second choice)."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tree_rss() -> int:
    """Resident bytes of this process and all its descendants; those that end meanwhile count as nothing."""
    total = process_rss()
    if not _has_children():
        return total
    for child in psutil.Process().children(recursive=True):
        try:
            total += int(child.memory_info().rss)
        except psutil.Error:
            continue
    return total


def _has_children() -> bool:
    """False only when it is certain: reading all of /proc for a tree of one is what costs."""
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                if file.read(1):
                    return True
        return False
    except OSError:
        return True


def release_memory() -> int:
    """Give freed memory back to the system (Arrow's pool and the C heap); how many bytes the RSS fell by."""
    before = process_rss()
    release_free_memory()
    return max(0, before - process_rss())


@dataclass(frozen=True)
class Reconciliation:
    """All in bytes. `reserved`: what the pool has given out; `arrow`: what Arrow's allocator holds; `baseline`: the
    RSS at start; `unattributed`: RSS that neither the baseline nor the greater of the two explains."""

    rss: int
    baseline: int
    reserved: int
    arrow: int
    unattributed: int


def reconcile(reserved: int, baseline: int, rss: int | None = None) -> Reconciliation:
    rss = tree_rss() if rss is None else rss
    arrow = int(pa.total_allocated_bytes())
    return Reconciliation(rss, baseline, reserved, arrow, max(0, rss - baseline - max(reserved, arrow)))


class ProcessWatch:
    """Samples the RSS of the process tree every `interval` seconds on a daemon thread, and calls `sampled(rss)` there.
    `peak` and `rss` are bytes. May be started again after it was stopped."""

    def __init__(
        self, sampled: Callable[[int], None], interval: float = 0.025, measure: Callable[[], int] = tree_rss
    ) -> None:
        self._sampled = sampled
        self._interval = interval
        self._measure = measure
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.rss = self.peak = measure()

    def start(self) -> None:
        if self._thread is None:
            self._stop = stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(stop,), name="sqlengine-memory", daemon=True)
            self._thread.start()

    def sample(self) -> int:
        """Measure now."""
        self.rss = self._measure()
        self.peak = max(self.peak, self.rss)
        self._sampled(self.rss)
        return self.rss

    def stop(self) -> None:
        """The thread ends at once, or when what it is doing is done."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval):
            self.sample()
