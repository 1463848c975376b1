"""What binding takes from the session, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from sqlengine.errors import NotSupportedError
from sqlengine.formats.base import Source
from sqlengine.plan import nodes as p
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.settings import Settings
from sqlengine.sql.call_time import CallTime
from sqlengine.sql.source_text import Text

Names = tuple[str, ...]


@dataclass(frozen=True)
class ViewQuery:
    """A view: the tree of its query, the text it was written in, and names for its first columns."""

    tree: exp.Expression
    text: Text
    names: Names = ()


def _no_rows(query: BoundQuery, most: int) -> list[tuple[Any, ...]]:
    raise NotSupportedError("values that a query finds are not known here", hint="list them with IN (...)")


@dataclass(frozen=True)
class BindContext:
    """What binding needs from the session: tables by name (rows, a view, or a query that is bound already), files by
    path, the names it could suggest, what stands for parameters, variables and macros, the user's functions,
    and how to run a query whose rows decide how the statement is bound (at most so many of them)."""

    find_table: Callable[[str], Source | ViewQuery | BoundQuery | None]
    open_file: Callable[[str | list[str], str | None, dict[str, Any]], Source]
    table_names: Callable[[], list[str]]
    settings: Settings = field(default_factory=Settings)
    call_time: CallTime = field(default_factory=CallTime)
    find_function: Callable[[str], UserFunction | None] = lambda name: None
    rows: Callable[[BoundQuery, int], list[tuple[Any, ...]]] = _no_rows


@dataclass(frozen=True)
class BoundQuery:
    """A query ready to optimize: the plan and the names of its columns."""

    plan: p.Plan
    names: Names
