// Aggregate states by group number: one pass over a column, the loop chosen once by operation and by how values lie.
#pragma once
#include <cmath>
#include <limits>
#include <vector>
#include "chunked.h"
#include "columns.h"

enum Op { SUM, MIN, MAX, FIRST, LAST, BIT_AND, BIT_OR, BIT_XOR, PRODUCT, COUNT };
enum Form { WIDE, FLOAT, TEXT, NARROW };   // int128, double, strings, int64

static inline int128 whole(const Column& c, int64_t i) {
    switch (c.kind) {
        case K_BOOL: return bit(c.data, c.offset + i);
        case K_UINT: return read_uint(c, i);
        case K_DECIMAL: return read_decimal(c, i);
        default: return read_int(c, i);
    }
}
static const int128 LIMIT38 = []{ int128 v = 1; for (int i = 0; i < 38; i++) v *= 10; return v; }();
// NaN is the greatest value.
static inline bool less_float(double a, double b) { return b != b ? a == a : a < b; }

// f(state of the row's group, row) for the valid rows; up to one chunk of groups needs no look at the list of chunks.
template <class T, class F>
static inline void each_state(const Chunked<T>& v, const Column* c, const int32_t* g, int64_t n, F f) {
    bool all = c == nullptr || (c->valid == nullptr && c->kind != K_NULL);
    if (v.size <= Chunked<T>::SIZE) {
        T* p = v.small();
        if (all) for (int64_t i = 0; i < n; i++) f(p[g[i]], i);
        else for (int64_t i = 0; i < n; i++) if (is_valid(*c, i)) f(p[g[i]], i);
    } else {
        if (all) for (int64_t i = 0; i < n; i++) f(v[g[i]], i);
        else for (int64_t i = 0; i < n; i++) if (is_valid(*c, i)) f(v[g[i]], i);
    }
}

// The same with the row's value as a T, read by the column's own width.
template <class T, class F>
static inline void each_value(const Chunked<T>& v, const Column& c, const int32_t* g, int64_t n, bool low_words, F f) {
#define TYPED(type, scale) { const type* p = (const type*)c.data + (scale) * c.offset; \
    each_state(v, &c, g, n, [&](T& s, int64_t i) { f(s, (T)p[(scale) * i]); }); return; }
    switch (c.kind) {
        case K_INT: switch (c.width) { case 1: TYPED(int8_t, 1) case 2: TYPED(int16_t, 1) case 4: TYPED(int32_t, 1) default: TYPED(int64_t, 1) }
        case K_UINT: switch (c.width) { case 1: TYPED(uint8_t, 1) case 2: TYPED(uint16_t, 1) case 4: TYPED(uint32_t, 1) default: TYPED(uint64_t, 1) }
        case K_DECIMAL: if (low_words) TYPED(int64_t, 2) break;
        case K_FLOAT: if (c.width == 8) TYPED(double, 1) else TYPED(float, 1)
        default: break;
    }
#undef TYPED
    each_state(v, &c, g, n, [&](T& s, int64_t i) { f(s, (T)whole(c, i)); });
}

