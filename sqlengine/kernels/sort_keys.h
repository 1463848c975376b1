// Rows as byte strings whose memcmp order is the SQL order of the keys, their sort, and their merge.
//
// A key is self-delimiting (no key is a proper prefix of another), so keys compare byte by byte. What is sorted are items of
// 16 bytes: 12 bytes of the key and the row's number in the low bits, all different, so that any sort of them is a
// stable sort of the rows. Rows whose 12 bytes are equal are sorted again by the next 12.
#pragma once
#include "columns.h"
#include <atomic>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <thread>
#include <sys/mman.h>

// Memory of keys and items. Large pieces are mapped, so that they go back to the system when they are freed: others wait
// for the room, in other allocators.
static const int64_t MAPPED = 64 << 10;
static inline void* take_bytes(int64_t bytes) {
    void* p;
    if (bytes >= MAPPED) {
        p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) p = nullptr;
    } else p = std::malloc(bytes ? bytes : 1);
    if (!p) throw std::bad_alloc();
    return p;
}
static inline void give_bytes(void* p, int64_t bytes) {
    if (!p) return;
    if (bytes >= MAPPED) munmap(p, bytes); else std::free(p);
}

struct KeyColumn { Column c; bool desc; bool nulls_first; };

static inline int key_width(const Column& c) {
    switch (c.kind) {
        case K_NULL: return 0;
        case K_BOOL: return 1;
        case K_DECIMAL: case K_INTERVAL: return 16;
        case K_BYTES: return -1;
        default: return c.width;
    }
}
static inline void put64(uint64_t v, uint8_t* p) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
static inline void put32(uint32_t v, uint8_t* p) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
static inline void put16(uint16_t v, uint8_t* p) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
static inline void put_int(uint64_t v, int width, uint8_t* p) {
    switch (width) {
        case 1: *p = (uint8_t)v; break;
        case 2: put16((uint16_t)v, p); break;
        case 4: put32((uint32_t)v, p); break;
        default: put64(v, p);
    }
}
static inline void put_fixed(const Column& c, int64_t i, bool desc, uint8_t* p) {
    const uint64_t flip = desc ? ~0ULL : 0;
    switch (c.kind) {
        case K_BOOL: *p = bit(c.data, c.offset + i) ^ (uint8_t)flip; break;
        case K_INT: put_int(((uint64_t)read_int(c, i) ^ (1ULL << (8 * c.width - 1))) ^ flip, c.width, p); break;
        case K_UINT: put_int(read_uint(c, i) ^ flip, c.width, p); break;
        case K_FLOAT:
            if (c.width == 4) {
                float d = (float)read_float(c, i); uint32_t w;
                if (d != d) w = ~0U;
                else { if (d == 0) d = 0; memcpy(&w, &d, 4); w = (w >> 31) ? ~w : (w | (1U << 31)); }
                put32(w ^ (uint32_t)flip, p);
            } else {
                double d = read_float(c, i); uint64_t w;
                if (d != d) w = ~0ULL;
                else { if (d == 0) d = 0; memcpy(&w, &d, 8); w = (w >> 63) ? ~w : (w | (1ULL << 63)); }
                put64(w ^ flip, p);
            }
            break;
        default: {
            int128 v = c.kind == K_DECIMAL ? read_decimal(c, i) : read_interval(c, i);
            put64(((uint64_t)(v >> 64) ^ (1ULL << 63)) ^ flip, p); put64((uint64_t)v ^ flip, p + 8);
        }
    }
}

// Text: bytes 0 and 1 become 1 1 and 1 2, the end is 0, so that a prefix sorts first. Both are rare.
static inline int64_t count_special(const uint8_t* p, int64_t n) {
    int64_t found = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v; memcpy(&v, p + i, 8);
        if ((v - 0x0202020202020202ULL) & ~v & 0x8080808080808080ULL)  // may be true too often, never too rarely
            for (int j = 0; j < 8; j++) found += p[i + j] < 2;
    }
    for (; i < n; i++) found += p[i] < 2;
    return found;
}
static inline uint8_t* put_text(const uint8_t* s, int64_t n, bool special, bool desc, uint8_t* p) {
    uint8_t* start = p;
    if (!special) { if (n) memcpy(p, s, n); p += n; }
    else for (int64_t j = 0; j < n; j++) { uint8_t b = s[j]; if (b < 2) { *p++ = 1; *p++ = b + 1; } else *p++ = b; }
    *p++ = 0;
    if (desc) for (uint8_t* q = start; q < p; q++) *q = ~*q;
    return p;
}

