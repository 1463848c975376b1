"""What is learnt of the join keys of a build side while its stage runs: what a dynamic filter is made of."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.statistics import Stats
from sqlengine.operators.exchange import KeyRange
from sqlengine.runtime.key_set import KeySet
from sqlengine.runtime.memory import Reservation

_FEW_VALUES = 1000
_LARGEST_SET = 8 << 20
_SET_SHARE = 64  # of what operators share, the most that one set may take


class KeySummary:
    """Of some columns of a stage's output: smallest and largest value, all values while they are few, a set to test
    against. `expected`: the estimate of that output; `capacity`: what operators share, in bytes."""

    def __init__(
        self, keys: tuple[str, ...], schema: pa.Schema, expected: Stats, capacity: int, memory: Reservation
    ) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._ranges: dict[str, tuple[Any, Any]] = {}
        self._values: dict[str, set[Any] | None] = {key: set() for key in keys}
        self._beyond: set[str] = set()  # columns with a date that Python has no value for: no range, no list of values
        most = min(_LARGEST_SET, capacity // _SET_SHARE)
        types = {key: schema.field(key).type for key in keys}
        self._sets = {key: KeySet(t, expected.rows, most, memory) for key, t in types.items() if _flat(t)}
        self._expected = expected

    def add(self, batch: pa.RecordBatch) -> None:
        for key in self._keys:
            column = batch.column(key)
            if key in self._sets:
                self._sets[key].add(column)
            if not _ordered(column.type):
                self._values[key] = None
                continue
            ends = pc.min_max(column)
            few = self._values[key]
            unique = None
            try:
                low, high = ends["min"].as_py(), ends["max"].as_py()
                if few is not None and (batch.num_rows <= 4 * _FEW_VALUES):
                    unique = set(pc.unique(column.drop_null()).to_pylist())
            except (OverflowError, ValueError):
                with self._lock:
                    self._beyond.add(key)
                continue
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
        """Columns of which nothing is known that drops rows are left out."""
        result = {}
        for key in self._keys:
            values, (low, high) = self._values[key], self._ranges.get(key, (None, None))
            if key in self._beyond:
                values = low = high = None
            facts = self._expected.columns.get(key)
            members = self._sets.get(key)
            if members is not None and not members.finish(None if facts is None else facts.domain):
                members = None
            if low is not None or values is not None or members is not None:
                result[key] = KeyRange(low, high, None if values is None else frozenset(values), members)
        return result

    def give_up(self) -> int:
        """Free the sets, which are a help and not a need; bytes freed."""
        return sum(members.give_up() for members in self._sets.values())


def _flat(type_: pa.DataType) -> bool:
    return not pa.types.is_nested(type_) and not pa.types.is_null(type_)


def _ordered(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(
        t.is_integer(type_) or t.is_date(type_) or t.is_timestamp(type_) or t.is_string(type_) or t.is_decimal(type_)
    )
