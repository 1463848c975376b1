# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Window functions over sorted rows: segments, and the sums, extremes and tree nodes of frames.

All arrays are int64 without NULLs unless said otherwise; frames are half-open ranges of row numbers, several per row when
rows are excluded from the middle.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy, memset
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view
from sqlengine.kernels.sorting cimport KeyRows, SortKeys

cdef extern from "frames.h" nogil:
    ctypedef int wide "int128"
    cdef cppclass DoubleSums "Sums<double>":
        DoubleSums(int64_t n)
        vector[double] tree
        void build()
        double sum(int64_t l, int64_t r)
    cdef cppclass WideSums "Sums<int128>":
        WideSums(int64_t n)
        vector[wide] tree
        void build()
        wide sum(int64_t l, int64_t r)
    cdef cppclass Extremes:
        Extremes(const KeyRows& keys, const uint8_t* mask, int64_t mask_offset, cbool greatest)
        int64_t best(int64_t l, int64_t r)
        int64_t better(int64_t a, int64_t b)
    cdef cppclass TreeNodes:
        vector[vector[int32_t]] nodes
        vector[vector[int32_t]] queries
        TreeNodes(int levels)
        int64_t add(int64_t l, int64_t r, int32_t query)

cdef extern from "columns.h" nogil:
    cbool is_valid(const Column& c, int64_t row)
    int64_t read_int(const Column& c, int64_t row)
    double read_float(const Column& c, int64_t row)
    wide read_decimal(const Column& c, int64_t row)


cdef const int64_t* longs(array) except? NULL:
    return <const int64_t*><uintptr_t>array.buffers()[1].address + <int64_t>array.offset


def segments(starts, int64_t rows):
    """For each of `rows` rows the first row and the end of the segment it is in; `starts` (int32) are the first rows."""
    cdef const int32_t* s = <const int32_t*><uintptr_t>starts.buffers()[1].address + <int64_t>starts.offset
    cdef int64_t count = len(starts), i, row, end
    a = pa.allocate_buffer(8 * rows)
    b = pa.allocate_buffer(8 * rows)
    cdef int64_t* first = <int64_t*><uintptr_t>a.address
    cdef int64_t* last = <int64_t*><uintptr_t>b.address
    with nogil:
        for i in range(count):
            end = s[i + 1] if i + 1 < count else rows
            for row in range(s[i], end):
                first[row] = s[i]
                last[row] = end
    return (pa.Int64Array.from_buffers(pa.int64(), rows, [None, a]), pa.Int64Array.from_buffers(pa.int64(), rows, [None, b]))


def counts_before(mask):
    """For a boolean array (no NULLs) of n rows, n + 1 numbers: how many rows before each are true."""
    cdef Column c = view(mask)
    cdef int64_t n = c.length, i, total = 0
    buffer = pa.allocate_buffer(8 * (n + 1))
    cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
    with nogil:
        for i in range(n):
            out[i] = total
            total += (c.data[(c.offset + i) >> 3] >> ((c.offset + i) & 7)) & 1
        out[n] = total
    return pa.Int64Array.from_buffers(pa.int64(), n + 1, [None, buffer])


