"""Whether a stream is coloured, and the colours of errors.

`--color always` and `never` decide by themselves. Else NO_COLOR (any text) switches colours off, FORCE_COLOR (any text
but 0) on, and without either a terminal that is not dumb has them: a pipe never has.
"""

from __future__ import annotations

import os
import re
from typing import IO, Any

_RESET = "\x1b[0m"
_HEAD = re.compile(r"error\[\w+\]:")


def is_colored(choice: str, stream: IO[Any]) -> bool:
    """The answer for one stream and the choice `auto`, `always` or `never`."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    return os.environ.get("TERM", "dumb") != "dumb" and stream.isatty()


def colored_error(text: str) -> str:
    """The form that `Error.render` gives, its head and caret red, its hint in another colour."""
    lines: list[str] = []
    for line in text.split("\n"):
        bar = line.partition(" | ")[2]
        if _HEAD.search(line) and not lines:
            line = _HEAD.sub(lambda head: f"\x1b[1;31m{head[0]}{_RESET}", line, count=1)
        elif line.startswith("hint: "):
            line = f"\x1b[36mhint:{_RESET} {line[6:]}"
        elif bar.strip() and not bar.strip().strip("^"):
            line = line.replace(bar.strip(), f"\x1b[1;31m{bar.strip()}{_RESET}")
        lines.append(line)
    return "\n".join(lines)
