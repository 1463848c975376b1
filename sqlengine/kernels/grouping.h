// A table of distinct rows: open addressing over slots of (tag, number); keys packed in words, or rows of bytes in an arena.
#pragma once
#include "chunked.h"
#include "keys.h"

// Rows of bytes in blocks that are freed from the front.
struct Arena {
    static constexpr int64_t SIZE = 1 << 18;
    std::vector<uint8_t*> blocks;
    std::vector<int64_t> sizes;
    std::vector<int64_t> ends;   // how many rows had been put when each block was full
    int64_t used = 0, bytes = 0, released = 0;

    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { clear(); }
    int64_t next_size() const { return blocks.empty() ? 4096 : std::min<int64_t>(SIZE, sizes.back() * 4); }
    // Bytes that `n` more may add, with what stays free at the ends of blocks.
    int64_t room(int64_t n) const {
        if (!blocks.empty() && used + n <= sizes.back()) return 0;
        int64_t size = next_size();
        return n + n / 8 + size;
    }
    uint8_t* put(int64_t n, int64_t rows) {
        if (blocks.empty() || used + n > sizes.back()) {
            // The first blocks are small: most tables stay small.
            int64_t size = next_size();
            if (size < n) size = n;
            uint8_t* p = (uint8_t*)malloc(size);
            if (!p) throw std::bad_alloc();
            if (!blocks.empty()) ends.push_back(rows);
            blocks.push_back(p); sizes.push_back(size); bytes += size; used = 0;
        }
        uint8_t* p = blocks.back() + used;
        used += n;
        return p;
    }
    void release(int64_t before) {
        for (; released < (int64_t)ends.size() && ends[released] <= before; released++) {
            free(blocks[released]); blocks[released] = nullptr; bytes -= sizes[released];
        }
    }
    void clear() {
        for (uint8_t* p : blocks) free(p);
        blocks.clear(); sizes.clear(); ends.clear(); used = bytes = released = 0;
    }
};

struct RowTable {
    KeyShape shape;
    Chunked<uint64_t> words;      // of each group, by mode
    Chunked<Pair> pairs;
    Chunked<uint8_t*> rows;
    Arena arena;
    std::vector<uint64_t> slots;  // tag << 32 | group + 1; 0 is empty
    uint64_t mask = 0;
    int64_t groups = 0;
    int64_t null_group = -1;      // WORD without bits for NULL
    std::vector<int32_t> domain;  // of a batch with few possible keys: code -> group + 1

    void init(const std::vector<int>& kinds, const std::vector<int>& bits) {
        shape.init(kinds, bits);
        start();
    }
    void start() {
        std::vector<uint64_t>(64, 0).swap(slots); mask = 63;
    }
    void clear() {
        words.clear(); pairs.clear(); rows.clear(); arena.clear();
        groups = 0; null_group = -1;
        start();
    }
    int64_t nbytes() const {
        return words.nbytes() + pairs.nbytes() + rows.nbytes() + arena.bytes + (int64_t)slots.capacity() * 8
            + (int64_t)domain.capacity() * 4;
    }
    static uint64_t slots_for(int64_t n, uint64_t now) { while ((uint64_t)n * 5 > now * 3) now *= 2; return now; }
    // Bytes that `more` new groups with `bytes` of text would add at most, with the copying of a growing table.
    int64_t room(int64_t more, int64_t bytes) const {
        int64_t n = groups + more, size = 0;
        uint64_t now = mask + 1, then = slots_for(n, now);
        if (then > now) size += (int64_t)then * 8 + (int64_t)(then / 2 > now ? then / 2 * 8 : 0);
        switch (shape.mode) {
            case WORD: size += Chunked<uint64_t>::bytes_at(n) - words.nbytes(); break;
            case PAIR: size += Chunked<Pair>::bytes_at(n) - pairs.nbytes(); break;
            default: size += Chunked<uint8_t*>::bytes_at(n) - rows.nbytes() + arena.room(bytes + more * (int64_t)(16 * shape.parts.size() + 4));
        }
        return size > 0 ? size : 0;
    }
    void grow() {
        uint64_t size = (mask + 1) * 2, m = size - 1;
        std::vector<uint64_t> bigger(size, 0);
        for (uint64_t slot : slots) {
            if (!slot) continue;
            uint64_t s = (slot >> 32) & m;
            while (bigger[s]) s = (s + 1) & m;
            bigger[s] = slot;
        }
        slots.swap(bigger); mask = m;
    }

