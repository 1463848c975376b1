# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Rows as lines of text, for CSV and JSON: one pass over texts and whole numbers, quoting and escaping on the way."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libcpp.string cimport string
from libcpp.vector cimport vector

import pyarrow as pa

cdef extern from "text_lines.h" nogil:
    cdef cppclass Cell:
        int kind
        int width
        const uint8_t* valid
        const uint8_t* data
        const uint8_t* bytes
        int64_t offset
        string before
    cdef cppclass LineStyle:
        string null
        string after
        string quote
        string escape
        string special
    cdef cppclass Lines:
        uint8_t* data
        int64_t size
        void write(const vector[Cell]& cells, const LineStyle& style, int64_t rows, vector[int64_t]& ends) except +

RAW = 0
QUOTE_IF_NEEDED = 1
QUOTE_ALWAYS = 2
JSON_TEXT = 3
_MOST = (1 << 31) - 1


cdef const uint8_t* address(buffer):
    return <const uint8_t*><uintptr_t>buffer.address if buffer is not None else NULL


cdef Cell cell(array, int kind, bytes before) except *:
    cdef Cell made
    if not pa.types.is_string(array.type) and not pa.types.is_integer(array.type):
        raise TypeError(f"texts and whole numbers only, not {array.type}")
    cdef list buffers = array.buffers()
    made.kind = kind
    made.width = 0
    made.offset = array.offset
    made.before = before
    made.valid = address(buffers[0])
    made.data = address(buffers[1])
    made.bytes = NULL
    if pa.types.is_string(array.type):
        made.bytes = address(buffers[2])
    else:
        made.kind = 4
        made.width = array.type.bit_width // 8
        if pa.types.is_unsigned_integer(array.type):
            made.width = -made.width
    return made


def lines(columns, kinds, before, int64_t rows, *, bytes null, bytes after, bytes quote=b'"', bytes escape=b'"', bytes special=b""):
    """A text for each of `rows` rows: of each column the bytes in `before`, then the value as its kind says (or `null`),
    then `after`. OverflowError when all together are longer than an array of texts can be."""
    cdef vector[Cell] cells
    cdef LineStyle style
    cdef Lines out
    cdef vector[int64_t] ends
    cdef int64_t i
    for array, kind, text in zip(columns, kinds, before, strict=True):
        if len(array) != rows:
            raise ValueError("columns of different lengths")
        cells.push_back(cell(array, kind, text))
    style.null, style.after, style.quote, style.escape, style.special = null, after, quote, escape, special
    ends.resize(rows)
    with nogil:
        out.write(cells, style, rows, ends)
    if out.size > _MOST:
        raise OverflowError("the lines are longer than 2 GiB")
    offsets = pa.allocate_buffer(4 * (rows + 1))
    cdef int32_t* o = <int32_t*><uintptr_t>offsets.address
    o[0] = 0
    for i in range(rows):
        o[i + 1] = <int32_t>ends[i]
    text = pa.py_buffer((<char*>out.data)[:out.size] if out.size else b"")
    return pa.StringArray.from_buffers(rows, offsets, text)
