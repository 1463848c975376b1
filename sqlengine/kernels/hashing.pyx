# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""A 64-bit hash of rows, the same in every process; equal values (0.0 and -0.0, NaN and NaN, NULL and NULL) hash equal."""

from libc.stdint cimport uint64_t, uintptr_t
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, hash_column, views
from sqlengine.kernels.columns import plain


def hash_columns(columns):
    """uint64 hashes of the rows of `columns` (arrays of one length)."""
    kept = [plain(column) for column in columns]
    cdef vector[Column] v = views(kept)
    cdef Py_ssize_t n = len(kept[0]), i
    buffer = pa.allocate_buffer(8 * n)
    cdef uint64_t* out = <uint64_t*><uintptr_t>buffer.address
    with nogil:
        for i in range(<Py_ssize_t>v.size()):
            hash_column(v[i], out, i == 0)
    return pa.UInt64Array.from_buffers(pa.uint64(), n, [None, buffer])