static inline uint128 prefix_at(const uint8_t* p, int64_t left) {  // 12 bytes from p in the high bits, zeros beyond the key
    if (left <= 0) return 0;
    uint64_t hi; uint32_t lo; memcpy(&hi, p, 8); memcpy(&lo, p + 8, 4);
    uint128 v = ((uint128)__builtin_bswap64(hi) << 64) | ((uint128)__builtin_bswap32(lo) << 32);
    if (left < 12) v &= ~(uint128)0 << (128 - 8 * left);
    return v;
}

struct KeyRows {
    uint8_t* data = nullptr;   // with 16 readable bytes behind the last key
    int64_t* ends = nullptr;   // of each row; null where every key has `stride` bytes
    int64_t n = 0, stride = 0, size = 0;
    KeyRows() {}
    KeyRows(const KeyRows&) = delete;
    KeyRows& operator=(const KeyRows&) = delete;
    ~KeyRows() { give_bytes(data, size + 16); give_bytes(ends, 8 * n); }
    int64_t nbytes() const { return size + (ends ? 8 * n : 0); }
    inline int64_t begin(int64_t i) const { return ends ? (i ? ends[i - 1] : 0) : i * stride; }
    inline int64_t length(int64_t i) const { return ends ? ends[i] - begin(i) : stride; }
    inline uint128 prefix(int64_t i, int64_t depth) const {
        int64_t s = begin(i);
        return prefix_at(data + s + depth, (ends ? ends[i] : s + stride) - s - depth);
    }
    inline int compare_from(int64_t a, const KeyRows& o, int64_t b, int64_t depth) const {
        int64_t la = length(a), lb = o.length(b), m = std::min(la, lb);
        int r = m > depth ? memcmp(data + begin(a) + depth, o.data + o.begin(b) + depth, m - depth) : 0;
        return r ? r : (la < lb ? -1 : la > lb);
    }
    inline int compare(int64_t a, const KeyRows& o, int64_t b) const { return compare_from(a, o, b, 0); }

