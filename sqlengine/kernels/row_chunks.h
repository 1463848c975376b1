// Rows gathered from chunks by number, column by column.
#pragma once
#include "columns.h"

struct RowPlaces {
    std::vector<int64_t> starts{0};    // first row of each chunk, and the number of all rows
    std::vector<int32_t> chunk_of;     // chunk in which row r << STEP begins
    static const int STEP = 10;

    int64_t rows() const { return starts.back(); }
    void add(int64_t n) {
        int64_t k = (int64_t)starts.size() - 1, before = starts.back();
        starts.push_back(before + n);
        while ((int64_t)chunk_of.size() << STEP < before + n) chunk_of.push_back((int32_t)k);
    }
    // Chunk and row in it of each row; a negative row stays negative.
    void find(const int32_t* rows, int64_t n, int32_t* chunk, int32_t* place) const {
        for (int64_t i = 0; i < n; i++) {
            int64_t r = rows[i];
            if (r < 0) { chunk[i] = 0; place[i] = -1; continue; }
            int64_t k = chunk_of[r >> STEP];
            while (r >= starts[k + 1]) k++;
            chunk[i] = (int32_t)k; place[i] = (int32_t)(r - starts[k]);
        }
    }
};

// `chunk` is null where all rows are in the first one.
template <class T> static void gather_values(const std::vector<Column>& cols, const int32_t* chunk, const int32_t* place, int64_t n, bool negative, T* out) {
    if (chunk == nullptr) {
        const T* p = (const T*)cols[0].data + cols[0].offset;
        if (!negative) for (int64_t i = 0; i < n; i++) out[i] = p[place[i]];
        else for (int64_t i = 0; i < n; i++) if (place[i] >= 0) memcpy(out + i, p + place[i], sizeof(T)); else memset(out + i, 0, sizeof(T));
        return;
    }
    std::vector<const T*> base;
    for (const Column& c : cols) base.push_back((const T*)c.data + c.offset);
    const int64_t AHEAD = 16;
    for (int64_t i = 0; i < n; i++) {
        if (i + AHEAD < n) __builtin_prefetch(base[chunk[i + AHEAD]] + (place[i + AHEAD] < 0 ? 0 : place[i + AHEAD]));
        if (place[i] >= 0) memcpy(out + i, base[chunk[i]] + place[i], sizeof(T)); else memset(out + i, 0, sizeof(T));
    }
}
struct Sixteen { uint64_t a, b; };

static void gather_fixed(const std::vector<Column>& cols, const int32_t* chunk, const int32_t* place, int64_t n, bool negative, int width, uint8_t* out) {
    switch (width) {
        case 1: gather_values(cols, chunk, place, n, negative, (uint8_t*)out); break;
        case 2: gather_values(cols, chunk, place, n, negative, (uint16_t*)out); break;
        case 4: gather_values(cols, chunk, place, n, negative, (uint32_t*)out); break;
        case 8: gather_values(cols, chunk, place, n, negative, (uint64_t*)out); break;
        default: gather_values(cols, chunk, place, n, negative, (Sixteen*)out); break;
    }
}
static void gather_bits(const std::vector<Column>& cols, const int32_t* chunk, const int32_t* place, int64_t n, uint8_t* out) {
    memset(out, 0, (n + 7) / 8);
    for (int64_t i = 0; i < n; i++) {
        if (place[i] < 0) continue;
        const Column& c = cols[chunk ? chunk[i] : 0];
        out[i >> 3] |= bit(c.data, c.offset + place[i]) << (i & 7);
    }
}
// Validity of the rows as a bitmap; how many are NULL.
static int64_t gather_valid(const std::vector<Column>& cols, const int32_t* chunk, const int32_t* place, int64_t n, uint8_t* out) {
    int64_t nulls = 0;
    memset(out, 0, (n + 7) / 8);
    for (int64_t i = 0; i < n; i++) {
        bool ok = place[i] >= 0 && is_valid(cols[chunk ? chunk[i] : 0], place[i]);
        out[i >> 3] |= ok << (i & 7);
        nulls += !ok;
    }
    return nulls;
}
// Bytes of text of the rows, up to the first that go beyond `limit`; `count` is how many rows that is (at least one).
static int64_t text_length(const std::vector<Column>& cols, const int32_t* chunk, const int32_t* place, int64_t n, int64_t limit, int64_t& count) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t len = 0;
        if (place[i] >= 0) {
            const Column& c = cols[chunk ? chunk[i] : 0];
            const int32_t* o = (const int32_t*)c.data + c.offset + place[i];
            len = o[1] - o[0];
        }
        if (total + len > limit && i > 0) { count = i; return total; }
        total += len;
    }
    count = n;
    return total;
}
static void gather_text(const std::vector<Column>& cols, const int32_t* chunk, const int32_t* place, int64_t n, int32_t* offsets, uint8_t* out) {
    int32_t at = 0;
    offsets[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        if (place[i] >= 0) {
            const Column& c = cols[chunk ? chunk[i] : 0];
            const int32_t* o = (const int32_t*)c.data + c.offset + place[i];
            int32_t len = o[1] - o[0];
            if (len) memcpy(out + at, c.bytes + o[0], len);
            at += len;
        }
        offsets[i + 1] = at;
    }
}
static bool any_negative(const int32_t* rows, int64_t n) {
    int32_t all = 0;
    for (int64_t i = 0; i < n; i++) all |= rows[i];
    return all < 0;
}
static bool is_identity(const int32_t* rows, int64_t n) {
    for (int64_t i = 0; i < n; i++) if (rows[i] != i) return false;
    return true;
}
