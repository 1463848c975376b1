"""The functions that fetch what URLs name (`operators.fetch_urls`): their arguments, options and types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import Expr, LiftedCall
from sqlengine.expr.registry import LiftedFunction, lifted_function
from sqlengine.runtime.fetch.function import INFO_TYPE, RESULT_TYPE, FetchFunction
from sqlengine.runtime.fetch.options import FetchOptions
from sqlengine.settings import Settings
from sqlengine.types import sql_name


def _binder(function: FetchFunction) -> Callable[[list[Expr], dict[str, Any], Settings], Expr]:
    def bind(args: list[Expr], named: dict[str, Any], settings: Settings) -> Expr:
        if len(args) != 1:
            raise InterfaceError(
                f"{function.name}() takes one URL, and options as name => value", code="argument_count"
            )
        url = args[0]
        if not pa.types.is_string(url.type) and not pa.types.is_null(url.type):
            raise InterfaceError(
                f"{function.name}() takes a URL as text, this is {sql_name(url.type)}", code="type_mismatch"
            )
        options = {**dict(function.defaults), **named}
        resolved = FetchOptions.of(settings, options)
        type_ = INFO_TYPE if function.only_info else RESULT_TYPE if resolved.gives_struct else pa.binary()
        given = tuple(sorted((name, _frozen(value)) for name, value in options.items()))
        return LiftedCall(type_, function.name, (cast_to(url, pa.string()),), function, given)

    return bind


def _frozen(value: Any) -> Any:
    """A value that can be hashed: maps as pairs."""
    if isinstance(value, dict):
        return tuple(sorted((k, v) for k, v in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _register(function: FetchFunction, doc: str, *aliases: str) -> None:
    lifted_function(LiftedFunction(function.name, _binder(function), "url", doc, aliases))


_register(FetchFunction("url_download"), "The body behind a URL; options by name, as SET download.NAME.", "download")
_register(
    FetchFunction("try_url_download", defaults=(("on_error", "null"),)),
    "The body behind a URL, NULL when it cannot be had.",
    "try_download",
)
_register(FetchFunction("url_info", only_info=True), "Status, size and type of what a URL names, without its body.")
