# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Decoding Parquet pages of flat columns: all rows of a page or some of them, as values or as codes of the dictionary."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uintptr_t
from libc.string cimport memset
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

cdef extern from "parquet_pages.h" nogil:
    cdef cppclass PageHeader:
        int32_t type, size, stored
        cbool has_crc
        uint32_t crc
        int32_t values, encoding, level_encoding, definition_bytes, repetition_bytes
        cbool packed_values
        int64_t length
        void clear()
    cbool read_page_header(const uint8_t* start, const uint8_t* end, int64_t whole, PageHeader& out)
    cdef cppclass Wanted:
        const int32_t* numbers
        int64_t base, first, count
    cdef cppclass Page:
        int form
        int inner "in"
        int out
        cbool nullable
        int64_t entries, rows, present
        int64_t nbytes()
        int64_t dictionary_bytes()
        void write_dictionary(uint8_t* to, int32_t* offsets)
        cbool coded
        cbool set_dictionary(const uint8_t* p, int64_t size, int64_t n)
        cbool load(const uint8_t* level, int64_t level_size, const uint8_t* data, int64_t size, int64_t count, cbool dict)
        void mark(const Wanted& w, uint8_t* valid, int64_t to)
        int64_t nulls(const Wanted& w)
        void take_codes(const Wanted& w, int32_t* to)
        void take_fixed(const Wanted& w, uint8_t* to)
        int64_t text_bytes(const Wanted& w)
        void take_text(const Wanted& w, int32_t* to, uint8_t* bytes, int64_t filled)

    cdef cppclass CListLevels "ListLevels":
        int list_null, most
        cbool open
        void load(const uint8_t* rep, int64_t rep_size, const uint8_t* definition, int64_t def_size, int def_width, int64_t n)
        cbool rows(int64_t wanted, vector[int32_t]& lengths, vector[uint8_t]& lists, vector[uint8_t]& items, int64_t& stored, cbool& done)
    cbool unpack_hybrid(const uint8_t* p, const uint8_t* end, int width, int64_t n, int32_t* out)
    void whole_texts(const uint8_t* p, int64_t size, int64_t& count, int64_t& used, int64_t& next)

cdef extern from "snappy_stream.h" nogil:
    cdef cppclass CSnappyStream "SnappyStream":
        int64_t size
        void feed(const uint8_t* p, int64_t n)
        int64_t ready()
        void take(uint8_t* to, int64_t n)
        cbool run(int64_t wanted)

COPY, NARROW, WIDEN, BIG_ENDIAN, TEXT = range(5)


class CorruptPage(Exception):
    """The bytes of a page are not what its header says."""


class TooManyBytes(Exception):
    """The texts asked for take more bytes than allowed."""


def page_headers(data, beyond=None):
    """The pages of a column chunk (with `beyond`: only the first, whose data may go on to that many bytes): (type, start and length of the data in the chunk, decompressed length, values,
    encoding, encoding of levels, bytes of definition and of repetition levels, whether values are compressed, crc or
    None)."""
    cdef const uint8_t* start = <const uint8_t*><uintptr_t>data.address
    cdef int64_t size = data.size, at = 0
    cdef PageHeader header
    found = []
    while at < size:
        header.clear()
        if not read_page_header(start + at, start + size, (size if beyond is None else beyond) - at, header):
            raise CorruptPage(f"page {len(found)} has no readable header")
        at += header.length
        found.append((
            header.type, at, header.stored, header.size, header.values, header.encoding, header.level_encoding,
            header.definition_bytes, header.repetition_bytes, header.packed_values,
            header.crc if header.has_crc else None,
        ))
        at += header.stored
        if beyond is not None:
            break
    return found


def texts_at_front(data):
    """Of a buffer of texts with their lengths: how many are whole, the bytes they take, and the bytes that the next one
    takes as far as is known (with its length)."""
    cdef const uint8_t* p = <const uint8_t*><uintptr_t>data.address
    cdef int64_t size = data.size, count = 0, used = 0, next = 0
    with nogil:
        whole_texts(p, size, count, used, next)
    return count, used, next


def all_present(levels, int64_t rows):
    """Whether definition levels (0 or 1) say that no row is NULL."""
    cdef const uint8_t* p = <const uint8_t*><uintptr_t>levels.address
    cdef int64_t size = levels.size, i, present = 0
    cdef vector[int32_t] found
    cdef cbool good
    found.resize(rows)
    with nogil:
        good = unpack_hybrid(p, p + size, 1, rows, found.data())
        for i in range(rows):
            present += found[i] != 0
    if not good:
        raise CorruptPage("its levels do not fit its header")
    return present == rows