// Returns true when a sum left the range of 128 bits.
template <class T> static bool fold_whole(const Column& c, const int32_t* g, int64_t n, int op, bool low_words, Chunked<T>& v, const Chunked<uint8_t>& seen) {
    bool over = false;
    switch (op) {
        case SUM:
            if (c.kind == K_DECIMAL && !low_words)
                each_value(v, c, g, n, false, [&](T& s, T x) { T r; over |= __builtin_add_overflow(s, x, &r); s = r; });
            else each_value(v, c, g, n, low_words, [](T& s, T x) { s += x; });
            break;
        case MIN: each_value(v, c, g, n, low_words, [](T& s, T x) { if (x < s) s = x; }); break;
        case MAX: each_value(v, c, g, n, low_words, [](T& s, T x) { if (x > s) s = x; }); break;
        case LAST: each_value(v, c, g, n, low_words, [](T& s, T x) { s = x; }); break;
        case BIT_AND: each_value(v, c, g, n, low_words, [](T& s, T x) { s &= x; }); break;
        case BIT_OR: each_value(v, c, g, n, low_words, [](T& s, T x) { s |= x; }); break;
        case BIT_XOR: each_value(v, c, g, n, low_words, [](T& s, T x) { s ^= x; }); break;
        case FIRST: for (int64_t i = 0; i < n; i++) if (is_valid(c, i) && !seen[g[i]]) { v[g[i]] = (T)whole(c, i); seen[g[i]] = 1; } break;
    }
    return over;
}
static void fold_float(const Column& c, const int32_t* g, int64_t n, int op, Chunked<double>& v, const Chunked<uint8_t>& seen) {
    switch (op) {
        case SUM: each_value(v, c, g, n, false, [](double& s, double x) { s += x; }); break;
        case PRODUCT: each_value(v, c, g, n, false, [](double& s, double x) { s *= x; }); break;
        case MIN: each_value(v, c, g, n, false, [](double& s, double x) { if (less_float(x, s)) s = x; }); break;
        case MAX: each_value(v, c, g, n, false, [](double& s, double x) { if (less_float(s, x)) s = x; }); break;
        case LAST: each_value(v, c, g, n, false, [](double& s, double x) { s = x; }); break;
        case FIRST: for (int64_t i = 0; i < n; i++) if (is_valid(c, i) && !seen[g[i]]) { v[g[i]] = read_float(c, i); seen[g[i]] = 1; } break;
    }
}
static void mark_seen(const Column& c, const int32_t* g, int64_t n, Chunked<uint8_t>& seen) {
    each_state(seen, &c, g, n, [](uint8_t& s, int64_t) { s = 1; });
}
static void count_rows(const Column* c, const int32_t* g, int64_t n, Chunked<int64_t>& v) {
    each_state(v, c, g, n, [](int64_t& s, int64_t) { s++; });
}

// What a state is before its first value.
template <class T> static void start_whole(int op, Chunked<T>& v, int64_t from) {
    T x = 0;
    if (op == MIN) x = ~((T)1 << (8 * sizeof(T) - 1));
    else if (op == MAX) x = (T)1 << (8 * sizeof(T) - 1);
    else if (op == BIT_AND) x = ~(T)0;
    else return;
    v.runs(from, v.size - from, [&](T* p, int64_t, int64_t n) { std::fill(p, p + n, x); });
}
static void start_float(int op, Chunked<double>& v, int64_t from) {
    double x;
    if (op == MIN) x = std::numeric_limits<double>::quiet_NaN();
    else if (op == MAX) x = -std::numeric_limits<double>::infinity();
    else if (op == PRODUCT) x = 1;
    else return;
    v.runs(from, v.size - from, [&](double* p, int64_t, int64_t n) { std::fill(p, p + n, x); });
}
static void start_seen(Chunked<uint8_t>& seen, int64_t n) {
    seen.runs(0, n, [](uint8_t* p, int64_t, int64_t m) { memset(p, 1, m); });
}

struct Text { uint8_t* p; uint32_t length, room; };

