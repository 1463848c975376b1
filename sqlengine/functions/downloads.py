"""The functions that fetch what URLs name (`operators.fetch_urls`): their arguments, options and types."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import Expr, LiftedCall
from sqlengine.expr.registry import LiftedFunction, lifted_function
from sqlengine.runtime.fetch.function import INFO_TYPE, RESULT_TYPE, FetchFunction
from sqlengine.runtime.fetch.options import FetchOptions
from sqlengine.runtime.fetch.upload import Upload
from sqlengine.runtime.udf.function import ROW, UdfOptions, UserFunction
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


_UPLOADS = 8  # at the same time


def _bind_upload(args: list[Expr], named: dict[str, Any], settings: Settings) -> Expr:
    if settings.safe:
        raise InterfaceError(
            "url_upload() is not allowed in safe mode", code="not_allowed",
            hint="the session was started with safe = true, for SQL that may only read what it is given",
        )  # fmt: skip
    if len(args) != 2:
        raise InterfaceError("url_upload() takes bytes and a target, and options by name", code="argument_count")
    data, target = args
    if not (pa.types.is_binary(data.type) or pa.types.is_null(data.type)):
        raise InterfaceError(
            f"url_upload() takes a BLOB, this is {sql_name(data.type)}", code="type_mismatch", hint="encode(text)"
        )
    if not (pa.types.is_string(target.type) or pa.types.is_null(target.type)):
        raise InterfaceError(f"the target of url_upload() is {sql_name(target.type)}, not text", code="type_mismatch")
    on_error = named.pop("on_error", "raise")
    options = FetchOptions.of(settings, named)
    function = UserFunction(
        "url_upload", ROW, Upload(options), (pa.binary(), pa.string()), pa.string(), parallel=True,
        options=UdfOptions().with_values({"on_error": on_error, "concurrency": min(_UPLOADS, options.max_connections)}),
    )  # fmt: skip
    given = (cast_to(data, pa.binary()), cast_to(target, pa.string()))
    # The options are in the function; they make one call another than the next.
    return LiftedCall(pa.string(), "url_upload", given, function, serial=next(_serial))


_serial = itertools.count(1)


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
lifted_function(
    LiftedFunction(
        "url_upload", _bind_upload, "url", "Writes bytes to a target (file, object store, PUT); its URL.", ("upload",)
    )
)
_register(FetchFunction("url_info", only_info=True), "Status, size and type of what a URL names, without its body.")
