// The build rows of a join by key: a table of first rows (direct by value, or slots of tag and row) and chains of equal ones.
#pragma once
#include "keys.h"

struct BuildRows {
    KeyShape shape;
    bool null_equal = false;
    std::vector<std::vector<Column>> chunks;   // the key columns of each chunk of rows
    std::vector<int64_t> starts{0};            // first row of each chunk, and the number of all rows
    std::vector<int32_t> chunk_of;             // chunk in which row r << STEP begins
    static const int STEP = 10;

    bool direct = false;                       // one column of whole numbers, few more values than rows
    int64_t low = 0;
    uint64_t range = 0;
    std::vector<int32_t> firsts;               // direct: row + 1 by value - low
    std::vector<uint64_t> slots;               // else: tag << 32 | row + 1
    uint64_t mask = 0;
    std::vector<uint64_t> words;               // keys of rows, by mode
    std::vector<uint64_t> pairs;
    std::vector<int32_t> next;                 // row + 1 of the next row with the same key; empty if all keys differ
    std::vector<uint8_t> matched;

    void init(const std::vector<int>& kinds, const std::vector<int>& bits, bool null_equal_) {
        null_equal = null_equal_;
        shape.init(kinds, bits);
        // NULLs that match need their bits in the word; two words have none to spare.
        if (null_equal && !(shape.mode == WORD && shape.null_bits)) shape.mode = ROWS;
    }
    int64_t rows() const { return starts.back(); }
    void add(const std::vector<Column>& cols, int64_t n) { chunks.push_back(cols); starts.push_back(starts.back() + n); }

    void clear() { chunks.clear(); starts.assign(1, 0); }

    static uint64_t slots_for(int64_t n) { uint64_t s = 64; while (s * 5 < (uint64_t)n * 8) s *= 2; return s; }
    // Bytes of the table over n rows, whatever their keys.
    int64_t table_bytes(int64_t n) const {
        int64_t keys = shape.mode == WORD ? 8 : shape.mode == PAIR ? 16 : 0;
        int64_t hashed = (int64_t)slots_for(n) * 8 + keys * n;
        return std::max(hashed, most_direct(n) * 4) + 4 * n + n + (n >> STEP) * 4 + 64;
    }
    static int64_t most_direct(int64_t n) { return 5 * n + 1024; }
    int64_t nbytes() const {
        return (int64_t)(firsts.capacity() * 4 + slots.capacity() * 8 + words.capacity() * 8 + pairs.capacity() * 8
            + next.capacity() * 4 + matched.capacity() + chunk_of.capacity() * 4);
    }

    static int64_t number(const Column& c, int64_t i) {
        switch (c.kind) {
            case K_UINT: return (int64_t)read_uint(c, i);
            case K_DECIMAL: { int64_t v; memcpy(&v, c.data + (c.offset + i) * 16, 8); return v; }
            default: return read_int(c, i);
        }
    }
    bool any_null(const std::vector<Column>& cols, int64_t i) const {
        for (const Column& c : cols) if (!is_valid(c, i)) return true;
        return false;
    }
    static bool has_nulls(const std::vector<Column>& cols) {
        for (const Column& c : cols) if (c.valid != nullptr || c.kind == K_NULL) return true;
        return false;
    }

