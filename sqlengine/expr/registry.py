"""The functions of SQL: what each is called, which types it takes and gives, and what computes it.

Families in `functions/` register here when they are imported; nothing here knows them, except that a look-up first
imports the families. An entry's `infer` gets the argument expressions and gives the types the arguments are cast to and
the type of the result; it raises BindError (through `no_match`) when the arguments do not fit.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.errors import BindError, Location
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import AggregateCall, Call, Expr, Frame, SortKey, WindowCall
from sqlengine.settings import Settings
from sqlengine.types import sql_name

# Called with the arguments, and with the options too when the call has any.
Infer = Callable[..., tuple[Sequence[pa.DataType], pa.DataType]]
Run = Callable[[Call, list[Any], int, Settings], Any]


@dataclass(frozen=True)
class ScalarFunction:
    """`run(call, arguments, rows, settings)`: arguments are arrays or scalars; gives either.

    `strict`: NULL for a NULL argument (a constant NULL never reaches `run`). `main`: the argument that is made an array
    when all are constants, so that `run` never meets constants only. `user`: registered by a user.
    """

    name: str
    infer: Infer
    run: Run
    category: str
    doc: str
    aliases: tuple[str, ...] = ()
    volatile: bool = False
    strict: bool = True
    main: int = 0
    user: bool = False


@dataclass(frozen=True)
class AggregateFunction:
    """`strategy`: `state` (a small mergeable state) or `ordered` (needs all values of a group)."""

    name: str
    infer: Infer
    strategy: str
    doc: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class WindowFunction:
    """A ranking or navigation function; aggregates over windows are `AggregateFunction`s."""

    name: str
    infer: Infer
    doc: str


@dataclass(frozen=True)
class TableFunction:
    """`columns(args, options)` names and types its columns; `produce(args, options, settings)` yields the batches."""

    name: str
    columns: Callable[[tuple[Any, ...], dict[str, Any]], list[tuple[str, pa.DataType]]]
    produce: Callable[[tuple[Any, ...], dict[str, Any], Settings], Iterator[pa.RecordBatch]]
    doc: str


@dataclass(frozen=True)
class LiftedFunction:
    """A function that runs as an operator of its own. `bind(arguments, named, settings)` gives its call: `named` are
    the constants given as `name => value`. Raises InterfaceError when they will not do."""

    name: str
    bind: Callable[[list[Expr], dict[str, Any], Settings], Expr]
    category: str
    doc: str
    aliases: tuple[str, ...] = ()


# `group_aggregate(call, columns, groups, count)`: a call for each of `count` groups of rows that stand side by side;
# set by the operators that know how, used by functions of lists.
GroupAggregate = Callable[[AggregateCall, Sequence[pa.Array], pa.Array, int], pa.Array]
_group_aggregate: list[GroupAggregate] = []


def register_group_aggregate(function: GroupAggregate) -> None:
    _group_aggregate[:] = [function]


def group_aggregate(call: AggregateCall, columns: Sequence[pa.Array], groups: pa.Array, count: int) -> pa.Array:
    """The aggregate call for groups of rows: `groups` (int32, ascending) numbers the group of each row of `columns`."""
    if not _group_aggregate:
        importlib.import_module("sqlengine.operators.ordered_values")
    return _group_aggregate[0](call, columns, groups, count)


_scalars: dict[str, ScalarFunction] = {}
_aggregates: dict[str, AggregateFunction] = {}
_windows: dict[str, WindowFunction] = {}
_tables: dict[str, TableFunction] = {}
_lifted: dict[str, LiftedFunction] = {}


def scalar(
    name: str,
    infer: Infer,
    doc: str,
    *,
    category: str,
    aliases: tuple[str, ...] = (),
    volatile: bool = False,
    strict: bool = True,
    main: int = 0,
) -> Callable[[Run], Run]:
    """Register the decorated function as what computes a scalar function."""

    def register(run: Run) -> Run:
        entry = ScalarFunction(name, infer, run, category, doc, aliases, volatile, strict, main)
        for known in (name, *aliases):
            _scalars[known] = entry
        return run

    return register


def register_scalar(entry: ScalarFunction) -> None:
    """Register an entry made by hand (a user's function); replaces one of the same name."""
    for known in (entry.name, *entry.aliases):
        _scalars[known] = entry


def aggregate(entry: AggregateFunction) -> None:
    for known in (entry.name, *entry.aliases):
        _aggregates[known] = entry


def window(entry: WindowFunction) -> None:
    _windows[entry.name] = entry


def lifted_function(entry: LiftedFunction) -> None:
    for known in (entry.name, *entry.aliases):
        _lifted[known] = entry


def table_function(entry: TableFunction) -> None:
    _tables[entry.name] = entry


def _load() -> None:
    importlib.import_module("sqlengine.functions")


def find_scalar(name: str) -> ScalarFunction | None:
    entry = _scalars.get(name)
    if entry is not None:
        return entry
    _load()
    return _scalars.get(name.lower())


def find_aggregate(name: str) -> AggregateFunction | None:
    _load()
    return _aggregates.get(name.lower())


def find_window(name: str) -> WindowFunction | None:
    _load()
    return _windows.get(name.lower())


def find_table_function(name: str) -> TableFunction | None:
    _load()
    return _tables.get(name.lower())


def find_lifted(name: str) -> LiftedFunction | None:
    _load()
    return _lifted.get(name.lower())


def all_functions() -> list[ScalarFunction | AggregateFunction | WindowFunction | TableFunction | LiftedFunction]:
    """Every entry once, by name."""
    _load()
    entries: list[ScalarFunction | AggregateFunction | WindowFunction | TableFunction | LiftedFunction]
    entries = [*_scalars.values(), *_aggregates.values(), *_windows.values(), *_tables.values(), *_lifted.values()]
    return sorted({id(e): e for e in entries}.values(), key=lambda e: e.name)


def function_names() -> list[str]:
    """All names that a call may use, sorted."""
    _load()
    return sorted({*_scalars, *_aggregates, *_windows, *_tables, *_lifted})


def bind_call(
    name: str,
    args: Sequence[Expr],
    *,
    options: tuple[tuple[str, Any], ...] = (),
    location: Location | None = None,
    settings: Settings | None = None,
) -> Expr:
    """A typed call with casts around the arguments that need them."""
    entry = find_scalar(name)
    if entry is None:
        raise _unknown(name, location)
    types, result = _inferred(entry.name, entry.infer, args, location, options)
    cast = tuple(cast_to(arg, type_) for arg, type_ in zip(args, types, strict=True))
    return Call(result, entry.name, cast, options, location)


def bind_aggregate(
    name: str,
    args: Sequence[Expr],
    *,
    distinct: bool = False,
    filter: Expr | None = None,
    order_by: tuple[SortKey, ...] = (),
    options: tuple[tuple[str, Any], ...] = (),
    location: Location | None = None,
) -> AggregateCall:
    entry = find_aggregate(name)
    if entry is None:
        raise _unknown(name, location)
    types, result = _inferred(entry.name, entry.infer, args, location)
    cast = tuple(cast_to(arg, type_) for arg, type_ in zip(args, types, strict=True))
    return AggregateCall(result, entry.name, cast, distinct, filter, order_by, options)


def bind_window(
    name: str,
    args: Sequence[Expr],
    *,
    partition_by: tuple[Expr, ...] = (),
    order_by: tuple[SortKey, ...] = (),
    frame: Frame | None = None,
    distinct: bool = False,
    filter: Expr | None = None,
    ignore_nulls: bool = False,
    arg_order: tuple[SortKey, ...] = (),
    options: tuple[tuple[str, Any], ...] = (),
    location: Location | None = None,
) -> WindowCall:
    """A typed window call: a ranking or navigation function, or an aggregate over the frame."""
    ranking = find_window(name)
    entry = ranking or find_aggregate(name)
    if entry is None and find_scalar(name) is not None:
        raise BindError(
            f"{name.lower()}() is neither a window function nor an aggregate", code="not_a_window_function",
            hint="leave OVER (...) out", location=location,
        )  # fmt: skip
    if entry is None:
        raise _unknown(name, location)
    types, result = _inferred(entry.name, entry.infer, args, location)
    cast = tuple(cast_to(arg, type_) for arg, type_ in zip(args, types, strict=True))
    return WindowCall(
        result, entry.name, cast, partition_by, order_by, frame or Frame(), ranking is None, distinct, filter,
        ignore_nulls, arg_order, options,
    )  # fmt: skip


def _unknown(name: str, location: Location | None) -> BindError:
    close = difflib.get_close_matches(name.lower(), function_names(), 3)
    hint = f'did you mean "{close[0]}"?' if close else None
    return BindError(f"function {name.lower()} does not exist", code="function_not_found", hint=hint, location=location)


def _inferred(
    name: str,
    infer: Infer,
    args: Sequence[Expr],
    location: Location | None,
    options: tuple[tuple[str, Any], ...] = (),
) -> tuple[Sequence[pa.DataType], pa.DataType]:
    try:
        return infer(args, dict(options)) if options else infer(args)
    except NoMatch as error:
        raise BindError(
            f"no {_shape(name, [sql_name(arg.type) for arg in args])}", code="no_matching_overload",
            hint=str(error) or None, location=location,
        ) from None  # fmt: skip
    except IndexError:  # an argument that is always there is not
        raise BindError(
            f"{name}() takes more than {len(args)} argument{'' if len(args) == 1 else 's'}",
            code="no_matching_overload", location=location,
        ) from None  # fmt: skip


# Functions that people write as operators.
_OPERATORS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "int_divide": "//", "modulo": "%", "negate": "-",
    "concat_operator": "||", "eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip


def _shape(name: str, types: Sequence[str]) -> str:
    """A call as people write it, with types for values: `operator VARCHAR + INTEGER`, `function upper(DATE)`."""
    sign = _OPERATORS.get(name)
    if sign is not None and len(types) == 2:
        return f"operator {types[0]} {sign} {types[1]}"
    if sign is not None and len(types) == 1:
        return f"operator {sign}{types[0]}"
    return f"function {name}({', '.join(types)})"


class NoMatch(Exception):
    """Raised by `infer`; its text becomes the hint."""
