# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""The table of a hash join over chunks of build rows, which stay where they are, and probing it a batch at a time."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, views
from sqlengine.kernels.columns import key_form, plain


cdef extern from "joining.h" nogil:
    cdef cppclass BuildRows:
        vector[int32_t] next
        vector[uint8_t] matched
        void init(const vector[int]& kinds, const vector[int]& bits, cbool null_equal)
        int64_t rows()
        void add(const vector[Column]& cols, int64_t n)
        void clear()
        int64_t table_bytes(int64_t n)
        int64_t nbytes()
        void finish(cbool marks) except +
        int64_t pairs_from(const vector[Column]& cols, int64_t n, int64_t& row, int64_t& build, int64_t limit, cbool outer, int32_t* left, int32_t* right)
        int64_t contains(const vector[Column]& cols, int64_t n, uint8_t* out)
        void mark_all(const vector[Column]& cols, int64_t n)
        int64_t marked(cbool value, int64_t& row, int64_t limit, int32_t* out)


cdef object _numbers(object buffer, int64_t n):
    if 4 * n < buffer.size:
        buffer.resize(4 * n)
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer])


cdef class JoinTable:
    """The rows of a build side by key. `null_equal`: NULL keys match each other, else rows with a NULL key match nothing.

    After `finish` several threads may probe."""

    cdef BuildRows build
    cdef list held  # the arrays that the table looks into

    def __init__(self, build_types, probe_types, cbool null_equal=False):
        cdef vector[int] kinds, bits
        self.held = []
        for mine, other in zip(build_types, probe_types, strict=True):
            kind, _, packed = key_form(mine)
            if mine != other:
                # Only decimals of one scale have the same bytes for equal values.
                same = pa.types.is_decimal(mine) and pa.types.is_decimal(other) and mine.scale == other.scale
                packed = max(packed, key_form(other)[2]) if same else 0
            kinds.push_back(kind)
            bits.push_back(packed)
        self.build.init(kinds, bits, null_equal)

    def add(self, columns):
        """Append build rows; their numbers go on from those before."""
        kept = [plain(column) for column in columns]
        if self.build.rows() + len(kept[0]) >= 1 << 31:
            raise OverflowError("a join table holds at most 2147483647 rows")
        self.held.append(kept)
        self.build.add(views(kept), len(kept[0]))

    def table_bytes(self, int64_t rows):
        """Bytes of a finished table over so many rows, apart from the rows themselves."""
        return self.build.table_bytes(rows)

    def finish(self, cbool marks):
        """Build the table; `marks`: build rows will be marked."""
        with nogil:
            self.build.finish(marks)

    def clear(self):
        """Forget all rows, before `finish`."""
        self.build.clear()
        self.held = []

    @property
    def nbytes(self):
        return self.build.nbytes()

    @property
    def rows(self):
        return self.build.rows()

    @property
    def unique(self):
        """Whether no key occurs twice among the build rows."""
        return self.build.next.empty()

    def pairs(self, columns, int64_t row, int64_t build, int64_t limit, cbool outer=False):
        """At most `limit` pairs of the probe rows from `row` on, starting with its match `build` (-1: its first): (int32 probe
        rows, int32 build rows, next row, next build). With `outer` probe rows without a match come with build row -1."""
        kept = [plain(column) for column in columns]
        cdef vector[Column] v = views(kept)
        cdef int64_t n = len(kept[0]), count
        if self.build.next.empty() and n - row < limit:
            limit = n - row
        a = pa.allocate_buffer(4 * limit, resizable=True)
        b = pa.allocate_buffer(4 * limit, resizable=True)
        cdef int32_t* left = <int32_t*><uintptr_t>a.address
        cdef int32_t* right = <int32_t*><uintptr_t>b.address
        with nogil:
            count = self.build.pairs_from(v, n, row, build, limit, outer, left, right)
        return _numbers(a, count), _numbers(b, count), row, build

    def contains(self, columns):
        """(booleans: which probe rows have a match, how many have)."""
        kept = [plain(column) for column in columns]
        cdef vector[Column] v = views(kept)
        cdef int64_t n = len(kept[0]), count
        buffer = pa.allocate_buffer((n + 7) // 8)
        cdef uint8_t* out = <uint8_t*><uintptr_t>buffer.address
        with nogil:
            count = self.build.contains(v, n, out)
        return pa.BooleanArray.from_buffers(pa.bool_(), n, [None, buffer]), count

    def mark_matches(self, columns):
        """Mark every build row that has the key of a probe row."""
        kept = [plain(column) for column in columns]
        cdef vector[Column] v = views(kept)
        cdef int64_t n = len(kept[0])
        with nogil:
            self.build.mark_all(v, n)

    def mark(self, build_rows):
        """Remember that these build rows have a match; negative numbers are none."""
        cdef const int32_t* r = (<const int32_t*><uintptr_t>build_rows.buffers()[1].address) + <Py_ssize_t>build_rows.offset
        cdef int64_t n = len(build_rows), i
        with nogil:
            for i in range(n):
                if r[i] >= 0:
                    self.build.matched[r[i]] = 1

    def marked(self, cbool value, int64_t row, int64_t limit):
        """(int32 numbers of at most `limit` build rows from `row` on that have, or have not, a match; where to go on)."""
        buffer = pa.allocate_buffer(4 * limit, resizable=True)
        cdef int32_t* out = <int32_t*><uintptr_t>buffer.address
        cdef int64_t count
        with nogil:
            count = self.build.marked(value, row, limit, out)
        return _numbers(buffer, count), row
