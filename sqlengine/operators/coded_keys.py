"""Groups by text that a file has as codes of a dictionary: each word is looked up once, rows go by number.

Each text column has a table of its own that numbers the words; the groups are made of these numbers, which are as fast
to compare as integers. The texts come back when the groups are given out. NULL is a NULL number.

Held: the words that were seen, the numbers of the last dictionary's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.grouping import GroupTable


class CodedTable:
    """Like `GroupTable`, for keys of which those at `places` come with codes (or now and then without)."""

    def __init__(self, types: Sequence[pa.DataType], places: Sequence[int]) -> None:
        self._words = {place: _Words(types[place]) for place in places}
        self._table = GroupTable([pa.int32() if place in self._words else type_ for place, type_ in enumerate(types)])

    @property
    def groups(self) -> int:
        return self._table.groups

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + sum(words.nbytes for words in self._words.values())

    def room(self, rows: int, text_bytes: int) -> int:
        """Most bytes that a lookup of `rows` rows can add: each may bring a word, `text_bytes` in all."""
        numbers = 8 * rows * len(self._words)
        words = sum(words.table.room(rows, 0) for words in self._words.values())
        return self._table.room(rows, text_bytes) + numbers + words + 2 * text_bytes

    def lookup(self, columns: Sequence[pa.Array]) -> tuple[Any, Any]:
        return self._table.lookup(
            [
                self._words[place].numbers(column) if place in self._words else column
                for place, column in enumerate(columns)
            ]
        )

    def seal(self) -> None:
        self._table.seal()
        for words in self._words.values():
            words.seal()

    def keys(self, column: int, start: int, n: int) -> Any:
        found = self._table.keys(column, start, n)
        return self._words[column].texts.take(found) if column in self._words else found

    def fit(self, start: int, most: int, limit: int) -> int:
        most = self._table.fit(start, most, limit)
        for place, words in self._words.items():
            while most > 1 and words.size(self._table.keys(place, start, most)) > limit:
                most //= 2
        return most

    def release(self, before: int) -> None:
        self._table.release(before)

    def clear(self) -> None:
        self._table.clear()
        for words in self._words.values():
            words.clear()


@dataclass
class _Words:
    """The texts of one key column, numbered as they come."""

    type: pa.DataType
    table: GroupTable = field(init=False)
    texts: Any = None  # of the numbers, once sealed
    _last: pa.Array | None = None  # a dictionary, and the numbers of its words
    _numbers: pa.Array | None = None

    def __post_init__(self) -> None:
        self.table = GroupTable([self.type])

    @property
    def nbytes(self) -> int:
        held = sum(int(array.nbytes) for array in (self.texts, self._last, self._numbers) if array is not None)
        return self.table.nbytes + held

    def numbers(self, column: pa.Array) -> pa.Array:
        """The number of each row's text, int32."""
        if not pa.types.is_dictionary(column.type):
            return self._of(column)
        words = column.dictionary
        if self._last is None or not _same(words, self._last):
            # The dictionary is kept, so that no other can be at its place in memory.
            self._last, self._numbers = words, self._of(words)
        return pc.take(self._numbers, column.indices, boundscheck=False)

    def _of(self, texts: pa.Array) -> pa.Array:
        found, _ = self.table.lookup([texts])
        if texts.null_count:
            return pc.if_else(pc.is_valid(texts), found, pa.scalar(None, pa.int32()))
        return pa.concat_arrays([found])  # the table uses the memory of its answer again

    def seal(self) -> None:
        self.table.seal()
        self.texts = self.table.keys(0, 0, self.table.groups)
        self.table.clear()
        self._last = self._numbers = None

    def size(self, numbers: pa.Array) -> int:
        """Bytes of the texts of these numbers."""
        return int(pc.sum(pc.binary_length(self.texts).take(numbers)).as_py() or 0)

    def clear(self) -> None:
        self.table.clear()
        self.texts = self._last = self._numbers = None


def _same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays are the same bytes in memory."""
    return len(one) == len(other) and [b and b.address for b in one.buffers()] == [
        b and b.address for b in other.buffers()
    ]
