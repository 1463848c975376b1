"""What a query has to do, for its progress: the scans of its plan, as pieces of work with splits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from sqlengine.operators.base import Operator
from sqlengine.operators.call_udf import CallUdf
from sqlengine.operators.exchange import HeldInput, StageInput
from sqlengine.operators.external_sort import ExternalSort
from sqlengine.operators.fetch_urls import FetchUrls
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.physical.estimates import estimate
from sqlengine.runtime.progress import QueryProgress
from sqlengine.runtime.task import StageState
from sqlengine.tree import walk


def new_progress() -> QueryProgress:
    return QueryProgress(
        sources=_is_source,
        fetches=lambda operator: isinstance(operator, FetchUrls),
        calls=lambda operator: isinstance(operator, CallUdf),
        key=_by_rows,
    )


def _is_source(operator: object) -> bool:
    return isinstance(operator, Operator) and not operator.inputs and not isinstance(operator, StageInput | HeldInput)


def _by_rows(operator: object) -> Hashable:
    """Sorts are known by what they give, as they are planned again when sizes are known."""
    match operator:
        case ExternalSort():
            return "sort", tuple(operator.schema.names)
        case ScanSplits() | StageInput() | HeldInput():
            return None
    return id(operator) if _is_source(operator) else None


def expect_work(progress: QueryProgress, root: Operator) -> None:
    """All sources and sorts of a plan. A scan is known by its source, as adding a filter makes another scan of it."""
    for operator in walk(root):
        if isinstance(operator, ScanSplits):
            weight = operator.source.stats([name for name, _ in operator.columns]).bytes
            progress.expect(("scan", id(operator.source)), weight)
        elif (key := _by_rows(operator)) is not None:
            stats = estimate(operator)
            if stats.origin != "default":  # else nobody knows how many there will be
                progress.expect(key, stats.bytes)
                progress.expect_parts(key, stats.rows)


def watch_splits(state: StageState, progress: QueryProgress) -> StageState:
    """The same state, which tells the progress of its queues of splits."""

    def key(operator: object) -> tuple[str, int]:
        return "scan", id(getattr(operator, "source", None))

    def on_items(operator: object, items: Iterable[Any]) -> None:
        progress.expect_parts(key(operator), sum(map(_size, items)))

    state.on_items = on_items
    state.on_done = lambda operator, item: progress.part_done(key(operator), _size(item))
    return state


def _size(split: Any) -> float:
    return float(getattr(split, "bytes", None) or 1)
