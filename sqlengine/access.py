"""What the SQL of a safe session may touch: files below the given directories, and nothing else of the machine.

`safe` is for SQL from people one does not know. It reads files below `root` only (symbolic links followed before the
comparison), and neither writes, reaches the network, loads Python nor reads the environment. Settings are locked. What
the host program does by itself (`Session.register`, `Relation.write_parquet`, `-o`) is its own business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from sqlengine.errors import FileError, InterfaceError, Location
from sqlengine.formats import FORMATS, format_of, open_source
from sqlengine.formats.base import Source
from sqlengine.formats.paths import expand
from sqlengine.settings import Settings

_MAGIC = re.compile(r"[*?\[]")
# What EXPLAIN may try out in a safe session.
TRIED_SETTINGS = frozenset({"memory_limit", "threads", "batch_rows", "batch_bytes"})


def refuse_if_safe(settings: Settings, what: str, location: Location | None = None) -> None:
    """Raise InterfaceError in a safe session; `what` is the subject of "... is not allowed"."""
    if settings.safe:
        raise InterfaceError(
            f"{what} is not allowed in safe mode", code="not_allowed", location=location,
            hint="the session was started with safe = true, for SQL that may only read what it is given",
        )  # fmt: skip


def check_readable(settings: Settings, path: str) -> None:
    """Raise FileError if a safe session may not read the file (or what the pattern begins with)."""
    if not settings.safe:
        return
    fixed = path
    found = _MAGIC.search(path)
    if found is not None and not os.path.exists(path):
        fixed = os.path.dirname(path[: found.start()]) or "."
    real = os.path.realpath(os.path.expanduser(fixed))
    outside = found is not None and ".." in path.split(os.sep)
    if not outside and any(_is_below(real, os.path.realpath(root)) for root in settings.root):
        return
    hint = f"files below {' and '.join(settings.root)} can be read" if settings.root else "no root directory is given"
    raise FileError(f"{path!r} is not allowed in safe mode", code="not_allowed", hint=hint)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def open_allowed(
    settings: Settings,
    paths: Sequence[str],
    format: str | None = None,
    options: dict[str, Any] | None = None,
    exempt: str | None = None,
) -> Source:
    """`open_source` for the SQL of a session: in a safe one each file is looked at, also those a pattern stands for.
    `exempt` is a file that may be read wherever it is."""
    if not settings.safe:
        return open_source(paths, format, options)
    for path in paths:
        if path != exempt:
            check_readable(settings, path)
    names = format in FORMATS and FORMATS[format].names
    suffixes = FORMATS[format].suffixes if format in FORMATS else [s for f in FORMATS.values() for s in f.suffixes]
    try:
        files = expand(paths, suffixes)
    except FileError:
        if not names:
            raise
        return open_source([], format, options)
    for path in files:
        if path != exempt:
            check_readable(settings, path)
    return open_source(files, format or format_of(files[0]), options)
