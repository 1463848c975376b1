# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Aggregate states by group number: one pass over a column per call, mergeable and given out as Arrow columns by ranges.

`Fold` keeps one value per group (sum, min, max, first, count, ...): whole numbers as 64 or 128 bits, floats as doubles, text
as strings. `Moments` keeps counts, means and sums of powers and products of deviations, or sums with their rounding errors.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view, views


cdef extern from "accumulators.h" nogil:
    ctypedef long long int128 "int128"
    int SUM, FIRST, COUNT, WIDE, FLOAT, TEXT, NARROW
    cdef cppclass Chunked[T]:
        int64_t size
        int64_t nbytes()
        void resize(int64_t n) except +
        void release(int64_t before)
        @staticmethod
        int64_t bytes_at(int64_t n)
    cdef cppclass Text:
        pass
    cdef cppclass Texts:
        Chunked[Text] v
        int64_t bytes
        void fold(const Column& c, const int32_t* g, int64_t n, int op, const Chunked[uint8_t]& seen) except +
        int64_t fit(int64_t start, int64_t most, int64_t limit)
        int64_t length(int64_t start, int64_t n)
        void copy(int64_t start, int64_t n, int32_t* offsets, uint8_t* out)
        void release(int64_t before)
    cbool fold_whole(const Column& c, const int32_t* g, int64_t n, int op, cbool low_words, Chunked[int128]& v, const Chunked[uint8_t]& seen)
    cbool fold_whole(const Column& c, const int32_t* g, int64_t n, int op, cbool low_words, Chunked[int64_t]& v, const Chunked[uint8_t]& seen)
    void fold_float(const Column& c, const int32_t* g, int64_t n, int op, Chunked[double]& v, const Chunked[uint8_t]& seen)
    void mark_seen(const Column& c, const int32_t* g, int64_t n, Chunked[uint8_t]& seen)
    void count_rows(const Column* c, const int32_t* g, int64_t n, Chunked[int64_t]& v)
    void start_whole(int op, Chunked[int128]& v, int64_t first)
    void start_whole(int op, Chunked[int64_t]& v, int64_t first)
    void start_float(int op, Chunked[double]& v, int64_t first)
    void start_seen(Chunked[uint8_t]& seen, int64_t n)
    void narrow(const Chunked[int128]& v, int64_t start, int64_t n, int width, uint8_t* out)
    void narrow(const Chunked[int64_t]& v, int64_t start, int64_t n, int width, uint8_t* out)
    void narrow(const Chunked[double]& v, int64_t start, int64_t n, int width, uint8_t* out)
    cbool beyond(const Chunked[int128]& v, int64_t start, int64_t n)
    void blank(const Chunked[uint8_t]& seen, int64_t start, int64_t n, int width, uint8_t* out)
    int64_t bitmap_of(const Chunked[uint8_t]& seen, int64_t start, int64_t n, uint8_t* out)
    cdef cppclass MomentTable:
        int parts
        Chunked[double] p[6]
        void init(int kind)
        void resize(int64_t n) except +
        void release(int64_t before)
        int64_t nbytes()
        int64_t bytes_at(int64_t n)
        void add(const vector[Column]& c, const int32_t* g, int64_t n)
        void merge(const vector[Column]& c, const int32_t* g, int64_t n)

cdef dict _OPS = {
    "sum": 0, "min": 1, "max": 2, "first": 3, "last": 4, "bit_and": 5, "bit_or": 6, "bit_xor": 7, "product": 8,
    "count": 9,
}


cdef int _form(int op, type_) except -1:
    t = pa.types
    if op == COUNT:
        return NARROW
    if t.is_floating(type_):
        return FLOAT
    if t.is_string(type_) or t.is_binary(type_):
        return TEXT
    if op == SUM or type_ == pa.uint64():
        return WIDE
    return WIDE if type_.bit_width > 64 and not (t.is_decimal(type_) and type_.precision <= 18) else NARROW


cdef inline const int32_t* _numbers(groups):
    return (<const int32_t*><uintptr_t>groups.buffers()[1].address) + <Py_ssize_t>groups.offset