    bool plan_direct() {
        if (shape.mode != WORD || shape.parts.size() != 1 || null_equal || rows() == 0) return false;
        int kind = shape.parts[0].kind;
        if (!(kind == K_INT || kind == K_DECIMAL || (kind == K_UINT && shape.parts[0].bits < 64))) return false;
        int64_t lo = INT64_MAX, hi = INT64_MIN;
        for (size_t k = 0; k < chunks.size(); k++) {
            const Column& c = chunks[k][0];
            for (int64_t i = 0; i < starts[k + 1] - starts[k]; i++) {
                if (!is_valid(c, i)) continue;
                int64_t v = number(c, i);
                lo = std::min(lo, v); hi = std::max(hi, v);
            }
        }
        if (lo > hi) return false;
        uint64_t span = (uint64_t)hi - (uint64_t)lo;
        if (span >= (uint64_t)most_direct(rows())) return false;
        low = lo; range = span + 1;
        return true;
    }
    void chain(int64_t row, int64_t before) {   // `row` comes before the row `before` of the same key
        if (next.empty()) next.assign(rows(), 0);
        next[row] = (int32_t)(before + 1);
    }
    void place(uint32_t tag, int64_t row, const uint64_t* w, const Column* cols, int64_t i) {
        uint64_t s = tag & mask;
        while (uint64_t slot = slots[s]) {
            if ((uint32_t)(slot >> 32) == tag) {
                int64_t r = (int64_t)(uint32_t)slot - 1;
                if (same(r, w, cols, i)) {
                    chain(row, r);
                    break;
                }
            }
            s = (s + 1) & mask;
        }
        slots[s] = (uint64_t)tag << 32 | (uint64_t)(row + 1);
    }
    bool same(int64_t r, const uint64_t* w, const Column* cols, int64_t i) const {
        switch (shape.mode) {
            case WORD: return words[r] == w[0];
            case PAIR: return pairs[2 * r] == w[0] && pairs[2 * r + 1] == w[1];
            default: {
                int64_t k = find_chunk(r);
                const std::vector<Column>& mine = chunks[k];
                for (size_t j = 0; j < mine.size(); j++) if (!same_value(mine[j], r - starts[k], cols[j], i)) return false;
                return true;
            }
        }
    }
    int64_t find_chunk(int64_t r) const {
        int64_t k = chunk_of[r >> STEP];
        while (r >= starts[k + 1]) k++;
        return k;
    }
    // Tags and packed keys of a block. Keys are two words per row for PAIR, one for WORD.
    void prepare(const std::vector<Column>& cols, int64_t from, int64_t n, uint64_t* w, uint32_t* tags) const {
        if (shape.mode == WORD) {
            pack_words(shape, cols, from, n, w);
            for (int64_t i = 0; i < n; i++) tags[i] = tag_of(w[i]);
        } else if (shape.mode == PAIR) {
            Pair p[BLOCK];
            pack_pairs(shape, cols, from, n, p);
            for (int64_t i = 0; i < n; i++) { w[2 * i] = p[i].a; w[2 * i + 1] = p[i].b; tags[i] = tag_of(p[i]); }
        } else tag_rows(cols, from, n, tags);
    }
    // Rows go in from the last to the first, so that a chain runs in the order of the rows.
    void finish(bool marks) {
        int64_t n = rows();
        chunk_of.resize((n >> STEP) + 1);
        for (int64_t r = 0, k = 0; r <= n; r += 1 << STEP) {
            while (k + 1 < (int64_t)chunks.size() && r >= starts[k + 1]) k++;
            chunk_of[r >> STEP] = (int32_t)k;
        }
        if (marks) matched.assign(n, 0);
        direct = plan_direct();
        if (direct) {
            firsts.assign(range, 0);
            for (size_t k = chunks.size(); k-- > 0;) {
                const Column& c = chunks[k][0];
                for (int64_t i = starts[k + 1] - starts[k]; i-- > 0;) {
                    if (!is_valid(c, i)) continue;
                    int32_t& first = firsts[(uint64_t)number(c, i) - (uint64_t)low];
                    if (first) chain(starts[k] + i, first - 1);
                    first = (int32_t)(starts[k] + i + 1);
                }
            }
            return;
        }
        slots.assign(slots_for(n), 0); mask = slots.size() - 1;
        if (shape.mode == WORD) words.resize(n);
        if (shape.mode == PAIR) pairs.resize(2 * n);
        int step = shape.mode == PAIR ? 2 : 1;
        uint64_t w[2 * BLOCK];
        uint32_t tags[BLOCK];
        for (size_t k = chunks.size(); k-- > 0;) {
            const std::vector<Column>& cols = chunks[k];
            int64_t m = starts[k + 1] - starts[k];
            bool nulls = !null_equal && has_nulls(cols);
            for (int64_t from = (m - 1) / BLOCK * BLOCK; m > 0 && from >= 0; from -= BLOCK) {
                int64_t here = std::min(BLOCK, m - from), row = starts[k] + from;
                prepare(cols, from, here, w, tags);
                if (shape.mode == WORD) memcpy(&words[row], w, here * 8);
                if (shape.mode == PAIR) memcpy(&pairs[2 * row], w, here * 16);
                if (mask > 4096) for (int64_t i = 0; i < here; i++) __builtin_prefetch(&slots[tags[i] & mask], 1);
                for (int64_t i = here; i-- > 0;) {
                    if (nulls && any_null(cols, from + i)) continue;
                    place(tags[i], row + i, w + step * i, cols.data(), from + i);
                }
            }
        }
    }

