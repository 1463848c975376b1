# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Views of Arrow arrays for the kernels, and flattening of what has no view (nested types) to bytes."""

from libc.stdint cimport int64_t, uint8_t, uintptr_t

import pyarrow as pa

cdef int _NULL = 0, _BOOL = 1, _INT = 2, _UINT = 3, _FLOAT = 4, _DECIMAL = 5, _BYTES = 6, _INTERVAL = 7


def plain(array):
    """The array itself, or for nested types a binary array whose values are equal where the nested values are."""
    t = pa.types
    type_ = array.type
    if t.is_nested(type_):
        return pa.array([None if v is None else repr(v).encode() for v in array.to_pylist()], pa.binary())
    if t.is_dictionary(type_):
        return array.dictionary_decode()
    return array


cdef Column view(object array) except *:
    cdef Column c
    t = pa.types
    type_ = array.type
    c.valid = NULL
    c.data = NULL
    c.bytes = NULL
    c.offset = array.offset
    c.length = len(array)
    c.width = 0
    if t.is_null(type_):
        c.kind = _NULL
        return c
    buffers = array.buffers()
    if buffers[0] is not None and array.null_count:
        c.valid = <const uint8_t*><uintptr_t>buffers[0].address
    if buffers[1] is not None:
        c.data = <const uint8_t*><uintptr_t>buffers[1].address
    if t.is_boolean(type_):
        c.kind = _BOOL
    elif t.is_string(type_) or t.is_binary(type_):
        c.kind = _BYTES
        if buffers[2] is not None:
            c.bytes = <const uint8_t*><uintptr_t>buffers[2].address
    else:
        c.width = type_.bit_width // 8
        if t.is_decimal(type_):
            if c.width != 16:
                raise TypeError(f"no kernel for {type_}")
            c.kind = _DECIMAL
        elif t.is_floating(type_):
            c.kind = _FLOAT
        elif t.is_unsigned_integer(type_):
            c.kind = _UINT
        elif type_ == pa.month_day_nano_interval():
            c.kind = _INTERVAL
        else:
            c.kind = _INT  # integers, dates, times, timestamps, durations
    return c


cdef vector[Column] views(object columns) except *:
    cdef vector[Column] result
    for column in columns:
        result.push_back(view(column))
    return result
