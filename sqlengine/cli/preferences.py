"""How the prompt behaves for one person: the table `[prompt]` of `config.toml`.

[prompt]
keys = "vi"          # or "emacs"
pager = "less -S"    # or false
timer = true         # the time of each statement
stats = false        # no line about rows, time and memory after a query
max_rows = 100
null = "∅"
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlengine.errors import InterfaceError

if TYPE_CHECKING:
    from sqlengine.cli.runner import Runner

_KINDS: dict[str, tuple[type, ...]] = {
    "keys": (str,), "pager": (str, bool), "timer": (bool,), "stats": (bool,), "max_rows": (int,), "null": (str,),
}  # fmt: skip


def apply_preferences(runner: Runner, given: Mapping[str, Any]) -> None:
    """Set what is given; InterfaceError for a name or a value that will not do."""
    for name, value in given.items():
        if name not in _KINDS:
            close = difflib.get_close_matches(name, _KINDS, 1)
            hint = f'did you mean "{close[0]}"?' if close else f"there are {', '.join(_KINDS)}"
            raise InterfaceError(f'[prompt] has no "{name}"', code="config_error", hint=hint)
        wrong = not isinstance(value, _KINDS[name]) or (name == "keys" and value not in ("vi", "emacs"))
        if wrong or (name == "max_rows" and (isinstance(value, bool) or value < 1)):
            raise InterfaceError(f"[prompt] {name}: {value!r} will not do", code="config_error")
        match name:
            case "keys":
                runner.vi = value == "vi"
            case "pager":
                runner.chosen_pager = value
            case "timer":
                runner.timer = value
            case "stats":
                runner.chosen_stats = value
            case "max_rows":
                runner.look.max_rows = value
            case "null":
                runner.look.null = value
