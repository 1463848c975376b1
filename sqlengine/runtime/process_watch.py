"""What the process weighs, and how large its budget is by default."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_DEFAULT_SHARE = 0.8
# Of what is left above the weight at start, kept free for allocator slack and what nobody reserves.
_MARGIN = 0.2


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def default_limit() -> tuple[int, str]:
    """80 % of the machine or of the cgroup, whichever is smaller, and a phrase that says which."""
    total = int(psutil.virtual_memory().total)
    origin = "machine"
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < total:
            total, origin = int(text), "cgroup"
    return int(total * _DEFAULT_SHARE), f"80 % of the {origin}'s memory"


def operator_budget(limit: int, weight: int) -> int:
    """Bytes that operators may share: the limit less the process's weight at start and a margin; 0 if nothing is left."""
    return max(0, int((limit - weight) * (1 - _MARGIN)))


def usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
