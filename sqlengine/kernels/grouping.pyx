# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Group numbers of rows: a hash table of distinct keys, and of the build rows of a join by key."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy, memset
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view, views
from sqlengine.kernels.columns import plain


cdef extern from "columns.h" nogil:
    cbool is_valid(const Column& c, int64_t row)

cdef extern from "grouping.h" nogil:
    cdef cppclass RowTable:
        int64_t groups
        void init(cbool fixed, cbool single, int64_t stride)
        int64_t nbytes()
        void lookup(const vector[Column]& cols, int64_t n, cbool insert, int32_t* gids, vector[int32_t]& fresh)


cdef object _int32(vector[int32_t]& values):
    cdef Py_ssize_t n = values.size()
    buffer = pa.allocate_buffer(4 * n)
    if n:
        memcpy(<void*><uintptr_t>buffer.address, values.data(), 4 * n)
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer])


cdef class GroupTable:
    """Distinct rows of key columns of the given types; NULLs are equal to each other."""

    cdef RowTable table

    def __init__(self, types):
        cdef int64_t stride = (len(types) + 7) // 8
        fixed = True
        t = pa.types
        for type_ in types:
            if t.is_string(type_) or t.is_binary(type_) or t.is_nested(type_):
                fixed = False
            elif t.is_boolean(type_):
                stride += 1
            elif t.is_null(type_):
                pass
            elif t.is_decimal(type_) or type_ == pa.month_day_nano_interval():
                stride += 16
            else:
                stride += 8
        single = fixed and len(types) == 1 and stride <= 9 and not t.is_null(types[0])
        self.table.init(fixed, single, 8 if single else stride)

    @property
    def groups(self):
        return self.table.groups

    @property
    def nbytes(self):
        return self.table.nbytes()

    def lookup(self, columns):
        """(int32 group number of each row, int32 row numbers at which new groups appeared, in order of their numbers)."""
        return self._lookup(columns, True)

    def find(self, columns):
        """int32 group number of each row, -1 where the table has no such row."""
        return self._lookup(columns, False)[0]

    def _lookup(self, columns, cbool insert):
        kept = [plain(column) for column in columns]
        cdef vector[Column] v = views(kept)
        cdef int64_t n = len(kept[0])
        cdef vector[int32_t] fresh
        buffer = pa.allocate_buffer(4 * n)
        cdef int32_t* gids = <int32_t*><uintptr_t>buffer.address
        with nogil:
            self.table.lookup(v, n, insert, gids, fresh)
        return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer]), _int32(fresh)


cdef class JoinTable:
    """The rows of a build side by key. `null_equal`: NULL keys match each other, else rows with a NULL key match nothing."""

    cdef GroupTable keys
    cdef vector[int32_t] gids
    cdef vector[int64_t] starts
    cdef vector[int32_t] rows
    cdef vector[uint8_t] matched
    cdef cbool null_equal

    def __init__(self, types, cbool null_equal=False):
        self.keys = GroupTable(types)
        self.null_equal = null_equal

    def add(self, columns):
        """Append build rows; their numbers go on from those before."""
        cdef Py_ssize_t i, n = len(columns[0])
        cdef int32_t* g
        found, _ = self.keys.lookup(columns)
        g = <int32_t*><uintptr_t>found.buffers()[1].address
        cdef Py_ssize_t base = self.gids.size()
        self.gids.resize(base + n)
        memcpy(self.gids.data() + base, g, 4 * n)
        cdef Column c
        if not self.null_equal:
            for column in columns:
                if column.null_count:
                    c = view(plain(column))
                    with nogil:
                        for i in range(n):
                            if not is_valid(c, i):
                                self.gids[base + i] = -1

    def finish(self):
        """Order the rows by key; after this `find` and `expand` may be called from several threads."""
        cdef Py_ssize_t i, n = self.gids.size(), groups = self.keys.groups
        cdef int32_t g
        with nogil:
            self.starts.assign(groups + 2, 0)
            for i in range(n):
                if self.gids[i] >= 0:
                    self.starts[self.gids[i] + 2] += 1
            for i in range(groups + 1):
                self.starts[i + 1] += self.starts[i]
            self.rows.resize(self.starts[groups + 1])
            for i in range(n):
                g = self.gids[i]
                if g >= 0:
                    self.rows[self.starts[g + 1]] = <int32_t>i
                    self.starts[g + 1] += 1
            self.matched.assign(n, 0)
            self.gids.clear()
            self.gids.shrink_to_fit()

    @property
    def nbytes(self):
        return (self.keys.nbytes + 4 * self.gids.capacity() + 8 * self.starts.capacity() + 4 * self.rows.capacity()
                + self.matched.capacity())

    @property
    def build_rows(self):
        return max(self.matched.size(), self.gids.size())

    def find(self, columns):
        """int32 group of each probe row, -1 where it matches nothing. Several threads may."""
        return self.keys.find(columns)

    def expand(self, groups, int64_t start, int64_t limit, int64_t skip=0):
        """At most `limit` pairs of the probe rows from `start` on, without the first `skip` pairs of row `start`:
        (int32 probe rows, int32 build rows, next start, next skip)."""
        cdef const int32_t* g = (<const int32_t*><uintptr_t>groups.buffers()[1].address) + <Py_ssize_t>groups.offset
        cdef int64_t n = len(groups), i = start, j, end, room = limit
        cdef vector[int32_t] left, right
        with nogil:
            while i < n:
                if g[i] >= 0:
                    j = self.starts[g[i]] + skip
                    end = self.starts[g[i] + 1]
                    if end - j > room:
                        end = j + room
                        skip += room
                    else:
                        skip = 0
                    room -= end - j
                    while j < end:
                        left.push_back(<int32_t>i)
                        right.push_back(self.rows[j])
                        j += 1
                    if skip:
                        break
                i += 1
                if room <= 0:
                    break
        return _int32(left), _int32(right), i, skip

    def mark(self, build_rows):
        """Remember that these build rows have a match (several threads may)."""
        cdef const int32_t* r = (<const int32_t*><uintptr_t>build_rows.buffers()[1].address) + <Py_ssize_t>build_rows.offset
        cdef int64_t n = len(build_rows), i
        with nogil:
            for i in range(n):
                self.matched[r[i]] = 1

    def marked(self, cbool value):
        """int32 numbers of the build rows that have (or have not) a match."""
        cdef vector[int32_t] found
        cdef Py_ssize_t i
        cdef uint8_t want = 1 if value else 0
        with nogil:
            for i in range(<Py_ssize_t>self.matched.size()):
                if self.matched[i] == want:
                    found.push_back(<int32_t>i)
        return _int32(found)
