"""Decorators that make Python functions callable from SQL.

>>> import sqlengine
>>> from sqlengine import udf
>>> @udf
... def double(x: int) -> int:
...     return 2 * x
>>> double(4)
8
>>> sqlengine.sql("select double(21) as answer").fetchall()
[(42,)]

`@udaf` makes an aggregate of a class: `update(self, ...)` gets the values of each row of a group, `finish(self)` gives
the result.

`@udf` calls the function with the values of one row; `@udf.arrow` with whole Arrow arrays; `@udf.table` wants a
generator that yields any number of rows. A class with `__call__` has one instance per worker; an `async def` runs many
rows at once.
Types come from hints (`int`, `str`, `float`, `bool`, `bytes`, `list[...]`, dates, decimals, dataclasses) or `returns=`.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError
from sqlengine.runtime.udf.function import AGGREGATE, ARROW, ROW, TABLE, UdfOptions, UserFunction

_TYPES: dict[Any, pa.DataType] = {
    bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary(),
    datetime.date: pa.date32(), datetime.datetime: pa.timestamp("us"), datetime.time: pa.time64("us"),
    decimal.Decimal: pa.decimal128(38, 9), datetime.timedelta: pa.duration("us"),
}  # fmt: skip


class Function:
    """A Python function with what SQL needs to know of it; still callable as before."""

    def __init__(self, target: Callable[..., Any], definition: UserFunction) -> None:
        functools.update_wrapper(self, target)
        self._target = target
        self.definition = definition
        self._instance: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._instance is None:
            made: Any = self._target() if inspect.isclass(self._target) else self._target
            self._instance = made
        return self._instance(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<SQL function {self.definition.name}>"


class _Decorator:
    """`@udf`, `@udf(returns=...)`, `@udf.arrow`, `@udf.table`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, target: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
        if target is None:
            return functools.partial(self._made, settings=settings)
        return self._made(target, settings=settings)

    def _made(self, target: Callable[..., Any], settings: dict[str, Any]) -> Function:
        return Function(target, define(target, self._kind, **settings))


class _Udf(_Decorator):
    arrow = _Decorator(ARROW)
    table = _Decorator(TABLE)


udf = _Udf(ROW)
udaf = _Decorator(AGGREGATE)


def define(
    target: Callable[..., Any], kind: str = ROW, *, returns: Any = None, name: str | None = None,
    args: typing.Sequence[Any] | None = None, **options: Any,
) -> UserFunction:  # fmt: skip
    """What SQL knows of a callable.

    Parameters
    ----------
    target : function, coroutine function, generator function, or class with `__call__`
    kind : 'row', 'arrow' or 'table'
    returns : Arrow type, Python type, or text such as 'VARCHAR'; from the hint when left out
    args : types of the arguments; from the hints when left out
    **options : as in `UdfOptions` (batch_rows, batch_bytes, concurrency, isolate, memory, timeout, ...)
    """
    if kind == AGGREGATE:
        _check_aggregate(target)
        call: Any = target.update  # type: ignore[attr-defined]
    else:
        call = target.__call__ if inspect.isclass(target) else target
    shown = name or getattr(target, "__name__", None)
    if not shown or not str(shown).isidentifier():
        raise InterfaceError("a user function needs a name", hint="give it one: name='...'")
    try:
        hints = typing.get_type_hints(call)
    except Exception:
        hints = {}
    parameters = [
        p for p in inspect.signature(call).parameters.values() if p.name != "self" or not inspect.isclass(target)
    ]
    result = returns if returns is not None else hints.get("return")
    if kind == AGGREGATE and returns is None:
        result = typing.get_type_hints(target.finish).get("return")  # type: ignore[attr-defined]
    if result is None:
        raise InterfaceError(
            f"{shown}() does not say what it returns", hint="add a hint, `-> int`, or returns=pa.int64()"
        )
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    wanted: tuple[pa.DataType | None, ...] | None
    if args is not None:
        wanted = tuple(arrow_type(a) for a in args)
    elif variadic:
        wanted = None
    else:
        wanted = tuple(None if kind == ARROW else _hinted(hints.get(p.name)) for p in plain)
    required = 0 if wanted is None else sum(p.default is p.empty for p in plain) if args is None else len(wanted)
    is_async = inspect.iscoroutinefunction(call)
    make: Any = target if inspect.isclass(target) and kind != AGGREGATE else _Constant(target)
    return UserFunction(
        str(shown).lower(), kind, make, wanted,
        arrow_type(_element(result) if kind == TABLE else result), UdfOptions().with_values(options), is_async,
        inspect.getdoc(target) or "", required,
    )  # fmt: skip


def _check_aggregate(target: Any) -> None:
    if not inspect.isclass(target) or not all(callable(getattr(target, m, None)) for m in ("update", "finish")):
        raise InterfaceError(
            "an aggregate is a class with update(self, ...) and finish(self)",
            hint="merge(self, other) joins two of them",
        )


class _Constant:
    """Gives the same callable each time; a class instead of a lambda so that it can be sent to another process."""

    def __init__(self, target: Callable[..., Any]) -> None:
        self._target = target

    def __call__(self) -> Callable[..., Any]:
        return self._target


def _element(hint: Any) -> Any:
    """What a generator yields: `Iterator[int]` -> `int`."""
    inner = typing.get_args(hint)
    return inner[0] if inner and typing.get_origin(hint) not in (list, dict, tuple) else hint


def _hinted(hint: Any) -> pa.DataType | None:
    if hint is None or hint is Any:
        return None
    try:
        return arrow_type(hint)
    except InterfaceError:
        return None


def arrow_type(hint: Any) -> pa.DataType:
    """The Arrow type of a Python hint, of an Arrow type, or of the text of a SQL type."""
    if isinstance(hint, pa.DataType):
        return hint
    if isinstance(hint, str):
        from sqlengine.sql.type_names import type_from_text

        return type_from_text(hint)
    if hint in _TYPES:
        return _TYPES[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kept = [a for a in inner if a is not type(None)]
        if len(kept) == 1:
            return arrow_type(kept[0])
    if origin in (list, typing.Sequence) and inner:
        return pa.list_(arrow_type(inner[0]))
    if origin is dict and len(inner) == 2:
        return pa.map_(arrow_type(inner[0]), arrow_type(inner[1]))
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return pa.struct([(f"f{i + 1}", arrow_type(a)) for i, a in enumerate(inner)])
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        return pa.struct([(name, arrow_type(t)) for name, t in typing.get_type_hints(hint).items()])
    raise InterfaceError(
        f"no SQL type for the hint {hint!r}", hint="use int, float, str, bytes, bool, list[...], or an Arrow type"
    )