cdef class SnappyReader:
    """Raw Snappy, decompressed as it is read; `source(n)` gives the next compressed bytes, none at their end."""

    cdef CSnappyStream stream
    cdef object source

    def __init__(self, source):
        self.source = source

    def read(self, int64_t size):
        cdef cbool good
        cdef const uint8_t* p
        cdef int64_t n
        cdef cbool ended = False
        while self.stream.ready() < size:
            with nogil:
                good = self.stream.run(size)
            if not good:
                raise CorruptPage("it cannot be decompressed")
            if ended or self.stream.ready() >= size:
                break
            more = pa.py_buffer(self.source(1 << 18))
            n = more.size
            ended = n == 0
            p = <const uint8_t*><uintptr_t>more.address
            if n:
                self.stream.feed(p, n)
        n = min(size, self.stream.ready())
        out = pa.allocate_buffer(n)
        self.stream.take(<uint8_t*><uintptr_t>out.address, n)
        return out


cdef class ListReader:
    """Lists of a column chunk from the levels of its pages: `load` a page, then take `rows`; `offsets` and what else is
    known of the lists taken since `begin` come from `finish`."""

    cdef CListLevels levels, marked
    cdef vector[int32_t] lengths
    cdef vector[uint8_t] lists, items
    cdef int width
    cdef object held

    def __init__(self, bint list_null, bint item_null):
        self.levels.list_null = list_null
        self.levels.most = list_null + 1 + item_null
        self.width = 1 if self.levels.most == 1 else 2

    def load(self, repetition, definition, int64_t values):
        """The levels (their bytes) of the next page."""
        self.held = (repetition, definition)
        self.levels.load(<const uint8_t*><uintptr_t>repetition.address, repetition.size,
                         <const uint8_t*><uintptr_t>definition.address, definition.size, self.width, values)

    def begin(self):
        """Forget the lists that were taken."""
        self.lengths.clear()
        self.lists.clear()
        self.items.clear()

    def mark(self):
        """Remember this place of the page."""
        self.marked = self.levels

    def back(self):
        """Return to the marked place of the same page."""
        self.levels = self.marked

    def rows(self, int64_t wanted):
        """Take up to `wanted` lists in all since `begin`: (values of them that this page holds, whether the last one is
        whole). Where it is not, the page has come to its end."""
        cdef int64_t stored = 0
        cdef cbool done = False, good
        cdef int64_t more = wanted - <int64_t>self.lengths.size()
        with nogil:
            good = self.levels.rows(more, self.lengths, self.lists, self.items, stored, done)
        if not good:
            raise CorruptPage("its levels do not make lists")
        return stored, done

    @property
    def taken(self):
        """Lists since `begin`."""
        return self.lengths.size()

    @property
    def item_count(self):
        """Items since `begin`, with those that are NULL."""
        return self.items.size()

    def finish(self):
        """(offsets, validity of the lists or None, booleans: which items there are, or None for all)."""
        cdef int64_t n = self.lengths.size(), i, total = 0
        offsets = pa.allocate_buffer(4 * (n + 1))
        cdef int32_t* to = <int32_t*><uintptr_t>offsets.address
        with nogil:
            for i in range(n):
                to[i] = <int32_t>total
                total += self.lengths[i]
        if total >= 1 << 31:
            raise TooManyBytes()
        to[n] = <int32_t>total
        return offsets, _bits(self.lists), _bits(self.items)