// Strings of groups; `bytes` is what they hold outside of their chunks.
struct Texts {
    Chunked<Text> v;
    int64_t bytes = 0, freed = 0;
    ~Texts() { drop(freed, v.size); }
    void drop(int64_t from, int64_t to) {
        for (int64_t i = from; i < to; i++) if (v[i].p) { free(v[i].p); bytes -= v[i].room + 16; v[i].p = nullptr; }
    }
    void set(Text& t, const uint8_t* from, uint32_t n) {
        // A value that is much shorter than the one before it does not keep its room.
        if (t.p == nullptr || n > t.room || n + 64 < t.room / 2) {
            uint32_t room = (n + 15) & ~15u;
            if (room == 0) room = 16;
            if (t.p) { free(t.p); bytes -= t.room + 16; }
            t.p = (uint8_t*)malloc(room);
            if (!t.p) throw std::bad_alloc();
            t.room = room; bytes += room + 16;
        }
        if (n) memcpy(t.p, from, n);
        t.length = n;
    }
    void fold(const Column& c, const int32_t* g, int64_t n, int op, const Chunked<uint8_t>& seen) {
        const int32_t* o = (const int32_t*)c.data + c.offset;
        for (int64_t i = 0; i < n; i++) {
            if (!is_valid(c, i)) continue;
            Text& t = v[g[i]];
            const uint8_t* p = c.bytes + o[i];
            uint32_t len = o[i + 1] - o[i];
            bool take = !seen[g[i]] || op == LAST;
            if (!take && (op == MIN || op == MAX)) {
                int r = memcmp(p, t.p, std::min(len, t.length));
                if (r == 0) r = len < t.length ? -1 : len > t.length;
                take = op == MIN ? r < 0 : r > 0;
            }
            if (take) { set(t, p, len); seen[g[i]] = 1; }
        }
    }
    // How many of at most `most` groups from `start` on have no more than `limit` bytes together (at least one).
    int64_t fit(int64_t start, int64_t most, int64_t limit) const {
        int64_t total = 0, i = 0;
        for (; i < most && start + i < v.size; i++) {
            total += v[start + i].length;
            if (total > limit && i) return i;
        }
        return most;
    }
    int64_t length(int64_t start, int64_t n) const {
        int64_t total = 0;
        for (int64_t i = 0; i < n; i++) total += v[start + i].length;
        return total;
    }
    void copy(int64_t start, int64_t n, int32_t* offsets, uint8_t* out) const {
        int32_t at = 0;
        offsets[0] = 0;
        for (int64_t i = 0; i < n; i++) {
            const Text& t = v[start + i];
            if (t.length) memcpy(out + at, t.p, t.length);
            at += (int32_t)t.length;
            offsets[i + 1] = at;
        }
    }
    void release(int64_t before) {
        before = std::min(before, v.size);
        if (before > freed) { drop(freed, before); freed = before; }
        v.release(before);
    }
};

// Values as an Arrow buffer of `width` bytes each.
template <class T> static void narrow(const Chunked<T>& v, int64_t start, int64_t n, int width, uint8_t* out) {
    v.runs(start, n, [&](T* p, int64_t from, int64_t m) {
        uint8_t* to = out + (from - start) * width;
        if (width == (int)sizeof(T)) memcpy(to, p, m * sizeof(T));
        else for (int64_t i = 0; i < m; i++) { int128 x = p[i]; memcpy(to + i * width, &x, width); }
    });
}
static bool beyond(const Chunked<int128>& v, int64_t start, int64_t n) {
    for (int64_t i = start; i < start + n; i++) if (v[i] >= LIMIT38 || v[i] <= -LIMIT38) return true;
    return false;
}
static void blank(const Chunked<uint8_t>& seen, int64_t start, int64_t n, int width, uint8_t* out) {
    // States that have had no value hold the start of their operation, which is no value of the type.
    for (int64_t i = 0; i < n; i++) if (!seen[start + i]) memset(out + i * width, 0, width);
}
static int64_t bitmap_of(const Chunked<uint8_t>& seen, int64_t start, int64_t n, uint8_t* out) {
    int64_t nulls = 0;
    memset(out, 0, (n + 7) / 8);
    for (int64_t i = 0; i < n; i++) { if (seen[start + i]) out[i >> 3] |= 1 << (i & 7); else nulls++; }
    return nulls;
}
// What the statistical aggregates are computed from, one double per group and part, part 0 the number of values:
//   SPREAD mean, sum of squared deviations (Welford)            SHAPE the same, sums of their cubes and fourth powers (Pebay)
//   PAIR   means of y and x, sums of yy, xx and xy deviations   EXACT a sum and what its rounding lost (Neumaier)
// Merged as by Chan, Golub, LeVeque 1979 and Pebay 2008.
enum MomentKind { SPREAD, SHAPE, PAIR, EXACT };

