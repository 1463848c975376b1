"""Binding of the functions that reach URLs: `url_download`, `try_url_download`, `url_info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, InterfaceError, Location
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import Expr, LiftedCall
from sqlengine.runtime.fetch.function import FETCH_FUNCTIONS, INFO_TYPE, RESULT_TYPE
from sqlengine.runtime.fetch.options import FetchOptions
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder


def bind_fetch_call(binder: ExpressionBinder, node: exp.Anonymous, location: Location | None) -> Expr:
    """`url_download(url, name => value, ...)`."""
    function = FETCH_FUNCTIONS[node.name.lower()]
    named = (exp.Kwarg, exp.PropertyEQ)
    args = [binder.bind(a) for a in node.expressions if not isinstance(a, named)]
    if len(args) != 1:
        raise BindError(
            f"{function.name}() takes one URL, and options as name => value", code="argument_count", location=location
        )
    options = dict(function.defaults)
    try:
        for item in node.expressions:
            if isinstance(item, named):
                options[item.this.name.lower()] = evaluate_constant(binder.bind(item.expression))
        resolved = FetchOptions.of(binder.binder.context.settings, options)
    except InterfaceError as error:
        raise BindError(error.message, code=error.code, hint=error.hint, location=location) from None
    if not pa.types.is_string(args[0].type) and not pa.types.is_null(args[0].type):
        raise BindError(
            f"{function.name}() takes a URL as text, this is {sql_name(args[0].type)}",
            code="type_mismatch",
            location=location,
        )
    type_ = INFO_TYPE if function.only_info else RESULT_TYPE if resolved.gives_struct else pa.binary()
    given = tuple(sorted((name, _frozen(value)) for name, value in options.items()))
    return LiftedCall(type_, function.name, (cast_to(args[0], pa.string()),), function, given, 0, location)


def _frozen(value: Any) -> Any:
    """A value that can be hashed: maps as pairs."""
    if isinstance(value, dict):
        return tuple(sorted((k, v) for k, v in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
