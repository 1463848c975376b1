"""What the values of functions were seen to take: the second query knows what the first one found out.

Of this process, by the function's name and type. The largest mean of a run is kept, fading as others come.
"""

from __future__ import annotations

import threading

from sqlengine.runtime.udf.function import UserFunction

_FADE = 0.9
_lock = threading.Lock()
_widths: dict[tuple[str, str], float] = {}


def observe(function: UserFunction, rows: int, size: int) -> None:
    """`rows` values took `size` bytes in one run."""
    if rows:
        key = (function.name, str(function.returns))
        with _lock:
            _widths[key] = max(size / rows, _FADE * _widths.get(key, 0.0))


def observed_width(function: UserFunction) -> float | None:
    """Bytes of a value, if any was seen."""
    return _widths.get((function.name, str(function.returns)))
