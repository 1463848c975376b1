"""Call a user's generator for each input row: the row repeated for everything the generator yields.

1. The generator of a row is asked for one value after the other; values and the place of their row are gathered.
2. When they, and the columns that go with them, have reached `batch_bytes` or `batch_rows`, they leave as a batch; the
   generator of a row may go on in the next one.
3. A row for which nothing was yielded vanishes, or with `outer` stays once, with NULL.

Held: the input batch, and one output batch as Python values and as columns. Worst case: one value, held whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from sqlengine.errors import Error, UDFError
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime.row_bytes import row_bytes
from sqlengine.runtime.task import Task
from sqlengine.runtime.udf.calls import trimmed_traceback
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.runtime.udf.values import WrongValue, from_python, short, size_of, to_python
from sqlengine.settings import Settings

log = logging.getLogger("sqlengine")


@dataclass(frozen=True)
class GenerateRows(Operator):
    """`args`: keys of the arguments; `output`: key of what is yielded; `outer` and `ordinality` as for UNNEST."""

    function: UserFunction
    args: tuple[str, ...]
    output: str
    outer: bool = False
    ordinality: str | None = None

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        target = self.function.make()
        made = _Made(self, task)
        seen = 0
        for batch in inputs[0]:
            columns = [to_python(batch.column(key)) for key in self.args]
            arguments = zip(*columns, strict=True) if columns else iter([()] * batch.num_rows)
            widths = _widths(batch.select([name for name in self.schema.names if name in batch.schema.names]))
            for place, row in enumerate(arguments):
                count = 0
                for value in self._values(target, row, seen + place):
                    count += 1
                    made.add(place, value, count, widths[place])
                    if made.full:
                        yield made.batch(batch)
                if not count and self.outer:
                    made.add(place, None, None, widths[place])
            if made.places:
                yield made.batch(batch)
            seen += batch.num_rows

    def _values(self, target: Any, row: tuple[Any, ...], number: int) -> Iterator[Any]:
        """What is yielded for a row; an error ends the row, or the query, as `on_error` says."""
        options = self.function.options
        if options.nulls == "skip" and None in row:
            return
        values: Any = None
        try:
            values = iter(target(*row))
            for value in values:
                yield _as_fields(value, self.function.returns)
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except Exception as error:
            given = ", ".join(map(short, row))
            text = short(str(error), 200)
            message = f"{self.function.name}({given}) at row {number + 1} of its input: {type(error).__name__}: {text}"
            if options.on_error == "raise":
                if isinstance(error, Error):
                    raise
                raise UDFError(f"{message}\n{trimmed_traceback(error)}", code="udf_raised") from error
            if options.on_error == "log":
                log.warning("%s; its further rows are left out", message)
        finally:
            with suppress(AttributeError):
                values.close()

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        floor = 4 * settings.batch_bytes + (self.function.options.memory or 0)
        return MemoryNeed(floor, floor, False, f"a batch of what {self.function.name}() yields")

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return replace(inputs[0], rows=inputs[0].rows * 5, bytes=inputs[0].bytes * 5, origin="default")

    def describe(self) -> str:
        return f"{self.output} = {self.function.name}({', '.join(self.args)})" + (" outer" if self.outer else "")


class _Made:
    """The output batch that is being gathered."""

    def __init__(self, operator: GenerateRows, task: Task) -> None:
        settings, options = task.settings, operator.function.options
        self._operator = operator
        self._most_bytes = min(options.batch_bytes or settings.batch_bytes, settings.batch_bytes)
        self._most_rows = min(options.batch_rows or settings.batch_rows, settings.batch_rows)
        self._clear()

    def _clear(self) -> None:
        self.places: list[int] = []
        self._values: list[Any] = []
        self._numbers: list[int | None] = []
        self._bytes = 0

    def add(self, place: int, value: Any, number: int | None, width: int) -> None:
        self.places.append(place)
        self._values.append(value)
        self._numbers.append(number)
        self._bytes += width + size_of(value)

    @property
    def full(self) -> bool:
        return self._bytes >= self._most_bytes or len(self.places) >= self._most_rows

    def batch(self, source: pa.RecordBatch) -> pa.RecordBatch:
        operator = self._operator
        try:
            values = from_python(self._values, operator.function.returns, operator.function.name)
        except WrongValue as wrong:
            raise UDFError(f"{operator.function.name}(): {wrong}", code="udf_type") from None
        places = pa.array(self.places, pa.int32())
        numbers = pa.array(self._numbers, pa.int64())
        self._clear()
        arrays = []
        for field in operator.schema:
            if field.name == operator.output:
                arrays.append(values)
            elif field.name == operator.ordinality:
                arrays.append(numbers)
            else:
                arrays.append(source.column(field.name).take(places))
        return pa.RecordBatch.from_arrays(arrays, schema=operator.schema)


def _as_fields(value: Any, type_: pa.DataType) -> Any:
    """A tuple that stands for several columns, by their names."""
    if pa.types.is_struct(type_) and isinstance(value, tuple | list):
        return dict(zip([f.name for f in type_], value, strict=True))
    return value


def _widths(batch: pa.RecordBatch) -> list[int]:
    """Bytes that each row of the passed columns adds to every row made of it."""
    fixed, varying = row_bytes(batch)
    if varying is None:
        return [fixed] * batch.num_rows
    return [fixed + int(n) for n in varying.to_pylist()]
