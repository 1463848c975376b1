// Rows as byte strings whose memcmp order is the SQL order of the keys.
#pragma once
#include "columns.h"

struct KeyColumn { Column c; bool desc; bool nulls_first; };

static inline void put_big(uint64_t v, int width, bool flip, uint8_t* p) {
    for (int i = 0; i < width; i++) { uint8_t b = (uint8_t)(v >> (8 * (width - 1 - i))); p[i] = flip ? ~b : b; }
}
static inline int key_width(const Column& c) {
    switch (c.kind) { case K_NULL: return 0; case K_BOOL: return 1; case K_DECIMAL: case K_INTERVAL: return 16; case K_BYTES: return -1; default: return 8; }
}
static inline void put_fixed(const Column& c, int64_t i, bool desc, uint8_t* p) {
    switch (c.kind) {
        case K_BOOL: put_big(bit(c.data, c.offset + i), 1, desc, p); break;
        case K_INT: put_big((uint64_t)read_int(c, i) ^ (1ULL << 63), 8, desc, p); break;
        case K_UINT: put_big(read_uint(c, i), 8, desc, p); break;
        case K_FLOAT: {
            double d = read_float(c, i); uint64_t w;
            if (d != d) w = ~0ULL;
            else { if (d == 0) d = 0; memcpy(&w, &d, 8); w = (w >> 63) ? ~w : (w | (1ULL << 63)); }
            put_big(w, 8, desc, p); break;
        }
        default: {
            int128 v = c.kind == K_DECIMAL ? read_decimal(c, i) : read_interval(c, i);
            put_big((uint64_t)(v >> 64) ^ (1ULL << 63), 8, desc, p); put_big((uint64_t)v, 8, desc, p + 8);
        }
    }
}

struct KeyRows {
    std::vector<uint8_t> data;
    std::vector<int64_t> ends;   // of each row; fixed rows too, for one way to read
    void encode(const std::vector<KeyColumn>& keys, int64_t n) {
        bool fixed = true; int64_t stride = 0;
        for (auto& k : keys) { int w = key_width(k.c); if (w < 0) fixed = false; else stride += w + 1; }
        ends.resize(n);
        if (fixed) {
            data.assign(n * stride, 0);
            int64_t at = 0;
            for (auto& k : keys) {
                int w = key_width(k.c);
                for (int64_t i = 0; i < n; i++) {
                    uint8_t* p = data.data() + i * stride + at;
                    if (is_valid(k.c, i)) { p[0] = 1; put_fixed(k.c, i, k.desc, p + 1); }
                    else p[0] = k.nulls_first ? 0 : 2;
                }
                at += w + 1;
            }
            for (int64_t i = 0; i < n; i++) ends[i] = (i + 1) * stride;
            return;
        }
        data.reserve(n * (stride + 16));
        for (int64_t i = 0; i < n; i++) {
            for (auto& k : keys) {
                if (!is_valid(k.c, i)) { data.push_back(k.nulls_first ? 0 : 2); continue; }
                data.push_back(1);
                if (k.c.kind == K_BYTES) {
                    // 0x00 inside becomes 0x00 0xFF, the end is 0x00 0x00: a prefix sorts first.
                    const int32_t* o = (const int32_t*)k.c.data + k.c.offset + i;
                    uint8_t f = k.desc ? 0xFF : 0;
                    for (int32_t j = o[0]; j < o[1]; j++) { uint8_t b = k.c.bytes[j]; data.push_back(b ^ f); if (!b) data.push_back(0xFF ^ f); }
                    data.push_back(f); data.push_back(f);
                } else {
                    size_t at = data.size(); int w = key_width(k.c);
                    data.resize(at + w); if (w) put_fixed(k.c, i, k.desc, data.data() + at);
                }
            }
            ends[i] = data.size();
        }
    }
    inline int64_t begin(int64_t i) const { return i ? ends[i - 1] : 0; }
    inline int compare(int64_t a, const KeyRows& other, int64_t b) const {
        int64_t sa = begin(a), sb = other.begin(b), la = ends[a] - sa, lb = other.ends[b] - sb;
        int r = memcmp(data.data() + sa, other.data.data() + sb, std::min(la, lb));
        return r ? r : (la < lb ? -1 : la > lb);
    }
    // The first bytes of a row that differ from nothing: 8 after the null byte of the first key.
    inline uint64_t prefix(int64_t i) const {
        int64_t s = begin(i), n = std::min<int64_t>(ends[i] - s, 9);
        uint64_t v = 0; uint8_t b[8] = {0};
        if (n > 1) memcpy(b, data.data() + s + 1, n - 1);
        for (int j = 0; j < 8; j++) v = v << 8 | b[j];
        return v;
    }
    void argsort(int32_t* out) const {
        int64_t n = ends.size();
        struct Item { uint64_t prefix; int32_t row; uint8_t null; };
        std::vector<Item> items(n);
        for (int64_t i = 0; i < n; i++) items[i] = {prefix(i), (int32_t)i, data.empty() ? (uint8_t)0 : (begin(i) < ends[i] ? data[begin(i)] : (uint8_t)0)};
        auto longer = [&](const Item& a, const Item& b) {
            int r = compare(a.row, *this, b.row);
            return r ? r < 0 : a.row < b.row;
        };
        if (n < 1024) {
            std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
                if (a.null != b.null) return a.null < b.null;
                return a.prefix != b.prefix ? a.prefix < b.prefix : longer(a, b);
            });
        } else {
            // Radix sort from the last byte of the prefix to the null byte, stable; bytes that never differ cost nothing.
            std::vector<int64_t> counts(9 * 256, 0);
            for (auto& x : items) {
                for (int b = 0; b < 8; b++) counts[b * 256 + (x.prefix >> (8 * b) & 255)]++;
                counts[8 * 256 + x.null]++;
            }
            std::vector<Item> other(n);
            for (int b = 0; b < 9; b++) {
                int64_t* c = counts.data() + b * 256;
                auto digit = [b](const Item& x) { return b < 8 ? (int)(x.prefix >> (8 * b) & 255) : (int)x.null; };
                if (c[digit(items[0])] == n) continue;
                int64_t total = 0;
                for (int d = 0; d < 256; d++) { int64_t k = c[d]; c[d] = total; total += k; }
                for (auto& x : items) other[c[digit(x)]++] = x;
                items.swap(other);
            }
            // Rows that agree so far differ only behind the prefix, if at all.
            for (int64_t i = 0; i < n;) {
                int64_t j = i + 1;
                bool more = ends[items[i].row] - begin(items[i].row) > 9;
                for (; j < n && items[j].prefix == items[i].prefix && items[j].null == items[i].null; j++)
                    more = more || ends[items[j].row] - begin(items[j].row) > 9;
                if (more && j - i > 1) std::sort(items.begin() + i, items.begin() + j, longer);
                i = j;
            }
        }
        for (int64_t i = 0; i < n; i++) out[i] = items[i].row;
    }
};
