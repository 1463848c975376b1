# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Arithmetic, comparison and casts of decimal128 columns.

Arguments are decimal128 arrays or scalars (at least one an array). A result that has more digits than its type raises
`OutOfRange` with the number of the first such row; NULL rows never do.
"""

from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

import pyarrow as pa
import pyarrow.compute as pc


cdef extern from "decimals.h" nogil:
    ctypedef long long int128 "int128"
    cdef struct Operand:
        const uint8_t* data
        int64_t step
        int128 factor
    int128 power_of_ten(int n)
    int64_t narrow(int op, Operand a, Operand b, const uint8_t* valid, int128 bound, cbool check, uint8_t* out, int64_t n)
    int64_t wide(int op, Operand a, Operand b, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n)
    void compare_values(int op, cbool fits64, Operand a, Operand b, uint8_t* out, int64_t n)
    int64_t rescale_values(const uint8_t* data, cbool up, int digits, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n)
    int64_t to_int64_values(const uint8_t* data, int digits, const uint8_t* valid, int64_t low, int64_t high, int64_t* out, int64_t n)
    int64_t from_int64_values(const int64_t* data, cbool is_unsigned, int digits, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n)
    void to_double_values(const uint8_t* data, int scale, cbool fits64, double* out, int64_t n)
    int64_t from_double_values(const double* data, int scale, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n)
    cdef struct Step:
        int code
        const uint8_t* data
        int64_t factor
        int64_t left
        int64_t right
        int64_t bound
    int64_t run_program(const Step* steps, int count, const uint8_t* valid, uint8_t* out, int64_t n)
    void sign_values(const uint8_t* data, cbool absolute, uint8_t* out, int64_t n)


class OutOfRange(Exception):
    """A result does not fit its type; `row` is where."""

    def __init__(self, row):
        super().__init__(f"row {row}")
        self.row = row


cdef const uint8_t* _address(buffer, int64_t skip) except? NULL:
    if buffer is None:
        return NULL
    return <const uint8_t*><uintptr_t>(<object>buffer).address + skip


cdef object _array(value):
    # A column of one value, for constants.
    return pa.array([value.as_py()], value.type) if isinstance(value, pa.Scalar) else value


cdef Operand _operand(array, cbool constant, int digits) except *:
    cdef Operand o
    o.data = _address(array.buffers()[1], array.offset * 16)
    o.step = 0 if constant else 1
    o.factor = power_of_ten(digits)
    return o


cdef object _validity(arrays):
    """The bitmap (from bit 0) of the rows where all arrays have a value; None for all rows."""
    mask = None
    for array in arrays:
        if array.null_count:
            valid = array.is_valid()
            mask = valid if mask is None else pc.and_(mask, valid)
    return None if mask is None else mask.buffers()[1]


cdef object _made(type_, int64_t n, validity, data):
    return pa.Array.from_buffers(type_, n, [validity, data])


def _binary(int op, a, b, type_):
    cdef cbool fixed_a = isinstance(a, pa.Scalar), fixed_b = isinstance(b, pa.Scalar)
    cdef int64_t n = len(b) if fixed_a else len(a)
    if (fixed_a and not a.is_valid) or (fixed_b and not b.is_valid):
        return pa.nulls(n, type_)
    a, b = _array(a), _array(b)
    cdef int scale = max(a.type.scale, b.type.scale)
    cdef int pa_ = a.type.precision, pb = b.type.precision
    cdef cbool times = op == 2
    cdef Operand x = _operand(a, fixed_a, 0 if times else scale - a.type.scale)
    cdef Operand y = _operand(b, fixed_b, 0 if times else scale - b.type.scale)
    validity = _validity([v for v, fixed in ((a, fixed_a), (b, fixed_b)) if not fixed])
    out = pa.allocate_buffer(16 * n)
    cdef const uint8_t* valid = _address(validity, 0)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    cdef int128 bound = power_of_ten(type_.precision)
    cdef cbool small, check = times and pa_ + pb > type_.precision
    if times:
        small = pa_ <= 18 and pb <= 18 and type_.precision <= 18
    else:
        small = op < 2 and type_.precision <= 18 and max(pa_ - a.type.scale, pb - b.type.scale) + scale < type_.precision
    cdef int64_t bad
    if n:
        with nogil:
            bad = narrow(op, x, y, valid, bound, check, to, n) if small else wide(op, x, y, valid, bound, to, n)
        if bad >= 0:
            raise OutOfRange(bad)
    return _made(type_, n, validity, out)


def add(a, b, type_):
    return _binary(0, a, b, type_)


def subtract(a, b, type_):
    return _binary(1, a, b, type_)


def multiply(a, b, type_):
    return _binary(2, a, b, type_)


def modulo(a, b, type_):
    return _binary(3, a, b, type_)


def int_divide(a, b, type_):
    return _binary(4, a, b, type_)


def compare(str name, a, b):
    cdef int op = ("eq", "ne", "lt", "le", "gt", "ge").index(name)
    cdef cbool fixed_a = isinstance(a, pa.Scalar), fixed_b = isinstance(b, pa.Scalar)
    cdef int64_t n = len(b) if fixed_a else len(a)
    if (fixed_a and not a.is_valid) or (fixed_b and not b.is_valid):
        return pa.nulls(n, pa.bool_())
    cdef cbool fits64 = a.type.precision <= 18 and b.type.precision <= 18
    a, b = _array(a), _array(b)
    cdef Operand x = _operand(a, fixed_a, 0)
    cdef Operand y = _operand(b, fixed_b, 0)
    validity = _validity([v for v, fixed in ((a, fixed_a), (b, fixed_b)) if not fixed])
    out = pa.allocate_buffer((n + 7) // 8)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    with nogil:
        compare_values(op, fits64, x, y, to, n)
    return _made(pa.bool_(), n, validity, out)


def rescale(array, type_):
    cdef int64_t n = len(array), bad
    cdef int digits = type_.scale - array.type.scale
    validity = _validity([array])
    if digits == 0 and type_.precision >= array.type.precision:
        # The same digits under another name.
        return pa.Array.from_buffers(type_, n, array.buffers(), array.null_count, array.offset)
    out = pa.allocate_buffer(16 * n)
    cdef const uint8_t* valid = _address(validity, 0)
    cdef const uint8_t* data = _address(array.buffers()[1], array.offset * 16)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    cdef int128 bound = power_of_ten(type_.precision)
    cdef cbool up = digits > 0
    with nogil:
        bad = rescale_values(data, up, digits if up else -digits, valid, bound, to, n)
    if bad >= 0:
        raise OutOfRange(bad)
    return _made(type_, n, validity, out)


def to_int(array, type_):
    cdef int64_t n = len(array), bad, low, high
    cdef int bits = type_.bit_width
    if pa.types.is_unsigned_integer(type_) and bits == 64:
        raise TypeError("no kernel for UBIGINT")
    low = 0 if pa.types.is_unsigned_integer(type_) else -(<int64_t>1 << (bits - 2)) * 2
    high = (<int64_t>1 << bits) - 1 if pa.types.is_unsigned_integer(type_) else ((<int64_t>1 << (bits - 2)) - 1) * 2 + 1
    validity = _validity([array])
    out = pa.allocate_buffer(8 * n)
    cdef const uint8_t* valid = _address(validity, 0)
    cdef const uint8_t* data = _address(array.buffers()[1], array.offset * 16)
    cdef int64_t* to = <int64_t*><uintptr_t>out.address
    cdef int scale = array.type.scale
    with nogil:
        bad = to_int64_values(data, scale, valid, low, high, to, n)
    if bad >= 0:
        raise OutOfRange(bad)
    return _made(pa.int64(), n, validity, out).cast(type_)


def from_int(array, type_):
    cdef cbool is_unsigned = array.type == pa.uint64()
    if not is_unsigned:
        array = array.cast(pa.int64())
    cdef int64_t n = len(array), bad
    validity = _validity([array])
    out = pa.allocate_buffer(16 * n)
    cdef const uint8_t* valid = _address(validity, 0)
    cdef const int64_t* data = <const int64_t*>_address(array.buffers()[1], array.offset * 8)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    cdef int scale = type_.scale
    cdef int128 bound = power_of_ten(type_.precision)
    with nogil:
        bad = from_int64_values(data, is_unsigned, scale, valid, bound, to, n)
    if bad >= 0:
        raise OutOfRange(bad)
    return _made(type_, n, validity, out)


def to_double(array):
    cdef int64_t n = len(array)
    validity = _validity([array])
    out = pa.allocate_buffer(8 * n)
    cdef const uint8_t* data = _address(array.buffers()[1], array.offset * 16)
    cdef double* to = <double*><uintptr_t>out.address
    cdef int scale = array.type.scale
    cdef cbool fits64 = array.type.precision <= 18
    with nogil:
        to_double_values(data, scale, fits64, to, n)
    return _made(pa.float64(), n, validity, out)


def from_double(array, type_):
    array = array.cast(pa.float64())
    cdef int64_t n = len(array), bad
    validity = _validity([array])
    out = pa.allocate_buffer(16 * n)
    cdef const uint8_t* valid = _address(validity, 0)
    cdef const double* data = <const double*>_address(array.buffers()[1], array.offset * 8)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    cdef int scale = type_.scale
    cdef int128 bound = power_of_ten(type_.precision)
    with nogil:
        bad = from_double_values(data, scale, valid, bound, to, n)
    if bad >= 0:
        raise OutOfRange(bad)
    return _made(type_, n, validity, out)


def _signed(array, cbool absolute):
    cdef int64_t n = len(array)
    out = pa.allocate_buffer(16 * n)
    cdef const uint8_t* data = _address(array.buffers()[1], array.offset * 16)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    with nogil:
        sign_values(data, absolute, to, n)
    return _made(array.type, n, _validity([array]), out)


def negate(array):
    return _signed(array, False)


def absolute(array):
    return _signed(array, True)


PUSH_COLUMN, PUSH_CONSTANT = 4, 5


def program(steps, columns, type_):
    """A postfix program of (code, column or constant, left factor, right factor, bound); see `run_program`."""
    cdef vector[Step] compiled
    cdef Step step
    cdef int64_t n = len(columns[0]), bad
    for code, operand, left, right, bound in steps:
        step.code, step.left, step.right, step.bound = code, left, right, bound
        step.data = NULL
        step.factor = 0
        if code == 4:
            array = columns[operand]
            step.data = _address(array.buffers()[1], array.offset * 16)
        elif code == 5:
            step.factor = operand
        compiled.push_back(step)
    validity = _validity(columns)
    out = pa.allocate_buffer(16 * n)
    cdef const uint8_t* valid = _address(validity, 0)
    cdef uint8_t* to = <uint8_t*><uintptr_t>out.address
    with nogil:
        bad = run_program(compiled.data(), <int>compiled.size(), valid, to, n)
    if bad >= 0:
        raise OutOfRange(bad)
    return _made(type_, n, validity, out)