    void encode(const std::vector<KeyColumn>& keys, int64_t rows) {
        n = rows;
        bool fixed = true;
        for (auto& k : keys) { int w = key_width(k.c); if (w < 0) fixed = false; else stride += w + 1; }
        fixed ? encode_fixed(keys) : encode_varying(keys);
    }
    void allocate(int64_t bytes) {
        size = bytes;
        data = (uint8_t*)take_bytes(bytes + 16);
        memset(data + bytes, 0, 16);
    }
    void encode_fixed(const std::vector<KeyColumn>& keys) {
        allocate(n * stride);
        int64_t at = 0;
        for (auto& k : keys) {
            int w = key_width(k.c);
            uint8_t* p = data + at;
            const bool all = k.c.valid == nullptr && k.c.kind != K_NULL;
            if (all && k.c.kind == K_INT && w == 8) {
                const uint8_t* src = k.c.data + k.c.offset * 8;
                const uint64_t flip = (1ULL << 63) ^ (k.desc ? ~0ULL : 0);
                for (int64_t i = 0; i < n; i++, p += stride) { uint64_t v; memcpy(&v, src + 8 * i, 8); *p = 1; put64(v ^ flip, p + 1); }
            } else if (all && k.c.kind == K_INT && w == 4) {
                const uint8_t* src = k.c.data + k.c.offset * 4;
                const uint32_t flip = (1U << 31) ^ (k.desc ? ~0U : 0);
                for (int64_t i = 0; i < n; i++, p += stride) { uint32_t v; memcpy(&v, src + 4 * i, 4); *p = 1; put32(v ^ flip, p + 1); }
            } else {
                for (int64_t i = 0; i < n; i++, p += stride) {
                    if (all || is_valid(k.c, i)) { *p = 1; put_fixed(k.c, i, k.desc, p + 1); }
                    else { *p = k.nulls_first ? 0 : 2; memset(p + 1, 0, w); }
                }
            }
            at += w + 1;
        }
    }
    void encode_varying(const std::vector<KeyColumn>& keys) {
        stride = 0;
        ends = (int64_t*)take_bytes(8 * n);
        std::vector<char> special(keys.size(), 0);
        for (size_t k = 0; k < keys.size(); k++) {
            const Column& c = keys[k].c;
            if (c.kind != K_BYTES || n == 0) continue;
            const int32_t* o = (const int32_t*)c.data + c.offset;
            special[k] = o[n] > o[0] && count_special(c.bytes + o[0], o[n] - o[0]) > 0;
        }
        for (int64_t i = 0; i < n; i++) ends[i] = keys.size();  // the byte that says whether it is NULL
        for (size_t k = 0; k < keys.size(); k++) {
            const Column& c = keys[k].c;
            int w = key_width(c);
            const int32_t* o = (const int32_t*)c.data + c.offset;
            for (int64_t i = 0; i < n; i++) {
                if (!is_valid(c, i)) continue;
                if (w >= 0) ends[i] += w;
                else ends[i] += o[i + 1] - o[i] + 1 + (special[k] ? count_special(c.bytes + o[i], o[i + 1] - o[i]) : 0);
            }
        }
        int64_t total = 0;
        for (int64_t i = 0; i < n; i++) { int64_t length = ends[i]; ends[i] = total; total += length; }
        allocate(total);
        for (size_t k = 0; k < keys.size(); k++) {
            const Column& c = keys[k].c;
            int w = key_width(c);
            const int32_t* o = (const int32_t*)c.data + c.offset;
            for (int64_t i = 0; i < n; i++) {
                uint8_t* p = data + ends[i];
                if (!is_valid(c, i)) *p++ = keys[k].nulls_first ? 0 : 2;
                else {
                    *p++ = 1;
                    if (w >= 0) { if (w) put_fixed(c, i, keys[k].desc, p); p += w; }
                    else p = put_text(c.bytes + o[i], o[i + 1] - o[i], special[k], keys[k].desc, p);
                }
                ends[i] = p - data;  // grows from the row's begin to its end
            }
        }
    }
};

// Sort of items that are all different, in place, by their most significant differing byte.
static void sort_items(uint128* a, int64_t n) {
    if (n < 2) return;
    if (n <= 24) {
        for (int64_t i = 1; i < n; i++) {
            uint128 x = a[i]; int64_t j = i;
            for (; j > 0 && a[j - 1] > x; j--) a[j] = a[j - 1];
            a[j] = x;
        }
        return;
    }
    if (n <= 160) { std::sort(a, a + n); return; }
    uint128 diff = 0; bool sorted = true;
    for (int64_t i = 1; i < n; i++) { diff |= a[i] ^ a[0]; sorted &= a[i - 1] < a[i]; }
    if (sorted) return;
    int top = (uint64_t)(diff >> 64) ? 127 - __builtin_clzll((uint64_t)(diff >> 64)) : 63 - __builtin_clzll((uint64_t)diff);
    int shift = top > 7 ? top - 7 : 0;
    int64_t ends[256] = {0}, heads[256];
    for (int64_t i = 0; i < n; i++) ends[(uint8_t)(a[i] >> shift)]++;
    int64_t total = 0;
    for (int d = 0; d < 256; d++) { heads[d] = total; total += ends[d]; ends[d] = total; }
    int64_t starts[256]; memcpy(starts, heads, sizeof starts);
    for (int d = 0; d < 256; d++) {
        while (heads[d] < ends[d]) {
            uint128 x = a[heads[d]];
            int e = (uint8_t)(x >> shift);
            while (e != d) { std::swap(x, a[heads[e]++]); e = (uint8_t)(x >> shift); }
            a[heads[d]++] = x;
        }
    }
    for (int d = 0; d < 256; d++) sort_items(a + starts[d], ends[d] - starts[d]);
}

