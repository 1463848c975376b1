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


cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>
    // 64 booleans from bit `at` on, of `size` bytes.
    static inline uint64_t word_at(const uint8_t* bits, int64_t size, int64_t at) {
        int64_t byte = at >> 3;
        int shift = (int)(at & 7);
        uint64_t low = 0;
        uint8_t next = 0;
        if (byte + 9 <= size) { memcpy(&low, bits + byte, 8); next = bits[byte + 8]; }
        else {
            memcpy(&low, bits + byte, size - byte < 8 ? size - byte : 8);
            if (byte + 8 < size) next = bits[byte + 8];
        }
        return shift ? (low >> shift) | ((uint64_t)next << (64 - shift)) : low;
    }
    static int64_t true_rows(const uint8_t* bits, const uint8_t* valid, int64_t bytes, int64_t offset, int64_t n,
                             int32_t* to) {
        int64_t at = 0;
        for (int64_t i = 0; i < n; i += 64) {
            uint64_t word = word_at(bits, bytes, offset + i);
            if (valid) word &= word_at(valid, bytes, offset + i);
            if (n - i < 64) word &= (1ULL << (n - i)) - 1;
            if (word == ~0ULL) {
                for (int k = 0; k < 64; k++) to[at + k] = (int32_t)(i + k);
                at += 64;
            } else while (word) {
                to[at++] = (int32_t)(i + __builtin_ctzll(word));
                word &= word - 1;
            }
        }
        return at;
    }
    """
    int64_t true_rows(const uint8_t* bits, const uint8_t* valid, int64_t bytes, int64_t offset, int64_t n,
                      int32_t* to) nogil


def kept_rows(mask):
    """The positions (int32) where `mask` (boolean) is true, NULL being false."""
    cdef int64_t n = len(mask), count
    out = pa.allocate_buffer(4 * (n + 64), resizable=True)
    if not n:
        return pa.array([], pa.int32())
    buffers = mask.buffers()
    cdef const uint8_t* bits = <const uint8_t*><uintptr_t>buffers[1].address
    cdef const uint8_t* valid = <const uint8_t*><uintptr_t>buffers[0].address if buffers[0] is not None else NULL
    cdef int64_t offset = mask.offset, size = (offset + n + 7) // 8
    cdef int32_t* to = <int32_t*><uintptr_t>out.address
    with nogil:
        count = true_rows(bits, valid, size, offset, n, to)
    out.resize(4 * count, shrink_to_fit=4 * count < 3 * n)
    return pa.Int32Array.from_buffers(pa.int32(), count, [None, out])


def coded_mask(indices, mask, null=False):
    """`mask[indices[i]]` for int32 codes: booleans, `null` (false or true) where the code is NULL."""
    cdef int64_t n = len(indices), i, m = len(mask), k
    cdef const uint8_t* bits = <const uint8_t*><uintptr_t>mask.buffers()[1].address if m else NULL
    cdef const uint8_t* good = NULL
    if m and mask.buffers()[0] is not None:
        good = <const uint8_t*><uintptr_t>mask.buffers()[0].address
    cdef int64_t start = mask.offset, offset = indices.offset
    table = pa.allocate_buffer(m + 1)
    cdef uint8_t* lut = <uint8_t*><uintptr_t>table.address
    buffers = indices.buffers()
    cdef const int32_t* code = (<const int32_t*><uintptr_t>buffers[1].address) + <Py_ssize_t>offset if n else NULL
    cdef const uint8_t* valid = <const uint8_t*><uintptr_t>buffers[0].address if n and buffers[0] is not None else NULL
    cdef uint8_t other = 1 if null else 0, byte
    result = pa.allocate_buffer((n + 7) // 8)
    cdef uint8_t* out = <uint8_t*><uintptr_t>result.address
    cdef int64_t whole = n & ~(<int64_t>7)
    with nogil:
        for i in range(m):
            k = start + i
            lut[i] = (bits[k >> 3] >> (k & 7)) & 1
            if good != NULL:
                lut[i] &= (good[k >> 3] >> (k & 7)) & 1
        if valid == NULL:
            i = 0
            while i < whole:
                out[i >> 3] = (lut[code[i]] | lut[code[i + 1]] << 1 | lut[code[i + 2]] << 2 | lut[code[i + 3]] << 3
                               | lut[code[i + 4]] << 4 | lut[code[i + 5]] << 5 | lut[code[i + 6]] << 6
                               | lut[code[i + 7]] << 7)
                i += 8
            if whole < n:
                byte = 0
                for i in range(whole, n):
                    byte |= <uint8_t>(lut[code[i]] << (i - whole))
                out[n >> 3] = byte
        else:
            memset(out, 0, (n + 7) // 8)
            for i in range(n):
                k = offset + i
                byte = lut[code[i]] if (valid[k >> 3] >> (k & 7)) & 1 else other
                out[i >> 3] |= <uint8_t>(byte << (i & 7))
    return pa.BooleanArray.from_buffers(pa.bool_(), n, [None, result])


cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>
    template <int W> static void take_values(const uint8_t* from, const int32_t* code, int64_t n, uint8_t* to) {
        for (int64_t i = 0; i < n; i++) memcpy(to + i * W, from + (int64_t)code[i] * W, W);
    }
    static int64_t text_total(const int32_t* offsets, const int32_t* code, int64_t n) {
        int64_t total = 0;
        for (int64_t i = 0; i < n; i++) total += offsets[code[i] + 1] - offsets[code[i]];
        return total;
    }
    static void take_texts(const int32_t* offsets, const uint8_t* bytes, int64_t spare, const int32_t* code, int64_t n,
                           int32_t* ends, uint8_t* to) {
        int64_t at = 0;
        ends[0] = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t start = offsets[code[i]], length = offsets[code[i] + 1] - start;
            if (length <= 8 && start <= spare) memcpy(to + at, bytes + start, 8);
            else memcpy(to + at, bytes + start, length);
            at += length;
            ends[i + 1] = (int32_t)at;
        }
    }
    """
    void take1 "take_values<1>"(const uint8_t* source, const int32_t* code, int64_t n, uint8_t* to) nogil
    void take2 "take_values<2>"(const uint8_t* source, const int32_t* code, int64_t n, uint8_t* to) nogil
    void take4 "take_values<4>"(const uint8_t* source, const int32_t* code, int64_t n, uint8_t* to) nogil
    void take8 "take_values<8>"(const uint8_t* source, const int32_t* code, int64_t n, uint8_t* to) nogil
    void take16 "take_values<16>"(const uint8_t* source, const int32_t* code, int64_t n, uint8_t* to) nogil
    int64_t text_total(const int32_t* offsets, const int32_t* code, int64_t n) nogil
    void take_texts(const int32_t* offsets, const uint8_t* bytes, int64_t spare, const int32_t* code, int64_t n,
                    int32_t* ends, uint8_t* to) nogil


