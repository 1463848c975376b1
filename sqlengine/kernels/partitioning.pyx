# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Rows ordered by partition, a counting sort on bits of their hash; each level uses bits independent of the others'."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libcpp.vector cimport vector

import pyarrow as pa


cdef extern from "columns.h" nogil:
    uint64_t mix(uint64_t x)


def partition(hashes, int count, int level=0):
    """(int32 row numbers grouped by partition, in input order within each; list of count + 1 offsets)."""
    cdef Py_ssize_t n = len(hashes), i
    cdef const uint64_t* h = (<const uint64_t*><uintptr_t>hashes.buffers()[1].address) + <Py_ssize_t>hashes.offset
    cdef uint64_t seed = <uint64_t>0x9E3779B97F4A7C15ULL * <uint64_t>(level + 1)
    cdef vector[uint32_t] part
    cdef vector[int64_t] start
    buffer = pa.allocate_buffer(4 * n)
    cdef int32_t* out = <int32_t*><uintptr_t>buffer.address
    cdef uint32_t p
    with nogil:
        part.resize(n)
        start.resize(count + 1)
        for i in range(n):
            # A full mix per level: products with different constants alone share their high bits, so that a partition
            # of one level would fall into a few partitions of the next.
            p = <uint32_t>(((mix(h[i] ^ seed) >> 32) * <uint64_t>count) >> 32)
            part[i] = p
            start[p + 1] += 1
        for i in range(count):
            start[i + 1] += start[i]
    offsets = [start[i] for i in range(count + 1)]
    with nogil:
        for i in range(n):
            out[start[part[i]]] = <int32_t>i
            start[part[i]] += 1
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, buffer]), offsets