struct MomentTable {
    int kind = SPREAD, parts = 3;
    Chunked<double> p[6];

    void init(int of) { kind = of; parts = of == SHAPE ? 5 : of == PAIR ? 6 : 3; }
    void resize(int64_t n) { for (int i = 0; i < parts; i++) p[i].resize(n); }
    void release(int64_t before) { for (int i = 0; i < parts; i++) p[i].release(before); }
    int64_t nbytes() const { int64_t size = 0; for (int i = 0; i < parts; i++) size += p[i].nbytes(); return size; }
    int64_t bytes_at(int64_t n) const { return parts * Chunked<double>::bytes_at(n); }

    void one(int64_t k, double x) {
        double n = p[0][k] += 1, d = x - p[1][k];
        if (kind == SPREAD) { p[1][k] += d / n; p[2][k] += d * (x - p[1][k]); return; }
        double s = d / n, t = d * s * (n - 1), m2 = p[2][k], m3 = p[3][k];
        p[1][k] += s;
        p[4][k] += t * s * s * (n * n - 3 * n + 3) + 6 * s * s * m2 - 4 * s * m3;
        p[3][k] = m3 + t * s * (n - 2) - 3 * s * m2;
        p[2][k] = m2 + t;
    }
    void pair(int64_t k, double y, double x) {
        double n = p[0][k] += 1, dy = y - p[1][k], dx = x - p[2][k];
        p[1][k] += dy / n; p[2][k] += dx / n;
        p[3][k] += dy * (y - p[1][k]); p[4][k] += dx * (x - p[2][k]); p[5][k] += dx * (y - p[1][k]);
    }
    void exact(int64_t k, double x) {
        double s = p[1][k], t = s + x;
        // With an infinity the difference below is not a number.
        if (std::isfinite(t)) p[2][k] += std::fabs(s) >= std::fabs(x) ? (s - t) + x : (x - t) + s;
        p[1][k] = t;
    }
    void add(const std::vector<Column>& c, const int32_t* g, int64_t n) {
        for (int64_t i = 0; i < n; i++) {
            if (!is_valid(c[0], i)) continue;
            int64_t k = g[i];
            if (kind == PAIR) { if (is_valid(c[1], i)) pair(k, read_float(c[0], i), read_float(c[1], i)); }
            else if (kind == EXACT) { p[0][k] += 1; exact(k, read_float(c[0], i)); }
            else one(k, read_float(c[0], i));
        }
    }
    void merge(const std::vector<Column>& c, const int32_t* g, int64_t rows) {
        double v[6];
        for (int64_t i = 0; i < rows; i++) {
            int64_t k = g[i];
            for (int j = 0; j < parts; j++) v[j] = read_float(c[j], i);
            double a = p[0][k], b = v[0], n = a + b;
            if (b == 0) continue;
            p[0][k] = n;
            if (kind == EXACT) { exact(k, v[1]); p[2][k] += v[2]; continue; }
            double d = v[1] - p[1][k];
            if (kind == PAIR) {
                double dx = v[2] - p[2][k];
                p[1][k] += d * b / n; p[2][k] += dx * b / n;
                p[3][k] += v[3] + d * d * a * b / n; p[4][k] += v[4] + dx * dx * a * b / n; p[5][k] += v[5] + d * dx * a * b / n;
                continue;
            }
            double m2 = p[2][k];
            p[1][k] += d * b / n;
            p[2][k] += v[2] + d * d * a * b / n;
            if (kind == SPREAD) continue;
            double m3 = p[3][k], s = d / n;
            p[3][k] += v[3] + d * s * s * a * b * (a - b) + 3 * s * (a * v[2] - b * m2);
            p[4][k] += v[4] + d * s * s * s * a * b * (a * a - a * b + b * b) + 6 * s * s * (a * a * v[2] + b * b * m2)
                + 4 * s * (a * v[3] - b * m3);
        }
    }
};
