"""One call of a user function on one batch of arguments, in whatever process this is.

The result of a call is an `Outcome`: the values of the first rows (a row function stops as soon as it has made enough
bytes, so `done` may be fewer rows than were given), or which row failed and why. Exceptions of the user's code become
data here, so that a worker process can send them.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from sqlengine.errors import Error, Interrupted
from sqlengine.runtime.udf.function import ARROW, UserFunction
from sqlengine.runtime.udf.values import (
    RowFailed,
    WrongValue,
    from_numbers,
    from_python,
    is_wide,
    number_format,
    short,
    size_of,
    to_python,
    to_values,
)

log = logging.getLogger("sqlengine")
_ASYNC_IN_FLIGHT = 64


@dataclass(frozen=True)
class Failure:
    """A failed call. `row`: the guilty row of the batch, None when only the whole batch is known to fail.
    `error`: the exception itself where it could be kept."""

    kind: str  # raised | type | length | timeout | crash | memory
    message: str
    row: int | None = None
    trace: str = ""
    error: BaseException | None = None
    after: pa.Array | None = None  # values of the rows before `row`


@dataclass(frozen=True)
class Outcome:
    """Values of the first `done` rows of the batch, or a failure. `large`: the value of the last of these rows, apart
    from the others because it is large."""

    values: pa.Array | None
    done: int
    failure: Failure | None = None
    large: pa.Array | None = None


class Caller:
    """Calls one function in this thread; `target` is the user's callable (an instance of its own, for a class)."""

    def __init__(self, function: UserFunction) -> None:
        self._function = function
        self._target: Callable[..., Any] | None = None
        self._wide = is_wide(function.returns)
        # A value that is no number is asked for twice: not of a function that would then say something else.
        self._numbers = number_format(function.returns) if function.options.deterministic else None

    @property
    def target(self) -> Callable[..., Any]:
        if self._target is None:
            self._target = self._function.make()  # a class with state is made by its worker, at its first batch
        return self._target

    def call(
        self, args: Sequence[pa.Array], rows: int, most_bytes: int, progress: memoryview[int] | None = None
    ) -> Outcome:
        """Values for the rows, at most about `most_bytes` of them (one row may exceed it). A row function leaves the
        number of the row it is at in `progress`, for whoever finds this process dead."""
        try:
            if self._function.kind == ARROW:
                return self._arrow(args, rows)
            if self._function.is_async:
                return self._coroutines(args, rows, most_bytes)
            return self._rows(args, rows, most_bytes, progress)
        except (Interrupted, KeyboardInterrupt):
            raise
        except MemoryError as error:
            return Outcome(None, 0, Failure("memory", str(error) or "out of memory", error=error))
        except RowFailed as failed:
            failure = Failure("raised", str(failed), failed.row, error=failed.error, after=failed.before)
            return Outcome(None, failed.row, failure)
        except Exception as error:
            return Outcome(None, 0, _raised(error, None))

    def _arrow(self, args: Sequence[pa.Array], rows: int) -> Outcome:
        result = self.target(*args)
        wanted = self._function.returns
        if isinstance(result, pa.Scalar):
            result = pa.repeat(result, rows)
        if isinstance(result, pa.ChunkedArray):
            result = result.combine_chunks()
        if not isinstance(result, pa.Array):
            result = from_python(result if isinstance(result, list | tuple) else list(result), wanted, "")
        if len(result) != rows:
            return Outcome(None, 0, Failure("length", f"returned {len(result)} values for {rows} rows"))
        if result.type != wanted:
            try:
                result = result.cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return Outcome(None, 0, Failure("type", f"returned {result.type}, it is declared {wanted}"))
        return Outcome(result, rows)

    def _rows(self, args: Sequence[pa.Array], rows: int, most_bytes: int, progress: memoryview[int] | None) -> Outcome:
        target = self.target
        skip = self._function.options.nulls == "skip" and any(a.null_count for a in args)
        if not self._wide and not skip and args and progress is None:
            return self._narrow(target, [to_values(a) for a in args])
        columns = [to_python(a) for a in args]
        values: list[Any] = []
        made = 0
        append = values.append
        for number, row in enumerate(zip(*columns, strict=True) if columns else ((),) * rows):
            if skip and None in row:
                append(None)
                continue
            if progress is not None:
                progress[0] = number
            try:
                value = target(*row)
            except (Interrupted, KeyboardInterrupt, MemoryError):
                raise
            except Exception as error:
                before = self._made(values).values if values else None
                return Outcome(None, number, _raised(error, number, before))
            if self._wide and value is not None:
                size = len(value) if isinstance(value, str | bytes) else size_of(value)
                made += size
                if made >= most_bytes:
                    if size >= most_bytes and values:
                        # By itself, so that it need not be copied to stand beside the others.
                        return self._with_large(values, value)
                    append(value)
                    break
            append(value)
        return self._made(values)

    def _narrow(self, target: Callable[..., Any], columns: list[Sequence[Any]], made: Sequence[Any] = ()) -> Outcome:
        """Values of a fixed width, made in one go. Numbers go right into the memory of an array, until a value comes
        that is none (NULL, mostly): from there on by way of a list, behind what was `made`."""
        numbers = array.array(self._numbers) if self._numbers else None
        values: Any = list(made) if numbers is None else numbers
        try:
            values.extend(map(target, *columns))
        except (Interrupted, KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:  # the values before it are there
            done = len(values)
            if numbers is not None and not _raised_inside(error):
                self._numbers = None
                return self._narrow(target, [column[done:] for column in columns], list(numbers))
            before = self._made(list(values)).values if done else None
            return Outcome(None, done, _raised(error, done, before))
        if numbers is not None:
            return Outcome(from_numbers(numbers, self._function.returns), len(numbers))
        return self._made(values)

    def _with_large(self, values: list[Any], value: Any) -> Outcome:
        before = self._made(values)
        if before.failure is not None:
            return before
        last = self._made([value])
        if last.failure is not None:
            failure = replace(last.failure, row=len(values), after=before.values)
            return Outcome(None, len(values), failure)
        return Outcome(before.values, len(values) + 1, large=last.values)

    def _made(self, values: list[Any]) -> Outcome:
        try:
            return Outcome(from_python(values, self._function.returns, self._function.name), len(values))
        except WrongValue as error:
            before = from_python(values[: error.row], self._function.returns, self._function.name)
            return Outcome(None, error.row, Failure("type", str(error), error.row, after=before))

    def _coroutines(self, args: Sequence[pa.Array], rows: int, most_bytes: int) -> Outcome:
        """Coroutines of one batch run together, `concurrency` at a time; a batch ends early like one of rows does."""
        columns = [to_python(a) for a in args]
        skip = self._function.options.nulls == "skip"
        width = self._function.options.concurrency or _ASYNC_IN_FLIGHT
        every = list(zip(*columns, strict=True)) if columns else [()] * rows
        values: list[Any] = []

        async def one(row: tuple[Any, ...]) -> Any:
            return None if skip and None in row else await self.target(*row)

        async def run() -> Failure | None:
            made = 0
            for start in range(0, rows, width):
                part = await asyncio.gather(*map(one, every[start : start + width]), return_exceptions=True)
                for offset, value in enumerate(part):
                    if isinstance(value, BaseException):
                        if not isinstance(value, Exception):
                            raise value
                        return _raised(value, start + offset)
                    values.append(value)
                    made += size_of(value)
                if made >= most_bytes:
                    return None
            return None

        failure = asyncio.run(run())
        if failure is None:
            return self._made(values)
        before = self._made(values).values if values else None
        return Outcome(
            None,
            failure.row or 0,
            Failure("raised", failure.message, failure.row, failure.trace, failure.error, before),
        )


def _raised_inside(error: BaseException) -> bool:
    """Whether the function raised it, rather than what took its value."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None


def _raised(error: BaseException, row: int | None, before: pa.Array | None = None) -> Failure:
    if isinstance(error, Error):
        return Failure("raised", error.message, row, "", error, before)
    return Failure(
        "raised", f"{type(error).__name__}: {short(str(error), 200)}", row, trimmed_traceback(error), error, before
    )


def trimmed_traceback(error: BaseException) -> str:
    """The traceback, of the user's frames only."""
    here = os.path.dirname(os.path.abspath(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((here, "<frozen"))]
    frames = [f for f in frames if os.sep + "asyncio" + os.sep not in f.filename]
    if isinstance(error, Error):
        return str(error)
    return "".join(traceback.format_list(frames)) + "".join(traceback.format_exception_only(error)).rstrip()
