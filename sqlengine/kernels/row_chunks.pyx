# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Rows gathered by number from record batches that stay where they are: nothing is concatenated first."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.columns cimport Column, view


cdef extern from "row_chunks.h" nogil:
    int K_NULL, K_BOOL, K_BYTES
    cdef cppclass RowPlaces:
        int64_t rows()
        void add(int64_t n)
        void find(const int32_t* rows, int64_t n, int32_t* chunk, int32_t* place)
    void gather_fixed(const vector[Column]& cols, const int32_t* chunk, const int32_t* place, int64_t n, cbool negative, int width, uint8_t* out)
    void gather_bits(const vector[Column]& cols, const int32_t* chunk, const int32_t* place, int64_t n, uint8_t* out)
    int64_t gather_valid(const vector[Column]& cols, const int32_t* chunk, const int32_t* place, int64_t n, uint8_t* out)
    int64_t text_length(const vector[Column]& cols, const int32_t* chunk, const int32_t* place, int64_t n, int64_t limit, int64_t& count)
    void gather_text(const vector[Column]& cols, const int32_t* chunk, const int32_t* place, int64_t n, int32_t* offsets, uint8_t* out)
    cbool any_negative(const int32_t* rows, int64_t n)
    cbool is_identity(const int32_t* rows, int64_t n)


cdef cbool _has_view(type_):
    t = pa.types
    return not (t.is_nested(type_) or t.is_dictionary(type_) or t.is_large_string(type_) or t.is_large_binary(type_)
                or t.is_fixed_size_binary(type_) and type_.byte_width != 16 or t.is_decimal(type_) and type_.bit_width != 128)


cdef class Rows:
    """Record batches of one schema as chunks, their rows numbered through. Several threads may gather."""

    cdef readonly object schema
    cdef readonly list batches
    cdef RowPlaces places
    cdef vector[vector[Column]] columns  # views by column, then chunk
    cdef list seen                       # which columns have a view

    def __init__(self, schema):
        self.schema = schema
        self.batches = []
        self.seen = [_has_view(type_) for type_ in schema.types]
        self.columns.resize(len(self.seen))

    @property
    def rows(self):
        return self.places.rows()

    def add(self, batch):
        """Append a batch, which is held."""
        cdef int k
        self.batches.append(batch)
        self.places.add(batch.num_rows)
        for k in range(len(self.seen)):
            if self.seen[k]:
                self.columns[k].push_back(view(batch.column(k)))

    def clear(self):
        """Let go of the batches; no rows can be gathered after that."""
        self.batches = []

    def take(self, rows, names, int64_t limit=0):
        """The columns `names` of the rows numbered `rows` (int32, no NULLs; negative: a row of NULLs), as arrays.

        With `limit`, of as many of the first rows as have that many bytes of text in each column, at least one."""
        cdef int64_t n = len(rows), count = 0, nulls, total
        if n == 0:
            return [pa.array([], self.schema.field(name).type) for name in names]
        cdef const int32_t* r = (<const int32_t*><uintptr_t>rows.buffers()[1].address) + <Py_ssize_t>rows.offset
        cdef vector[int32_t] chunk, place
        cdef const int32_t* chunks = NULL
        cdef const int32_t* places = r
        cdef cbool negative = any_negative(r, n)
        cdef int k, kind, width
        if not self.batches:
            return [pa.nulls(n, self.schema.field(name).type) for name in names]
        if len(self.batches) > 1:
            with nogil:
                chunk.resize(n)
                place.resize(n)
                self.places.find(r, n, chunk.data(), place.data())
            chunks = chunk.data()
            places = place.data()
        numbers = [self.schema.get_field_index(name) for name in names]
        if limit:
            for k in numbers:
                if self.seen[k] and self.columns[k][0].kind == K_BYTES:
                    with nogil:
                        text_length(self.columns[k], chunks, places, n, limit, count)
                    n = count
        found = []
        for k in numbers:
            type_ = self.schema.field(k).type
            if not self.seen[k]:
                found.append(self._take_any(k, rows.slice(0, n)))
                continue
            kind = self.columns[k][0].kind
            width = self.columns[k][0].width
            if kind == K_NULL:
                found.append(pa.nulls(n, type_))
                continue
            validity = None
            nulls = 0
            if negative or self._may_be_null(k):
                validity = pa.allocate_buffer((n + 7) // 8)
                out = <uint8_t*><uintptr_t>validity.address
                with nogil:
                    nulls = gather_valid(self.columns[k], chunks, places, n, out)
                if nulls == 0:
                    validity = None
            if kind == K_BYTES:
                with nogil:
                    total = text_length(self.columns[k], chunks, places, n, <int64_t>1 << 62, count)
                if total >= 1 << 31:
                    raise OverflowError("text of more than 2 GiB in one batch")
                offsets = pa.allocate_buffer(4 * (n + 1))
                data = pa.allocate_buffer(total)
                out = <uint8_t*><uintptr_t>data.address
                starts = <int32_t*><uintptr_t>offsets.address
                with nogil:
                    gather_text(self.columns[k], chunks, places, n, starts, out)
                found.append(pa.Array.from_buffers(type_, n, [validity, offsets, data], nulls))
                continue
            data = pa.allocate_buffer((n + 7) // 8 if kind == K_BOOL else n * width)
            out = <uint8_t*><uintptr_t>data.address
            with nogil:
                if kind == K_BOOL:
                    gather_bits(self.columns[k], chunks, places, n, out)
                else:
                    gather_fixed(self.columns[k], chunks, places, n, negative, width, out)
            found.append(pa.Array.from_buffers(type_, n, [validity, data], nulls))
        return found

    cdef cbool _may_be_null(self, int k):
        cdef size_t i
        for i in range(self.columns[k].size()):
            if self.columns[k][i].valid != NULL:
                return True
        return False

    def _take_any(self, int k, rows):
        """A column of a type without a view: taken from each chunk, then brought into the order of `rows`."""
        type_ = self.schema.field(k).type
        if len(self.batches) == 1:
            wanted = pc.if_else(pc.less(rows, 0), pa.scalar(None, pa.int32()), rows)
            return self.batches[0].column(k).take(wanted)
        parts, positions = [], []
        start = 0
        for batch in self.batches:
            here = pc.and_(pc.greater_equal(rows, start), pc.less(rows, start + batch.num_rows))
            at = pc.indices_nonzero(here)
            if len(at):
                parts.append(batch.column(k).take(pc.subtract(rows.take(at), start)))
                positions.append(at)
            start += batch.num_rows
        none = pc.indices_nonzero(pc.less(rows, 0))
        if len(none):
            parts.append(pa.nulls(len(none), type_))
            positions.append(none)
        return pa.concat_arrays(parts).take(pc.sort_indices(pa.concat_arrays(positions)))


def all_rows(rows, int64_t n):
    """Whether `rows` (int32) are the numbers 0 .. n - 1 in order."""
    if len(rows) != n:
        return False
    cdef const int32_t* r = (<const int32_t*><uintptr_t>rows.buffers()[1].address) + <Py_ssize_t>rows.offset
    return bool(is_identity(r, n))
