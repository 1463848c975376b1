"""The range of the join keys of a build side, gathered while its stage runs: what a dynamic filter is made of."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.operators.exchange import KeyRange

_FEW_VALUES = 1000


class KeySummary:
    """Smallest, largest and (while they are few) all values of some columns, over the batches of several tasks."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._ranges: dict[str, tuple[Any, Any]] = {}
        self._values: dict[str, set[Any] | None] = {key: set() for key in keys}

    def add(self, batch: pa.RecordBatch) -> None:
        for key in self._keys:
            column = batch.column(key)
            if not _ordered(column.type):
                self._values[key] = None
                continue
            ends = pc.min_max(column)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            few = self._values[key]
            unique = None
            if few is not None and (batch.num_rows <= 4 * _FEW_VALUES):
                unique = set(pc.unique(column.drop_null()).to_pylist())
            with self._lock:
                if low is not None:
                    old = self._ranges.get(key)
                    self._ranges[key] = (low, high) if old is None else (min(low, old[0]), max(high, old[1]))
                few = self._values[key]
                if few is None or unique is None or len(few) + len(unique) > _FEW_VALUES:
                    self._values[key] = None
                else:
                    few |= unique

    def freeze(self) -> Mapping[str, KeyRange]:
        """Columns without an order that files can be pruned by are left out."""
        result = {}
        for key in self._keys:
            values = self._values[key]
            if key in self._ranges:
                low, high = self._ranges[key]
                result[key] = KeyRange(low, high, None if values is None else frozenset(values))
            elif values is not None:
                result[key] = KeyRange(None, None, frozenset())
        return result


def _ordered(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(
        t.is_integer(type_) or t.is_date(type_) or t.is_timestamp(type_) or t.is_string(type_) or t.is_decimal(type_)
    )
