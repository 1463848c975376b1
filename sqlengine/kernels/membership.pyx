# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
# distutils: extra_compile_args = -O3 -std=c++17
"""Sets of join keys that rows are tested against while they are read: exact bits for whole numbers within a range, a
Bloom filter over hashes for everything else (it may say yes to a value that is not there, never no to one that is).

The Bloom filter keeps the four bits of a key in one 64-bit word, so that a test reads one word: Putze, Sanders and
Singler, "Cache-, hash- and space-efficient Bloom filters", 2007."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

import pyarrow as pa


cdef extern from *:
    int __builtin_popcountll(unsigned long long) nogil
    int __builtin_ctzll(unsigned long long) nogil


cdef inline int64_t value_at(const uint8_t* data, int width, bint is_signed, int64_t i) noexcept nogil:
    # Each type by itself: a conditional expression would turn signed into unsigned.
    if width == 8:
        return (<const int64_t*>data)[i]
    if is_signed:
        if width == 4:
            return (<const int32_t*>data)[i]
        if width == 2:
            return (<const int16_t*>data)[i]
        return (<const int8_t*>data)[i]
    if width == 4:
        return (<const uint32_t*>data)[i]
    if width == 2:
        return (<const uint16_t*>data)[i]
    return data[i]


cdef inline bint is_valid(const uint8_t* valid, int64_t i) noexcept nogil:
    return valid == NULL or (valid[i >> 3] >> (i & 7)) & 1


cdef class _Numbers:
    """The parts of an array of whole numbers (dates and times are such, too)."""

    cdef const uint8_t* data
    cdef const uint8_t* valid
    cdef int width
    cdef bint is_signed
    cdef int64_t offset, length
    cdef object kept

    def __cinit__(self, array):
        valid, data = array.buffers()
        self.kept = (valid, data)
        self.data = NULL
        self.valid = NULL
        if data is not None:
            self.data = <const uint8_t*><uintptr_t>data.address
        if valid is not None and array.null_count:
            self.valid = <const uint8_t*><uintptr_t>valid.address
        self.width = array.type.bit_width // 8
        self.is_signed = not pa.types.is_unsigned_integer(array.type)
        self.offset = array.offset
        self.length = len(array)


cdef int64_t _FARTHEST = <int64_t>1 << 61


cdef class KeyBits:
    """Whole numbers within a range of at most `most` numbers, one bit each. The range grows to what is added."""

    cdef readonly int64_t low, count
    cdef readonly int64_t most
    cdef object buffer
    cdef uint64_t* words

    def __init__(self, int64_t most):
        self.low = 0
        self.count = 0
        self.most = most
        self.buffer = None
        self.words = NULL

    @property
    def nbytes(self):
        return self.count // 8

    def __reduce__(self):
        return _restored_bits, (self.most, self.low, self.count, bytes(self.buffer) if self.count else b"")

    def _set(self, int64_t low, int64_t count, bytes content):
        self.low, self.count = low, count
        if count:
            self.buffer = pa.allocate_buffer(count // 8)
            self.words = <uint64_t*><uintptr_t>self.buffer.address
            memcpy(self.words, <const char*>content, count // 8)

    def room_for(self, int64_t low, int64_t high):
        """Bytes that the set takes once it spans [low, high] too, -1 if that is more than it may."""
        if low < -_FARTHEST or high > _FARTHEST:
            return -1  # so that no bound of a range overflows
        if self.count:
            low = min(low, self.low)
            high = max(high, self.low + self.count - 1)
        if high - low >= self.most:
            return -1
        # Twice what is needed: growing copies, and a stream of ascending keys must not copy each time.
        return self.nbytes if self.count and low >= self.low and high < self.low + self.count else _span(low, high) // 8

    def widen(self, int64_t low, int64_t high):
        """Make room for [low, high]; `room_for` has said how much that takes."""
        cdef int64_t first, count, bits
        if self.count:
            low = min(low, self.low)
            high = max(high, self.low + self.count - 1)
            if low >= self.low and high < self.low + self.count:
                return
        bits = _span(low, high)
        first = low - (low & 63)
        if self.count and low == self.low:
            first = self.low
        elif self.count and high == self.low + self.count - 1:
            first = (high + 1 - bits + 63) & ~<int64_t>63
        buffer = pa.allocate_buffer(bits // 8)
        cdef uint64_t* words = <uint64_t*><uintptr_t>buffer.address
        memset(words, 0, bits // 8)
        if self.count:
            memcpy(words + (self.low - first) // 64, self.words, self.count // 8)
        self.low, self.count, self.buffer, self.words = first, bits, buffer, words

    def add(self, array):
        """Enter the values, all of which there is room for."""
        cdef _Numbers a = _Numbers(array)
        cdef int64_t i, v
        cdef uint64_t* words = self.words
        with nogil:
            for i in range(a.offset, a.offset + a.length):
                if is_valid(a.valid, i):
                    v = value_at(a.data, a.width, a.is_signed, i) - self.low
                    words[v >> 6] |= <uint64_t>1 << (v & 63)

    def size(self):
        """How many different values are in the set."""
        cdef int64_t i, found = 0
        with nogil:
            for i in range(self.count // 64):
                found += __builtin_popcountll(self.words[i])
        return found

    def values(self):
        """The values in ascending order, as int64."""
        cdef int64_t i, at = 0, n = self.size()
        cdef uint64_t w
        out = pa.allocate_buffer(8 * n)
        cdef int64_t* v = <int64_t*><uintptr_t>out.address
        with nogil:
            for i in range(self.count // 64):
                w = self.words[i]
                while w:
                    v[at] = self.low + 64 * i + __builtin_ctzll(w)
                    at += 1
                    w &= w - 1
        return pa.Int64Array.from_buffers(pa.int64(), n, [None, out])

    def contains(self, array):
        """Booleans: which values are in the set; false for NULL."""
        cdef _Numbers a = _Numbers(array)
        out = pa.allocate_buffer((a.length + 7) // 8)
        cdef uint8_t* bits = <uint8_t*><uintptr_t>out.address
        cdef int64_t i
        cdef uint64_t v, count = <uint64_t>self.count, low = <uint64_t>self.low  # unsigned: what is below wraps to far above
        cdef const uint64_t* words = self.words
        with nogil:
            memset(bits, 0, (a.length + 7) // 8)
            for i in range(a.length):
                v = <uint64_t>value_at(a.data, a.width, a.is_signed, a.offset + i) - low
                if v < count and is_valid(a.valid, a.offset + i):
                    bits[i >> 3] |= <uint8_t>(((words[v >> 6] >> (v & 63)) & 1) << (i & 7))
        return pa.BooleanArray.from_buffers(pa.bool_(), a.length, [None, out])

    def any_between(self, int64_t low, int64_t high):
        """Whether a value of [low, high] is in the set."""
        cdef int64_t end = self.low + self.count - 1, first, last, i
        if not self.count or low > high or low > end or high < self.low:
            return False
        # Within the set's range only now: the difference of two numbers at the ends of int64 would overflow.
        first, last = max(low, self.low) - self.low, min(high, end) - self.low
        cdef int64_t from_word = first >> 6, to_word = last >> 6
        cdef uint64_t head = ~<uint64_t>0 << (first & 63), tail = ~<uint64_t>0 >> (63 - (last & 63))
        if from_word == to_word:
            return (self.words[from_word] & head & tail) != 0
        if self.words[from_word] & head or self.words[to_word] & tail:
            return True
        for i in range(from_word + 1, to_word):
            if self.words[i]:
                return True
        return False


cdef int64_t _span(int64_t low, int64_t high):
    """Bits, a multiple of 64, for twice the range."""
    return ((2 * (high - low + 1) + 64 + 63) // 64) * 64


def _restored_bits(most, low, count, content):
    result = KeyBits(most)
    result._set(low, count, content)
    return result


cdef class KeyBloom:
    """A Bloom filter of hashes in `size` bytes (a power of two, at least 64)."""

    cdef object buffer
    cdef uint64_t* words
    cdef uint64_t mask

    def __init__(self, int64_t size):
        self.buffer = pa.allocate_buffer(size)
        self.words = <uint64_t*><uintptr_t>self.buffer.address
        self.mask = <uint64_t>(size // 8 - 1)
        memset(self.words, 0, size)

    @property
    def nbytes(self):
        return self.buffer.size

    def __reduce__(self):
        return _restored_bloom, (bytes(self.buffer),)

    def _set(self, bytes content):
        memcpy(self.words, <const char*>content, len(content))

    def add(self, hashes):
        """Enter hashes (uint64, no NULLs)."""
        cdef const uint64_t* h = (<const uint64_t*><uintptr_t>hashes.buffers()[1].address) + <Py_ssize_t>hashes.offset
        cdef int64_t n = len(hashes), i
        with nogil:
            for i in range(n):
                self.words[(h[i] >> 24) & self.mask] |= four_bits(h[i])

    def share(self):
        """Share of the bits that are set: to the fourth power, the share of other keys that pass."""
        cdef int64_t i, found = 0, n = <int64_t>self.mask + 1
        with nogil:
            for i in range(n):
                found += __builtin_popcountll(self.words[i])
        return found / (64.0 * n)

    def contains(self, hashes):
        """Booleans: which hashes may be in the set."""
        cdef const uint64_t* h = (<const uint64_t*><uintptr_t>hashes.buffers()[1].address) + <Py_ssize_t>hashes.offset
        cdef int64_t n = len(hashes), i
        cdef uint64_t bits
        out = pa.allocate_buffer((n + 7) // 8)
        cdef uint8_t* found = <uint8_t*><uintptr_t>out.address
        with nogil:
            memset(found, 0, (n + 7) // 8)
            for i in range(n):
                bits = four_bits(h[i])
                if (self.words[(h[i] >> 24) & self.mask] & bits) == bits:
                    found[i >> 3] |= <uint8_t>(1 << (i & 7))
        return pa.BooleanArray.from_buffers(pa.bool_(), n, [None, out])


cdef inline uint64_t four_bits(uint64_t h) noexcept nogil:
    return (<uint64_t>1 << (h & 63)) | (<uint64_t>1 << ((h >> 6) & 63)) | (<uint64_t>1 << ((h >> 12) & 63)) | (
        <uint64_t>1 << ((h >> 18) & 63))


def _restored_bloom(content):
    result = KeyBloom(len(content))
    result._set(content)
    return result