    // Rows of bytes: a mask of NULLs, then the valid values one after the other as they are in Arrow, text with its length.
    int64_t masks() const { return (int64_t)(shape.parts.size() + 7) / 8; }
    static int64_t value_bytes(const Column& c) {
        switch (c.kind) { case K_NULL: return 0; case K_BOOL: return 1; default: return c.width; }
    }
    void store(const std::vector<Column>& cols, int64_t i) {
        int64_t n = masks();
        for (const Column& c : cols) {
            if (!is_valid(c, i)) continue;
            if (c.kind == K_BYTES) { const int32_t* o = (const int32_t*)c.data + c.offset + i; n += 4 + o[1] - o[0]; }
            else n += value_bytes(c);
        }
        uint8_t* head = arena.put(n, groups);
        uint8_t* p = head + masks();
        memset(head, 0, masks());
        for (size_t k = 0; k < cols.size(); k++) {
            const Column& c = cols[k];
            if (!is_valid(c, i)) { head[k >> 3] |= 1 << (k & 7); continue; }
            if (c.kind == K_BYTES) {
                const int32_t* o = (const int32_t*)c.data + c.offset + i;
                uint32_t len = o[1] - o[0];
                memcpy(p, &len, 4);
                if (len) memcpy(p + 4, c.bytes + o[0], len);
                p += 4 + len;
            } else if (c.kind == K_BOOL) *p++ = bit(c.data, c.offset + i);
            else { memcpy(p, c.data + (c.offset + i) * c.width, c.width); p += c.width; }
        }
        rows.push(head);
    }
    static Column stored(const Column& like, const uint8_t* p) {
        Column c = like;
        c.valid = nullptr; c.data = p; c.offset = 0;
        return c;
    }
    bool equal(const uint8_t* head, const std::vector<Column>& cols, int64_t i) const {
        const uint8_t* p = head + masks();
        for (size_t k = 0; k < cols.size(); k++) {
            const Column& c = cols[k];
            bool null = head[k >> 3] & (1 << (k & 7));
            if (null || !is_valid(c, i)) {
                if (null != !is_valid(c, i)) return false;
                continue;
            }
            if (c.kind == K_BYTES) {
                const int32_t* o = (const int32_t*)c.data + c.offset + i;
                int64_t len = o[1] - o[0];
                if ((int64_t)load4(p) != len || !same_bytes(p + 4, c.bytes + o[0], len)) return false;
                p += 4 + len;
            } else if (c.kind == K_BOOL) { if (*p != bit(c.data, c.offset + i)) return false; p++; }
            else { if (!same_value(stored(c, p), 0, c, i)) return false; p += c.width; }
        }
        return true;
    }

    template <class K, class Same, class Put>
    inline int32_t place(uint32_t tag, bool insert, Same same, Put put) {
        uint64_t s = tag & mask;
        while (uint64_t slot = slots[s]) {
            if ((uint32_t)(slot >> 32) == tag) {
                int64_t g = (int64_t)(uint32_t)slot - 1;
                if (same(g)) return (int32_t)g;
            }
            s = (s + 1) & mask;
        }
        if (!insert) return -1;
        put();
        int64_t g = groups++;
        slots[s] = (uint64_t)tag << 32 | (uint64_t)(g + 1);
        if ((uint64_t)groups * 5 > (mask + 1) * 3) grow();
        return (int32_t)g;
    }

