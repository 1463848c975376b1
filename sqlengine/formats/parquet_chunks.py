"""Columns of one Parquet row group, decoded page by page for the rows that are wanted.

Flat columns with plain or dictionary-coded values, which is what nearly all files hold, are decoded by our own kernel:
pages without a wanted row are not decompressed, of the others only the wanted rows become values, and text stays in
the codes of its dictionary until it has to be written out. Everything else (nested types, delta encodings, booleans,
rare codecs) goes through Arrow's reader.

Held: of a chunk up to `_WHOLE` bytes all of it, of a larger one a page at a time, of a huge page of long texts a piece
at a time; its dictionary; a page's values.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sqlengine.formats.parquet_footer import ChunkFacts, Layout
from sqlengine.formats.parquet_huge import HugePage
from sqlengine.formats.parquet_lists import ListColumn
from sqlengine.kernels.parquet_pages import (
    BIG_ENDIAN,
    COPY,
    NARROW,
    TEXT,
    WIDEN,
    CorruptPage,
    PageDecoder,
    all_present,
    page_headers,
)
from sqlengine.kernels.selection import first_at_least

# Chunks up to this size are read in one piece.
_WHOLE = 1 << 20
# Pages of texts over this size are read in pieces, if the texts are long.
_HUGE = 4 << 20
_LONG = 64
_CODECS = {"SNAPPY": "snappy", "ZSTD": "zstd", "GZIP": "gzip", "BROTLI": "brotli", "UNCOMPRESSED": None}
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_PLAIN, _CODED = (0,), (2, 8)
_RUNS = 3


class ColumnReader(Protocol):
    """A column of a row group, read forwards in windows of rows."""

    def read(self, low: int, high: int, rows: pa.Array | None, coded: bool, limit: int) -> pa.Array:
        """Rows `low` to `high` of the row group, or of them those in `rows` (int32, ascending). With `coded` a
        dictionary array if the file has one. TooManyBytes: the texts would take more than `limit` bytes."""
        ...


def form_of(layout: Layout, name: str) -> tuple[int, int, int] | None:
    """How a column's stored values become Arrow values: form, bytes stored, bytes in Arrow. None: not by our kernel."""
    places = layout.places.get(name, [])
    if len(places) != 1:
        return None
    leaf = layout.leaves[places[0]]
    if leaf.path != name or leaf.max_repetition_level or leaf.max_definition_level > 1:
        return None
    return _form(leaf, layout.fields[name], layout.arrow.field(name).type)


def _form(leaf: Any, type_: pa.DataType, own: pa.DataType) -> tuple[int, int, int] | None:
    """Of a leaf of the file that Arrow would read as `own` and the engine knows as `type_`."""
    t = pa.types
    if isinstance(own, pa.BaseExtensionType):
        return None
    match leaf.physical_type:
        case "BYTE_ARRAY" if t.is_string(type_) or t.is_binary(type_):
            return TEXT, 0, 0
        case "INT32" | "INT64" | "FIXED_LEN_BYTE_ARRAY" if t.is_decimal128(type_):
            if leaf.physical_type != "FIXED_LEN_BYTE_ARRAY":
                stored = 4 if leaf.physical_type == "INT32" else 8
                return WIDEN, stored, 16
            return (BIG_ENDIAN, leaf.length, 16) if 0 < leaf.length <= 16 else None
        case "INT32" if own == type_ and (t.is_integer(type_) or t.is_date32(type_)) and type_.bit_width <= 32:
            width = type_.bit_width // 8
            return (COPY if width == 4 else NARROW), 4, width
        case "INT64" if own == type_ and (t.is_int64(type_) or t.is_uint64(type_)):
            return COPY, 8, 8
        case "INT64" if own == type_ and (t.is_timestamp(type_) or t.is_time64(type_)):
            units = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
            return (COPY, 8, 8) if units.get(type_.unit, "?") in str(leaf.logical_type) else None
        case "FLOAT" if own == type_ == pa.float32():
            return COPY, 4, 4
        case "DOUBLE" if own == type_ == pa.float64():
            return COPY, 8, 8
    return None


def lists_of(layout: Layout, group: int, name: str, file: int) -> ListColumn | None:
    """A reader of a column of lists of fixed-width values, if the file holds them plainly."""
    places = layout.places.get(name, [])
    type_ = layout.fields[name]
    field = layout.arrow.field(name)
    if len(places) != 1 or not pa.types.is_list(type_) or not pa.types.is_list(field.type):
        return None
    leaf, chunk = layout.leaves[places[0]], layout.chunk(group, places[0])
    nullable = (field.nullable, field.type.value_field.nullable)
    form = _form(leaf, type_.value_type, field.type.value_type)
    if form is None or form[0] == TEXT or leaf.path.count(".") != 2 or not can_decode(chunk) or chunk.dictionary:
        return None
    if leaf.max_repetition_level != 1 or leaf.max_definition_level != 1 + sum(nullable):
        return None
    pages = [header for header in _probed(file, chunk) if header[0] in (_DATA, _DATA_V2)]
    if any(header[5] not in _PLAIN or (header[0] == _DATA and header[6] != _RUNS) for header in pages):
        return None
    return ListColumn(file, chunk, _CODECS[chunk.codec], type_, form, nullable, pages)


