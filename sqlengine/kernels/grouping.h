// A table of distinct rows: open addressing over rows packed into bytes.
#pragma once
#include "columns.h"

struct RowTable {
    // Rows are packed with a fixed stride when no column is variable, else appended with offsets.
    bool fixed = true;
    bool single = false;             // one 8-byte-or-less key: NULL is a group of its own outside the table
    int64_t stride = 0;
    std::vector<uint8_t> arena;
    std::vector<int64_t> starts;     // offsets into arena (variable rows only), groups + 1
    std::vector<uint64_t> hashes;    // of each group
    std::vector<uint32_t> slots;     // group + 1, 0 is empty
    uint64_t mask = 0;
    int64_t groups = 0;
    int64_t null_group = -1;

    struct Scratch { std::vector<uint8_t> rows; std::vector<int64_t> ends; };  // the packed rows of one batch

    void init(bool fixed_, bool single_, int64_t stride_) {
        fixed = fixed_; single = single_; stride = stride_;
        slots.assign(1024, 0); mask = 1023;
        if (!fixed) starts.push_back(0);
    }
    int64_t nbytes() const {
        return arena.capacity() + starts.capacity() * 8 + hashes.capacity() * 8 + slots.capacity() * 4;
    }
    void grow() {
        uint64_t size = (mask + 1) * 4; mask = size - 1;
        std::vector<uint32_t>(size, 0).swap(slots);
        for (int64_t g = 0; g < groups; g++) {
            if (g == null_group) continue;
            uint64_t s = hashes[g] & mask;
            while (slots[s]) s = (s + 1) & mask;
            slots[s] = (uint32_t)(g + 1);
        }
    }

    static void put_value(const Column& c, int64_t row, uint8_t* p) {  // fixed kinds only, into c_width(c) bytes
        switch (c.kind) {
            case K_BOOL: *p = bit(c.data, c.offset + row); break;
            case K_FLOAT: { double d = normal(read_float(c, row)); memcpy(p, &d, 8); break; }
            case K_INT: { int64_t v = read_int(c, row); memcpy(p, &v, 8); break; }
            case K_UINT: { uint64_t v = read_uint(c, row); memcpy(p, &v, 8); break; }
            case K_DECIMAL: { int128 v = read_decimal(c, row); memcpy(p, &v, 16); break; }
            case K_INTERVAL: { int128 v = read_interval(c, row); memcpy(p, &v, 16); break; }
            default: break;
        }
    }
    static int64_t c_width(int kind) {
        switch (kind) { case K_NULL: return 0; case K_BOOL: return 1; case K_DECIMAL: case K_INTERVAL: return 16; default: return 8; }
    }

    void pack(const std::vector<Column>& cols, int64_t n, Scratch& scratch) const {
        std::vector<uint8_t>& rows = scratch.rows;
        std::vector<int64_t>& ends = scratch.ends;
        int64_t masks = (int64_t)(cols.size() + 7) / 8;
        if (single) {
            rows.resize(n * 8);
            uint64_t* out = (uint64_t*)rows.data();
            const Column& c = cols[0];
            if (c.kind == K_INT && c.width == 8) { memcpy(out, c.data + c.offset * 8, n * 8); return; }
            for (int64_t i = 0; i < n; i++) { out[i] = 0; if (is_valid(c, i)) put_value(c, i, (uint8_t*)(out + i)); }
            return;
        }
        if (fixed) {
            rows.assign(n * stride, 0);
            int64_t at = masks;
            for (size_t k = 0; k < cols.size(); k++) {
                const Column& c = cols[k];
                uint8_t* p = rows.data();
                for (int64_t i = 0; i < n; i++, p += stride) {
                    if (is_valid(c, i)) put_value(c, i, p + at);
                    else p[k >> 3] |= 1 << (k & 7);
                }
                at += c_width(c.kind);
            }
            return;
        }
        rows.clear(); ends.resize(n);
        for (int64_t i = 0; i < n; i++) {
            size_t head = rows.size();
            rows.resize(head + masks, 0);
            for (size_t k = 0; k < cols.size(); k++) {
                const Column& c = cols[k];
                if (!is_valid(c, i)) { rows[head + (k >> 3)] |= 1 << (k & 7); continue; }
                if (c.kind == K_BYTES) {
                    const int32_t* o = (const int32_t*)c.data + c.offset + i;
                    uint32_t len = o[1] - o[0];
                    size_t at = rows.size();
                    rows.resize(at + 4 + len);
                    memcpy(rows.data() + at, &len, 4);
                    if (len) memcpy(rows.data() + at + 4, c.bytes + o[0], len);
                } else {
                    size_t at = rows.size();
                    rows.resize(at + c_width(c.kind));
                    put_value(c, i, rows.data() + at);
                }
            }
            ends[i] = rows.size();
        }
    }

    // Group of each row; with insert, new groups are made and their first rows told; without, -1 where there is none.
    void lookup(const std::vector<Column>& cols, int64_t n, bool insert, int32_t* gids, std::vector<int32_t>& fresh) {
        Scratch scratch;
        pack(cols, n, scratch);
        const std::vector<uint8_t>& rows = scratch.rows;
        const std::vector<int64_t>& ends = scratch.ends;
        for (int64_t i = 0; i < n; i++) {
            if (single && !is_valid(cols[0], i)) {
                if (null_group < 0 && insert) {
                    null_group = groups++; hashes.push_back(0);
                    arena.resize(arena.size() + 8, 0);
                    fresh.push_back((int32_t)i);
                }
                gids[i] = (int32_t)null_group;
                continue;
            }
            const uint8_t* row; int64_t len; uint64_t h;
            if (fixed) { len = stride; row = rows.data() + i * stride; }
            else { int64_t s = i ? ends[i - 1] : 0; row = rows.data() + s; len = ends[i] - s; }
            if (single) { uint64_t w; memcpy(&w, row, 8); h = mix(w + 0x9e3779b97f4a7c15ULL); }
            else h = hash_bytes(row, len);
            uint64_t s = h & mask;
            int32_t found = -1;
            while (uint32_t g = slots[s]) {
                g--;
                if (single) { if (((uint64_t*)arena.data())[g] == *(const uint64_t*)row) { found = (int32_t)g; break; } }
                else if (hashes[g] == h) {
                    if (fixed ? memcmp(arena.data() + (int64_t)g * stride, row, len) == 0
                              : (starts[g + 1] - starts[g] == len && memcmp(arena.data() + starts[g], row, len) == 0)) {
                        found = (int32_t)g; break;
                    }
                }
                s = (s + 1) & mask;
            }
            if (found < 0 && insert) {
                found = (int32_t)groups++;
                slots[s] = (uint32_t)groups;
                hashes.push_back(h);
                arena.insert(arena.end(), row, row + len);
                if (!fixed) starts.push_back(arena.size());
                fresh.push_back((int32_t)i);
                if ((uint64_t)groups * 2 > mask) grow();
            }
            gids[i] = found;
        }
    }
};