    // First build row of each probe row from .. from + n (at most a block), -1 for none.
    void heads(const std::vector<Column>& cols, int64_t from, int64_t n, int32_t* out) const {
        bool nulls = !null_equal && has_nulls(cols);
        if (direct) {
            const Column& c = cols[0];
            // Far apart, the values' places would be waited for one by one.
            if (range > 65536 && c.kind == K_INT && c.width == 8) {
                const int64_t* p = (const int64_t*)c.data + c.offset + from;
                for (int64_t i = 0; i < n; i++) { uint64_t at = (uint64_t)p[i] - (uint64_t)low; if (at < range) __builtin_prefetch(&firsts[at]); }
            }
            auto get = [&](int64_t i, int64_t v) {
                uint64_t at = (uint64_t)v - (uint64_t)low;
                out[i] = at < range ? firsts[at] - 1 : -1;
            };
            if (c.kind == K_INT && c.width == 8) { const int64_t* p = (const int64_t*)c.data + c.offset + from; for (int64_t i = 0; i < n; i++) get(i, p[i]); }
            else if (c.kind == K_INT && c.width == 4) { const int32_t* p = (const int32_t*)c.data + c.offset + from; for (int64_t i = 0; i < n; i++) get(i, p[i]); }
            else if (c.kind == K_NULL) { for (int64_t i = 0; i < n; i++) out[i] = -1; }
            else for (int64_t i = 0; i < n; i++) get(i, number(c, from + i));
        } else {
            int step = shape.mode == PAIR ? 2 : 1;
            uint64_t w[2 * BLOCK];
            uint32_t tags[BLOCK];
            prepare(cols, from, n, w, tags);
            if (mask > 4096) {
                // Slots, then the keys they name.
                for (int64_t i = 0; i < n; i++) __builtin_prefetch(&slots[tags[i] & mask]);
                if (shape.mode != ROWS) for (int64_t i = 0; i < n; i++) {
                    uint64_t slot = slots[tags[i] & mask];
                    if ((uint32_t)(slot >> 32) == tags[i]) __builtin_prefetch(shape.mode == WORD ? &words[(uint32_t)slot - 1] : &pairs[2 * (uint64_t)((uint32_t)slot - 1)]);
                }
            }
            for (int64_t i = 0; i < n; i++) {
                int32_t found = -1;
                uint64_t s = tags[i] & mask;
                while (uint64_t slot = slots[s]) {
                    if ((uint32_t)(slot >> 32) == tags[i]) {
                        int64_t r = (int64_t)(uint32_t)slot - 1;
                        if (same(r, w + step * i, cols.data(), from + i)) { found = (int32_t)r; break; }
                    }
                    s = (s + 1) & mask;
                }
                out[i] = found;
            }
        }
        if (nulls) for (int64_t i = 0; i < n; i++) if (any_null(cols, from + i)) out[i] = -1;
    }

    // Pairs (probe row, build row) from probe row `row` on (and from build row `build` on in its chain, -1: from its first),
    // at most `limit`. With `outer`, a probe row without a match is a pair with -1. Returns how many.
    int64_t pairs_from(const std::vector<Column>& cols, int64_t n, int64_t& row, int64_t& build, int64_t limit, bool outer, int32_t* left, int32_t* right) const {
        int64_t count = 0;
        int32_t head[BLOCK];
        while (row < n && count < limit) {
            int64_t m = std::min(BLOCK, n - row), from = row;
            heads(cols, from, m, head);
            if (next.empty() && m <= limit - count) {
                if (outer) for (int64_t i = 0; i < m; i++) { left[count] = (int32_t)(from + i); right[count] = head[i]; count++; }
                else for (int64_t i = 0; i < m; i++) { left[count] = (int32_t)(from + i); right[count] = head[i]; count += head[i] >= 0; }
                row = from + m;
                continue;
            }
            for (int64_t i = 0; i < m && count < limit; i++) {
                int64_t r = build >= 0 ? build : head[i];
                build = -1;
                if (r < 0) {
                    if (outer) { left[count] = (int32_t)(from + i); right[count++] = -1; }
                    row = from + i + 1;
                    continue;
                }
                while (r >= 0 && count < limit) {
                    left[count] = (int32_t)(from + i); right[count++] = (int32_t)r;
                    r = next.empty() ? -1 : (int64_t)next[r] - 1;
                }
                if (r >= 0) { build = r; row = from + i; return count; }
                row = from + i + 1;
            }
        }
        return count;
    }
    // Which probe rows have a match, as a bitmap; how many.
    int64_t contains(const std::vector<Column>& cols, int64_t n, uint8_t* out) const {
        int64_t count = 0;
        int32_t head[BLOCK];
        memset(out, 0, (n + 7) / 8);
        for (int64_t from = 0; from < n; from += BLOCK) {
            int64_t m = std::min(BLOCK, n - from);
            heads(cols, from, m, head);
            for (int64_t i = 0; i < m; i++) { int64_t at = from + i; out[at >> 3] |= (head[i] >= 0) << (at & 7); count += head[i] >= 0; }
        }
        return count;
    }
    // Mark all build rows that have the key of some probe row.
    void mark_all(const std::vector<Column>& cols, int64_t n) {
        int32_t head[BLOCK];
        for (int64_t from = 0; from < n; from += BLOCK) {
            int64_t m = std::min(BLOCK, n - from);
            heads(cols, from, m, head);
            for (int64_t i = 0; i < m; i++) {
                // Whole chains are marked from the end, so that a marked first row tells that the others are.
                if (head[i] < 0 || matched[head[i]]) continue;
                if (!next.empty()) for (int64_t r = (int64_t)next[head[i]] - 1; r >= 0; r = (int64_t)next[r] - 1) matched[r] = 1;
                matched[head[i]] = 1;
            }
        }
    }
    // Rows from `row` on that are marked (or not), at most `limit`.
    int64_t marked(bool value, int64_t& row, int64_t limit, int32_t* out) const {
        int64_t count = 0, n = (int64_t)matched.size();
        for (; row < n && count < limit; row++) if ((matched[row] != 0) == value) out[count++] = (int32_t)row;
        return count;
    }
};
