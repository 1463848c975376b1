"""Sets of join keys: exact bits within a range, and Bloom filters that never lose a key."""

from __future__ import annotations

import pickle
import random

import pyarrow as pa
import pytest

from sqlengine.kernels.hashing import hash_columns
from sqlengine.kernels.membership import KeyBits, KeyBloom


@pytest.mark.parametrize("type_", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.date32()])
@pytest.mark.parametrize("seed", range(5))
def test_bits_are_exact(type_: pa.DataType, seed: int) -> None:
    chance = random.Random(seed)
    low = 0 if pa.types.is_unsigned_integer(type_) else -100
    bits, held = KeyBits(1 << 20), set()
    for _ in range(6):
        values = [chance.choice([None, chance.randint(low, 127)]) for _ in range(chance.randint(0, 20))]
        known = [v for v in values if v is not None]
        if not known:
            continue
        column = pa.array([None, *values, 5], pa.int32()).cast(type_)[1:-1]
        assert bits.room_for(min(known), max(known)) >= 0
        bits.widen(min(known), max(known))
        bits.add(column)
        held |= set(known)
    asked = [None, *range(low, 128)]
    column = pa.array([7, *asked], pa.int32()).cast(type_)[1:]
    expected = [v in held for v in asked]
    assert bits.contains(column).to_pylist() == expected
    assert pickle.loads(pickle.dumps(bits)).contains(column).to_pylist() == expected
    assert bits.size() == len(held) and bits.values().to_pylist() == sorted(held)
    for a, b in ((-100, 127), (3, 9), (50, 50), (64, 127), (-100, -64)):
        assert bits.any_between(a, b) == any(a <= v <= b for v in held)


def test_a_range_that_is_too_wide_is_refused() -> None:
    bits = KeyBits(1000)
    assert bits.room_for(0, 998) > 0
    bits.widen(0, 998)
    assert bits.room_for(5, 2000) == -1
    assert bits.room_for(-(2**63), 2**63 - 1) == -1


_LEAST, _MOST = -(2**63), 2**63 - 1


@pytest.mark.parametrize("at", [-(2**61), -(2**40), 0, 2**40, 2**61 - 2000])
def test_numbers_near_both_ends_of_64_bits_are_asked_about(at: int) -> None:
    chance = random.Random(at)
    bits = KeyBits(1 << 12)
    held = {at + chance.randint(0, 1000) for _ in range(20)}
    assert not bits.any_between(_LEAST, _MOST)
    assert bits.room_for(min(held), max(held)) > 0
    bits.widen(min(held), max(held))
    bits.add(pa.array(held, pa.int64()))
    for far in (_LEAST, _LEAST + 1, -(2**62), 2**62, _MOST - 1, _MOST):
        assert bits.room_for(far, far) == -1
        assert bits.room_for(min(far, at), max(far, at)) == -1
    ends = [_LEAST, _LEAST + 1, -(2**62), -(2**61) - 1, -1, 0, 2**61 + 1, 2**62, _MOST - 1, _MOST, *held]
    asked = [*ends, *(chance.randint(_LEAST, _MOST) for _ in range(100))]
    assert bits.contains(pa.array(asked, pa.int64())).to_pylist() == [v in held for v in asked]
    for low in ends:
        for high in ends:
            assert bits.any_between(low, high) == any(low <= v <= high for v in held)


@pytest.mark.parametrize("low, high", [(_LEAST, _LEAST + 100), (_MOST - 100, _MOST), (_LEAST, _MOST), (_MOST, _LEAST)])
def test_a_range_at_an_end_of_64_bits_is_refused(low: int, high: int) -> None:
    bits = KeyBits(1 << 12)
    assert bits.room_for(low, max(low, high)) == -1
    assert not bits.contains(pa.array([low, high, None], pa.int64())).true_count


def test_ascending_keys_rarely_copy() -> None:
    bits, sizes = KeyBits(1 << 26), set()
    for start in range(0, 1 << 20, 1024):
        bits.widen(start, start + 1023)
        bits.add(pa.array(range(start, start + 1024), pa.int64()))
        sizes.add(bits.nbytes)
    assert bits.size() == 1 << 20 and len(sizes) < 20


def test_a_bloom_filter_never_loses_a_key() -> None:
    bloom = KeyBloom(1 << 13)
    held = pa.array([f"key {i}" for i in range(4000)])
    bloom.add(hash_columns([held]))
    again = pickle.loads(pickle.dumps(bloom))
    assert all(again.contains(hash_columns([held])).to_pylist())
    others = pa.array([f"other {i}" for i in range(20000)])
    wrong = sum(bloom.contains(hash_columns([others])).to_pylist())
    assert wrong < 1200 and 0.1 < bloom.share() < 0.3