// The rows of several batches as one: numbers run on from batch to batch.
struct Chunks {
    std::vector<const KeyRows*> rows;
    std::vector<int64_t> firsts;   // the number of each batch's first row, and the number of all rows
    void add(const KeyRows* keys) { if (firsts.empty()) firsts.push_back(0); rows.push_back(keys); firsts.push_back(firsts.back() + keys->n); }
    int64_t total() const { return firsts.empty() ? 0 : firsts.back(); }
    inline int64_t chunk(uint32_t row) const {
        return std::upper_bound(firsts.begin() + 1, firsts.end(), (int64_t)row) - firsts.begin() - 1;
    }
};

struct RowSort {
    const Chunks& chunks;
    bool whole;   // the 12 bytes are the whole key
    std::vector<int> varying;   // the bytes of longer fixed keys that differ anywhere, if 12 or fewer do
    explicit RowSort(const Chunks& c) : chunks(c), whole(true) {
        bool fixed = !c.rows.empty();
        for (auto* k : c.rows) { whole = whole && !k->ends && k->stride <= 12; fixed = fixed && !k->ends && k->stride <= 256; }
        if (whole || !fixed || !c.total()) return;
        int64_t stride = c.rows[0]->stride;
        std::vector<uint8_t> first(c.rows[0]->data, c.rows[0]->data + stride), diff(stride, 0);
        for (auto* k : c.rows)
            for (int64_t i = 0; i < k->n; i++) { const uint8_t* p = k->data + i * stride; for (int64_t b = 0; b < stride; b++) diff[b] |= p[b] ^ first[b]; }
        for (int64_t b = 0; b < stride; b++) if (diff[b]) varying.push_back((int)b);
        if (varying.size() <= 12) whole = true; else varying.clear();
    }
    inline uint128 start(const KeyRows& k, int64_t i) const {
        if (varying.empty()) return k.prefix(i, 0);
        const uint8_t* p = k.data + i * k.stride;
        uint128 v = 0; int shift = 120;
        for (int b : varying) { v |= (uint128)p[b] << shift; shift -= 8; }
        return v;
    }
    // Sort items that agree before `depth` and whose high bits are the key from there.
    void sort(uint128* a, int64_t n, int64_t depth) const {
        sort_items(a, n);
        if (whole) return;
        for (int64_t i = 0; i < n;) {
            int64_t j = i + 1;
            while (j < n && (a[j] >> 32) == (a[i] >> 32)) j++;
            if (j - i > 1) deeper(a + i, j - i, depth + 12);
            i = j;
        }
    }
    void deeper(uint128* a, int64_t n, int64_t depth) const {
        if (depth > 60) {   // long common beginnings: compare rather than go down byte by byte
            std::sort(a, a + n, [&](uint128 x, uint128 y) {
                uint32_t p = (uint32_t)x, q = (uint32_t)y;
                int64_t c = chunks.chunk(p), d = chunks.chunk(q);
                int r = chunks.rows[c]->compare_from(p - chunks.firsts[c], *chunks.rows[d], q - chunks.firsts[d], depth);
                return r ? r < 0 : p < q;
            });
            return;
        }
        bool more = false;
        for (int64_t i = 0; i < n; i++) {
            uint32_t row = (uint32_t)a[i];
            int64_t c = chunks.chunk(row), r = row - chunks.firsts[c];
            more = more || chunks.rows[c]->length(r) > depth;
            a[i] = chunks.rows[c]->prefix(r, depth) | row;
        }
        if (more) sort(a, n, depth);
        else sort_items(a, n);   // equal keys: by row
    }
    void run(uint32_t* out, int threads) const {
        int64_t n = chunks.total();
        uint128* a = (uint128*)take_bytes(16 * n);
        int64_t at = 0;
        for (size_t c = 0; c < chunks.rows.size(); c++)
            for (int64_t i = 0; i < chunks.rows[c]->n; i++, at++) a[at] = start(*chunks.rows[c], i) | (uint32_t)at;
        if (threads <= 1 || n < 65536) sort(a, n, 0);
        else parallel(a, n, threads);
        for (int64_t i = 0; i < n; i++) out[i] = (uint32_t)a[i];
        give_bytes(a, 16 * n);
    }
    // Parts whose first differing bytes are ordered are sorted by several threads.
    void parallel(uint128* a, int64_t n, int threads) const {
        std::vector<std::pair<int64_t, int64_t>> parts{{0, n}}, ready;
        while (!parts.empty()) {
            auto [low, high] = parts.back(); parts.pop_back();
            if (high - low <= n / (4 * threads) || high - low < 4096) { ready.push_back({low, high}); continue; }
            uint128 diff = 0;
            for (int64_t i = low + 1; i < high; i++) diff |= (a[i] ^ a[low]) >> 32;
            if (!diff) { ready.push_back({low, high}); continue; }
            int top = 32 + ((uint64_t)(diff >> 64) ? 127 - __builtin_clzll((uint64_t)(diff >> 64)) : 63 - __builtin_clzll((uint64_t)diff));
            int shift = top > 39 ? top - 7 : 32;
            int64_t ends[256] = {0}, heads[256], starts[256], total = low;
            for (int64_t i = low; i < high; i++) ends[(uint8_t)(a[i] >> shift)]++;
            for (int d = 0; d < 256; d++) { starts[d] = heads[d] = total; total += ends[d]; ends[d] = total; }
            for (int d = 0; d < 256; d++)
                while (heads[d] < ends[d]) {
                    uint128 x = a[heads[d]];
                    int e = (uint8_t)(x >> shift);
                    while (e != d) { std::swap(x, a[heads[e]++]); e = (uint8_t)(x >> shift); }
                    a[heads[d]++] = x;
                }
            for (int d = 0; d < 256; d++) if (ends[d] - starts[d] > 1) parts.push_back({starts[d], ends[d]});
        }
        std::sort(ready.begin(), ready.end(), [](auto& x, auto& y) { return x.second - x.first > y.second - y.first; });
        std::atomic<size_t> next{0};
        auto work = [&]() {
            for (;;) {
                size_t i = next++;
                if (i >= ready.size()) return;
                sort(a + ready[i].first, ready[i].second - ready[i].first, 0);
            }
        };
        std::vector<std::thread> pool;
        for (int t = 1; t < threads; t++) pool.emplace_back(work);
        work();
        for (auto& t : pool) t.join();
    }
};

