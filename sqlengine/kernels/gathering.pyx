# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Rows of several batches brought together in any order, without making one batch of them first."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uintptr_t
from libcpp.vector cimport vector

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.kernels.columns cimport Column, view

cdef extern from "gathering.h" nogil:
    cdef struct Places:
        const int32_t* which
        const int32_t* rows
        int64_t n
    void fixed1 "gather_fixed<1>"(const vector[const uint8_t*]& bases, const Places& p, uint8_t* out)
    void fixed2 "gather_fixed<2>"(const vector[const uint8_t*]& bases, const Places& p, uint8_t* out)
    void fixed4 "gather_fixed<4>"(const vector[const uint8_t*]& bases, const Places& p, uint8_t* out)
    void fixed8 "gather_fixed<8>"(const vector[const uint8_t*]& bases, const Places& p, uint8_t* out)
    void fixed16 "gather_fixed<16>"(const vector[const uint8_t*]& bases, const Places& p, uint8_t* out)
    int64_t gather_valid(const vector[Column]& cs, const Places& p, uint8_t* out)
    void gather_bits(const vector[Column]& cs, const Places& p, uint8_t* out)
    int64_t gather_offsets(const vector[Column]& cs, const Places& p, int32_t* out, const uint8_t** source)
    void gather_texts(const uint8_t** source, const int32_t* offsets, int64_t n, uint8_t* out)
    void c_locate "locate"(const uint32_t* numbers, int64_t n, const vector[int64_t]& firsts, int32_t* which, int32_t* rows)
    void c_cut "cut"(const vector[const int64_t*]& sizes, const Places& p, int64_t fixed, int64_t most, int64_t target, vector[int64_t]& ends)


cdef const int32_t* ints(array) except? NULL:
    return <const int32_t*><uintptr_t>array.buffers()[1].address + <int64_t>array.offset


cdef Places places(which, rows) except *:
    cdef Places p
    p.n = len(rows)
    p.rows = ints(rows) if p.n else NULL
    p.which = ints(which) if which is not None and p.n else NULL
    return p


def locate(numbers, firsts):
    """(int32 batch, int32 row in it) of row numbers (uint32) that run on over batches; `firsts`: the number of the first
    row of each batch, then the number of all rows."""
    cdef int64_t n = len(numbers)
    cdef vector[int64_t] f = firsts
    a = pa.allocate_buffer(4 * n)
    b = pa.allocate_buffer(4 * n)
    cdef const uint32_t* v = <const uint32_t*>ints(numbers) if n else NULL
    cdef int32_t* which = <int32_t*><uintptr_t>a.address
    cdef int32_t* rows = <int32_t*><uintptr_t>b.address
    with nogil:
        c_locate(v, n, f, which, rows)
    return pa.Int32Array.from_buffers(pa.int32(), n, [None, a]), pa.Int32Array.from_buffers(pa.int32(), n, [None, b])


def cut(sizes, which, rows, int64_t fixed, int64_t most, int64_t target):
    """Ends of pieces of these rows of at most `most` rows and about `target` bytes, at least one row each. `sizes`: for
    each batch the bytes of its rows (int64) beside the `fixed` ones that all rows have."""
    cdef vector[const int64_t*] s
    cdef vector[int64_t] ends
    cdef Places p = places(which, rows)
    for array in sizes:
        s.push_back(<const int64_t*><uintptr_t>array.buffers()[1].address + <int64_t>array.offset)
    with nogil:
        c_cut(s, p, fixed, most, target, ends)
    return ends


cdef class RowSource:
    """A batch whose rows are wanted: its columns as the kernel reads them, looked at once."""

    cdef readonly object batch
    cdef vector[Column] columns

    def __init__(self, batch):
        self.batch = batch
        cdef Column none
        none.kind = -1
        for column in batch.columns:
            if _has_view(column.type):
                self.columns.push_back(view(column))
            else:
                self.columns.push_back(none)


