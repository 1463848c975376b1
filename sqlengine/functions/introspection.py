"""The engine's own state as tables: memory, what was done about it, spill files. Of all sessions of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from sqlengine.expr.registry import TableFunction, table_function
from sqlengine.runtime.events import memory_events
from sqlengine.runtime.guard import live_guards
from sqlengine.runtime.process_watch import reconcile
from sqlengine.runtime.spill import open_spill_directories
from sqlengine.settings import Settings

Columns = list[tuple[str, pa.DataType]]

_MEMORY: Columns = [
    ("kind", pa.string()), ("task", pa.string()), ("operator", pa.string()), ("bytes", pa.int64()),
    ("floor", pa.int64()), ("spills", pa.bool_()),
]  # fmt: skip
_EVENTS: Columns = [
    ("number", pa.int64()), ("time", pa.timestamp("us", "UTC")), ("kind", pa.string()), ("owner", pa.string()),
    ("bytes", pa.int64()), ("text", pa.string()),
]  # fmt: skip
_FILES: Columns = [("path", pa.string()), ("owner", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64())]


def _memory() -> Iterator[tuple[Any, ...]]:
    """Rows whose bytes add up to what is resident now."""
    guards = live_guards()
    weight = min((guard.weight for guard in guards), default=0)
    reserved = sum(guard.pool.used for guard in guards)
    now = reconcile(reserved, weight)
    yield "baseline", None, "interpreter and libraries", min(weight, now.rss), None, False
    held = 0
    for guard in guards:
        for holder in guard.pool.holders():
            held += holder.bytes
            yield "operator", holder.task, holder.operator, holder.bytes, holder.floor, holder.spills
    yield "floors", None, "promised to running tasks, not in use", reserved - held, None, False
    rest = now.rss - weight - reserved
    # Less is resident than was reserved, or more than anybody knows of.
    yield ("unattributed" if rest >= 0 else "not resident"), None, None, rest, None, False


def _events() -> Iterator[tuple[Any, ...]]:
    for event in memory_events():
        yield event.number, int(event.time * 1_000_000), event.kind, event.owner, event.bytes, event.text


def _files() -> Iterator[tuple[Any, ...]]:
    for directory in open_spill_directories():
        for file in directory.listing():
            yield file.path, file.owner, file.rows, file.bytes


def _table(name: str, columns: Columns, rows: Callable[[], Iterator[tuple[Any, ...]]], doc: str) -> None:
    def produce(args: tuple[Any, ...], options: dict[str, Any], settings: Settings) -> Iterator[pa.RecordBatch]:
        found = list(zip(*rows(), strict=True)) or [()] * len(columns)
        arrays = [pa.array(values, type_) for values, (_, type_) in zip(found, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, [column for column, _ in columns])
        for start in range(0, batch.num_rows, settings.batch_rows):
            yield batch.slice(start, settings.batch_rows)

    table_function(TableFunction(name, lambda args, options: columns, produce, doc))


_table("sqlengine_memory", _MEMORY, _memory, "Who holds what of the resident memory; the bytes add up to it.")
_table("sqlengine_memory_events", _EVENTS, _events, "What was spilled, shrunk, slowed and released, oldest first.")
_table("sqlengine_spill_files", _FILES, _files, "The spill files there are now.")
