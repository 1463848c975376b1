"""The rows of a table function with constant arguments: `range`, `generate_series`, the engine's own tables.

Source operator, one task. Memory: one batch; the function makes its rows batch by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.expr.registry import find_table_function
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ProduceRows(Operator):
    name: str
    args: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        function = find_table_function(self.name)
        assert function is not None
        for batch in function.produce(self.args, dict(self.options), task.settings):
            task.cancel.check()
            if batch.num_rows:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings)

    def gives(self, inputs: Sequence[Distribution]) -> Distribution:
        return SINGLE

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return Stats(1000.0, 8000.0 * max(1, len(self.schema)))

    def describe(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"
