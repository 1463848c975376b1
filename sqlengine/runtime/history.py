"""What values were seen to take, kept from one process to the next: the second run of a query knows what the first one
found out.

A small JSON file in the user's state directory: bytes of a value by what gives it (`udf NAME TYPE`, `url COLUMN`,
`file NAME COLUMN`). In this process the numbers are always kept; on disk only where `keep_in` said so. The file is
replaced as a whole, so readers see the old one or the new one; a file that cannot be read or written is no error, it
holds nothing that an answer depends on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

log = logging.getLogger("sqlengine")
_FADE = 0.9  # of the largest mean seen, each time another run comes
_MOST = 2000  # entries in the file; those not seen for longest are dropped
_lock = threading.Lock()
_widths: dict[str, float] = {}
_changed: set[str] = set()
_path: Path | None = None
_loaded: Path | None = None


def default_path() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "sqlengine" / "history.json"


def keep_in(path: Path | None) -> None:
    """Where the numbers are kept from now on; None: in this process only."""
    global _path
    _path = path


def see(key: str, values: int, size: int) -> None:
    """So many values took `size` bytes in one run. The largest mean of a run is kept, fading as others come."""
    if values:
        with _lock:
            _load()
            _widths[key] = max(size / values, _FADE * _widths.get(key, 0.0))
            _changed.add(key)


def width(key: str) -> float | None:
    """Bytes of a value, if any was seen."""
    with _lock:
        _load()
        return _widths.get(key)


def save() -> None:
    """Write what was seen since the last time, if anything was."""
    path = _path
    if path is None or not _changed:
        return
    with _lock:
        entries = _read(path)
        now = int(time.time())
        entries |= {key: {"bytes": round(_widths[key], 1), "seen": now} for key in _changed}
        latest = sorted(entries.items(), key=lambda item: -item[1]["seen"])[:_MOST]
        temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(json.dumps({"version": 1, "entries": dict(latest)}, indent=0))
            os.replace(temporary, path)
        except OSError as error:
            log.debug("the history is not kept in %s: %s", path, error)
            with contextlib.suppress(OSError):
                temporary.unlink()
        _changed.clear()


def _load() -> None:
    """What earlier processes saw, once."""
    global _loaded
    if _path is not None and _loaded != _path:
        _loaded = _path
        for key, entry in _read(_path).items():
            _widths.setdefault(key, float(entry["bytes"]))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(path.read_text())
        return {
            key: {"bytes": float(entry["bytes"]), "seen": int(entry["seen"])} for key, entry in found["entries"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
