"""Keep the rows for which a predicate is true.

Streaming: one batch in, at most one batch out, order kept. Memory: two batches. NULL counts as false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlengine.expr.evaluate import predicate_mask
from sqlengine.expr.nodes import Expr
from sqlengine.expr.selectivity import filtered
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Batches, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class FilterRows(Operator):
    predicate: Expr

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        for batch in inputs[0]:
            kept = batch.filter(predicate_mask(self.predicate, batch, task.settings))
            if kept.num_rows:
                yield kept

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings)

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        return filtered(inputs[0], [self.predicate])
