# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Month-day-nanosecond intervals, which Arrow can hold but not compute with: taking apart, putting together, calendar months."""

from libc.stdint cimport int32_t, int64_t, uintptr_t

import pyarrow as pa

cdef packed struct Interval:
    int32_t months
    int32_t days
    int64_t nanos


def split(array):
    cdef int64_t n = len(array), i
    validity = None if array.null_count == 0 else array.is_valid().buffers()[1]
    months, days, nanos = pa.allocate_buffer(4 * n), pa.allocate_buffer(4 * n), pa.allocate_buffer(8 * n)
    if n:
        _split(array.buffers()[1].address + 16 * array.offset, months.address, days.address, nanos.address, n)
    return tuple(
        pa.Array.from_buffers(type_, n, [validity, data])
        for type_, data in ((pa.int32(), months), (pa.int32(), days), (pa.int64(), nanos))
    )


cdef int _split(uintptr_t data, uintptr_t months, uintptr_t days, uintptr_t nanos, int64_t n) except -1:
    cdef Interval* values = <Interval*>data
    cdef int64_t i
    with nogil:
        for i in range(n):
            (<int32_t*>months)[i] = values[i].months
            (<int32_t*>days)[i] = values[i].days
            (<int64_t*>nanos)[i] = values[i].nanos
    return 0


def make(months, days, nanos):
    """An interval array of int32, int32 and int64 arrays of one length; NULL where any is."""
    cdef int64_t n = len(months)
    import pyarrow.compute as pc
    valid = None
    for part in (months, days, nanos):
        if part.null_count:
            valid = part.is_valid() if valid is None else pc.and_(valid, part.is_valid())
    out = pa.allocate_buffer(16 * n)
    if n:
        _make(
            months.buffers()[1].address + 4 * months.offset, days.buffers()[1].address + 4 * days.offset,
            nanos.buffers()[1].address + 8 * nanos.offset, out.address, n,
        )
    return pa.Array.from_buffers(pa.month_day_nano_interval(), n, [None if valid is None else valid.buffers()[1], out])


cdef int _make(uintptr_t months, uintptr_t days, uintptr_t nanos, uintptr_t out, int64_t n) except -1:
    cdef Interval* values = <Interval*>out
    cdef int64_t i
    with nogil:
        for i in range(n):
            values[i].months = (<int32_t*>months)[i]
            values[i].days = (<int32_t*>days)[i]
            values[i].nanos = (<int64_t*>nanos)[i]
    return 0


cdef inline int64_t _floor(int64_t a, int64_t b) noexcept nogil:
    cdef int64_t q = a / b
    return q - 1 if a % b < 0 else q


cdef inline int64_t _from_civil(int64_t y, int64_t m, int64_t d) noexcept nogil:
    # Days since 1970 of a date in the proleptic Gregorian calendar.
    cdef int64_t era, yoe, doy
    if m <= 2:
        y -= 1
    era = _floor(y, 400)
    yoe = y - era * 400
    doy = (153 * (m + (-3 if m > 2 else 9)) + 2) / 5 + d - 1
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468


cdef inline int64_t _moved(int64_t day, int64_t months) noexcept nogil:
    cdef int64_t z = day + 719468, era, doe, yoe, doy, mp, y, m, d, index, last
    era = _floor(z, 146097)
    doe = z - era * 146097
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100)
    mp = (5 * doy + 2) / 153
    d = doy - (153 * mp + 2) / 5 + 1
    m = mp + 3 if mp < 10 else mp - 9
    y = yoe + era * 400 + (1 if m <= 2 else 0)
    index = y * 12 + (m - 1) + months
    y = _floor(index, 12)
    m = index - y * 12 + 1
    if m == 2:
        last = 29 if (y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)) else 28
    elif m == 4 or m == 6 or m == 9 or m == 11:
        last = 30
    else:
        last = 31
    return _from_civil(y, m, d if d < last else last)


def add_months(array, months, int64_t units_per_day):
    """int64 array of time stamps moved by calendar months (an int32 array, or one int); the day is at most the month's last."""
    cdef int64_t n = len(array), i, day
    cdef bint constant = isinstance(months, int)
    cdef int64_t by = months if constant else 0
    out = pa.allocate_buffer(8 * n)
    validity = None if array.null_count == 0 else array.is_valid().buffers()[1]
    if not n:
        return array
    cdef int64_t* values = <int64_t*><uintptr_t>(<object>array.buffers()[1].address + 8 * array.offset)
    cdef int64_t* to = <int64_t*><uintptr_t>out.address
    cdef int32_t* each = NULL
    if not constant:
        months = months.cast(pa.int32())
        each = <int32_t*><uintptr_t>(<object>months.buffers()[1].address + 4 * months.offset)
    with nogil:
        for i in range(n):
            day = _floor(values[i], units_per_day)
            to[i] = _moved(day, by if constant else each[i]) * units_per_day + (values[i] - day * units_per_day)
    return pa.Array.from_buffers(pa.int64(), n, [validity, out])
