"""Binding of calls to functions that a user registered: arguments by type, options by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, InterfaceError, Location
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import Expr, LiftedCall
from sqlengine.expr.overloads import accepts
from sqlengine.runtime.udf.function import TABLE, UserFunction
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder

_serial = itertools.count(1)
_NAMED = (exp.Kwarg, exp.PropertyEQ)


def bind_user_call(
    binder: ExpressionBinder, node: exp.Anonymous, function: UserFunction, location: Location | None
) -> Expr:
    """A call of a row or vectorised function; `name => value` arguments are options of this call."""
    if function.kind == TABLE:
        raise BindError(
            f"{function.name}() gives rows, it cannot stand in an expression",
            code="misplaced_table_function",
            hint=f"write FROM {function.name}(...), or after a comma behind the table whose columns it reads",
            location=location,
        )
    args, options = split_arguments(binder, node, function, location)
    serial = 0 if function.options.deterministic else next(_serial)
    return LiftedCall(function.returns, function.name, args, function, options, serial, location)


def bind_generator(
    binder: ExpressionBinder, node: exp.Anonymous, function: UserFunction, location: Location | None
) -> LiftedCall:
    """A call in FROM of a function that yields rows; its type is the list of what it yields."""
    if function.kind != TABLE:
        raise BindError(
            f"{function.name}() gives one value, not rows",
            code="misplaced_function",
            hint=f"write SELECT {function.name}(...), or make it a generator with @udf.table",
            location=location,
        )
    args, options = split_arguments(binder, node, function, location)
    serial = 0 if function.options.deterministic else next(_serial)
    return LiftedCall(pa.list_(function.returns), function.name, args, function, options, serial, location)


def split_arguments(
    binder: ExpressionBinder, node: exp.Anonymous, function: UserFunction, location: Location | None
) -> tuple[tuple[Expr, ...], tuple[tuple[str, Any], ...]]:
    """The arguments, cast to the types that the function declares, and the checked options."""
    given = [binder.bind(a) for a in node.expressions if not isinstance(a, _NAMED)]
    options = call_options(binder, node.expressions, function, location)
    return typed_arguments(given, function, location), options


def is_option(node: exp.Expression) -> bool:
    return isinstance(node, _NAMED)


def call_options(
    binder: ExpressionBinder, nodes: Iterable[exp.Expression], function: UserFunction, location: Location | None
) -> tuple[tuple[str, Any], ...]:
    """The `name => value` among the arguments of a call, checked."""
    options = {a.this.name.lower(): evaluate_constant(binder.bind(a.expression)) for a in nodes if is_option(a)}
    try:
        function.options.with_values(options)
    except InterfaceError as error:
        raise BindError(error.message, code=error.code, hint=error.hint, location=location) from None
    return tuple(sorted(options.items()))


def typed_arguments(given: list[Expr], function: UserFunction, location: Location | None) -> tuple[Expr, ...]:
    """Arguments in the types that the function declares."""
    given = list(given)
    wanted = function.args
    if wanted is not None and not function.required <= len(given) <= len(wanted):
        count = str(function.required) if function.required == len(wanted) else f"{function.required} to {len(wanted)}"
        raise BindError(
            f"{function.name}() takes {count} argument{'' if count == '1' else 's'}, this call has {len(given)}",
            code="argument_count",
            location=location,
        )
    if wanted is not None:
        for number, (arg, type_) in enumerate(zip(given, wanted, strict=False)):
            if type_ is None or arg.type == type_:
                continue
            if not accepts(arg, type_):
                raise BindError(
                    f"argument {number + 1} of {function.name}() is {sql_name(arg.type)}, it wants {sql_name(type_)}",
                    code="type_mismatch",
                    hint="cast it",
                    location=location,
                )
            given[number] = cast_to(arg, type_)
    return tuple(given)
