"""Functions that tell about the session or steer evaluation: version, user, assertions."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import TEXT, Types
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.moves import column
from sqlengine.settings import Settings


def _text(name: str, value: Callable[[], str], doc: str, aliases: tuple[str, ...] = ()) -> None:
    def infer(args: Sequence[Expr]) -> Types:
        if args:
            raise NoMatch("it takes no arguments")
        return [], TEXT

    @scalar(name, infer, doc, category="session", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return pa.scalar(value())


def _version() -> str:
    import importlib.metadata

    try:
        return "v" + importlib.metadata.version("sqlengine")
    except importlib.metadata.PackageNotFoundError:
        return "v0"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "user"


_text("version", _version, "The version of sqlengine.")
_text("current_user", _user, "Who runs the session.", ("user", "session_user", "current_role"))
_text("current_schema", lambda: "main", "The schema of unqualified names.")
_text("current_database", lambda: "memory", "The database of unqualified names.", ("current_catalog",))


@scalar("constant_or_null", lambda args: ([a.type for a in args], args[0].type), 
        "The first argument, NULL where another is.", category="session", strict=False)  # fmt: skip
def _constant_or_null(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    keep: Any = pa.repeat(pa.scalar(True), rows)
    for other in args[1:]:
        keep = pc.and_(keep, column(other, rows).is_valid())
    places = pc.if_else(keep, pa.array(range(rows), pa.int64()), pa.scalar(None, pa.int64()))
    return column(args[0], rows).take(places)