cdef object _bits(const vector[uint8_t]& flags):
    """As a bitmap, or None where all are set."""
    cdef int64_t n = flags.size(), i, unset = 0
    for i in range(n):
        unset += flags[i] == 0
    if unset == 0:
        return None
    found = pa.allocate_buffer((n + 7) // 8)
    cdef uint8_t* to = <uint8_t*><uintptr_t>found.address
    memset(to, 0, (n + 7) // 8)
    for i in range(n):
        to[i >> 3] |= <uint8_t>(flags[i] << (i & 7))
    return found


cdef class PageDecoder:
    """The pages of one column chunk, one after the other: `dictionary` once, then `load` a page and `append` rows of it
    to the column begun by `begin`."""

    cdef Page page
    cdef object held, words, values, valid, bytes
    cdef int64_t filled, used, limit
    cdef cbool as_codes, any_null

    def __init__(self, int form, int stored, int width, bint nullable):
        self.page.form = form
        self.page.inner = stored
        self.page.out = width
        self.page.nullable = nullable

    def set_dictionary(self, data, int64_t count):
        cdef const uint8_t* p = <const uint8_t*><uintptr_t>data.address
        cdef int64_t size = data.size
        cdef cbool good
        with nogil:
            good = self.page.set_dictionary(p, size, count)
        if not good:
            raise CorruptPage("its dictionary is shorter than its header says")
        self.words = data

    def expect(self, int64_t count):
        """Codes below `count` are good, though the dictionary is not at hand."""
        self.page.entries = count

    def dictionary(self):
        """Buffers of the dictionary in Arrow form: values, or offsets and bytes."""
        cdef int32_t* offsets = NULL
        values = pa.allocate_buffer(self.page.dictionary_bytes())
        found = [values]
        if self.page.form == 4:
            found = [pa.allocate_buffer(4 * (self.page.entries + 1)), values]
            offsets = <int32_t*><uintptr_t>found[0].address
        self.page.write_dictionary(<uint8_t*><uintptr_t>values.address, offsets)
        return found

    @property
    def entries(self):
        return self.page.entries

    @property
    def nbytes(self):
        """Bytes held for the page and the dictionary."""
        cdef int64_t held = 0 if self.held is None else self.held.size
        return self.page.nbytes() + held + (0 if self.words is None else self.words.size)

    def load(self, levels, data, int64_t rows, bint coded):
        """Make a page current; `levels` are the bytes of its definition levels (None without)."""
        cdef const uint8_t* level = NULL
        cdef int64_t level_size = 0
        if levels is not None:
            level = <const uint8_t*><uintptr_t>levels.address
            level_size = levels.size
        cdef const uint8_t* p = <const uint8_t*><uintptr_t>data.address
        cdef int64_t size = data.size
        cdef cbool good
        with nogil:
            good = self.page.load(level, level_size, p, size, rows, coded)
        if not good:
            raise CorruptPage("its values do not fit its header")
        self.held = None if coded else data  # codes have been unpacked

    def begin(self, int64_t rows, bint as_codes, int64_t limit, int64_t guess):
        """Start a column of `rows` rows. Of texts: at most `limit` bytes, `guess` to begin with."""
        cdef int width = 4 if as_codes or self.page.form == 4 else self.page.out
        cdef int64_t extra = 1 if self.page.form == 4 and not as_codes else 0
        self.as_codes = as_codes
        self.values = pa.allocate_buffer((rows + extra) * width)
        self.filled = self.used = 0
        self.limit = limit
        self.any_null = False
        self.valid = None
        self.bytes = None
        if extra:
            (<int32_t*><uintptr_t>self.values.address)[0] = 0
            self.bytes = pa.allocate_buffer(guess + 32, resizable=True)
        if self.page.nullable:
            self.valid = pa.allocate_buffer((rows + 7) // 8)
            memset(<uint8_t*><uintptr_t>self.valid.address, 0, (rows + 7) // 8)

    def append(self, int64_t first, int64_t count, numbers=None, int64_t base=0):
        """`count` rows of the page: from row `first` on, or `numbers[first:]` (int32, less `base`)."""
        cdef Wanted wanted
        wanted.numbers = NULL
        wanted.base = base
        wanted.first = first
        wanted.count = count
        if numbers is not None:
            wanted.numbers = (<const int32_t*><uintptr_t>numbers.buffers()[1].address) + <Py_ssize_t>(numbers.offset + first)
        cdef uint8_t* to = <uint8_t*><uintptr_t>self.values.address
        cdef uint8_t* valid = NULL
        cdef int64_t more
        if self.valid is not None:
            valid = <uint8_t*><uintptr_t>self.valid.address
            self.page.mark(wanted, valid, self.filled)
            self.any_null = self.any_null or self.page.nulls(wanted) > 0
        if self.as_codes:
            with nogil:
                self.page.take_codes(wanted, (<int32_t*>to) + self.filled)
        elif self.page.form == 4:
            with nogil:
                more = self.page.text_bytes(wanted)
            if self.used + more > self.limit:
                raise TooManyBytes()
            if self.used + more + 16 > self.bytes.size:
                self.bytes.resize(max(self.used + more + 32, self.bytes.size * 3 // 2))
            self._texts(wanted)
            self.used += more
        else:
            with nogil:
                self.page.take_fixed(wanted, to + self.filled * self.page.out)
        self.filled += count

    cdef void _texts(self, Wanted& wanted):
        cdef int32_t* to = (<int32_t*><uintptr_t>self.values.address) + self.filled + 1
        cdef uint8_t* bytes = <uint8_t*><uintptr_t>self.bytes.address
        with nogil:
            self.page.take_text(wanted, to, bytes, self.used)

    def finish(self):
        """Buffers of the column: validity (or None), then codes, values, or offsets and bytes."""
        valid = self.valid if self.any_null else None
        found = [valid, self.values]
        if self.bytes is not None:
            self.bytes.resize(self.used, shrink_to_fit=self.bytes.size > 2 * self.used + 65536)
            found.append(self.bytes)
        self.values = self.valid = self.bytes = None
        return found
