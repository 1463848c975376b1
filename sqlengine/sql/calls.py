"""A call of an aggregate or window function taken apart: arguments, DISTINCT, ORDER BY, FILTER, WITHIN GROUP, NULLs.

The parser keeps the modifiers as wrappers around the call or around one of its arguments; here they become fields. A
wrapper that is not known is an error, so that none is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from sqlengine.errors import Location, NotSupportedError, ParseError

WRAPPERS = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)


@dataclass(frozen=True)
class CallParts:
    """`order`: ORDER BY inside the parentheses; `within`: of WITHIN GROUP. `starred`: the argument is `*`."""

    call: exp.Expression
    args: tuple[exp.Expression, ...] = ()
    distinct: bool = False
    order: tuple[exp.Expression, ...] = ()
    within: tuple[exp.Expression, ...] = ()
    filter: exp.Expression | None = None
    ignore_nulls: bool = False
    starred: bool = False


def call_name(node: exp.Expression) -> str:
    """The name of a function call as SQL writes it, in lower case."""
    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    names = getattr(node, "sql_names", None)
    return str(names()[0]).lower() if names is not None else str(node.key)


def innermost_call(node: exp.Expression) -> exp.Expression:
    """The call below the wrappers of FILTER, WITHIN GROUP and IGNORE NULLS."""
    while isinstance(node, WRAPPERS):
        node = node.this
    return node


def take_apart(node: exp.Expression, location: Location | None) -> CallParts:
    """The parts of a call with its wrappers (not OVER)."""
    match node:
        case exp.Filter():
            inner = take_apart(node.this, location)
            condition = node.expression.this if isinstance(node.expression, exp.Where) else node.expression
            return replace(inner, filter=condition)
        case exp.WithinGroup():
            return replace(take_apart(node.this, location), within=tuple(node.expression.expressions))
        case exp.IgnoreNulls():
            return replace(take_apart(node.this, location), ignore_nulls=True)
        case exp.RespectNulls():
            return take_apart(node.this, location)
    parts = CallParts(node)
    if isinstance(node, exp.Anonymous):
        given = list(node.expressions)
    else:
        given = []
        for key in node.arg_types:
            value = node.args.get(key)
            if isinstance(value, exp.Expression):
                given.append(value)
            elif isinstance(value, list):
                given.extend(value)
    for arg in given:
        parts = _with_argument(parts, arg, location)
    if parts.starred and parts.args:
        raise ParseError("* stands beside other arguments", location=location)
    return parts


def _with_argument(parts: CallParts, arg: exp.Expression, location: Location | None) -> CallParts:
    match arg:
        case exp.Order():
            if parts.order:
                raise ParseError("ORDER BY stands twice in one call", location=location)
            inner = parts if arg.this is None else _with_argument(parts, arg.this, location)
            return replace(inner, order=tuple(arg.expressions))
        case exp.Distinct():
            if arg.args.get("on") is not None:
                raise NotSupportedError("DISTINCT ON inside a call is not supported", location=location)
            for inner in arg.expressions:
                parts = _with_argument(parts, inner, location)
            return replace(parts, distinct=True)
        case exp.IgnoreNulls():
            return replace(_with_argument(parts, arg.this, location), ignore_nulls=True)
        case exp.RespectNulls():
            return _with_argument(parts, arg.this, location)
        case exp.Star():
            if any(arg.args.values()):
                raise NotSupportedError("* with EXCLUDE, REPLACE or RENAME inside a call", location=location)
            return replace(parts, starred=True)
        case exp.Limit() | exp.HavingMax():
            raise NotSupportedError(f"{arg.key.upper()} inside a call is not supported", location=location)
        case _:
            return replace(parts, args=(*parts.args, arg))
