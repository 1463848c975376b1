# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Row numbers as flags, and the row numbers of a product of two ranges: what joins do between kernel and output."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memset

import pyarrow as pa


def row_flags(rows, int64_t count):
    """Booleans for `count` rows: which of them are in `rows` (int32, no NULLs, each below `count`)."""
    buffer = pa.allocate_buffer((count + 7) // 8)
    cdef uint8_t* out = <uint8_t*><uintptr_t>buffer.address
    cdef int64_t n = len(rows), i
    cdef const int32_t* r = NULL
    if n:
        r = (<const int32_t*><uintptr_t>rows.buffers()[1].address) + <Py_ssize_t>rows.offset
    with nogil:
        memset(out, 0, (count + 7) // 8)
        for i in range(n):
            out[r[i] >> 3] |= <uint8_t>(1 << (r[i] & 7))
    return pa.BooleanArray.from_buffers(pa.bool_(), count, [None, buffer])


def has_repeats(rows):
    """Whether some value occurs twice in `rows` (int32, no NULLs, not negative)."""
    cdef int64_t n = len(rows), i
    if n < 2:
        return False
    cdef const int32_t* r = (<const int32_t*><uintptr_t>rows.buffers()[1].address) + <Py_ssize_t>rows.offset
    cdef int32_t greatest = 0
    cdef bint found = False
    with nogil:
        for i in range(n):
            if r[i] > greatest:
                greatest = r[i]
    buffer = pa.allocate_buffer(greatest // 8 + 1)
    cdef uint8_t* seen = <uint8_t*><uintptr_t>buffer.address
    with nogil:
        memset(seen, 0, greatest // 8 + 1)
        for i in range(n):
            if seen[r[i] >> 3] & (1 << (r[i] & 7)):
                found = True
                break
            seen[r[i] >> 3] |= <uint8_t>(1 << (r[i] & 7))
    return bool(found)


def product_rows(int32_t left_start, int32_t left_count, int32_t right_start, int32_t right_count):
    """All pairs of two ranges of row numbers, the right one running faster: two int32 arrays."""
    cdef int64_t n = <int64_t>left_count * right_count, at = 0
    cdef int32_t i, j
    left = pa.allocate_buffer(4 * n)
    right = pa.allocate_buffer(4 * n)
    cdef int32_t* a = <int32_t*><uintptr_t>left.address
    cdef int32_t* b = <int32_t*><uintptr_t>right.address
    with nogil:
        for i in range(left_count):
            for j in range(right_count):
                a[at] = left_start + i
                b[at] = right_start + j
                at += 1
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, left]), pa.Int32Array.from_buffers(pa.int32(), n, [None, right])
