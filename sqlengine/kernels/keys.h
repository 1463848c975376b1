// Key columns packed into words, hashed and compared block by block: what tables of groups and of join rows share.
#pragma once
#include "columns.h"

// Rows handled at once: their words and hashes stay in the first-level cache.
static const int64_t BLOCK = 1024;

struct Pair { uint64_t a, b, nulls; };

// Where one key column lies in the packed words of a row. Columns of 128 bits take both words.
struct Part { int kind; int bits; int word; int shift; };

// Keys of at most 64 bits (with a bit per column for NULL, or one column of 64 bits) are one word, of at most 128 bits two
// words and a mask of NULLs; others are rows of bytes, or are compared where they are.
enum Mode { WORD = 0, PAIR = 1, ROWS = 2 };

struct KeyShape {
    Mode mode = ROWS;
    bool null_bits = false;   // WORD: the last bits of the word tell which columns are NULL
    int null_shift = 0;
    std::vector<Part> parts;

    // `kinds` and `bits` of each column; bits is 0 for what cannot be packed. Floats and intervals are not packed: equal
    // ones may differ in their bytes.
    void init(const std::vector<int>& kinds, const std::vector<int>& bits) {
        size_t n = kinds.size();
        int total = 0;
        bool packs = n <= 32;
        for (size_t k = 0; k < n; k++) {
            parts.push_back(Part{kinds[k], bits[k], 0, 0});
            total += bits[k];
            if (bits[k] == 0 && kinds[k] != K_NULL) packs = false;
        }
        mode = ROWS;
        if (!packs) return;
        if (total + (int)n <= 64 || (n == 1 && total == 64)) {
            mode = WORD;
            null_bits = total + (int)n <= 64;
            int at = 0;
            for (Part& p : parts) { p.shift = at; at += p.bits; }
            null_shift = at;
            return;
        }
        int used[2] = {0, 0};
        for (Part& p : parts) {
            if (p.bits == 128) {
                if (used[0] || used[1]) return;
                used[0] = used[1] = 64;
            } else {
                int w = used[0] + p.bits <= 64 ? 0 : 1;
                if (used[w] + p.bits > 64) return;
                p.word = w; p.shift = used[w]; used[w] += p.bits;
            }
        }
        mode = PAIR;
    }
};

// Call f(i, value as 64 bits) for the rows from..from + n, whether valid or not.
template <class F> static inline void each_word(const Column& c, int64_t from, int64_t n, F f) {
    int64_t at = c.offset + from;
    switch (c.kind) {
        case K_BOOL: for (int64_t i = 0; i < n; i++) f(i, (uint64_t)bit(c.data, at + i)); break;
        case K_DECIMAL: { const uint64_t* p = (const uint64_t*)c.data + 2 * at; for (int64_t i = 0; i < n; i++) f(i, p[2 * i]); break; }
        case K_INT: case K_UINT: switch (c.width) {
            case 1: { const uint8_t* p = c.data + at; for (int64_t i = 0; i < n; i++) f(i, (uint64_t)p[i]); break; }
            case 2: { const uint16_t* p = (const uint16_t*)c.data + at; for (int64_t i = 0; i < n; i++) f(i, (uint64_t)p[i]); break; }
            case 4: { const uint32_t* p = (const uint32_t*)c.data + at; for (int64_t i = 0; i < n; i++) f(i, (uint64_t)p[i]); break; }
            default: { const uint64_t* p = (const uint64_t*)c.data + at; for (int64_t i = 0; i < n; i++) f(i, p[i]); break; }
        } break;
        default: break;
    }
}

static inline void pack_words(const KeyShape& shape, const std::vector<Column>& cols, int64_t from, int64_t n, uint64_t* out) {
    if (cols.size() == 1 && !shape.null_bits) {
        each_word(cols[0], from, n, [&](int64_t i, uint64_t v) { out[i] = v; });
        return;
    }
    memset(out, 0, n * sizeof(uint64_t));
    for (size_t k = 0; k < cols.size(); k++) {
        const Column& c = cols[k];
        const Part& p = shape.parts[k];
        uint64_t keep = p.bits >= 64 ? ~0ULL : (1ULL << p.bits) - 1;
        uint64_t null = 1ULL << (shape.null_shift + k);
        if (c.valid == nullptr && c.kind != K_NULL)
            each_word(c, from, n, [&](int64_t i, uint64_t v) { out[i] |= (v & keep) << p.shift; });
        else if (c.kind == K_NULL) for (int64_t i = 0; i < n; i++) out[i] |= null;
        else each_word(c, from, n, [&](int64_t i, uint64_t v) {
            if (bit(c.valid, c.offset + from + i)) out[i] |= (v & keep) << p.shift; else out[i] |= null; });
    }
}

