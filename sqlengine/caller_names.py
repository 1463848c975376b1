"""Tables by the names of Python variables: where a query was asked for, that code's variables are in scope.

Only the frame that called is looked at (through comprehensions and lambdas to the function around them) and its module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from sqlengine.formats.memory import is_rows
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.udf import Function, define

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_INNER = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"}


def caller() -> FrameType | None:
    """The nearest frame outside of this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return frame


Scopes = Callable[[], Iterator[Mapping[str, Any]]]


def scopes_of(frame: FrameType | None) -> Scopes:
    """The variables that code in the frame sees, the nearest first."""

    def scopes() -> Iterator[Mapping[str, Any]]:
        at = frame
        while at is not None:
            yield at.f_locals
            yield at.f_globals
            at = at.f_back if at.f_code.co_name in _INNER else None

    return scopes


def variables_of(scopes: Scopes, is_relation: Callable[[Any], bool]) -> Callable[[str], Any]:
    """Looks a name up among variables; gives None for what holds no rows."""

    def holds_rows(value: Any) -> bool:
        return is_relation(value) or is_rows(value) or _is_columns(value)

    def find(name: str) -> Any:
        for variables in scopes():
            for key in (name, *(k for k in variables if k.lower() == name.lower())):
                value = variables.get(key)
                if value is not None and holds_rows(value):
                    return value
        return None

    return find


def functions_of(scopes: Scopes, given: Mapping[str, UserFunction]) -> Callable[[str], UserFunction | None]:
    """Looks a function up among those given, then among variables that were made with `@udf`, by the name that SQL
    knows it by."""

    def find(name: str) -> UserFunction | None:
        if name.lower() in given:
            return given[name.lower()]
        for variables in scopes():
            value = variables.get(name)
            if isinstance(value, Function):
                return value.definition
            for other in list(variables.values()):
                if isinstance(other, Function) and other.definition.name == name.lower():
                    return other.definition
        return None

    return find


def given_functions(
    udfs: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]] | None,
) -> dict[str, UserFunction]:
    """Functions of one call, by name; plain ones are defined from their hints."""
    named = udfs.items() if isinstance(udfs, Mapping) else [(None, function) for function in udfs or ()]
    found: dict[str, UserFunction] = {}
    for name, function in named:
        definition = function.definition if isinstance(function, Function) else define(function, "row", name=name)
        found[(name or definition.name).lower()] = replace(definition, name=(name or definition.name).lower())
    return found


def _is_columns(value: Any) -> bool:
    """A dict of columns, or a pandas table of a version without the Arrow protocol."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(k, str) and isinstance(v, list | tuple) for k, v in value.items())
    return type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns")
