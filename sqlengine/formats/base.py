"""What every source of rows offers the binder, the optimizer and the scan.

A source is immutable and picklable (paths and options, never open files), except in-memory tables, which are handed to
workers by the backend. It is cut into *splits*, each read by one task in bounded batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.runtime.key_set import KeySet


@dataclass(frozen=True)
class Bounds:
    """A simple condition on one source column, used to skip row groups, pages and files. Exactness is never required:
    whoever pushed it keeps the real filter above the scan.

    `low`/`high` are Python values, None is open; `values` a set of allowed values; `not_null` drops NULLs.
    `dynamic`: no filter above says the same (it comes from a join's build side), so it pays to drop single rows by it;
    `members`: then, a set that has all values that matter.
    """

    column: str
    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False
    values: frozenset[Any] | None = None
    not_null: bool = True
    dynamic: bool = False
    members: KeySet | None = None


@dataclass(frozen=True)
class Split:
    """A piece of a source that one task reads: what to open (`path` or None), which part (opaque to all but its
    source), and what it will cost: `rows` and decoded `bytes` (None if unknown). `index` is its place in the source's
    order."""

    index: int
    path: str | None
    part: tuple[Any, ...] = ()
    rows: int | None = None
    bytes: int | None = None
    partition_values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RowTest:
    """A condition on rows, applied while they are read. `mask` gives for a batch with exactly `columns` (source names)
    a boolean per row; NULL is false. It depends on the values alone and on each row by itself: it is also asked about
    the values of a dictionary in place of rows."""

    columns: tuple[str, ...]
    mask: Callable[[pa.RecordBatch], pa.Array]


@dataclass(frozen=True)
class ReadLimits:
    """The bounds of a batch while reading: at most `batch_rows` rows and about `batch_bytes` decoded bytes, at least
    one row. `keep(n)` asks for `n` bytes more (or gives them back, below 0) that spare reading the same bytes again
    between two batches, beyond what `read_floor` tells. Columns in `coded` may come as dictionaries, which are small
    beside their batch then."""

    batch_rows: int = 131072
    batch_bytes: int = 16 << 20
    keep: Callable[[int], bool] = field(default=lambda n: n <= 0, compare=False)
    coded: frozenset[str] = frozenset()


@runtime_checkable
class Source(Protocol):
    """A table that can be read: files of one format, or rows in memory."""

    @property
    def schema(self) -> pa.Schema:
        """Columns as the SQL sees them (hive and virtual columns included), in the engine's canonical types
        (see `sqlengine.types.canonical`). Found once, cached by the object."""
        ...

    def describe(self) -> str:
        """For EXPLAIN: `parquet lineitem.parquet`, `csv 3 files`, `memory 12 rows`."""
        ...

    def stats(self, columns: Sequence[str]) -> Stats:
        """From metadata only; column stats keyed by source column name."""
        ...

    def splits(self, columns: Sequence[str], bounds: Sequence[Bounds]) -> list[Split]:
        """The splits that can hold rows within the bounds, in the order of the source."""
        ...

    def read(
        self, split: Split, columns: Sequence[str], bounds: Sequence[Bounds], limits: ReadLimits
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a split as batches with exactly `columns` (in that order, canonical types). Bounds may drop rows
        that lie outside, never others. Memory while reading: see `read_floor`."""
        ...

    def read_floor(self, columns: Sequence[str], limits: ReadLimits) -> int:
        """Bytes that reading one split can hold at once, beside the batch it yields (from metadata)."""
        ...


@runtime_checkable
class SelectiveSource(Source, Protocol):
    """A source that decodes what it tests first, and the rest only for the rows that pass."""

    def read_selected(
        self,
        split: Split,
        columns: Sequence[str],
        tests: Sequence[RowTest],
        bounds: Sequence[Bounds],
        limits: ReadLimits,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a split that pass all tests, as `read` gives them. The tests may use any column; a later one is
        asked only about rows that passed the earlier ones (or their values)."""
        ...
