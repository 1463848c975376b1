"""Which allocators serve the process, so that its RSS follows what is allocated.

The budget is about resident bytes, so memory that is free must go back to the system soon. Measured on TPC-H SF 1 with
two threads: mimalloc (Arrow's default) keeps 50 to 90 MB that nobody uses, jemalloc about 10, at no more CPU time.
Threads that share one arena take what another one has freed: half the page faults of a join that spills.
glibc raises its threshold for mapping a block to the largest one freed so far, after which blocks of megabytes stay in
the heap and tear it up; fixed thresholds prevent that.

Huge pages make two megabytes resident where one page is touched, and jemalloc asks for them: with a limit of some
hundred megabytes freed memory then stays resident, 50 to 80 MB of 256. Below `_HUGE_PAGES_FROM` there are none.

The other choices are the process's, unless ARROW_DEFAULT_MEMORY_POOL or the MALLOC_ variables show that somebody has
chosen already. Arrow looks at its variable once, when it is imported: where that came before, only what Python asks for
can still be moved.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_MAPPED_BLOCK = 256 << 10  # blocks of at least this size are returned when they are freed
_KEPT_TOP = 1 << 20  # free bytes at the heap's end that are kept
_DECAY_MS = 100  # for which Arrow's free memory stays for the next allocation
_HUGE_PAGES_FROM = 1 << 30  # bytes of memory_limit from which on huge pages are left as the system has them
_PR_SET_THP_DISABLE = 41  # of prctl.h

_lock = threading.Lock()
_chosen = False


def prefer_jemalloc() -> None:
    """Before Arrow is imported: tell it which allocator to use. Its Linux builds all have this one."""
    if sys.platform == "linux" and "pyarrow" not in sys.modules:
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
        os.environ.setdefault("JE_ARROW_MALLOC_CONF", f"narenas:1,dirty_decay_ms:{_DECAY_MS},muzzy_decay_ms:0")


def choose_allocators() -> None:
    """Make freed memory return to the system. Cheap, and done once per process."""
    import pyarrow as pa

    global _chosen
    with _lock:
        if _chosen:
            return
        _chosen = True
        if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends():
            pa.set_memory_pool(pa.jemalloc_memory_pool())
        if not any(name.startswith("MALLOC_") for name in os.environ):
            _set_thresholds()


def _set_thresholds() -> None:
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_TOP)


def avoid_huge_pages(limit: int) -> None:
    """Under a small `limit` (bytes) memory becomes resident page by page. For what is touched from now on."""
    prctl = getattr(_libc(), "prctl", None)
    if prctl is not None and limit < _HUGE_PAGES_FROM:
        prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def release_free_memory() -> None:
    """Give back what is free now, of Arrow's allocator and of the C heap."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _libc() -> ctypes.CDLL | None:
    """The C library where it is glibc (musl has neither function and needs none)."""
    return ctypes.CDLL(None) if sys.platform == "linux" else None