cdef class Fold:
    """One value per group under an operation of `sum min max first last bit_and bit_or bit_xor product count`.

    `type` is the type of the values that come in; `count` counts rows, or the valid ones of a column.
    """

    cdef int op
    cdef int form
    cdef Chunked[int128] whole
    cdef Chunked[int64_t] small
    cdef Chunked[double] floats
    cdef Texts texts
    cdef Chunked[uint8_t] seen  # which groups have had a value, where that is not all of them
    cdef cbool dense
    cdef int64_t size

    def __init__(self, str operation, type_):
        self.op = _OPS[operation]
        self.form = _form(self.op, type_)
        # The first value, or the first text to compare with, must be known as such.
        self.dense = self.form != TEXT and self.op != FIRST

    @property
    def nbytes(self):
        return (self.whole.nbytes() + self.small.nbytes() + self.floats.nbytes() + self.texts.v.nbytes() + self.texts.bytes
                + self.seen.nbytes())

    def room(self, int64_t count, int64_t text_bytes):
        """Most bytes held once there are `count` groups and values with `text_bytes` of text have come in."""
        cdef int64_t size = Chunked[uint8_t].bytes_at(count)
        if self.form == WIDE:
            return size + Chunked[int128].bytes_at(count)
        if self.form == NARROW:
            return size + Chunked[int64_t].bytes_at(count)
        if self.form == FLOAT:
            return size + Chunked[double].bytes_at(count)
        return size + Chunked[Text].bytes_at(count) + self.texts.bytes + text_bytes + 32 * (count - self.size)

    cdef int _resize(self, int64_t count) except -1:
        cdef int64_t before = self.size
        if count <= before:
            return 0
        if self.form == WIDE:
            self.whole.resize(count)
            start_whole(self.op, self.whole, before)
        elif self.form == NARROW:
            self.small.resize(count)
            start_whole(self.op, self.small, before)
        elif self.form == FLOAT:
            self.floats.resize(count)
            start_float(self.op, self.floats, before)
        else:
            self.texts.v.resize(count)
        if not self.dense:
            self.seen.resize(count)
        self.size = count
        return 0

    def update(self, groups, int64_t count, column, cbool complete=False):
        """Fold a column (None: rows themselves, for count) by int32 `groups`; there are `count` groups by now. `complete`:
        every group that is new with this call has a row in it."""
        cdef const int32_t* g = _numbers(groups)
        cdef int64_t n = len(groups), before = self.size
        cdef Column c
        cdef cbool over = False, low = False
        if self.op == COUNT:
            self._resize(count)
            if column is None:
                with nogil:
                    count_rows(NULL, g, n, self.small)
            else:
                c = view(column)
                with nogil:
                    count_rows(&c, g, n, self.small)
            return
        c = view(column)
        type_ = column.type
        if self.form != FLOAT and pa.types.is_decimal(type_):
            low = type_.precision <= 18
        if self.dense and count > before and not complete or c.valid != NULL or c.kind == 0:
            self._sparse()
        self._resize(count)
        with nogil:
            if self.form == WIDE:
                over = fold_whole(c, g, n, self.op, low, self.whole, self.seen)
            elif self.form == NARROW:
                over = fold_whole(c, g, n, self.op, low, self.small, self.seen)
            elif self.form == FLOAT:
                fold_float(c, g, n, self.op, self.floats, self.seen)
            if not self.dense and self.op != FIRST and self.form != TEXT:
                mark_seen(c, g, n, self.seen)
            if self.form == TEXT:
                self.texts.fold(c, g, n, self.op, self.seen)
        if over:
            raise OverflowError("sum")

    def merge(self, groups, int64_t count, column, cbool complete=True):
        """Fold in partial values: the same as `update`, except that counts are added."""
        if self.op != COUNT:
            self.update(groups, count, column, complete)
            return
        cdef const int32_t* g = _numbers(groups)
        cdef int64_t n = len(groups)
        cdef Column c = view(column)
        self._resize(count)
        with nogil:
            fold_whole(c, g, n, SUM, False, self.small, self.seen)

    cdef int _sparse(self) except -1:
        if self.dense:
            self.dense = False
            self.seen.resize(self.size)
            start_seen(self.seen, self.size)
        return 0

    def fit(self, int64_t start, int64_t most, int64_t limit):
        """How many of at most `most` groups from `start` on have values of no more than `limit` bytes of text."""
        return self.texts.fit(start, most, limit) if self.form == TEXT else most

    def result(self, type_, int64_t count, int64_t start=0):
        """The values of the groups start .. count as an array of `type_`, NULL where nothing was folded. OverflowError past
        38 digits."""
        cdef int64_t n = count - start, nulls = 0
        cdef int width
        cdef uint8_t* out
        t = pa.types
        if self.size < count:
            if self.op != COUNT:
                self._sparse()
            self._resize(count)
        validity = None
        if not self.dense:
            validity = pa.allocate_buffer((n + 7) // 8)
            nulls = bitmap_of(self.seen, start, n, <uint8_t*><uintptr_t>validity.address)
            if nulls == 0:
                validity = None
        if self.form == TEXT:
            offsets = pa.allocate_buffer(4 * (n + 1))
            data = pa.allocate_buffer(self.texts.length(start, n))
            out = <uint8_t*><uintptr_t>data.address
            self.texts.copy(start, n, <int32_t*><uintptr_t>offsets.address, out)
            return pa.Array.from_buffers(type_, n, [validity, offsets, data], nulls)
        if self.form == FLOAT:
            data = pa.allocate_buffer(8 * n)
            out = <uint8_t*><uintptr_t>data.address
            narrow(self.floats, start, n, 8, out)
            if nulls:
                blank(self.seen, start, n, 8, out)
            values = pa.Array.from_buffers(pa.float64(), n, [validity, data], nulls)
            return values if type_ == pa.float64() else values.cast(type_)
        width = 1 if t.is_boolean(type_) else type_.bit_width // 8
        if t.is_decimal(type_) and self.form == WIDE and self.op == SUM and beyond(self.whole, start, n):
            raise OverflowError("sum")
        data = pa.allocate_buffer(width * n)
        out = <uint8_t*><uintptr_t>data.address
        if self.form == WIDE:
            narrow(self.whole, start, n, width, out)
        else:
            narrow(self.small, start, n, width, out)
        if nulls:
            blank(self.seen, start, n, width, out)
        if t.is_boolean(type_):
            return pa.Array.from_buffers(pa.int8(), n, [validity, data], nulls).cast(pa.bool_())
        return pa.Array.from_buffers(type_, n, [validity, data], nulls)

    def release(self, int64_t before):
        """Free the values of the groups before number `before`, which have been given out."""
        self.whole.release(before)
        self.small.release(before)
        self.floats.release(before)
        self.texts.release(before)
        self.seen.release(before)


cdef dict _KINDS = {"spread": 0, "shape": 1, "pair": 2, "exact": 3}


cdef class Moments:
    """What statistics of doubles are computed from, by group; the parts of a state by kind:

    `spread` count, mean, sum of squared deviations; `shape` the same and the sums of their cubes and fourth powers;
    `pair` (of columns y and x) count, means of y and of x, sums of the products yy, xx and xy of deviations;
    `exact` count, sum, what rounding took from the sum.
    """

    cdef MomentTable table

    def __init__(self, str kind="spread"):
        self.table.init(_KINDS[kind])

    @property
    def nbytes(self):
        return self.table.nbytes()

    def room(self, int64_t count, int64_t text_bytes):
        """Most bytes held once there are `count` groups."""
        return self.table.bytes_at(count)

    def update(self, groups, int64_t count, columns):
        """Fold float64 columns in; a row with a NULL in any does not count."""
        cdef const int32_t* g = _numbers(groups)
        cdef int64_t n = len(groups)
        cdef vector[Column] c = views(columns)
        self.table.resize(count)
        with nogil:
            self.table.add(c, g, n)

    def merge(self, groups, int64_t count, columns):
        """Fold in the parts of states."""
        cdef const int32_t* g = _numbers(groups)
        cdef int64_t n = len(groups)
        cdef vector[Column] c = views(columns)
        self.table.resize(count)
        with nogil:
            self.table.merge(c, g, n)

    def result(self, int64_t count, int64_t start=0):
        """The parts of the groups start .. count, a list of float64 arrays."""
        cdef int i
        self.table.resize(count)
        return [_doubles(self.table.p[i], start, count) for i in range(self.table.parts)]

    def release(self, int64_t before):
        """Free what is held for the groups before number `before`."""
        self.table.release(before)


cdef object _doubles(Chunked[double]& v, int64_t start, int64_t count):
    data = pa.allocate_buffer(8 * (count - start))
    narrow(v, start, count - start, 8, <uint8_t*><uintptr_t>data.address)
    return pa.DoubleArray.from_buffers(pa.float64(), count - start, [None, data])
