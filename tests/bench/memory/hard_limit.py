"""A memory cgroup of exactly the limit around a run: who takes more is killed by the kernel. Needs the right to make
cgroups (root, version 1 or 2)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def hard_limit(limit: int) -> Iterator[Callable[[], None]]:
    """What a child process has to call before it does anything else, to be bounded to `limit` bytes."""
    old = (_ROOT / "memory").is_dir()
    group = (_ROOT / "memory" if old else _ROOT) / f"sqlengine-bench-{os.getpid()}"
    try:
        group.mkdir()
        if old:
            (group / "memory.limit_in_bytes").write_text(str(limit))
        else:
            (group / "memory.max").write_text(str(limit))
            (group / "memory.swap.max").write_text("0")
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise SystemExit(f"--hard needs the right to make memory cgroups: {error}") from None
    members = group / "cgroup.procs"
    try:
        yield lambda: _enter(members)
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:  # the last process is still on its way out
                time.sleep(0.05)


def _enter(members: Path) -> None:
    members.write_text(str(os.getpid()))
