"""Running one task: open the streams of a tree of operators, measured. What every backend
shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from sqlengine.operators.base import Operator
from sqlengine.operators.exchange import Exchange
from sqlengine.runtime.metrics import OperatorMetrics
from sqlengine.runtime.task import Task

Batches = Iterator[pa.RecordBatch]


@dataclass
class Profile:
    """What was run and measured: the roots of the stages in the order they ran, the metrics of each operator, and what
    each finished stage left: its bytes, and those of them that went to disk."""

    stages: list[tuple[str, Operator]] = field(default_factory=list)
    metrics: dict[int, OperatorMetrics] = field(default_factory=dict)
    outputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # of a cluster: what ran where

    def add(self, operator: Operator, measured: OperatorMetrics) -> None:
        total = self.metrics.setdefault(id(operator), OperatorMetrics())
        total.rows += measured.rows
        total.batches += measured.batches
        total.bytes += measured.bytes
        total.seconds += measured.seconds
        total.peak += measured.peak
        total.spilled_bytes += measured.spilled_bytes
        total.spill_files += measured.spill_files


def open_stream(operator: Operator, task: Task, open_exchange: Callable[[Exchange, Task], Batches]) -> Batches:
    """The running stream of an operator, with everything below it."""
    if isinstance(operator, Exchange):
        return open_exchange(operator, task)
    inputs = [open_stream(child, task, open_exchange) for child in operator.inputs]
    return metered(operator, operator.run(inputs, task), task)


def metered(operator: Operator, stream: Batches, task: Task) -> Batches:
    """Pass the batches on, counting them and the time spent below (inputs included), and looking for a cancellation."""
    metrics = task.metrics(operator)
    check = task.cancel.check
    clock = time.perf_counter
    try:
        while True:
            check()
            start = clock()
            try:
                batch = next(stream)
            except StopIteration:
                return
            finally:
                metrics.seconds += clock() - start
            metrics.rows += batch.num_rows
            metrics.batches += 1
            metrics.bytes += batch.nbytes
            yield batch
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()