    // Bring what a block will read into the cache, one step of the way for all its rows before the next: slots, then the
    // groups they name, then (for rows of bytes) what those point to.
    template <class Touch> void fetch(const uint32_t* tags, int64_t n, Touch touch) const {
        for (int64_t i = 0; i < n; i++) {
            uint64_t slot = slots[tags[i] & mask];
            if ((uint32_t)(slot >> 32) == tags[i]) touch((int64_t)(uint32_t)slot - 1);
        }
    }
    void fetch(const uint32_t* tags, int64_t n) const {
        if (mask < 4096 || n < BLOCK / 8) return;
        for (int64_t i = 0; i < n; i++) __builtin_prefetch(&slots[tags[i] & mask]);
        switch (shape.mode) {
            case WORD: fetch(tags, n, [&](int64_t g) { __builtin_prefetch(&words[g]); }); break;
            case PAIR: fetch(tags, n, [&](int64_t g) { __builtin_prefetch(&pairs[g]); }); break;
            default:
                fetch(tags, n, [&](int64_t g) { __builtin_prefetch(&rows[g]); });
                fetch(tags, n, [&](int64_t g) { __builtin_prefetch(rows[g]); });
        }
    }

    // Groups of the rows from .. from + n (at most a block); rows at which groups are new are appended to `fresh`.
    void lookup_block(const std::vector<Column>& cols, int64_t from, int64_t n, bool insert, int32_t* gids, std::vector<int32_t>& fresh) {
        uint32_t tags[BLOCK];
        if (shape.mode == WORD) {
            uint64_t w[BLOCK];
            pack_words(shape, cols, from, n, w);
            for (int64_t i = 0; i < n; i++) tags[i] = tag_of(w[i]);
            fetch(tags, n);
            const Column& c = cols[0];
            bool apart = !shape.null_bits && c.valid != nullptr;
            int64_t last = -1;   // the row before, unless its key was NULL apart
            for (int64_t i = 0; i < n; i++) {
                if (apart && !bit(c.valid, c.offset + from + i)) {
                    if (null_group < 0 && insert) { null_group = groups++; words.push(0); fresh.push_back((int32_t)(from + i)); }
                    gids[i] = (int32_t)null_group;
                    continue;
                }
                if (last >= 0 && w[i] == w[last]) { gids[i] = gids[last]; last = i; continue; }
                last = i;
                gids[i] = place<uint64_t>(tags[i], insert, [&](int64_t g) { return words[g] == w[i] && g != null_group; },
                    [&]() { words.push(w[i]); fresh.push_back((int32_t)(from + i)); });
            }
        } else if (shape.mode == PAIR) {
            Pair w[BLOCK];
            pack_pairs(shape, cols, from, n, w);
            for (int64_t i = 0; i < n; i++) tags[i] = tag_of(w[i]);
            fetch(tags, n);
            for (int64_t i = 0; i < n; i++) {
                gids[i] = place<Pair>(tags[i], insert,
                    [&](int64_t g) { const Pair& p = pairs[g]; return p.a == w[i].a && p.b == w[i].b && p.nulls == w[i].nulls; },
                    [&]() { pairs.push(w[i]); fresh.push_back((int32_t)(from + i)); });
            }
        } else {
            tag_rows(cols, from, n, tags);
            fetch(tags, n);
            for (int64_t i = 0; i < n; i++) {
                gids[i] = place<uint8_t*>(tags[i], insert, [&](int64_t g) { return equal(rows[g], cols, from + i); },
                    [&]() { store(cols, from + i); fresh.push_back((int32_t)(from + i)); });
            }
        }
    }

