"""Memory limits for tests inside the process of pytest, which may weigh much by then."""

from __future__ import annotations

import sqlengine
from sqlengine.runtime.process_watch import limit_for, tree_rss


def above_weight(size: int) -> int:
    """A memory_limit, in bytes, with which the operators of a session opened now share about `size` bytes."""
    sqlengine.connect().close()
    return limit_for(size, tree_rss())