cdef class SumTree:
    """Sums of ranges of rows. `values`: float64 or decimal128 without NULLs, zero where `mask` (booleans without NULLs)
    is false. Not by differences of running sums: doubles would keep the error of what has left the range."""

    cdef DoubleSums* doubles
    cdef WideSums* wides
    cdef object type_
    cdef int64_t n
    cdef object counts
    cdef cbool built

    def __cinit__(self, values, mask):
        cdef Column c = view(values)
        cdef int64_t i
        self.type_ = values.type
        self.n = c.length
        self.counts = counts_before(mask)
        if pa.types.is_floating(values.type):
            self.doubles = new DoubleSums(self.n)
            with nogil:
                for i in range(self.n):
                    self.doubles.tree[self.n + i] = read_float(c, i)
        else:
            self.wides = new WideSums(self.n)
            with nogil:
                for i in range(self.n):
                    self.wides.tree[self.n + i] = read_decimal(c, i)

    def __dealloc__(self):
        del self.doubles
        del self.wides

    def query(self, starts, ends):
        """(sum or NULL where no row counts, int64 rows that count) for each range [start, end) of rows; int64 without
        NULLs. A range that goes on from the one before costs only its new rows."""
        cdef int64_t m = len(starts), i, j, low, high, last_low = -1, last_high = -1
        cdef const int64_t* s = longs(starts) if m else NULL
        cdef const int64_t* e = longs(ends) if m else NULL
        cdef const int64_t* before = longs(self.counts)
        cdef double dv = 0
        cdef wide wv = 0
        if not self.built:
            with nogil:
                if self.doubles != NULL:
                    self.doubles.build()
                else:
                    self.wides.build()
            self.built = True
        counted = pa.allocate_buffer(8 * m)
        bits = pa.allocate_buffer((m + 7) // 8)
        summed = pa.allocate_buffer((8 if self.doubles != NULL else 16) * m)
        cdef int64_t* counts = <int64_t*><uintptr_t>counted.address
        cdef uint8_t* valid = <uint8_t*><uintptr_t>bits.address
        cdef double* doubles = <double*><uintptr_t>summed.address
        cdef wide* wides = <wide*><uintptr_t>summed.address
        with nogil:
            memset(valid, 0, (m + 7) // 8)
            for i in range(m):
                low = s[i]
                high = e[i]
                if low >= high:
                    counts[i] = 0
                    if self.doubles != NULL:
                        doubles[i] = 0
                    else:
                        wides[i] = 0
                    continue
                counts[i] = before[high] - before[low]
                if counts[i]:
                    valid[i >> 3] |= <uint8_t>(1 << (i & 7))
                if low == last_low and high >= last_high and high - last_high <= 32:
                    for j in range(last_high, high):
                        if self.doubles != NULL:
                            dv = dv + self.doubles.tree[self.n + j]
                        else:
                            wv = wv + self.wides.tree[self.n + j]
                elif self.doubles != NULL:
                    dv = self.doubles.sum(low, high)
                else:
                    wv = self.wides.sum(low, high)
                last_low = low
                last_high = high
                if self.doubles != NULL:
                    doubles[i] = dv
                else:
                    wides[i] = wv
        sums = pa.Array.from_buffers(self.type_, m, [bits, summed])
        return sums, pa.Int64Array.from_buffers(pa.int64(), m, [None, counted])


cdef class ExtremeTree:
    """The rows with the least (or `greatest`) key of ranges of rows, of those where `mask` (booleans without NULLs) is true; the first
    of equals."""

    cdef Extremes* tree
    cdef object kept

    def __cinit__(self, SortKeys keys, mask, cbool greatest):
        cdef Column c = view(mask)
        self.kept = (keys, mask)
        self.tree = new Extremes(keys.rows, c.data, c.offset, greatest)

    def __dealloc__(self):
        del self.tree

    def query(self, starts, ends):
        """int64 row of each range, -1 where there is none."""
        cdef int64_t m = len(starts), i, low, high, last_low = -1, last_high = -1, best = -1
        cdef const int64_t* s = longs(starts) if m else NULL
        cdef const int64_t* e = longs(ends) if m else NULL
        buffer = pa.allocate_buffer(8 * m)
        cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
        with nogil:
            for i in range(m):
                low = s[i]
                high = e[i]
                if low >= high:
                    out[i] = -1
                    continue
                if low == last_low and high >= last_high:
                    if high > last_high:
                        best = self.tree.better(best, self.tree.best(last_high, high))
                else:
                    best = self.tree.best(low, high)
                last_low = low
                last_high = high
                out[i] = best
        return pa.Int64Array.from_buffers(pa.int64(), m, [None, buffer])


def tree_nodes(starts, ends, int levels, int64_t first, int64_t limit):
    """Which nodes of a tree of 16 children each make up ranges of leaves (int64): (the query after the last one, and per level
    int32 nodes with the int32 number of their query counted from `first`), of queries from `first` on, at least one and until about
    `limit` nodes."""
    cdef const int64_t* s = longs(starts)
    cdef const int64_t* e = longs(ends)
    cdef int64_t m = len(starts), i = first, total = 0
    cdef TreeNodes* found = new TreeNodes(levels)
    try:
        with nogil:
            while i < m and (i == first or total < limit):
                total += found.add(s[i], e[i], <int32_t>(i - first))
                i += 1
        return i, [(int32s(found.nodes[k]), int32s(found.queries[k])) for k in range(levels)]
    finally:
        del found


cdef int32s(vector[int32_t]& found):
    cdef int64_t n = found.size()
    buffer = pa.allocate_buffer(4 * n)
    if n:
        memcpy(<void*><uintptr_t>buffer.address, found.data(), 4 * n)
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer])