    // A batch whose keys have few possible values (small whole numbers, text of at most one byte) is numbered through a
    // table of all of them; false where it is not such a batch.
    bool lookup_small(const std::vector<Column>& cols, int64_t n, bool insert, int32_t* gids, std::vector<int32_t>& fresh) {
        const int64_t MOST = 1 << 16;
        if (n < 2 * BLOCK || cols.size() > 4) return false;
        int64_t size = 1, low[4], width[4];
        for (size_t k = 0; k < cols.size(); k++) {
            const Column& c = cols[k];
            int64_t lo, hi;
            if (!small_range(c, n, MOST, lo, hi)) return false;
            low[k] = lo; width[k] = hi - lo + 2;  // code 0 is NULL
            size *= width[k];
            if (size > MOST || size * 2 > n) return false;
        }
        domain.assign(size, 0);
        uint32_t code[BLOCK];
        for (int64_t from = 0; from < n; from += BLOCK) {
            int64_t m = std::min(BLOCK, n - from);
            memset(code, 0, m * 4);
            for (size_t k = 0; k < cols.size(); k++) {
                const Column& c = cols[k];
                uint32_t w = (uint32_t)width[k];
                int64_t base = low[k] - 1;
                if (c.kind == K_BYTES) {
                    const int32_t* o = (const int32_t*)c.data + c.offset + from;
                    for (int64_t i = 0; i < m; i++) {
                        int64_t v = o[i + 1] > o[i] ? 1 + c.bytes[o[i]] : 0;
                        code[i] = code[i] * w + (is_valid(c, from + i) ? (uint32_t)(v - base) : 0);
                    }
                } else if (c.valid == nullptr) {
                    int shift = c.kind == K_BOOL || c.kind == K_DECIMAL ? 0 : 64 - 8 * c.width;
                    if (c.kind == K_UINT) each_word(c, from, m, [&](int64_t i, uint64_t v) { code[i] = code[i] * w + (uint32_t)((int64_t)v - base); });
                    else each_word(c, from, m, [&](int64_t i, uint64_t v) { code[i] = code[i] * w + (uint32_t)(((int64_t)(v << shift) >> shift) - base); });
                } else {
                    for (int64_t i = 0; i < m; i++)
                        code[i] = code[i] * w + (is_valid(c, from + i) ? (uint32_t)(small_value(c, from + i) - base) : 0);
                }
            }
            for (int64_t i = 0; i < m; i++) {
                int32_t g = domain[code[i]];
                if (g == 0) {
                    lookup_block(cols, from + i, 1, insert, gids + from + i, fresh);
                    if (gids[from + i] >= 0) domain[code[i]] = gids[from + i] + 1;
                } else gids[from + i] = g - 1;
            }
        }
        return true;
    }
    static int64_t small_value(const Column& c, int64_t i) {
        switch (c.kind) {
            case K_BOOL: return bit(c.data, c.offset + i);
            case K_UINT: return (int64_t)read_uint(c, i);
            default: return read_int(c, i);
        }
    }
    template <class T> static void ends_of(const Column& c, int64_t n, int64_t& lo, int64_t& hi) {
        const T* p = (const T*)c.data + c.offset;
        T a = p[0], b = p[0];
        for (int64_t i = 1; i < n; i++) { a = std::min(a, p[i]); b = std::max(b, p[i]); }
        lo = (int64_t)a; hi = (int64_t)b;
    }
    static bool small_range(const Column& c, int64_t n, int64_t most, int64_t& lo, int64_t& hi) {
        if (c.kind == K_BOOL) { lo = 0; hi = 1; return true; }
        if (c.kind == K_BYTES) {
            const int32_t* o = (const int32_t*)c.data + c.offset;
            if (o[n] - o[0] > n) return false;
            uint8_t a = 255, b = 0;
            bool empty = false;
            for (int64_t i = 0; i < n; i++) {
                int32_t len = o[i + 1] - o[i];
                if (len > 1) return false;
                if (len) { uint8_t v = c.bytes[o[i]]; a = std::min(a, v); b = std::max(b, v); } else empty = true;
            }
            lo = empty ? 0 : 1 + a; hi = 1 + b;
            if (hi < lo) hi = lo;
            return true;
        }
        if (c.kind != K_INT && c.kind != K_UINT) return false;
        // A look at a few values first: most columns are not small.
        int64_t a = small_value(c, 0), b = a;
        for (int64_t i = 0; i < n; i += 1 + n / 64) { int64_t v = small_value(c, i); a = std::min(a, v); b = std::max(b, v); }
        if ((uint64_t)b - (uint64_t)a > (uint64_t)most) return false;
        bool sign = c.kind == K_INT;
        switch (c.width) {
            case 1: if (sign) ends_of<int8_t>(c, n, lo, hi); else ends_of<uint8_t>(c, n, lo, hi); break;
            case 2: if (sign) ends_of<int16_t>(c, n, lo, hi); else ends_of<uint16_t>(c, n, lo, hi); break;
            case 4: if (sign) ends_of<int32_t>(c, n, lo, hi); else ends_of<uint32_t>(c, n, lo, hi); break;
            default: if (!sign) return false; ends_of<int64_t>(c, n, lo, hi);
        }
        return (uint64_t)hi - (uint64_t)lo <= (uint64_t)most;
    }