def gather_rows(sources, schema, which, rows):
    """A batch of rows of several batches: row `rows[i]` (int32) of `sources[which[i]]` (int32; None: of the only one). A
    negative row gives NULLs. Raises OverflowError where texts are too long together for one array."""
    cdef Places p = places(which, rows)
    cdef vector[Column] cs
    cdef int number
    cdef RowSource source
    columns = []
    for one in sources:
        if (<RowSource>one).columns.size() != len(schema):
            raise ValueError("rows of another schema")
    for number, field in enumerate(schema):
        if not _has_view(field.type):
            columns.append(_any_type([(<RowSource>one).batch.column(number) for one in sources], which, rows))
            continue
        cs.clear()
        for one in sources:
            source = one
            cs.push_back(source.columns[number])
        columns.append(_gathered(field.type, cs, p))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def gather(arrays, which, rows):
    """The same for arrays of one type."""
    if not _has_view(arrays[0].type):
        return _any_type(arrays, which, rows)
    cdef vector[Column] cs
    for array in arrays:
        cs.push_back(view(array))
    return _gathered(arrays[0].type, cs, places(which, rows))


cdef object _gathered(object type_, vector[Column]& cs, Places p):
    t = pa.types
    if t.is_null(type_):
        return pa.nulls(p.n)
    cdef vector[const uint8_t*] bases
    cdef bint maybe_null = False
    cdef int width = 0
    cdef size_t k
    for k in range(cs.size()):
        maybe_null = maybe_null or cs[k].valid != NULL
        if cs[k].data != NULL:
            bases.push_back(cs[k].data + cs[k].offset * cs[k].width)
        else:
            bases.push_back(NULL)
        width = cs[k].width
    cdef int64_t nulls = 0, i, total
    validity = None
    cdef uint8_t* bits
    if not maybe_null:
        with nogil:
            for i in range(p.n):
                if p.rows[i] < 0:
                    maybe_null = True
                    break
    if maybe_null:
        validity = pa.allocate_buffer((p.n + 7) // 8)
        bits = <uint8_t*><uintptr_t>validity.address
        with nogil:
            nulls = gather_valid(cs, p, bits)
        if nulls == 0:
            validity = None
    cdef uint8_t* out
    cdef vector[const uint8_t*] source
    cdef int32_t* offsets
    if t.is_string(type_) or t.is_binary(type_):
        starts = pa.allocate_buffer(4 * (p.n + 1))
        offsets = <int32_t*><uintptr_t>starts.address
        offsets[0] = 0
        source.resize(p.n)
        with nogil:
            total = gather_offsets(cs, p, offsets, source.data())
        if total > 2147483647:
            raise OverflowError("texts of more than 2 GiB in one batch")
        data = pa.allocate_buffer(total)
        out = <uint8_t*><uintptr_t>data.address
        with nogil:
            gather_texts(source.data(), offsets, p.n, out)
        return pa.Array.from_buffers(type_, p.n, [validity, starts, data], nulls)
    if t.is_boolean(type_):
        data = pa.allocate_buffer((p.n + 7) // 8)
        out = <uint8_t*><uintptr_t>data.address
        with nogil:
            gather_bits(cs, p, out)
        return pa.Array.from_buffers(type_, p.n, [validity, data], nulls)
    data = pa.allocate_buffer(p.n * width)
    out = <uint8_t*><uintptr_t>data.address
    with nogil:
        if width == 1:
            fixed1(bases, p, out)
        elif width == 2:
            fixed2(bases, p, out)
        elif width == 4:
            fixed4(bases, p, out)
        elif width == 8:
            fixed8(bases, p, out)
        else:
            fixed16(bases, p, out)
    return pa.Array.from_buffers(type_, p.n, [validity, data], nulls)


def _has_view(type_):
    t = pa.types
    if t.is_null(type_) or t.is_boolean(type_) or t.is_string(type_) or t.is_binary(type_):
        return True
    return not t.is_nested(type_) and not t.is_dictionary(type_) and _is_fixed(type_)


def _is_fixed(type_):
    try:
        return type_.bit_width in (8, 16, 32, 64, 128)
    except ValueError:
        return False


def _any_type(arrays, which, rows):
    """The same by Arrow's own `take`: the rows wanted of each array, one after the other, then in order."""
    missing = pc.less(rows, 0)
    if pc.any(missing).as_py():
        rows = pc.if_else(missing, pa.scalar(None, pa.int32()), rows)
    if which is None:
        return arrays[0].take(rows)
    parts = []
    chosen = []
    for number in pc.unique(which).to_pylist():
        here = pc.indices_nonzero(pc.equal(which, number))
        parts.append(arrays[number].take(rows.take(here)))
        chosen.append(here)
    if len(parts) == 1:
        return parts[0]
    order = pa.concat_arrays(chosen)
    return pa.concat_arrays(parts).take(pc.array_sort_indices(order))