def can_decode(chunk: ChunkFacts) -> bool:
    """Whether our kernel knows the chunk's compression."""
    return chunk.codec in _CODECS


class OwnColumn:
    """A column chunk decoded by our kernel."""

    def __init__(
        self,
        file: int,
        chunk: ChunkFacts,
        type_: pa.DataType,
        form: tuple[int, int, int],
        nullable: bool,
        rows: int,
    ) -> None:
        self._file, self._chunk, self._type = file, chunk, type_
        self._form, self._codec = form[0], _CODECS[chunk.codec]
        self._new_decoder = partial(PageDecoder, *form, nullable)
        self._decoder = self._new_decoder()
        self._nullable = nullable
        self._held: Any = None
        if chunk.stored <= _WHOLE:
            self._held = pa.py_buffer(os.pread(file, chunk.stored, chunk.start))
            headers = page_headers(self._held)
        else:
            headers = list(_probed(file, chunk))
        self._pages: list[tuple[int, int, tuple[Any, ...]]] = []
        self._dictionary: pa.Array | None = None
        self.supported = self.coded = True
        first = 0
        dictionary = None
        for header in headers:
            kind, _, _, _, values, encoding, levels, _, repeated, *_ = header
            if kind == _DICTIONARY and dictionary is None and not self._pages:
                dictionary = header
            elif kind in (_DATA, _DATA_V2):
                good = encoding in _PLAIN + _CODED and (levels == _RUNS or kind == _DATA_V2 or not nullable)
                self.supported = self.supported and good and not repeated
                self.coded = self.coded and encoding in _CODED
                if values:
                    self._pages.append((first, first + values, header))
                first += values
        if first != rows:
            raise CorruptPage(f"it has {first} values for {rows} rows")
        self.coded = self.coded and dictionary is not None
        self._current: tuple[int, int] = (-1, -1)
        self._huge: dict[int, HugePage] = {}
        self._coder: tuple[Any, ...] | None = None
        self._awake = True
        if dictionary is not None and self.supported:
            if self._is_huge(dictionary) and self._in_order(dictionary[4]):
                # Every text occurs once and in this order: the dictionary is read as a page.
                self._pages = [(0, dictionary[4], dictionary), *(p for p in self._pages if p[2][5] in _PLAIN)]
                self.coded = False
            else:
                self._coder = dictionary
                self._wake()
        if self.supported:
            for place, (_, _, header) in enumerate(self._pages):
                if header[5] in _PLAIN and self._is_huge(header):
                    self._make_huge(place, header)

    def _wake(self) -> None:
        if self._coder is not None:
            self._decoder.set_dictionary(self._values(self._coder)[1], self._coder[4])
        self._awake = True

    @property
    def nbytes(self) -> int:
        """Bytes that are held until the next read."""
        held = 0 if self._held is None else self._held.size
        words = 0 if self._dictionary is None else self._dictionary.nbytes
        return int(held + words + self._decoder.nbytes)

    def rest(self) -> None:
        """Let go of all bytes until the next read, which has to read them again."""
        if not self._huge:
            self._held = self._dictionary = None
            self._decoder = self._new_decoder()
            self._current = (-1, -1)
            self._awake = False

    def _is_huge(self, header: tuple[Any, ...]) -> bool:
        return self._form == TEXT and header[3] > _HUGE and header[3] > _LONG * header[4]

    def _in_order(self, entries: int) -> bool:
        """Whether the codes of the chunk are 0, 1, 2, ... to the end of the dictionary."""
        self._decoder.expect(entries)
        at = 0
        for place, (first, end, header) in enumerate(self._pages):
            if header[5] not in _CODED:
                break
            if first != at or end > entries:
                return False
            self._load(place)
            self._decoder.begin(end - first, True, 0, 0)
            self._decoder.append(0, end - first)
            codes = pa.Array.from_buffers(pa.int32(), end - first, self._decoder.finish())
            if codes.null_count or not codes.equals(pa.arange(first, end).cast(pa.int32())):
                return False
            at = end
        self._current = (-1, -1)
        return at == entries

    def _make_huge(self, place: int, header: tuple[Any, ...]) -> None:
        """Read a page in pieces, unless it has NULLs."""
        kind, start, stored, size, rows, _, _, defined, repeated, packed, _ = header
        start += self._chunk.start
        skipped = 0
        if kind == _DATA_V2:
            levels = pa.py_buffer(os.pread(self._file, defined, start + repeated))
            start, stored, size = start + defined + repeated, stored - defined - repeated, size - defined - repeated
        elif kind == _DATA and self._nullable:
            front = HugePage(self._file, start, stored, self._codec, size, rows, 0).front(4)
            length = int.from_bytes(front.to_pybytes(), "little")
            if length > size - 4:
                raise CorruptPage("its levels are longer than it")
            skipped = 4 + length
            levels = HugePage(self._file, start, stored, self._codec, size, rows, 0).front(skipped).slice(4)
        if self._nullable and kind != _DICTIONARY and not all_present(levels, rows):
            return
        codec = self._codec if kind != _DATA_V2 or packed else None
        self._huge[place] = HugePage(self._file, start, stored, codec, size, rows, skipped)

    def _bytes(self, header: tuple[Any, ...]) -> pa.Buffer:
        start, stored, crc = header[1], header[2], header[10]
        data = (
            pa.py_buffer(os.pread(self._file, stored, self._chunk.start + start))
            if self._held is None
            else self._held.slice(start, stored)
        )
        if data.size != stored:
            raise CorruptPage("the file ends inside it")
        if crc is not None and zlib.crc32(data) != crc:
            raise CorruptPage("its checksum is wrong")
        return data

    def _values(self, header: tuple[Any, ...]) -> tuple[pa.Buffer | None, pa.Buffer]:
        """Definition levels and values of a page, decompressed."""
        kind, _, _, size, _, _, _, defined, repeated, packed, _ = header
        data = self._bytes(header)
        if kind == _DATA_V2:
            if defined + repeated > min(data.size, size):
                raise CorruptPage("its levels are longer than it")
            levels = data.slice(repeated, defined) if self._nullable else None
            return levels, self._unpacked(data.slice(repeated + defined), size - repeated - defined, packed)
        data = self._unpacked(data, size, True)
        if kind == _DICTIONARY or not self._nullable:
            return None, data
        if data.size < 4:
            raise CorruptPage("it is too short for its levels")
        length = int.from_bytes(data[:4].to_pybytes(), "little")
        if length > data.size - 4:
            raise CorruptPage("its levels are longer than it")
        return data.slice(4, length), data.slice(4 + length)

    def _unpacked(self, data: pa.Buffer, size: int, packed: bool) -> pa.Buffer:
        if self._codec is None or not packed or (not size and not data.size):
            return data
        try:
            found = pa.Codec(self._codec).decompress(data, size)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptPage(f"it cannot be decompressed: {str(error).splitlines()[0]}") from None
        if found.size != size:
            raise CorruptPage("it is shorter than its header says")
        return found

    def _load(self, place: int) -> None:
        if self._current != (place, -1):
            first, end, header = self._pages[place]
            self._current = (-1, -1)
            levels, values = self._values(header)
            self._decoder.load(levels, values, end - first, header[5] in _CODED)
            self._current = (place, -1)
            if len(self._pages) == 1:
                self._held = None  # all of it is in the decoder

    def _parts(self, low: int, high: int) -> Iterator[tuple[int, int, Callable[[], None]]]:
        """Pages, or pieces of huge ones, that hold rows from `low` to `high`: first row, end, and what loads it."""
        for place, (first, end, _) in enumerate(self._pages):
            if end <= low or first >= high:
                continue
            if place not in self._huge:
                yield first, end, partial(self._load, place)
                continue
            for start, stop, data in self._huge[place].pieces(max(low - first, 0), min(high, end) - first):
                yield first + start, first + stop, partial(self._load_piece, (place, start), data, stop - start)

    def _load_piece(self, piece: tuple[int, int], data: Any, rows: int) -> None:
        if self._current != piece:
            self._current = (-1, -1)
            self._decoder.load(None, data, rows, False)
            self._current = piece

    @property
    def dictionary(self) -> pa.Array:
        if self._dictionary is None:
            buffers = self._decoder.dictionary()
            self._dictionary = checked(pa.Array.from_buffers(self._type, self._decoder.entries, [None, *buffers]))
        return self._dictionary

    def read(self, low: int, high: int, rows: pa.Array | None, coded: bool, limit: int) -> pa.Array:
        coded = coded and self.coded
        if not self._awake:
            self._wake()
        decoder = self._decoder
        count = high - low if rows is None else len(rows)
        share = count / max(1, self._chunk.values)
        decoder.begin(count, coded, limit, min(limit, int(self._chunk.size * share * 1.2)))
        at = 0
        for first, end, load in self._parts(low, high):
            if rows is None:
                load()
                decoder.append(max(low - first, 0), min(high, end) - max(low, first))
                continue
            after = first_at_least(rows, end, at)
            if after > at:
                load()
                decoder.append(at, after - at, rows, first)
                at = after
        buffers = decoder.finish()
        if not coded:
            values = pa.Array.from_buffers(self._type, count, buffers)
            if self.coded and self.dictionary is not None:
                return values  # the dictionary has been checked
            return checked(values)
        codes = pa.Array.from_buffers(pa.int32(), count, buffers)
        return pa.DictionaryArray.from_arrays(codes, self.dictionary, safe=False)