static inline void pack_pairs(const KeyShape& shape, const std::vector<Column>& cols, int64_t from, int64_t n, Pair* out) {
    memset(out, 0, n * sizeof(Pair));
    for (size_t k = 0; k < cols.size(); k++) {
        const Column& c = cols[k];
        const Part& p = shape.parts[k];
        if (c.kind == K_NULL) { for (int64_t i = 0; i < n; i++) out[i].nulls |= 1ULL << k; continue; }
        if (p.bits == 128) {
            for (int64_t i = 0; i < n; i++) {
                if (!is_valid(c, from + i)) { out[i].nulls |= 1ULL << k; continue; }
                memcpy(&out[i].a, c.data + (c.offset + from + i) * 16, 16);
            }
            continue;
        }
        uint64_t keep = p.bits >= 64 ? ~0ULL : (1ULL << p.bits) - 1;
        each_word(c, from, n, [&](int64_t i, uint64_t v) {
            if (c.valid != nullptr && !bit(c.valid, c.offset + from + i)) { out[i].nulls |= 1ULL << k; return; }
            uint64_t w = (v & keep) << p.shift;
            if (p.word == 0) out[i].a |= w; else out[i].b |= w;
        });
    }
}

static inline uint32_t tag_of(uint64_t w) {
    w *= 0x9e3779b97f4a7c15ULL; w ^= w >> 32; w *= 0xd6e8feb86659fd93ULL;
    return (uint32_t)(w >> 32);
}
static inline uint32_t tag_of(const Pair& p) { return tag_of(p.a ^ (p.b * 0xff51afd7ed558ccdULL + (p.b >> 29)) ^ (p.nulls << 7)); }

// Tags of rows that are not packed.
static inline void tag_rows(const std::vector<Column>& cols, int64_t from, int64_t n, uint32_t* out) {
    uint64_t h[BLOCK];
    for (size_t k = 0; k < cols.size(); k++) {
        const Column& c = cols[k];
        if (k == 0) for (int64_t i = 0; i < n; i++) h[i] = hash_value(c, from + i);
        else for (int64_t i = 0; i < n; i++) h[i] = fold_product(h[i] ^ 0x9e3779b97f4a7c15ULL, hash_value(c, from + i) | 1);
    }
    for (int64_t i = 0; i < n; i++) out[i] = (uint32_t)(h[i] >> 32) ^ (uint32_t)h[i];
}

static inline bool same_bytes(const uint8_t* a, const uint8_t* b, int64_t n) {
    if (n >= 8) {
        if (load8(a) != load8(b) || load8(a + n - 8) != load8(b + n - 8)) return false;
        return n <= 16 || memcmp(a + 8, b + 8, n - 16) == 0;
    }
    if (n >= 4) return load4(a) == load4(b) && load4(a + n - 4) == load4(b + n - 4);
    for (int64_t i = 0; i < n; i++) if (a[i] != b[i]) return false;
    return true;
}

// Equality of two values of one type as SQL groups them: NULL equals NULL, NaN equals NaN, 0.0 equals -0.0.
static inline bool same_value(const Column& a, int64_t i, const Column& b, int64_t j) {
    bool va = is_valid(a, i), vb = is_valid(b, j);
    if (!va || !vb) return va == vb;
    switch (a.kind) {
        case K_BOOL: return bit(a.data, a.offset + i) == bit(b.data, b.offset + j);
        case K_INT: return read_int(a, i) == read_int(b, j);
        case K_UINT: return read_uint(a, i) == read_uint(b, j);
        case K_FLOAT: { double x = read_float(a, i), y = read_float(b, j); return x == y || (x != x && y != y); }
        case K_DECIMAL: return read_decimal(a, i) == read_decimal(b, j);
        case K_INTERVAL: return read_interval(a, i) == read_interval(b, j);
        case K_BYTES: {
            const int32_t* p = (const int32_t*)a.data + a.offset + i;
            const int32_t* q = (const int32_t*)b.data + b.offset + j;
            int64_t n = p[1] - p[0];
            return n == q[1] - q[0] && same_bytes(a.bytes + p[0], b.bytes + q[0], n);
        }
    }
    return true;
}
