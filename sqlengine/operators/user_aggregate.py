"""Aggregates that a user wrote: an object per group gets the values of its rows and then says its result.

Groups come one after the other (`SortedAggregate`), so one object is alive at a time however many groups there are, and
its rows need not be held: a group in pages is folded page by page. Whatever the object keeps for itself is the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa

from sqlengine.errors import Error, UDFError
from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.runtime.udf.calls import trimmed_traceback
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.runtime.udf.values import WrongValue, from_python, short, to_python

log = logging.getLogger("sqlengine")


def user_function(spec: AggregateSpec) -> UserFunction | None:
    """The user's function that a call is of."""
    found = dict(spec.options).get("function")
    return found if isinstance(found, UserFunction) else None


def folded(function: UserFunction, pieces: Iterable[Sequence[pa.Array]]) -> Any:
    """The result of one group whose arguments come in pieces; a failure is NULL or an error, as `on_error` says."""
    try:
        state = function.make()()
        update = state.update
        skip = function.options.nulls == "skip"
        for piece in pieces:
            for row in zip(*map(to_python, piece), strict=True):
                if not (skip and None in row):
                    update(*row)
        return state.finish()
    except (Error, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        message = f"{function.name}() of a group: {type(error).__name__}: {short(str(error), 200)}"
        if function.options.on_error == "raise":
            raise UDFError(f"{message}\n{trimmed_traceback(error)}", code="udf_raised") from error
        if function.options.on_error == "log":
            log.warning("%s; NULL instead", message)
        return None


def user_values(function: UserFunction, values: Sequence[pa.Array], offsets: pa.Array) -> pa.Array:
    """The results of many groups; group i has the rows from `offsets[i]` up to `offsets[i + 1]`."""
    ends = offsets.to_pylist()
    results = [
        folded(function, [[column.slice(start, stop - start) for column in values]]) for start, stop in pairwise(ends)
    ]
    return result_array(function, results)


def result_array(function: UserFunction, results: list[Any]) -> pa.Array:
    try:
        return from_python(results, function.returns, function.name)
    except WrongValue as wrong:
        raise UDFError(f"{function.name}() of a group: {wrong}", code="udf_type") from None