cdef const int32_t* _codes(indices) except? NULL:
    return (<const int32_t*><uintptr_t>indices.buffers()[1].address) + <Py_ssize_t>indices.offset


def decoded_bytes(indices, dictionary):
    """Bytes of the texts that the codes (int32, codes of NULLs included) stand for; `dictionary` is string or binary."""
    cdef int64_t n = len(indices)
    if not n or not len(dictionary):
        return 0
    cdef const int32_t* code = _codes(indices)
    cdef const int32_t* offsets = _codes(dictionary)
    cdef int64_t total
    with nogil:
        total = text_total(offsets, code, n)
    return total


def decoded(indices, dictionary, int width):
    """The values that codes (int32) stand for, as buffers after the validity: of `width` bytes each, or with width 0
    texts. Codes of NULLs must lie inside the dictionary too; the texts must be less than 2 GiB (`decoded_bytes`)."""
    cdef int64_t n = len(indices), total, spare
    if not n or not len(dictionary):
        return [pa.allocate_buffer(0)] if width else [pa.py_buffer(bytes(4 * (n + 1))), pa.py_buffer(b"")]
    cdef const int32_t* code = _codes(indices)
    cdef const int32_t* offsets
    cdef const uint8_t* source
    cdef uint8_t* to
    cdef int32_t* ends
    buffers = dictionary.buffers()
    if width:
        source = (<const uint8_t*><uintptr_t>buffers[1].address) + <Py_ssize_t>(dictionary.offset * width)
        out = pa.allocate_buffer(n * width)
        to = <uint8_t*><uintptr_t>out.address
        with nogil:
            if width == 1:
                take1(source, code, n, to)
            elif width == 2:
                take2(source, code, n, to)
            elif width == 4:
                take4(source, code, n, to)
            elif width == 8:
                take8(source, code, n, to)
            else:
                take16(source, code, n, to)
        return [out]
    offsets = _codes(dictionary)
    total = text_total(offsets, code, n)
    starts = pa.allocate_buffer(4 * (n + 1))
    chars = pa.allocate_buffer(total + 8, resizable=True)
    ends = <int32_t*><uintptr_t>starts.address
    to = <uint8_t*><uintptr_t>chars.address
    source = <const uint8_t*><uintptr_t>buffers[2].address if buffers[2] is not None else NULL
    spare = (<int64_t>buffers[2].size if buffers[2] is not None else 0) - 8
    with nogil:
        take_texts(offsets, source, spare, code, n, ends, to)
    chars.resize(total, shrink_to_fit=False)
    return [starts, chars]


def first_at_least(rows, int64_t value, int64_t start=0):
    """The first position from `start` on whose row number (int32, ascending) is at least `value`."""
    cdef int64_t low = start, high = len(rows), middle
    if low >= high:
        return high
    cdef const int32_t* r = (<const int32_t*><uintptr_t>rows.buffers()[1].address) + <Py_ssize_t>rows.offset
    while low < high:
        middle = (low + high) >> 1
        if r[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low