def _probed(file: int, chunk: ChunkFacts) -> Iterator[tuple[Any, ...]]:
    """The page headers of a chunk, read without the pages."""
    at = 0
    while at < chunk.stored:
        for size in (512, 64 << 10):
            start = os.pread(file, min(size, chunk.stored - at), chunk.start + at)
            try:
                header = page_headers(pa.py_buffer(start), chunk.stored - at)[0]
                break
            except CorruptPage:
                if len(start) < size:
                    raise
        else:
            raise CorruptPage("a page has no readable header")
        yield (header[0], header[1] + at, *header[2:])
        at += header[1] + header[2]


def checked(values: pa.Array) -> pa.Array:
    """The values, if what claims to be text is: neither we nor Arrow's reader look at the bytes while decoding."""
    try:
        if pa.types.is_dictionary(values.type):
            checked(values.dictionary)
        elif pa.types.is_string(values.type):
            _, offsets, data = values.buffers()
            if len(values) and data is not None:
                # As one text: much faster than value by value.
                places = memoryview(offsets).cast("i")
                low, high = places[values.offset], places[values.offset + len(values)]
                ends = pa.array([0, high - low], pa.int32()).buffers()[1]
                pa.Array.from_buffers(pa.string(), 1, [None, ends, data.slice(low, high - low)]).validate(full=True)
        elif pa.types.is_nested(values.type):
            values.validate(full=True)
    except pa.ArrowInvalid:
        raise CorruptPage("it has text that is not UTF-8") from None
    return values


