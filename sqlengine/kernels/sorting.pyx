# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Order of rows: keys as memcmp-comparable bytes, a stable sort of row numbers, and comparisons between sorted blocks."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uintptr_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from cpython.bytes cimport PyBytes_FromStringAndSize

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view


cdef extern from "sort_keys.h" nogil:
    cdef cppclass Chunks:
        void add(const KeyRows* keys)
        int64_t total()
    cdef cppclass RowSort:
        RowSort(const Chunks& chunks)
        void run(uint32_t* out, int threads) except +
    cdef cppclass RowMerge:
        vector[int64_t] at
        RowMerge(const vector[const KeyRows*]& blocks, const vector[int64_t]& starts)
        void run(int64_t limit, vector[int32_t]& which, vector[int32_t]& rows) except +


cdef numbers(vector[int32_t]& found):
    cdef int64_t n = found.size()
    buffer = pa.allocate_buffer(4 * n)
    if n:
        memcpy(<void*><uintptr_t>buffer.address, found.data(), 4 * n)
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer])


cdef class SortKeys:
    """The keys of the rows of a batch. `columns` are flat arrays of one length (nested keys: see `flat_key`)."""

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
        return self.rows.nbytes()

    def order(self):
        """int32 row numbers in sorted order; rows with equal keys keep their order."""
        return sorted_rows([self], 1).view(pa.int32())

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

    def lower_bound(self, SortKeys other, int64_t other_row):
        """How many rows of this (sorted) block have keys before that of `other_row`."""
        cdef int64_t low = 0, high = self.length, middle
        with nogil:
            while low < high:
                middle = (low + high) // 2
                if self.rows.compare(middle, other.rows, other_row) < 0:
                    low = middle + 1
                else:
                    high = middle
        return low

    def before(self, SortKeys other, int64_t other_row):
        """int32 numbers of the rows (in any order) whose keys are before that of `other_row`."""
        cdef vector[int32_t] found
        cdef int64_t i
        with nogil:
            for i in range(self.length):
                if self.rows.compare(i, other.rows, other_row) < 0:
                    found.push_back(<int32_t>i)
        return numbers(found)

    def search(self, SortKeys targets, first, end, cbool after):
        """int64: for each target the first row in [first, end) (int64 arrays; sorted within) whose key is not before the
        target's, or with `after` the first whose key is after it; `end` if there is none."""
        cdef int64_t n = targets.length, i, low, high, middle
        cdef int c
        cdef const int64_t* f = <const int64_t*><uintptr_t>first.buffers()[1].address + <int64_t>first.offset
        cdef const int64_t* e = <const int64_t*><uintptr_t>end.buffers()[1].address + <int64_t>end.offset
        buffer = pa.allocate_buffer(8 * n)
        cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
        with nogil:
            for i in range(n):
                low = f[i]
                high = e[i]
                while low < high:
                    middle = (low + high) // 2
                    c = self.rows.compare(middle, targets.rows, i)
                    if c < 0 or (after and c == 0):
                        low = middle + 1
                    else:
                        high = middle
                out[i] = low
        return pa.Int64Array.from_buffers(pa.int64(), n, [None, buffer])

    def starts(self):
        """int32 numbers of the rows (sorted) at which a new key begins; row 0 is always one."""
        cdef vector[int32_t] found
        cdef int64_t i
        with nogil:
            for i in range(self.length):
                if i == 0 or self.rows.compare(i, self.rows, i - 1) != 0:
                    found.push_back(<int32_t>i)
        return numbers(found)

    def encoded(self):
        """The keys as a list of bytes objects, one per row."""
        cdef int64_t i
        result = []
        for i in range(self.length):
            result.append(PyBytes_FromStringAndSize(<const char*>self.rows.data + self.rows.begin(i), self.rows.length(i)))
        return result


def sorted_rows(keys, int threads):
    """uint32 row numbers, running on over the batches of `keys` (a list of SortKeys), in sorted order; rows with equal
    keys keep their order. Up to `threads` threads work on it."""
    cdef Chunks chunks
    for block in keys:
        chunks.add(&(<SortKeys>block).rows)
    cdef int64_t n = chunks.total()
    if n > 4294967295:
        raise OverflowError("more than 2^32 rows to sort at once")
    buffer = pa.allocate_buffer(4 * n)
    cdef uint32_t* out = <uint32_t*><uintptr_t>buffer.address
    cdef RowSort* sorter = new RowSort(chunks)
    try:
        with nogil:
            sorter.run(out, threads)
    finally:
        del sorter
    return pa.UInt32Array.from_buffers(pa.uint32(), n, [None, buffer])


def merged_rows(keys, starts, int64_t limit):
    """The next rows of a merge of sorted blocks: (int32 block, int32 row in it, where each block goes on). `keys` are the
    SortKeys of the blocks, `starts` where each goes on. Ends after `limit` rows or where a block is used up; equal keys
    come in the order of the blocks."""
    cdef vector[const KeyRows*] blocks
    cdef vector[int64_t] begin = starts
    cdef vector[int32_t] which, rows
    for block in keys:
        blocks.push_back(&(<SortKeys>block).rows)
    cdef RowMerge* merge = new RowMerge(blocks, begin)
    try:
        with nogil:
            merge.run(limit, which, rows)
        return numbers(which), numbers(rows), merge.at
    finally:
        del merge


def flat_key(array):
    """The array itself, or for nested types a binary array in the order of the values: element by element, a prefix
    first, NULL elements last."""
    t = pa.types
    type_ = array.type
    if t.is_dictionary(type_):
        return flat_key(array.dictionary_decode())
    if t.is_fixed_size_binary(type_) or t.is_large_string(type_) or t.is_large_binary(type_):
        return array.cast(pa.binary())
    if t.is_struct(type_):
        # flatten() gives the fields with the validity of the struct applied; that of the struct itself is kept apart.
        fields = array.flatten()
        keys = SortKeys(fields, [False] * len(fields), [False] * len(fields)).encoded() if fields else [b""] * len(array)
        return _bytes(keys, array)
    if t.is_map(type_):
        array = array.cast(pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)])))
        type_ = array.type
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        if t.is_fixed_size_list(type_):
            array = array.cast(pa.list_(type_.value_type))
        items = SortKeys([array.values], [False], [False]).encoded() if len(array.values) else []
        offsets = array.offsets.to_pylist()
        # Each element is preceded by 1 and the list ended by 0, so that a shorter list comes first.
        keys = [
            b"".join([b"\1" + item for item in items[offsets[i]:offsets[i + 1]]]) + b"\0" for i in range(len(array))
        ]
        return _bytes(keys, array)
    return array


def _bytes(keys, array):
    return pa.array([key if valid else None for key, valid in zip(keys, array.is_valid().to_pylist())], pa.binary())
