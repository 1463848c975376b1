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


cdef dict _known = {}  # id of a type without parameters that matter: (kind, width)


cdef tuple _form(object type_):
    """(kind, bytes of a value) of a type."""
    t = pa.types
    if t.is_null(type_):
        return _NULL, 0
    if t.is_boolean(type_):
        return _BOOL, 0
    if t.is_string(type_) or t.is_binary(type_):
        return _BYTES, 0
    width = type_.bit_width // 8
    if t.is_decimal(type_):
        if width != 16:
            raise TypeError(f"no kernel for {type_}")
        return _DECIMAL, width
    if t.is_fixed_size_binary(type_):
        if width != 16:
            raise TypeError(f"no kernel for {type_}")
        return _DECIMAL, width  # sixteen bytes as one value
    if t.is_floating(type_):
        return _FLOAT, width
    if t.is_unsigned_integer(type_):
        return _UINT, width
    if type_ == pa.month_day_nano_interval():
        return _INTERVAL, width
    return _INT, width  # integers, dates, times, timestamps, durations


def key_form(type_):
    """(kind, bytes of a value, bits in a packed key) of a key column; 0 bits where equal values may differ in their bytes
    or have no fixed size."""
    t = pa.types
    if t.is_dictionary(type_):
        type_ = type_.value_type
    if t.is_nested(type_):
        return _BYTES, 0, 0
    kind, width = _form(type_)
    if kind == _BOOL:
        return kind, width, 1
    if kind == _DECIMAL:
        if not t.is_decimal(type_):
            return kind, width, 128
        return kind, width, 32 if type_.precision <= 9 else 64 if type_.precision <= 18 else 128
    if kind in (_INT, _UINT) and width <= 8:
        return kind, width, 8 * width
    return kind, width, 0


cdef Column view(object array) except *:
    cdef Column c
    type_ = array.type
    form = _known.get(type_.id)
    if form is None:
        form = _form(type_)
        _known[type_.id] = form
    c.kind = form[0]
    c.width = form[1]
    c.valid = NULL
    c.data = NULL
    c.bytes = NULL
    c.offset = array.offset
    c.length = len(array)
    if c.kind == _NULL:
        return c
    buffers = array.buffers()
    if buffers[0] is not None and array.null_count:
        c.valid = <const uint8_t*><uintptr_t>buffers[0].address
    if buffers[1] is not None:
        c.data = <const uint8_t*><uintptr_t>buffers[1].address
    if c.kind == _BYTES and buffers[2] is not None:
        c.bytes = <const uint8_t*><uintptr_t>buffers[2].address
    return c


cdef vector[Column] views(object columns) except *:
    cdef vector[Column] result
    for column in columns:
        result.push_back(view(column))
    return result
