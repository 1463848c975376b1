"""UNION ALL: the rows of the first input, then those of the second, and so on.

Streaming. Memory: one batch. Column i of the output is column i of each input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlengine.expr.statistics import ColumnStats, Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class ConcatStreams(Operator):
    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        for number, stream in enumerate(inputs):
            # The order tags of an input count within this input only: (number,), or (number, tag) once it sets one.
            # An input without rows leaves one too, because what comes above may give rows at the end.
            tag: tuple[int, ...] = (number,)
            task.position = tag
            for batch in stream:
                tag = _tagged(number, tag, task)
                if self.schema.names:
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
                else:
                    yield batch
            _tagged(number, tag, task)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=1)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE for _ in self.inputs]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        columns = {}
        for place, key in enumerate(self.schema.names):
            known = [
                stats.columns.get(child.schema.names[place]) for child, stats in zip(self.inputs, inputs, strict=True)
            ]
            distinct = [facts.distinct for facts in known if facts is not None and facts.distinct is not None]
            widths = [facts.width for facts in known if facts is not None and facts.width is not None]
            columns[key] = ColumnStats(
                distinct=sum(distinct) if len(distinct) == len(inputs) else None,
                width=max(widths) if len(widths) == len(inputs) else None,
            )
        return Stats(sum(s.rows for s in inputs), sum(s.bytes for s in inputs), columns, inputs[0].origin)


def _tagged(number: int, tag: tuple[int, ...], task: Task) -> tuple[int, ...]:
    """The tag of this union for what its input has set since `tag` was set here."""
    if task.position is not tag:
        inner = task.position
        tag = (number, *(inner if isinstance(inner, tuple) else (inner,)))
        task.position = tag
    return tag
