# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Places of list elements: runs of numbers, the first hit of each list, columns woven into lists.

Arguments are int64 arrays without NULLs.
"""

from libc.stdint cimport int64_t, uint8_t, uintptr_t

import pyarrow as pa


cdef const int64_t* _numbers(array) except? NULL:
    return <const int64_t*><uintptr_t>((<object>array.buffers()[1]).address + 8 * array.offset)


def spans(starts, counts, steps):
    """starts[i], starts[i] + steps[i], ... counts[i] of them, for all i one after the other."""
    cdef int64_t n = len(starts), total = 0, i, k, value, at = 0
    if n == 0:
        return pa.array([], pa.int64())
    cdef const int64_t* first = _numbers(starts)
    cdef const int64_t* count = _numbers(counts)
    cdef const int64_t* step = _numbers(steps)
    for i in range(n):
        total += count[i]
    buffer = pa.allocate_buffer(8 * total)
    cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
    with nogil:
        for i in range(n):
            value = first[i]
            for k in range(count[i]):
                out[at] = value
                value += step[i]
                at += 1
    return pa.Int64Array.from_buffers(pa.int64(), total, [None, buffer])


def first_hits(counts, mask):
    """For each list of counts[i] elements the place (from 0) of the first true element of `mask`, or -1."""
    mask = mask.cast(pa.uint8())
    cdef int64_t n = len(counts), i, k, at = 0, found
    buffer = pa.allocate_buffer(8 * n)
    if n == 0:
        return pa.array([], pa.int64())
    cdef const int64_t* count = _numbers(counts)
    cdef const uint8_t* hit = NULL
    if len(mask):
        hit = <const uint8_t*><uintptr_t>((<object>mask.buffers()[1]).address + mask.offset)
    cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
    with nogil:
        for i in range(n):
            found = -1
            for k in range(count[i]):
                if hit[at + k]:
                    found = k
                    break
            out[i] = found
            at += count[i]
    return pa.Int64Array.from_buffers(pa.int64(), n, [None, buffer])


def woven(int64_t rows, int64_t columns):
    """Places in `columns` columns of `rows` rows laid end to end, row by row."""
    cdef int64_t i, k
    buffer = pa.allocate_buffer(8 * rows * columns)
    cdef int64_t* out = <int64_t*><uintptr_t>buffer.address
    with nogil:
        for i in range(rows):
            for k in range(columns):
                out[i * columns + k] = k * rows + i
    return pa.Int64Array.from_buffers(pa.int64(), rows * columns, [None, buffer])
