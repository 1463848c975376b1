"""Paths of files taken apart and put together.

The argument `separator` is `system`, `both_slash` (the default), `forward_slash` or `backslash`.
"""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BOOL, TEXT, Types, by_row, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.expr.text_forms import to_text
from sqlengine.functions.moves import column
from sqlengine.settings import Settings

_TEXTS = pa.list_(TEXT)


def _without_nulls(args: list[Any]) -> list[Any]:
    """NULL after the path means the default."""
    defaults = (pc.fill_null(arg, "" if arg.type == TEXT else False) for arg in args[1:])
    return [args[0], *defaults]


def _parts(path: str) -> list[str]:
    return (["/"] if path.startswith("/") else []) + [part for part in path.split("/") if part]


def _path(name: str, part: Callable[[str], Any], gives: pa.DataType, doc: str) -> None:
    @scalar(name, takes(TEXT, TEXT, gives=gives, least=1), doc, category="path", strict=False)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        def one(path: str, kind: str = "both_slash") -> Any:
            return part(path if kind in ("forward_slash", "system") else path.replace("\\", "/"))

        return by_row(one, _without_nulls(args), rows, gives)


_path("parse_dirname", lambda p: p.split("/")[0] if "/" in p else "", TEXT, "The first folder of a path.")
_path("parse_dirpath", posixpath.dirname, TEXT, "A path without its last part.")
_path("parse_path", _parts, _TEXTS, "The parts of a path.")


@scalar("parse_filename", lambda args: _filename_types(args), "The last part of a path.", category="path", strict=False)
def _parse_filename(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(path: str, cut: Any = False, kind: str = "both_slash") -> str:
        if isinstance(cut, str):
            cut, kind = cut.lower() == "true", kind if cut.lower() in ("true", "false") else cut
        name = (path if kind in ("forward_slash", "system") else path.replace("\\", "/")).rpartition("/")[2]
        return name.rpartition(".")[0] if cut and "." in name else name

    return by_row(one, _without_nulls(args), rows, TEXT)


def _filename_types(args: Sequence[Expr]) -> Types:
    if not 1 <= len(args) <= 3:
        raise NoMatch("it takes a path, whether to cut the extension, and the kind of separator")
    if len(args) == 2 and pa.types.is_string(args[1].type):
        return (TEXT, TEXT), TEXT
    return (TEXT, BOOL, TEXT)[: len(args)], TEXT


def _joined(first: str, *rest: str) -> str:
    scheme, mark, path = first.rpartition("://") if "://" in first else ("", "", first)
    parts = [part.replace("\\", "/") for part in (path, *rest) if part]
    whole = "/".join(part if at == 0 else part.lstrip("/") for at, part in enumerate(parts))
    whole = "/" + whole.lstrip("/") if whole.startswith("/") else whole
    if not whole:
        return f"{scheme}{mark}"
    end = "/" if whole.endswith("/") and whole.strip("/") else ""
    return f"{scheme}{mark}{posixpath.normpath(whole)}{end}"


@scalar("path_join", takes(TEXT, gives=TEXT, more=True), "Parts of a path joined, `.` and `..` resolved.",
        category="path")  # fmt: skip
def _path_join(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_joined, args, rows, TEXT)


def _component_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes the name of a column and a value")
    return (TEXT, args[1].type), TEXT


@scalar("hive_partition_component", _component_types, "`name=value` as a folder of a partitioned table.",
        category="path", strict=False)  # fmt: skip
def _hive_partition_component(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    values = to_text(column(args[1], rows), settings.timezone)
    values = pc.fill_null(values, "__HIVE_DEFAULT_PARTITION__")
    return by_row(
        lambda name, value: f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}",
        [args[0], values], rows, TEXT,
    )  # fmt: skip
