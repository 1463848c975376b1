"""Binding of built-in functions that run as operators: downloads, images. Arguments by place, constants by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError, Error, InterfaceError, Location, NotSupportedError
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import Expr, LiftedCall
from sqlengine.expr.registry import LiftedFunction

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder

_NAMED = (exp.Kwarg, exp.PropertyEQ)


def bind_lifted_call(
    binder: ExpressionBinder, node: exp.Anonymous, function: LiftedFunction, location: Location | None
) -> Expr:
    """`url_download(url, name => value, ...)`."""
    args = [binder.bind(a) for a in node.expressions if not isinstance(a, _NAMED)]
    try:
        named = {
            item.this.name.lower(): evaluate_constant(binder.bind(item.expression))
            for item in node.expressions
            if isinstance(item, _NAMED)
        }
        call = function.bind(args, named, binder.binder.context.settings)
    except (InterfaceError, NotSupportedError) as error:
        kind: type[Error] = BindError if isinstance(error, InterfaceError) else type(error)
        place = error.location or location
        raise kind(error.message, code=error.code, hint=error.hint, location=place) from None
    return replace(call, location=location) if isinstance(call, LiftedCall) else call