// k-way merge of sorted blocks with a tree of losers (Knuth 3, 5.4.1); equal keys in the order of the blocks.
struct RowMerge {
    const std::vector<const KeyRows*>& blocks;
    std::vector<int64_t> at;
    std::vector<uint128> head;   // the first 12 bytes of the current key
    std::vector<int> losers;
    int k;
    RowMerge(const std::vector<const KeyRows*>& b, const std::vector<int64_t>& starts) : blocks(b), at(starts), head(b.size()), losers(b.size(), -1), k(b.size()) {
        for (int i = 0; i < k; i++) load(i);
    }
    inline void load(int i) { if (at[i] < blocks[i]->n) head[i] = blocks[i]->prefix(at[i], 0); }
    inline bool before(int i, int j) const {
        bool iend = at[i] >= blocks[i]->n, jend = at[j] >= blocks[j]->n;
        if (iend || jend) return iend == jend ? i < j : jend;
        if (head[i] != head[j]) return head[i] < head[j];
        int r = blocks[i]->compare_from(at[i], *blocks[j], at[j], 12);
        return r ? r < 0 : i < j;
    }
    int settle(int i) {   // from leaf i to the root: the winner
        for (int node = (i + k) / 2; node > 0; node /= 2)
            if (before(losers[node], i)) std::swap(losers[node], i);
        return i;
    }
    // Up to `limit` rows in order, ending early where a block is used up.
    void run(int64_t limit, std::vector<int32_t>& which, std::vector<int32_t>& rows) {
        for (int i = 0; i < k; i++) if (at[i] >= blocks[i]->n) return;
        int winner = 0;
        if (k > 1) {
            std::vector<int> tree(2 * k);
            for (int i = 0; i < k; i++) tree[k + i] = i;
            for (int node = k - 1; node > 0; node--) {
                int l = tree[2 * node], r = tree[2 * node + 1];
                bool left = before(l, r);
                tree[node] = left ? l : r; losers[node] = left ? r : l;
            }
            winner = tree[1];
        }
        while ((int64_t)rows.size() < limit) {
            which.push_back(winner); rows.push_back((int32_t)at[winner]);
            if (++at[winner] >= blocks[winner]->n) return;
            load(winner);
            if (k > 1) winner = settle(winner);
        }
    }
};
