"""TABLESAMPLE: each row with a probability (bernoulli), each batch with one (system), or a fixed number of rows.

Streaming for shares. A fixed number is reservoir sampling (Li, "Reservoir-sampling algorithms of time complexity
O(n(1 + log(N/n)))", 1994, algorithm L) over row numbers: a row that enters the reservoir replaces a random one. Memory:
two batches, and the reservoir, which must fit the budget.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import SINGLE, Batches, Distribution, MemoryNeed, Operator
from sqlengine.runtime.task import Task
from sqlengine.settings import Settings


@dataclass(frozen=True)
class SampleRows(Operator):
    fraction: float | None
    rows: int | None
    method: str
    seed: int | None

    def run(self, inputs: Sequence[Batches], task: Task) -> Batches:
        chance = random.Random(self.seed)
        if self.rows is not None:
            yield from self._reservoir(inputs[0], self.rows, chance, task)
            return
        assert self.fraction is not None
        for batch in inputs[0]:
            if self.method == "system":
                if chance.random() < self.fraction:
                    yield batch
                continue
            chosen = _skips(batch.num_rows, self.fraction, chance)
            if chosen:
                yield batch.take(pa.array(chosen, pa.int32()))

    def _reservoir(self, stream: Batches, size: int, chance: random.Random, task: Task) -> Batches:
        if size == 0:
            return
        reservation = task.reservation(self)
        kept: list[pa.RecordBatch] = []  # one row each
        weight = math.exp(math.log(1.0 - chance.random()) / size)
        next_row = seen = 0
        for batch in stream:
            row = 0
            while row < batch.num_rows:
                if len(kept) < size:
                    one = batch.take(pa.array([row], pa.int32()))
                    reservation.grow(one.get_total_buffer_size())
                    kept.append(one)
                    if len(kept) == size:
                        next_row = seen + row + _jump(weight, chance)
                    row += 1
                    continue
                if next_row >= seen + batch.num_rows:
                    break
                row = next_row - seen
                kept[chance.randrange(size)] = batch.take(pa.array([row], pa.int32()))
                weight *= math.exp(math.log(1.0 - chance.random()) / size)
                next_row += _jump(weight, chance)
                row += 1
            seen += batch.num_rows
        if kept:
            yield from pa.Table.from_batches(kept).combine_chunks().to_batches(task.settings.batch_rows)

    def memory(self, inputs: Sequence[Stats], settings: Settings) -> MemoryNeed:
        return MemoryNeed.streaming(settings, batches=3)

    def needs(self) -> Sequence[Distribution]:
        return [SINGLE]

    def stats(self, inputs: Sequence[Stats]) -> Stats:
        share = self.fraction if self.fraction is not None else 0.1
        return replace(inputs[0], rows=inputs[0].rows * share, bytes=inputs[0].bytes * share)


def _jump(weight: float, chance: random.Random) -> int:
    return int(math.log(1.0 - chance.random()) / math.log1p(-weight)) + 1


def _skips(rows: int, fraction: float, chance: random.Random) -> list[int]:
    """Row numbers chosen independently with probability `fraction`, by geometric jumps."""
    if fraction >= 1:
        return list(range(rows))
    if fraction <= 0:
        return []
    chosen = []
    row = _jump(fraction, chance) - 1
    while row < rows:
        chosen.append(row)
        row += _jump(fraction, chance)
    return chosen
