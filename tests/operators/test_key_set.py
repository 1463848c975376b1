"""Key sets: bits that become a Bloom filter, memory that is refused, sets that are not worth testing."""

from __future__ import annotations

import datetime
import pickle
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sqlengine.runtime.key_set import KeySet
from sqlengine.runtime.memory import MemoryPool, Reservation

DAY = datetime.date(2024, 1, 1)
KINDS: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "integers": (pa.int64(), [3, 9, None, 70], [4, 71, 2**40, None]),
    "wide integers": (pa.int64(), [3, 2**60, None, -(2**60)], [5, 2**59 + 1, None]),
    "dates": (pa.date32(), [DAY, None], [DAY + datetime.timedelta(1), None]),
    "timestamps": (pa.timestamp("us"), [datetime.datetime(2024, 1, 1)], [datetime.datetime(1970, 1, 1), None]),
    "text": (pa.string(), ["a", "bc", None, ""], ["b", None, "zz"]),
    "decimals": (pa.decimal128(12, 2), [Decimal("1.50"), None], [Decimal("1.51"), None]),
    "doubles": (pa.float64(), [1.5, float("nan")], [2.5, None]),
}


def reservation(capacity: int = 1 << 24) -> Reservation:
    return MemoryPool(capacity).admit("test", 0).reservation("KeySummary", 0, False)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_is_found(kind: str) -> None:
    type_, inside, outside = KINDS[kind]
    memory = reservation()
    keys = KeySet(type_, 10, 1 << 20, memory)
    keys.add(pa.array(inside[:1], type_))
    keys.add(pa.array(inside[1:], type_))
    assert keys.finish(None)
    assert memory.size == keys.nbytes > 0
    for held in (keys, pickle.loads(pickle.dumps(keys))):
        assert held.contains(pa.array(inside, type_)).to_pylist() == [v is not None for v in inside]
        assert held.contains(pa.array(outside, type_)).to_pylist() == [False] * len(outside)
        coded = pa.array([*inside, *outside], type_).dictionary_encode()
        assert held.contains(coded).to_pylist() == [v is not None for v in inside] + [False] * len(outside)


def test_no_memory_no_set() -> None:
    memory = reservation(1 << 20)
    assert memory.try_grow((1 << 20) - 100)
    keys = KeySet(pa.int64(), 10, 1 << 20, memory)
    keys.add(pa.array([1, 100_000]))
    assert not keys.finish(None)
    assert memory.size == (1 << 20) - 100


def test_a_set_of_all_keys_drops_little() -> None:
    keys = KeySet(pa.int64(), 100, 1 << 20, reservation())
    keys.add(pa.array(range(95)))
    assert keys.finish(100.0) and not keys.drops(None) and not keys.drops(100.0) and keys.drops(10_000.0)


def test_a_full_filter_is_given_up() -> None:
    memory = reservation()
    texts = KeySet(pa.string(), 100, 1 << 12, memory)
    texts.add(pa.array([str(i) for i in range(50_000)]))
    assert not texts.finish(None) and memory.size == 0


def test_ranges_without_keys() -> None:
    keys = KeySet(pa.date32(), 10, 1 << 20, reservation())
    keys.add(pa.array([DAY, DAY + datetime.timedelta(400)]))
    assert keys.finish(None)
    assert keys.any_between(DAY, DAY) and keys.any_between(DAY, DAY + datetime.timedelta(500))
    assert not keys.any_between(DAY + datetime.timedelta(1), DAY + datetime.timedelta(399))
