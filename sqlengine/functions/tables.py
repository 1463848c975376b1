"""Functions that give rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from sqlengine.errors import BindError
from sqlengine.expr.registry import TableFunction, table_function
from sqlengine.settings import Settings


def _columns(args: tuple[Any, ...], options: dict[str, Any]) -> list[tuple[str, pa.DataType]]:
    whole = all(value is None or (isinstance(value, int) and not isinstance(value, bool)) for value in args)
    if not whole or not 1 <= len(args) <= 3:
        raise BindError(
            "range and generate_series take one to three whole numbers: start, stop, step", code="no_matching_overload"
        )
    return [("range", pa.int64())]


def _numbers(inclusive: bool) -> Any:
    def produce(args: tuple[Any, ...], options: dict[str, Any], settings: Settings) -> Iterator[pa.RecordBatch]:
        start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]
        if any(a is None for a in args) or step == 0:
            return
        stop += (1 if step > 0 else -1) if inclusive else 0
        numbers = range(start, stop, step)
        size = max(1, min(settings.batch_rows, (settings.batch_bytes or 1 << 20) // 8))
        for at in range(0, len(numbers), size):
            yield pa.RecordBatch.from_arrays([pa.array(numbers[at : at + size], pa.int64())], ["range"])

    return produce


table_function(TableFunction("range", _columns, _numbers(False), "Whole numbers from start up to before stop."))
table_function(
    TableFunction(
        "generate_series",
        lambda args, options: [("generate_series", pa.int64())],
        _numbers(True),
        "Whole numbers from start to stop, both included.",
    )
)