    // Group of each row; with insert, new groups are made and their first rows told; without, -1 where there is none.
    void lookup(const std::vector<Column>& cols, int64_t n, bool insert, int32_t* gids, std::vector<int32_t>& fresh) {
        if (insert && lookup_small(cols, n, insert, gids, fresh)) return;
        for (int64_t from = 0; from < n; from += BLOCK)
            lookup_block(cols, from, std::min(BLOCK, n - from), insert, gids + from, fresh);
    }

    // Column k of the groups start .. start + n: values of `width` bytes (bits of a bitmap for K_BOOL) and their validity
    // as bytes. Returns how many are NULL.
    int64_t fixed_keys(int k, int kind, int width, int64_t start, int64_t n, uint8_t* out, uint8_t* valid) const {
        int64_t nulls = 0;
        const Part& part = shape.parts[k];
        for (int64_t i = 0; i < n; i++) {
            int64_t g = start + i;
            uint64_t wide[2] = {0, 0};
            bool null = false;
            if (shape.mode == WORD) {
                null = shape.null_bits ? (words[g] >> (shape.null_shift + k)) & 1 : g == null_group;
                wide[0] = words[g] >> part.shift;
            } else if (shape.mode == PAIR) {
                const Pair& p = pairs[g];
                null = (p.nulls >> k) & 1;
                if (part.bits == 128) { wide[0] = p.a; wide[1] = p.b; }
                else wide[0] = (part.word ? p.b : p.a) >> part.shift;
            } else {
                const uint8_t* head = rows[g];
                null = head[k >> 3] & (1 << (k & 7));
                if (!null) { const uint8_t* p = find_value(head, k); memcpy(wide, p, kind == K_BOOL ? 1 : width); }
            }
            if (null) { wide[0] = wide[1] = 0; nulls++; }
            else if (shape.mode != ROWS && part.bits < 64 && part.bits > 0) {
                int s = 64 - part.bits;
                wide[0] = kind == K_UINT || kind == K_BOOL ? (wide[0] << s) >> s : (uint64_t)((int64_t)(wide[0] << s) >> s);
            }
            if (shape.mode != ROWS && kind == K_DECIMAL && part.bits <= 64) wide[1] = (uint64_t)((int64_t)wide[0] >> 63);
            valid[i] = !null;
            if (kind == K_BOOL) { if (wide[0] & 1) out[i >> 3] |= 1 << (i & 7); }
            else memcpy(out + i * width, wide, width);
        }
        return nulls;
    }
    std::vector<int> widths;  // bytes of the fixed values of each column in a row of bytes; -1 for text
    const uint8_t* find_value(const uint8_t* head, int k) const {
        const uint8_t* p = head + masks();
        for (int j = 0; j < k; j++) {
            if (head[j >> 3] & (1 << (j & 7))) continue;
            p += widths[j] < 0 ? 4 + (int64_t)load4(p) : widths[j];
        }
        return p;
    }
    // Text of column k: how many bytes, then their copy.
    int64_t text_bytes(int k, int64_t start, int64_t n) const {
        int64_t total = 0;
        for (int64_t g = start; g < start + n; g++) {
            const uint8_t* head = rows[g];
            if (!(head[k >> 3] & (1 << (k & 7)))) total += (int64_t)load4(find_value(head, k));
        }
        return total;
    }
    int64_t text_keys(int k, int64_t start, int64_t n, int32_t* offsets, uint8_t* out, uint8_t* valid) const {
        int64_t nulls = 0;
        int32_t at = 0;
        offsets[0] = 0;
        for (int64_t i = 0; i < n; i++) {
            const uint8_t* head = rows[start + i];
            bool null = head[k >> 3] & (1 << (k & 7));
            if (!null) {
                const uint8_t* p = find_value(head, k);
                int32_t len = (int32_t)load4(p);
                if (len) memcpy(out + at, p + 4, len);
                at += len;
            } else nulls++;
            valid[i] = !null;
            offsets[i + 1] = at;
        }
        return nulls;
    }
    void release(int64_t before) {
        words.release(before); pairs.release(before);
        rows.release(before); arena.release(before);
    }
    // No more lookups: the slots are not needed to read the keys.
    void seal() { std::vector<uint64_t>().swap(slots); std::vector<int32_t>().swap(domain); }
};
