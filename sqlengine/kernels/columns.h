// A view of one Arrow column by raw addresses, and what every kernel does with single values: hash, compare bytes.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

typedef __int128 int128;
typedef unsigned __int128 uint128;

// What a value is made of. FIXED kinds are copied as bytes; the signed/unsigned/float split matters for order and hash.
enum Kind { K_NULL = 0, K_BOOL = 1, K_INT = 2, K_UINT = 3, K_FLOAT = 4, K_DECIMAL = 5, K_BYTES = 6, K_INTERVAL = 7 };

struct Column {
    int kind;
    int width;               // bytes of a fixed value
    const uint8_t* valid;    // bitmap or null
    const uint8_t* data;     // values, or offsets (int32) of K_BYTES
    const uint8_t* bytes;    // character data of K_BYTES
    int64_t offset;          // in rows
    int64_t length;
};

static inline bool bit(const uint8_t* bitmap, int64_t i) { return (bitmap[i >> 3] >> (i & 7)) & 1; }
static inline bool is_valid(const Column& c, int64_t row) {
    return c.kind != K_NULL && (c.valid == nullptr || bit(c.valid, c.offset + row));
}

static inline uint64_t mix(uint64_t x) {  // the finalizer of MurmurHash3
    x ^= x >> 33; x *= 0xff51afd7ed558ccdULL; x ^= x >> 33; x *= 0xc4ceb9fe1a85ec53ULL; x ^= x >> 33; return x;
}

static inline uint64_t fold_product(uint64_t a, uint64_t b) {
    uint128 r = (uint128)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}
static inline uint64_t load8(const uint8_t* p) { uint64_t w; memcpy(&w, p, 8); return w; }
static inline uint64_t load4(const uint8_t* p) { uint32_t w; memcpy(&w, p, 4); return w; }

// Sixteen bytes per multiplication; the last ones are read as overlapping words.
static inline uint64_t hash_bytes(const uint8_t* p, int64_t n) {
    const uint64_t k1 = 0x9e3779b97f4a7c15ULL, k2 = 0xe7037ed1a0b428dbULL;
    uint64_t h = k1 ^ (uint64_t)n * 0xc2b2ae3d27d4eb4fULL, a, b;
    if (n <= 16) {
        if (n >= 8) { a = load8(p); b = load8(p + n - 8); }
        else if (n >= 4) { a = load4(p); b = load4(p + n - 4); }
        else if (n > 0) { a = (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1]; b = 0; }
        else { a = 0; b = 0; }
    } else {
        int64_t left = n;
        for (; left > 16; left -= 16, p += 16) h = fold_product(load8(p) ^ k2, load8(p + 8) ^ h);
        a = load8(p + left - 16); b = load8(p + left - 8);
    }
    return mix(fold_product(a ^ k2, b ^ h) ^ h);
}

static inline int64_t read_int(const Column& c, int64_t row) {
    const uint8_t* p = c.data + (c.offset + row) * c.width;
    switch (c.width) {
        case 1: return *(const int8_t*)p;
        case 2: { int16_t v; memcpy(&v, p, 2); return v; }
        case 4: { int32_t v; memcpy(&v, p, 4); return v; }
        default: { int64_t v; memcpy(&v, p, 8); return v; }
    }
}
static inline uint64_t read_uint(const Column& c, int64_t row) {
    const uint8_t* p = c.data + (c.offset + row) * c.width;
    switch (c.width) {
        case 1: return *p;
        case 2: { uint16_t v; memcpy(&v, p, 2); return v; }
        case 4: { uint32_t v; memcpy(&v, p, 4); return v; }
        default: { uint64_t v; memcpy(&v, p, 8); return v; }
    }
}
static inline double read_float(const Column& c, int64_t row) {
    const uint8_t* p = c.data + (c.offset + row) * c.width;
    if (c.width == 4) { float f; memcpy(&f, p, 4); return f; }
    double d; memcpy(&d, p, 8); return d;
}
static inline int128 read_decimal(const Column& c, int64_t row) {
    int128 v; memcpy(&v, c.data + (c.offset + row) * 16, 16); return v;
}
static inline double normal(double d) { return d != d ? NAN : (d == 0 ? 0.0 : d); }

// An interval as DuckDB compares it: 30 days a month, 24 hours a day, in nanoseconds.
static inline int128 read_interval(const Column& c, int64_t row) {
    const uint8_t* p = c.data + (c.offset + row) * 16;
    int32_t months, days; int64_t nanos;
    memcpy(&months, p, 4); memcpy(&days, p + 4, 4); memcpy(&nanos, p + 8, 8);
    return ((int128)months * 30 + days) * 86400000000000LL + nanos;
}

static inline uint64_t hash_value(const Column& c, int64_t row) {
    if (!is_valid(c, row)) return 0x5bd1e995;
    switch (c.kind) {
        case K_BOOL: return mix(1 + bit(c.data, c.offset + row));
        case K_INT: return mix((uint64_t)read_int(c, row) + 0x632be59bd9b4e019ULL);
        case K_UINT: return mix(read_uint(c, row) + 0x632be59bd9b4e019ULL);
        case K_FLOAT: { double d = normal(read_float(c, row)); uint64_t w; memcpy(&w, &d, 8); return mix(w + 7); }
        case K_DECIMAL: case K_INTERVAL: {
            int128 v = c.kind == K_DECIMAL ? read_decimal(c, row) : read_interval(c, row);
            return mix((uint64_t)v ^ mix((uint64_t)(v >> 64) + 3));
        }
        case K_BYTES: {
            const int32_t* o = (const int32_t*)c.data + c.offset + row;
            return hash_bytes(c.bytes + o[0], o[1] - o[0]);
        }
    }
    return 0;
}

static inline void hash_column(const Column& c, uint64_t* out, bool first) {
    for (int64_t i = 0; i < c.length; i++) {
        uint64_t h = hash_value(c, i);
        out[i] = first ? h : mix(out[i] * 31 + h);
    }
}
