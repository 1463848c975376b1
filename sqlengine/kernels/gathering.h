// Rows of several batches brought together: one loop per kind of value, with prefetches, as the reads are random.
#pragma once
#include "columns.h"

static const int AHEAD = 24;

// Where a row is: batch which[i] (null: the only one), row rows[i]; a negative row gives NULL.
struct Places { const int32_t* which; const int32_t* rows; int64_t n; };

template <int W> static void gather_fixed(const std::vector<const uint8_t*>& bases, const Places& p, uint8_t* out) {
    auto at = [&](int64_t i) { return bases[p.which ? p.which[i] : 0] + (int64_t)p.rows[i] * W; };
    for (int64_t i = 0; i < p.n; i++) {
        if (i + AHEAD < p.n && p.rows[i + AHEAD] >= 0) __builtin_prefetch(at(i + AHEAD));
        if (p.rows[i] < 0) memset(out + i * W, 0, W); else memcpy(out + i * W, at(i), W);
    }
}

// Validity bits; returns the number of NULLs.
static int64_t gather_valid(const std::vector<Column>& cs, const Places& p, uint8_t* out) {
    memset(out, 0, (p.n + 7) / 8);
    int64_t nulls = 0;
    for (int64_t i = 0; i < p.n; i++) {
        bool v = p.rows[i] >= 0 && is_valid(cs[p.which ? p.which[i] : 0], p.rows[i]);
        if (v) out[i >> 3] |= (uint8_t)(1 << (i & 7)); else nulls++;
    }
    return nulls;
}

static void gather_bits(const std::vector<Column>& cs, const Places& p, uint8_t* out) {
    memset(out, 0, (p.n + 7) / 8);
    for (int64_t i = 0; i < p.n; i++) {
        if (p.rows[i] < 0) continue;
        const Column& c = cs[p.which ? p.which[i] : 0];
        if (bit(c.data, c.offset + p.rows[i])) out[i >> 3] |= (uint8_t)(1 << (i & 7));
    }
}

// Offsets of the texts in the output; the number of bytes, which may be too many for an array.
static int64_t gather_offsets(const std::vector<Column>& cs, const Places& p, int32_t* out, const uint8_t** from) {
    int64_t total = 0;
    for (int64_t i = 0; i < p.n; i++) {
        if (i + AHEAD < p.n && p.rows[i + AHEAD] >= 0) {
            const Column& c = cs[p.which ? p.which[i + AHEAD] : 0];
            __builtin_prefetch((const int32_t*)c.data + c.offset + p.rows[i + AHEAD]);
        }
        out[i] = (int32_t)total;
        from[i] = nullptr;
        if (p.rows[i] < 0) continue;
        const Column& c = cs[p.which ? p.which[i] : 0];
        if (!is_valid(c, p.rows[i])) continue;
        const int32_t* o = (const int32_t*)c.data + c.offset + p.rows[i];
        from[i] = c.bytes + o[0];
        total += o[1] - o[0];
        if (total > INT32_MAX) return total;
    }
    out[p.n] = (int32_t)total;
    return total;
}

static void gather_texts(const uint8_t* const* from, const int32_t* offsets, int64_t n, uint8_t* out) {
    for (int64_t i = 0; i < n; i++) {
        if (i + AHEAD < n) __builtin_prefetch(from[i + AHEAD]);
        int32_t length = offsets[i + 1] - offsets[i];
        if (length) memcpy(out + offsets[i], from[i], length);
    }
}

// The batch and row of numbers that run on over several batches; `firsts` has one more entry than there are batches.
static void locate(const uint32_t* numbers, int64_t n, const std::vector<int64_t>& firsts, int32_t* which, int32_t* rows) {
    for (int64_t i = 0; i < n; i++) {
        int64_t c = std::upper_bound(firsts.begin() + 1, firsts.end(), (int64_t)numbers[i]) - firsts.begin() - 1;
        which[i] = (int32_t)c;
        rows[i] = (int32_t)(numbers[i] - firsts[c]);
    }
}

// Where to cut rows into pieces of at most `most` rows and about `target` bytes.
static void cut(const std::vector<const int64_t*>& sizes, const Places& p, int64_t fixed, int64_t most, int64_t target, std::vector<int64_t>& ends) {
    int64_t start = 0, bytes = 0;
    for (int64_t i = 0; i < p.n; i++) {
        int64_t size = fixed + sizes[p.which ? p.which[i] : 0][p.rows[i]];
        if (i > start && (i - start >= most || bytes + size > target)) { ends.push_back(i); start = i; bytes = 0; }
        bytes += size;
    }
    if (p.n) ends.push_back(p.n);
}
