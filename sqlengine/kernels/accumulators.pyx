# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Aggregate states by group number, as vectors: one pass over a column per call, mergeable as Arrow columns.

`Fold` keeps one value per group (sum, min, max, first, ...): whole numbers, decimals, dates and booleans as 128-bit integers,
floats as doubles, text as strings. `Moments` keeps count, mean and sum of squared deviations (Welford; merged as by Chan,
Golub, LeVeque 1979).
"""

from libc.math cimport isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.vector cimport vector

import pyarrow as pa

from sqlengine.kernels.columns cimport Column, view


cdef extern from "columns.h" nogil:
    ctypedef long long int128 "int128"
    int K_BOOL, K_INT, K_UINT, K_FLOAT, K_DECIMAL, K_BYTES, K_INTERVAL
    cbool is_valid(const Column& c, int64_t row)
    cbool bit(const uint8_t* bitmap, int64_t i)
    int64_t read_int(const Column& c, int64_t row)
    uint64_t read_uint(const Column& c, int64_t row)
    double read_float(const Column& c, int64_t row)
    int128 read_decimal(const Column& c, int64_t row)

cdef extern from *:
    """
    static inline int128 whole(const Column& c, int64_t i) {
        switch (c.kind) {
            case K_BOOL: return bit(c.data, c.offset + i);
            case K_UINT: return read_uint(c, i);
            case K_DECIMAL: return read_decimal(c, i);
            default: return read_int(c, i);
        }
    }
    static inline bool text_less(const Column& c, int64_t i, const std::string& s) {
        const int32_t* o = (const int32_t*)c.data + c.offset + i;
        size_t n = o[1] - o[0];
        int r = memcmp(c.bytes + o[0], s.data(), std::min(n, s.size()));
        return r < 0 || (r == 0 && n < s.size());
    }
    static inline bool text_equal(const Column& c, int64_t i, const std::string& s) {
        const int32_t* o = (const int32_t*)c.data + c.offset + i;
        return (size_t)(o[1] - o[0]) == s.size() && memcmp(c.bytes + o[0], s.data(), s.size()) == 0;
    }
    static inline void text_set(const Column& c, int64_t i, std::string& s) {
        const int32_t* o = (const int32_t*)c.data + c.offset + i;
        s.assign((const char*)c.bytes + o[0], o[1] - o[0]);
    }
    static const int128 LIMIT38 = []{ int128 v = 1; for (int i = 0; i < 38; i++) v *= 10; return v; }();
    // NaN is the greatest value.
    static inline bool less_float(double a, double b) { return b != b ? a == a : a < b; }
    template <class F> static inline void each(const Column& c, const int32_t* g, int64_t n, F f) {
        if (c.valid == nullptr && c.kind != K_NULL) { for (int64_t i = 0; i < n; i++) f(i, g[i]); }
        else for (int64_t i = 0; i < n; i++) if (is_valid(c, i)) f(i, g[i]);
    }
    enum Op { SUM, MIN, MAX, FIRST, LAST, BIT_AND, BIT_OR, BIT_XOR, PRODUCT };
    // Returns true when a sum left the range of 38 digits.
    static bool fold_whole(const Column& c, const int32_t* g, int64_t n, int op, std::vector<int128>& v, std::vector<uint8_t>& seen) {
        bool over = false;
        switch (op) {
            case SUM:
                if (c.kind == K_INT && c.width == 8) each(c, g, n, [&](int64_t i, int32_t k) { v[k] += ((const int64_t*)c.data)[c.offset + i]; seen[k] = 1; });
                else each(c, g, n, [&](int64_t i, int32_t k) {
                    int128 r; if (__builtin_add_overflow(v[k], whole(c, i), &r)) over = true;
                    v[k] = r; seen[k] = 1; });
                break;
            case MIN: each(c, g, n, [&](int64_t i, int32_t k) { int128 x = whole(c, i); if (!seen[k] || x < v[k]) { v[k] = x; seen[k] = 1; } }); break;
            case MAX: each(c, g, n, [&](int64_t i, int32_t k) { int128 x = whole(c, i); if (!seen[k] || x > v[k]) { v[k] = x; seen[k] = 1; } }); break;
            case FIRST: each(c, g, n, [&](int64_t i, int32_t k) { if (!seen[k]) { v[k] = whole(c, i); seen[k] = 1; } }); break;
            case LAST: each(c, g, n, [&](int64_t i, int32_t k) { v[k] = whole(c, i); seen[k] = 1; }); break;
            case BIT_AND: each(c, g, n, [&](int64_t i, int32_t k) { int128 x = whole(c, i); v[k] = seen[k] ? (v[k] & x) : x; seen[k] = 1; }); break;
            case BIT_OR: each(c, g, n, [&](int64_t i, int32_t k) { v[k] |= whole(c, i); seen[k] = 1; }); break;
            case BIT_XOR: each(c, g, n, [&](int64_t i, int32_t k) { v[k] ^= whole(c, i); seen[k] = 1; }); break;
        }
        return over;
    }
    static void fold_float(const Column& c, const int32_t* g, int64_t n, int op, std::vector<double>& v, std::vector<uint8_t>& seen) {
        switch (op) {
            case SUM: each(c, g, n, [&](int64_t i, int32_t k) { v[k] += read_float(c, i); seen[k] = 1; }); break;
            case PRODUCT: each(c, g, n, [&](int64_t i, int32_t k) { v[k] = seen[k] ? v[k] * read_float(c, i) : read_float(c, i); seen[k] = 1; }); break;
            case MIN: each(c, g, n, [&](int64_t i, int32_t k) { double x = read_float(c, i); if (!seen[k] || less_float(x, v[k])) { v[k] = x; seen[k] = 1; } }); break;
            case MAX: each(c, g, n, [&](int64_t i, int32_t k) { double x = read_float(c, i); if (!seen[k] || less_float(v[k], x)) { v[k] = x; seen[k] = 1; } }); break;
            case FIRST: each(c, g, n, [&](int64_t i, int32_t k) { if (!seen[k]) { v[k] = read_float(c, i); seen[k] = 1; } }); break;
            case LAST: each(c, g, n, [&](int64_t i, int32_t k) { v[k] = read_float(c, i); seen[k] = 1; }); break;
        }
    }
    static int64_t fold_text(const Column& c, const int32_t* g, int64_t n, int op, std::vector<std::string>& v, std::vector<uint8_t>& seen) {
        int64_t grown = 0;
        each(c, g, n, [&](int64_t i, int32_t k) {
            bool take = !seen[k] || op == LAST;
            if (seen[k] && op == MIN) take = text_less(c, i, v[k]);
            if (seen[k] && op == MAX) take = !text_less(c, i, v[k]) && !text_equal(c, i, v[k]);
            if (take) { grown -= v[k].size(); text_set(c, i, v[k]); grown += v[k].size(); seen[k] = 1; }
        });
        return grown;
    }
    // Values as an Arrow buffer of `width` bytes each.
    static void narrow(const std::vector<int128>& v, int width, uint8_t* out) {
        for (size_t i = 0; i < v.size(); i++) memcpy(out + i * width, &v[i], width);
    }
    static bool beyond(const std::vector<int128>& v) {
        for (int128 x : v) if (x >= LIMIT38 || x <= -LIMIT38) return true;
        return false;
    }
    static void count_valid(const Column& c, const int32_t* g, int64_t n, std::vector<int128>& v) {
        each(c, g, n, [&](int64_t i, int32_t k) { v[k]++; });
    }
    static void count_rows(const int32_t* g, int64_t n, std::vector<int128>& v) { for (int64_t i = 0; i < n; i++) v[g[i]]++; }
    static void moments(const Column& c, const int32_t* g, int64_t n, std::vector<double>& count, std::vector<double>& mean, std::vector<double>& m2) {
        each(c, g, n, [&](int64_t i, int32_t k) {
            double x = read_float(c, i); count[k] += 1; double d = x - mean[k]; mean[k] += d / count[k]; m2[k] += d * (x - mean[k]); });
    }
    """
    cbool fold_whole(const Column& c, const int32_t* g, int64_t n, int op, vector[int128]& v, vector[uint8_t]& seen) nogil
    void fold_float(const Column& c, const int32_t* g, int64_t n, int op, vector[double]& v, vector[uint8_t]& seen) nogil
    int64_t fold_text(const Column& c, const int32_t* g, int64_t n, int op, vector[string]& v, vector[uint8_t]& seen) nogil
    void narrow(const vector[int128]& v, int width, uint8_t* out) nogil
    cbool beyond(const vector[int128]& v) nogil
    void count_valid(const Column& c, const int32_t* g, int64_t n, vector[int128]& v) nogil
    void count_rows(const int32_t* g, int64_t n, vector[int128]& v) nogil
    void moments(const Column& c, const int32_t* g, int64_t n, vector[double]& count, vector[double]& mean, vector[double]& m2) nogil

cdef dict _OPS = {
    "sum": 0, "min": 1, "max": 2, "first": 3, "last": 4, "bit_and": 5, "bit_or": 6, "bit_xor": 7, "product": 8,
    "count": 9,
}


cdef object _bitmap(vector[uint8_t]& flags):
    cdef Py_ssize_t n = flags.size(), i
    buffer = pa.allocate_buffer((n + 7) // 8)
    cdef uint8_t* out = <uint8_t*><uintptr_t>buffer.address
    with nogil:
        memset(out, 0, (n + 7) // 8)
        for i in range(n):
            if flags[i]:
                out[i >> 3] |= <uint8_t>(1 << (i & 7))
    return buffer


cdef class Fold:
    """One value per group under an operation of `sum min max first last bit_and bit_or bit_xor product count`.

    `type` is the type of the values that come in; `count` counts rows, or the valid ones of a column.
    """

    cdef int op
    cdef int form  # 0 whole, 1 float, 2 text
    cdef vector[int128] whole
    cdef vector[double] floats
    cdef vector[string] texts
    cdef vector[uint8_t] seen
    cdef int64_t text_bytes

    def __init__(self, str operation, type_):
        t = pa.types
        self.op = _OPS[operation]
        self.form = 0
        if self.op != 9 and type_ is not None:
            if t.is_floating(type_):
                self.form = 1
            elif t.is_string(type_) or t.is_binary(type_):
                self.form = 2

    @property
    def nbytes(self):
        return (16 * self.whole.capacity() + 8 * self.floats.capacity() + 32 * self.texts.capacity()
                + self.seen.capacity() + 2 * self.text_bytes)

    def update(self, groups, Py_ssize_t count, column):
        """Fold a column (None: rows themselves, for count) by int32 `groups`; there are `count` groups by now."""
        cdef const int32_t* g = (<const int32_t*><uintptr_t>groups.buffers()[1].address) + <Py_ssize_t>groups.offset
        cdef int64_t n = len(groups)
        cdef Column c
        cdef cbool over = False
        if <Py_ssize_t>self.seen.size() < count:
            self.seen.resize(count, 0)
            if self.form == 0:
                self.whole.resize(count, 0)
            elif self.form == 1:
                self.floats.resize(count, 0)
            else:
                self.texts.resize(count)
        if self.op == 9:
            if column is None:
                with nogil:
                    count_rows(g, n, self.whole)
            else:
                c = view(column)
                with nogil:
                    count_valid(c, g, n, self.whole)
            return
        c = view(column)
        with nogil:
            if self.form == 0:
                over = fold_whole(c, g, n, self.op, self.whole, self.seen)
            elif self.form == 1:
                fold_float(c, g, n, self.op, self.floats, self.seen)
            else:
                self.text_bytes += fold_text(c, g, n, self.op, self.texts, self.seen)
        if over:
            raise OverflowError("sum")

    def result(self, type_, Py_ssize_t count):
        """The values of all groups as an array of `type_`, NULL where nothing was folded. OverflowError past 38 digits."""
        cdef Py_ssize_t n = count, i
        cdef int width
        cdef const char* p
        t = pa.types
        if <Py_ssize_t>self.seen.size() < n:
            self.seen.resize(n, 0)
            if self.form == 0:
                self.whole.resize(n, 0)
            elif self.form == 1:
                self.floats.resize(n, 0)
            else:
                self.texts.resize(n)
        if self.op == 9:
            validity = None
        else:
            validity = _bitmap(self.seen)
        if self.form == 2:
            items = []
            for i in range(n):
                items.append(self.texts[i].c_str()[: self.texts[i].size()] if self.seen[i] else None)
            return pa.array(items, pa.binary()).cast(type_)
        if self.form == 1:
            data = pa.allocate_buffer(8 * n)
            if n:
                memcpy(<void*><uintptr_t>data.address, self.floats.data(), 8 * n)
            values = pa.DoubleArray.from_buffers(pa.float64(), n, [validity, data])
            return values if type_ == pa.float64() else values.cast(type_)
        if t.is_boolean(type_):
            width = 1
            data = pa.allocate_buffer(n)
            narrow(self.whole, 1, <uint8_t*><uintptr_t>data.address)
            return pa.Array.from_buffers(pa.int8(), n, [validity, data]).cast(pa.bool_())
        width = type_.bit_width // 8
        if t.is_decimal(type_) and beyond(self.whole):
            raise OverflowError("sum")
        data = pa.allocate_buffer(width * n)
        if n:
            narrow(self.whole, width, <uint8_t*><uintptr_t>data.address)
        return pa.Array.from_buffers(type_, n, [validity, data])


cdef class Moments:
    """Count, mean and sum of squared deviations of doubles by group."""

    cdef vector[double] n
    cdef vector[double] mean
    cdef vector[double] m2

    @property
    def nbytes(self):
        return 24 * self.n.capacity()

    cdef void _resize(self, Py_ssize_t count):
        if <Py_ssize_t>self.n.size() < count:
            self.n.resize(count, 0)
            self.mean.resize(count, 0)
            self.m2.resize(count, 0)

    def update(self, groups, Py_ssize_t count, column):
        cdef const int32_t* g = (<const int32_t*><uintptr_t>groups.buffers()[1].address) + <Py_ssize_t>groups.offset
        cdef int64_t n = len(groups)
        cdef Column c = view(column)
        self._resize(count)
        with nogil:
            moments(c, g, n, self.n, self.mean, self.m2)

    def merge(self, groups, Py_ssize_t count, counts, means, m2s):
        cdef const int32_t* g = (<const int32_t*><uintptr_t>groups.buffers()[1].address) + <Py_ssize_t>groups.offset
        cdef Py_ssize_t i, k, rows = len(groups)
        cdef Column cn = view(counts), cm = view(means), cs = view(m2s)
        cdef double a, b, d
        self._resize(count)
        with nogil:
            for i in range(rows):
                k = g[i]
                b = read_float(cn, i)
                if b == 0:
                    continue
                a = self.n[k]
                d = read_float(cm, i) - self.mean[k]
                self.n[k] = a + b
                self.mean[k] += d * b / (a + b)
                self.m2[k] += read_float(cs, i) + d * d * a * b / (a + b)

    def result(self, Py_ssize_t count):
        """(counts, means, sums of squared deviations), float64 arrays."""
        self._resize(count)
        return _doubles(self.n, count), _doubles(self.mean, count), _doubles(self.m2, count)


cdef object _doubles(vector[double]& v, Py_ssize_t n):
    data = pa.allocate_buffer(8 * n)
    if n:
        memcpy(<void*><uintptr_t>data.address, v.data(), 8 * n)
    return pa.DoubleArray.from_buffers(pa.float64(), n, [None, data])