class ArrowColumns:
    """The columns of a row group that our kernel cannot decode, read together by Arrow's reader in step with the
    windows. Text with a dictionary comes as codes, for its decoded size is known only then."""

    def __init__(self, layout: Layout, group: int, names: Sequence[str], batch_rows: int) -> None:
        self._layout, self._group, self._names, self._batch_rows = layout, group, list(names), batch_rows
        self._stream: Iterator[pa.RecordBatch] | None = None
        self._pieces: list[tuple[int, pa.RecordBatch]] = []
        self._next = 0

    def column(self, name: str) -> ArrowColumn:
        return ArrowColumn(self, name)

    def pieces(self, low: int, high: int) -> list[pa.RecordBatch]:
        """The rows from `low` to `high`; `low` never falls."""
        if self._stream is None:
            self._stream = self._batches()
        self._pieces = [(at, piece) for at, piece in self._pieces if at + piece.num_rows > low]
        while self._next < high:
            batch = next(self._stream, None)
            if batch is None:
                raise CorruptPage("it has too few values")
            if self._next + batch.num_rows > low:
                self._pieces.append((self._next, batch))
            self._next += batch.num_rows
        return [
            piece.slice(max(low - at, 0), min(high, at + piece.num_rows) - max(low, at))
            for at, piece in self._pieces
            if at < high
        ]

    def _batches(self) -> Iterator[pa.RecordBatch]:
        layout = self._layout
        codes = []
        for name in self._names:
            places, type_ = layout.places[name], layout.fields[name]
            if pa.types.is_string(type_) or pa.types.is_binary(type_):
                codes += [name] if layout.chunk(self._group, places[0]).dictionary else []
        with pq.ParquetFile(
            layout.path,
            metadata=layout.footer,
            pre_buffer=False,
            memory_map=False,
            read_dictionary=codes,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",
        ) as file:
            yield from file.iter_batches(self._batch_rows, [self._group], self._names, use_threads=False)


class ArrowColumn:
    """One of them."""

    def __init__(self, columns: ArrowColumns, name: str) -> None:
        self._columns, self._name = columns, name

    def read(self, low: int, high: int, rows: pa.Array | None, coded: bool, limit: int) -> pa.Array:
        parts = [piece.column(self._name) for piece in self._columns.pieces(low, high)]
        whole = checked(parts[0] if len(parts) == 1 else _joined(parts))
        return whole if rows is None else pc.take(whole, pc.subtract(rows, low))


def _joined(parts: list[pa.Array]) -> pa.Array:
    if pa.types.is_dictionary(parts[0].type):
        parts = pa.chunked_array(parts).unify_dictionaries().chunks
    return pa.concat_arrays(parts)
