"""Tables by the names of Python variables: where a query was asked for, that code's variables are in scope.

Only the frame that called is looked at (through comprehensions and lambdas to the function around them) and its module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from sqlengine.formats.memory import is_rows
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.udf import Function

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_INNER = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"}


def caller() -> FrameType | None:
    """The nearest frame outside of this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return frame


def variables_of(frame: FrameType | None, is_relation: Callable[[Any], bool]) -> Callable[[str], Any]:
    """Looks a name up among the variables of the frame; gives None for what holds no rows."""

    def holds_rows(value: Any) -> bool:
        return is_relation(value) or is_rows(value) or _is_columns(value)

    def find(name: str) -> Any:
        at = frame
        while at is not None:
            for variables in (at.f_locals, at.f_globals):
                for key in (name, *(k for k in variables if k.lower() == name.lower())):
                    value = variables.get(key)
                    if value is not None and holds_rows(value):
                        return value
            at = at.f_back if at.f_code.co_name in _INNER else None
        return None

    return find


def functions_of(frame: FrameType | None) -> Callable[[str], UserFunction | None]:
    """Looks a function made with `@udf` up among the variables of the frame, by the name that SQL knows it by."""

    def find(name: str) -> UserFunction | None:
        at = frame
        while at is not None:
            for variables in (at.f_locals, at.f_globals):
                value = variables.get(name)
                if isinstance(value, Function):
                    return value.definition
                for other in variables.values():
                    if isinstance(other, Function) and other.definition.name == name.lower():
                        return other.definition
            at = at.f_back if at.f_code.co_name in _INNER else None
        return None

    return find


def _is_columns(value: Any) -> bool:
    """A dict of columns, or a pandas table of a version without the Arrow protocol."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(k, str) and isinstance(v, list | tuple) for k, v in value.items())
    return type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns")
