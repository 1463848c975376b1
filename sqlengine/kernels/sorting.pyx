# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Order of rows: keys as memcmp-comparable bytes, a stable sort of row numbers, and comparisons between sorted blocks."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view


cdef extern from "sort_keys.h" nogil:
    cdef cppclass KeyColumn:
        Column c
        cbool desc
        cbool nulls_first
    cdef cppclass KeyRows:
        vector[uint8_t] data
        vector[int64_t] ends
        void encode(const vector[KeyColumn]& keys, int64_t n)
        int compare(int64_t a, const KeyRows& other, int64_t b)
        void argsort(int32_t* out)


cdef class SortKeys:
    """The keys of the rows of a batch. `columns` are flat arrays of one length (nested keys: see `flat_key`)."""

    cdef KeyRows rows
    cdef readonly int64_t length

    def __init__(self, columns, descending, nulls_first):
        cdef vector[KeyColumn] keys
        cdef KeyColumn key
        kept = [flat_key(column) for column in columns]
        for column, desc, first in zip(kept, descending, nulls_first):
            key.c = view(column)
            key.desc = desc
            key.nulls_first = first
            keys.push_back(key)
        self.length = len(kept[0]) if kept else 0
        with nogil:
            self.rows.encode(keys, self.length)

    @property
    def nbytes(self):
        return self.rows.data.capacity() + 8 * self.rows.ends.capacity()

    def order(self):
        """int32 row numbers in sorted order; rows with equal keys keep their order."""
        buffer = pa.allocate_buffer(4 * self.length)
        cdef int32_t* out = <int32_t*><uintptr_t>buffer.address
        with nogil:
            self.rows.argsort(out)
        return pa.Int32Array.from_buffers(pa.int32(), self.length, [None, buffer])

    def compare(self, int64_t row, SortKeys other, int64_t other_row):
        """Negative, zero or positive, as the key of `row` is before, equal to or after that of `other_row`."""
        return self.rows.compare(row, other.rows, other_row)

    def upper_bound(self, SortKeys other, int64_t other_row):
        """How many rows of this (sorted) block have keys not after that of `other_row`."""
        cdef int64_t low = 0, high = self.length, middle
        with nogil:
            while low < high:
                middle = (low + high) // 2
                if self.rows.compare(middle, other.rows, other_row) <= 0:
                    low = middle + 1
                else:
                    high = middle
        return low

    def starts(self):
        """int32 numbers of the rows (sorted) at which a new key begins; row 0 is always one."""
        cdef vector[int32_t] found
        cdef int64_t i
        with nogil:
            for i in range(self.length):
                if i == 0 or self.rows.compare(i, self.rows, i - 1) != 0:
                    found.push_back(<int32_t>i)
        return pa.array([found[i] for i in range(<int64_t>found.size())], pa.int32())


def flat_key(array):
    """The array itself, or for nested types text that sorts much like the values."""
    if pa.types.is_nested(array.type):
        return pa.array([None if v is None else repr(v) for v in array.to_pylist()], pa.string())
    return array
