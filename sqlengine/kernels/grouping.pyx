# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Group numbers of rows: a hash table of distinct keys, from which the keys are read back by ranges of groups."""

from cpython.ref cimport Py_REFCNT
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy, memset
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, views
from sqlengine.kernels.columns import key_form, plain


cdef extern from "grouping.h" nogil:
    int K_NULL, K_BOOL, K_BYTES
    cdef cppclass RowTable:
        int64_t groups
        vector[int] widths
        void init(const vector[int]& kinds, const vector[int]& bits)
        void clear()
        int64_t nbytes()
        int64_t room(int64_t more, int64_t bytes)
        void lookup(const vector[Column]& cols, int64_t n, cbool insert, int32_t* gids, vector[int32_t]& fresh) except +
        int64_t fixed_keys(int k, int kind, int width, int64_t start, int64_t n, uint8_t* out, uint8_t* valid)
        int64_t text_bytes(int k, int64_t start, int64_t n)
        int64_t text_keys(int k, int64_t start, int64_t n, int32_t* offsets, uint8_t* out, uint8_t* valid)
        void release(int64_t before)
        void seal()


cdef object _int32(vector[int32_t]& values):
    cdef Py_ssize_t n = values.size()
    buffer = pa.allocate_buffer(4 * n)
    if n:
        memcpy(<void*><uintptr_t>buffer.address, values.data(), 4 * n)
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer])


cdef object _bitmap(const uint8_t* flags, int64_t n):
    buffer = pa.allocate_buffer((n + 7) // 8)
    cdef uint8_t* out = <uint8_t*><uintptr_t>buffer.address
    cdef int64_t i
    with nogil:
        memset(out, 0, (n + 7) // 8)
        for i in range(n):
            out[i >> 3] |= <uint8_t>(flags[i] << (i & 7))
    return buffer


cdef class GroupTable:
    """Distinct rows of key columns of the given types; NULLs are equal to each other.

    A column whose type is nested is compared by a text of its values; only the caller can give such keys back.
    """

    cdef RowTable table
    cdef list types
    cdef vector[int] kinds
    cdef object spare  # the last array of group numbers: its memory is used again when nobody holds it

    def __init__(self, types):
        cdef vector[int] bits
        self.types = list(types)
        for type_ in self.types:
            kind, width, packed = key_form(type_)
            self.kinds.push_back(kind)
            bits.push_back(packed)
            self.table.widths.push_back(-1 if kind == K_BYTES else 1 if kind == K_BOOL else width)
        self.table.init(self.kinds, bits)

    @property
    def groups(self):
        return self.table.groups

    @property
    def nbytes(self):
        return self.table.nbytes() + self._spare_bytes()

    cdef int64_t _spare_bytes(self):
        return 0 if self.spare is None else self.spare.buffers()[1].size

    def room(self, int64_t rows, int64_t text_bytes):
        """Most bytes that `rows` more rows, with `text_bytes` of text in their keys, can add while they are looked up."""
        cdef int64_t numbers = 4 * rows - self._spare_bytes()
        return self.table.room(rows, text_bytes) + 10 * rows + (numbers if numbers > 0 else 0)

    def lookup(self, columns):
        """(int32 group number of each row, int32 row numbers at which new groups appeared, in order of their numbers).

        The first array is overwritten by the next lookup once the caller has dropped it: hold copies, not slices of it."""
        kept = [plain(column) for column in columns]
        cdef vector[Column] v = views(kept)
        cdef int64_t n = len(kept[0])
        cdef vector[int32_t] fresh
        spare, self.spare = self.spare, None
        if spare is not None and Py_REFCNT(spare) == 1 and spare.buffers()[1].size >= 4 * n:
            buffer = spare.buffers()[1]
        else:
            buffer = pa.allocate_buffer(4 * n)
        spare = None
        cdef int32_t* gids = <int32_t*><uintptr_t>buffer.address
        with nogil:
            self.table.lookup(v, n, True, gids, fresh)
        self.spare = pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer])
        return self.spare, _int32(fresh)

    def seal(self):
        """No more lookups, only `keys`."""
        self.table.seal()
        self.spare = None

    def keys(self, int column, int64_t start, int64_t n):
        """The key column of the groups start .. start + n."""
        type_ = self.types[column]
        cdef int kind = self.kinds[column], width = self.table.widths[column]
        cdef vector[uint8_t] valid
        cdef int64_t nulls
        if kind == K_NULL:
            return pa.nulls(n, type_)
        valid.resize(n)
        cdef uint8_t* out
        cdef int32_t* offsets
        if kind == K_BYTES:
            starts = pa.allocate_buffer(4 * (n + 1))
            data = pa.allocate_buffer(self.table.text_bytes(column, start, n))
            offsets = <int32_t*><uintptr_t>starts.address
            out = <uint8_t*><uintptr_t>data.address
            with nogil:
                nulls = self.table.text_keys(column, start, n, offsets, out, valid.data())
            buffers = [None if nulls == 0 else _bitmap(valid.data(), n), starts, data]
            return pa.Array.from_buffers(type_, n, buffers, nulls)
        size = (n + 7) // 8 if kind == K_BOOL else n * width
        data = pa.allocate_buffer(size)
        out = <uint8_t*><uintptr_t>data.address
        if kind == K_BOOL:
            memset(out, 0, (n + 7) // 8)
        with nogil:
            nulls = self.table.fixed_keys(column, kind, width, start, n, out, valid.data())
        return pa.Array.from_buffers(type_, n, [None if nulls == 0 else _bitmap(valid.data(), n), data], nulls)

    def fit(self, int64_t start, int64_t most, int64_t limit):
        """How many of at most `most` groups from `start` on have keys of no more than `limit` bytes of text (at least one)."""
        cdef int64_t total
        cdef int k
        for k in range(<int>self.kinds.size()):
            if self.kinds[k] != K_BYTES:
                continue
            while most > 1:
                with nogil:
                    total = self.table.text_bytes(k, start, most)
                if total <= limit:
                    break
                most //= 2
        return most

    def release(self, int64_t before):
        """Free the keys of the groups before number `before`; lookups are no longer possible."""
        self.table.release(before)

    def clear(self):
        """Forget all groups."""
        self.table.clear()