cdef int64s(vector[int64_t]& found):
    cdef int64_t n = found.size()
    buffer = pa.allocate_buffer(8 * n)
    if n:
        memcpy(<void*><uintptr_t>buffer.address, found.data(), 8 * n)
    return pa.Int64Array.from_buffers(pa.int64(), n, [None, buffer])


def places_of(positions, firsts):
    """(int32 page, int32 row in it) of row numbers (int64, NULL: row -1 of page 0) that run on over pages; `firsts`: the
    number of the first row of each page, then that of all rows."""
    cdef Column c = view(positions)
    cdef vector[int64_t] f = firsts
    cdef int64_t n = c.length, i, p
    cdef int64_t pages = f.size() - 1, at = 0, low, high, middle
    a = pa.allocate_buffer(4 * n)
    b = pa.allocate_buffer(4 * n)
    cdef int32_t* which = <int32_t*><uintptr_t>a.address
    cdef int32_t* rows = <int32_t*><uintptr_t>b.address
    with nogil:
        for i in range(n):
            if not is_valid(c, i):
                which[i] = 0
                rows[i] = -1
                continue
            p = read_int(c, i)
            if not (f[at] <= p < f[at + 1]):
                low = 0
                high = pages - 1
                while low < high:
                    middle = (low + high + 1) // 2
                    if f[middle] <= p:
                        low = middle
                    else:
                        high = middle - 1
                at = low
            which[i] = <int32_t>at
            rows[i] = <int32_t>(p - f[at])
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, a]), pa.Int32Array.from_buffers(pa.int32(), n, [None, b])


def running_numbers(marks):
    """int64: for booleans (no NULLs) of n rows how many are true up to and with each, less one."""
    cdef Column c = view(marks)
    cdef int64_t n = c.length, i, total = -1
    buffer = pa.allocate_buffer(8 * n)
    cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
    with nogil:
        for i in range(n):
            total += (c.data[(c.offset + i) >> 3] >> ((c.offset + i) & 7)) & 1
            out[i] = total
    return pa.Int64Array.from_buffers(pa.int64(), n, [None, buffer])


def expand(frames, int64_t start, int64_t limit):
    """Rows of the frames of the rows from `start` on, at least one row's and about `limit` rows: (end, int64 rows, int32
    numbers of the row they are for, counted from `start`)."""
    cdef vector[const int64_t*] s, e
    cdef vector[int64_t] rows
    cdef vector[int32_t] groups
    cdef int64_t n = 0, i, j
    cdef size_t k
    for a, b in frames:
        s.push_back(longs(a))
        e.push_back(longs(b))
        n = len(a)
    i = start
    with nogil:
        while i < n and (i == start or <int64_t>rows.size() < limit):
            for k in range(s.size()):
                for j in range(s[k][i], e[k][i]):
                    rows.push_back(j)
                    groups.push_back(<int32_t>(i - start))
            i += 1
    return i, int64s(rows), int32s(groups)
