# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Window functions over sorted rows: segments, the rows that functions pick, and sums over frames.

All arrays are int64 without NULLs unless said otherwise; frames are half-open ranges of row numbers, several per row when
rows are excluded from the middle.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view

cdef extern from *:
    """
    #include <vector>
    typedef __int128 wide;
    // An iterative segment tree: the sum of any range in O(log n), without the error of differences of running sums.
    template <class T> struct Sums {
        std::vector<T> tree; int64_t n;
        Sums(int64_t n_) : tree(2 * n_ + 2), n(n_) {}
        void build() { for (int64_t i = n - 1; i > 0; i--) tree[i] = tree[2 * i] + tree[2 * i + 1]; }
        T sum(int64_t l, int64_t r) const {
            T left = 0, right = 0;
            for (l += n, r += n; l < r; l >>= 1, r >>= 1) {
                if (l & 1) left = left + tree[l++];
                if (r & 1) right = tree[--r] + right;
            }
            return left + right;
        }
    };
    """
    ctypedef int wide "wide"
    cdef cppclass DoubleSums "Sums<double>":
        vector[double] tree
        DoubleSums(int64_t n) nogil
        void build() nogil
        double sum(int64_t l, int64_t r) nogil
    cdef cppclass WideSums "Sums<wide>":
        vector[wide] tree
        WideSums(int64_t n) nogil
        void build() nogil
        wide sum(int64_t l, int64_t r) nogil

cdef extern from "columns.h" nogil:
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


def frame_sums(values, frames):
    """Per row the sum of `values` over its frames. `values` without NULLs: float64 gives float64, decimal128(38, s) the
    same type. OverflowError is up to the caller: sums of 38 digits wrap only beyond 2^127."""
    cdef Column c = view(values)
    cdef int64_t n = c.length, i
    cdef vector[const int64_t*] s, e
    cdef DoubleSums* d
    cdef WideSums* w
    cdef double dv
    cdef wide wv
    cdef size_t k
    cdef double* doubles
    cdef wide* out
    for a, b in frames:
        s.push_back(longs(a))
        e.push_back(longs(b))
    if pa.types.is_floating(values.type):
        buffer = pa.allocate_buffer(8 * n)
        doubles = <double*><uintptr_t>buffer.address
        d = new DoubleSums(n)
        try:
            with nogil:
                for i in range(n):
                    d.tree[n + i] = read_float(c, i)
                d.build()
                for i in range(n):
                    dv = 0
                    for k in range(s.size()):
                        if s[k][i] < e[k][i]:
                            dv = dv + d.sum(s[k][i], e[k][i])
                    doubles[i] = dv
        finally:
            del d
        return pa.Array.from_buffers(values.type, n, [None, buffer])
    buffer = pa.allocate_buffer(16 * n)
    out = <wide*><uintptr_t>buffer.address
    w = new WideSums(n)
    try:
        with nogil:
            for i in range(n):
                w.tree[n + i] = read_decimal(c, i)
            w.build()
            for i in range(n):
                wv = 0
                for k in range(s.size()):
                    if s[k][i] < e[k][i]:
                        wv = wv + w.sum(s[k][i], e[k][i])
                out[i] = wv
    finally:
        del w
    return pa.Array.from_buffers(values.type, n, [None, buffer])


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
    return i, pa.array([row for row in rows], pa.int64()), pa.array([group for group in groups], pa.int32())


def pick(frames, counts, nth, backwards):
    """int64: per row the place (among the eligible rows, in order) of the `nth` (from 1) eligible row of its
    frames, counted from the end with `backwards`; -1 if there is none. `counts` as of `counts_before` for the eligible rows."""
    cdef vector[const int64_t*] s, e
    cdef const int64_t* before = longs(counts)
    cdef const int64_t* wanted = longs(nth)
    cdef int64_t n = len(nth), i, left, have, place
    cdef int k, count, at
    cdef bint reverse = backwards
    for a, b in frames:
        s.push_back(longs(a))
        e.push_back(longs(b))
    count = s.size()
    values = pa.allocate_buffer(8 * n)
    cdef int64_t* out = <int64_t*><uintptr_t>values.address
    with nogil:
        for i in range(n):
            left = wanted[i]
            place = -1
            if left >= 1:
                for k in range(count):
                    at = count - 1 - k if reverse else k
                    if s[at][i] >= e[at][i]:
                        continue
                    have = before[e[at][i]] - before[s[at][i]]
                    if left <= have:
                        place = before[e[at][i]] - left if reverse else before[s[at][i]] + left - 1
                        break
                    left -= have
            out[i] = place
    return pa.Int64Array.from_buffers(pa.int64(), n, [None, values])
