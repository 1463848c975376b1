"""The set of a build side's join keys, gathered while its stage runs and tested by the scans of the other side.

1. Whole numbers, dates and times become bits over their range, exactly.
2. When the range grows too wide, and for every other type, hashes go into a Bloom filter: it lets some rows pass that
   have no match, and never drops one that has.
Held: at most `most` bytes, reserved before they are taken. A set that gets no memory, or is so full that nearly
everything passes, is given up: it is a help, not a need.
"""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.hashing import hash_columns
from sqlengine.kernels.membership import KeyBits, KeyBloom
from sqlengine.runtime.memory import Reservation

_BITS_PER_KEY = 16
_SMALLEST_BLOOM = 1 << 12
_FULL = 0.6  # share of bits set from which on every eighth stranger passes


class KeySet:
    """Values of one column. `add` may be called by several threads, `contains` once all have been added."""

    def __init__(self, type_: pa.DataType, expected: float, most: int, memory: Reservation) -> None:
        self._type = type_
        self._expected = expected
        self._most = most
        self._memory: Reservation | None = memory
        self._lock = threading.Lock()
        self._bits: KeyBits | None = KeyBits(4 * most) if is_whole(type_) else None
        self._bloom: KeyBloom | None = None
        self._usable = True
        self._whole = False  # nothing has been filtered away on this side
        self._size = 0

    def add(self, column: pa.Array) -> None:
        with self._lock:
            if not self._usable or column.null_count == len(column):
                return
            if self._bits is not None and not self._widened(self._bits, column):
                self._to_bloom(self._bits)
            if self._bits is not None:
                self._bits.add(physical(column))
                return
            if self._bloom is None:
                self._bloom = self._new_bloom()
            if self._bloom is not None:
                self._bloom.add(hash_columns([column.drop_null()]))

    def _widened(self, bits: KeyBits, column: pa.Array) -> bool:
        ends = pc.min_max(physical(column))
        low, high = ends["min"].as_py(), ends["max"].as_py()
        size = bits.room_for(low, high)
        before = bits.nbytes
        if size == before:
            return True
        if size < 0 or not self._grow(size):
            return False
        bits.widen(low, high)
        self._shrink(before)  # until now both were there
        return True

    def _to_bloom(self, bits: KeyBits) -> None:
        self._bits = None
        self._bloom = self._new_bloom()
        if self._bloom is not None and bits.nbytes:
            self._bloom.add(hash_columns([logical(bits.values(), self._type)]))
        self._shrink(bits.nbytes)

    def _new_bloom(self) -> KeyBloom | None:
        size = _SMALLEST_BLOOM
        while size * 8 < self._expected * _BITS_PER_KEY and size * 2 <= self._most:
            size *= 2
        if not self._grow(size):
            self._usable = False
            return None
        return KeyBloom(size)

    def _grow(self, size: int) -> bool:
        return size <= 0 or (self._memory is not None and self._memory.try_grow(size))

    def _shrink(self, size: int) -> None:
        if self._memory is not None:
            self._memory.shrink(size)

    def finish(self, domain: float | None) -> bool:
        """No more is added; `domain`: how many values the column's table has. Whether the set may be worth testing."""
        if self._bits is not None:
            self._size = self._bits.size()
            self._whole = domain is not None and self._size >= 0.8 * domain
        elif self._bloom is not None:
            self._usable = self._usable and self._bloom.share() < _FULL
        else:
            self._usable = False
        if not self._usable:
            self._shrink(self.nbytes)
            self._bits = self._bloom = None
        return self._usable

    def drops(self, distinct: float | None) -> bool:
        """Whether testing a column of `distinct` values is likely to drop rows. A set of nearly all keys of a table
        drops none of those that refer to it; a column of far more values is another matter."""
        return not self._whole or (distinct is not None and self._size * 20 < distinct)

    @property
    def nbytes(self) -> int:
        held = self._bits if self._bits is not None else self._bloom
        return 0 if held is None else held.nbytes

    def give_up(self) -> int:
        """Free the set's memory, also while scans test against it: from now on every value may be in it. Gives the
        bytes freed."""
        with self._lock:
            freed = self.nbytes
            self._bits, self._bloom, self._usable = None, None, False
            self._shrink(freed)
            return freed

    def contains(self, column: pa.Array) -> pa.Array:
        """Booleans: which values may be in the set; false for NULL."""
        if isinstance(column, pa.DictionaryArray):
            found = pc.take(self.contains(column.dictionary), column.indices)
            return pc.fill_null(found, False) if column.null_count else found
        bits, bloom = self._bits, self._bloom
        if bits is not None:
            return bits.contains(physical(column))
        if bloom is None:
            return column.is_valid()  # given up
        found = bloom.contains(hash_columns([column]))
        return pc.and_(found, column.is_valid()) if column.null_count else found

    def any_between(self, low: Any, high: Any) -> bool:
        """Whether a value from `low` to `high` (both Python values of the column) may be in the set."""
        bits = self._bits
        if bits is None:
            return True
        ends = physical(pa.array([low, high], self._type))
        return bits.any_between(ends[0].as_py(), ends[1].as_py())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_memory": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def is_whole(type_: pa.DataType) -> bool:
    """Whether values of the type are whole numbers in memory."""
    t = pa.types
    return bool(
        (t.is_integer(type_) and type_ != pa.uint64()) or t.is_date(type_) or t.is_timestamp(type_) or t.is_time(type_)
    )


def physical(column: pa.Array) -> pa.Array:
    """Whole numbers of any kind as integers, without a copy."""
    if pa.types.is_integer(column.type):
        return column
    return column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())


def logical(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """int64 values as the type they stand for."""
    if pa.types.is_integer(type_):
        return values.cast(type_)
    return (values.cast(pa.int32()) if type_.bit_width == 32 else values).view(type_)
