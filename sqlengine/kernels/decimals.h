// Loops over decimal128 values. Values whose digits fit 64 bits (precision <= 18 everywhere) take loops on the low word;
// the others use __int128 with checked products. Every loop gives -1, or the first row whose result does not fit.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

typedef __int128 int128;

// 64-bit products by whole vectors where the processor has them (chosen when the module is loaded).
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define BY_VECTORS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BY_VECTORS
#endif

// One side of an operation: 16-byte values, `step` 0 for a constant. `factor` is the power of ten to the common scale.
struct Operand {
    const uint8_t* data;
    int64_t step;
    int128 factor;
};

static inline int128 power_of_ten(int n) { int128 p = 1; while (n-- > 0) p *= 10; return p; }
static inline int128 load(const uint8_t* p) { int128 v; memcpy(&v, p, 16); return v; }
static inline void store(uint8_t* p, int128 v) { memcpy(p, &v, 16); }
static inline int64_t load_low(const uint8_t* p) { int64_t v; memcpy(&v, p, 8); return v; }
static inline void store_low(uint8_t* p, int64_t v) { int64_t w[2] = {v, v >> 63}; memcpy(p, w, 16); }
static inline bool set(const uint8_t* valid, int64_t i) { return valid == nullptr || ((valid[i >> 3] >> (i & 7)) & 1); }
static inline bool outside(int128 v, int128 bound) { return v >= bound || v <= -bound; }

// Operations: 0 add, 1 subtract, 2 multiply, 3 modulo, 4 whole quotient (divisors are not zero where the row is valid).
static int64_t narrow(int op, Operand a, Operand b, const uint8_t* valid, int128 bound, bool check, uint8_t* out, int64_t n) {
    const uint64_t fa = (uint64_t)a.factor, fb = (uint64_t)b.factor;
    const int64_t sa = a.step * 16, sb = b.step * 16;
    switch (op) {
        case 0:
            for (int64_t i = 0; i < n; i++)
                store_low(out + 16 * i, (int64_t)((uint64_t)load_low(a.data + sa * i) * fa + (uint64_t)load_low(b.data + sb * i) * fb));
            break;
        case 1:
            for (int64_t i = 0; i < n; i++)
                store_low(out + 16 * i, (int64_t)((uint64_t)load_low(a.data + sa * i) * fa - (uint64_t)load_low(b.data + sb * i) * fb));
            break;
        default: {
            if (!check) {
                for (int64_t i = 0; i < n; i++)
                    store_low(out + 16 * i, (int64_t)((uint64_t)load_low(a.data + sa * i) * (uint64_t)load_low(b.data + sb * i)));
                break;
            }
            const int64_t limit = (int64_t)bound;
            for (int64_t i = 0; i < n; i++) {
                int64_t r;
                bool bad = __builtin_mul_overflow(load_low(a.data + sa * i), load_low(b.data + sb * i), &r);
                if (__builtin_expect(bad || r >= limit || r <= -limit, 0)) { if (set(valid, i)) return i; r = 0; }
                store_low(out + 16 * i, r);
            }
        }
    }
    return -1;
}

static int64_t wide(int op, Operand a, Operand b, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!set(valid, i)) { store(out + 16 * i, 0); continue; }
        int128 x = load(a.data + 16 * a.step * i), y = load(b.data + 16 * b.step * i), r = 0;
        bool bad = false;
        if (a.factor != 1) bad |= __builtin_mul_overflow(x, a.factor, &x);
        if (b.factor != 1) bad |= __builtin_mul_overflow(y, b.factor, &y);
        switch (op) {
            case 0: bad |= __builtin_add_overflow(x, y, &r); break;
            case 1: bad |= __builtin_sub_overflow(x, y, &r); break;
            case 2: bad |= __builtin_mul_overflow(x, y, &r); break;
            default: if (y == 0) bad = true; else r = op == 3 ? x % y : x / y;
        }
        if (__builtin_expect(bad || outside(r, bound), 0)) return i;
        store(out + 16 * i, r);
    }
    return -1;
}

// Comparisons of values of one scale: 0 eq, 1 ne, 2 lt, 3 le, 4 gt, 5 ge; one bit per row.
template <class T> static inline bool holds(int op, T x, T y) {
    switch (op) { case 0: return x == y; case 1: return x != y; case 2: return x < y; case 3: return x <= y; case 4: return x > y; default: return x >= y; }
}
template <class T, int OP> static void compare_loop(Operand a, Operand b, uint8_t* out, int64_t n) {
    for (int64_t i = 0; i < n; i += 8) {
        uint8_t byte = 0;
        int64_t end = n - i < 8 ? n - i : 8;
        for (int64_t k = 0; k < end; k++) {
            T x, y;
            memcpy(&x, a.data + 16 * a.step * (i + k), sizeof(T));
            memcpy(&y, b.data + 16 * b.step * (i + k), sizeof(T));
            byte |= (uint8_t)holds<T>(OP, x, y) << k;
        }
        out[i >> 3] = byte;
    }
}
template <class T> static void compare_as(int op, Operand a, Operand b, uint8_t* out, int64_t n) {
    switch (op) {
        case 0: compare_loop<T, 0>(a, b, out, n); break;
        case 1: compare_loop<T, 1>(a, b, out, n); break;
        case 2: compare_loop<T, 2>(a, b, out, n); break;
        case 3: compare_loop<T, 3>(a, b, out, n); break;
        case 4: compare_loop<T, 4>(a, b, out, n); break;
        default: compare_loop<T, 5>(a, b, out, n);
    }
}
static void compare_values(int op, bool fits64, Operand a, Operand b, uint8_t* out, int64_t n) {
    if (fits64) compare_as<int64_t>(op, a, b, out, n); else compare_as<int128>(op, a, b, out, n);
}

static inline int128 divided(int128 v, int128 by) {  // halves away from zero
    int128 q = v / by, r = v % by, twice = r < 0 ? -r : r;
    if (twice >= by - twice) q += v < 0 ? -1 : 1;
    return q;
}

// `up`: times ten to `digits`, else divided and rounded.
static int64_t rescale_values(const uint8_t* in, bool up, int digits, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n) {
    const int128 factor = power_of_ten(digits);
    for (int64_t i = 0; i < n; i++) {
        if (!set(valid, i)) { store(out + 16 * i, 0); continue; }
        int128 v = load(in + 16 * i);
        bool bad = false;
        if (up) bad = __builtin_mul_overflow(v, factor, &v); else if (digits) v = divided(v, factor);
        if (bad || outside(v, bound)) return i;
        store(out + 16 * i, v);
    }
    return -1;
}

static int64_t to_int64_values(const uint8_t* in, int digits, const uint8_t* valid, int64_t low, int64_t high, int64_t* out, int64_t n) {
    const int128 factor = power_of_ten(digits);
    for (int64_t i = 0; i < n; i++) {
        if (!set(valid, i)) { out[i] = 0; continue; }
        int128 v = load(in + 16 * i);
        if (digits) v = divided(v, factor);
        if (v < low || v > high) return i;
        out[i] = (int64_t)v;
    }
    return -1;
}

static int64_t from_int64_values(const int64_t* in, bool is_unsigned, int digits, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n) {
    const int128 factor = power_of_ten(digits);
    for (int64_t i = 0; i < n; i++) {
        if (!set(valid, i)) { store(out + 16 * i, 0); continue; }
        int128 v = is_unsigned ? (int128)(uint64_t)in[i] : (int128)in[i];
        if (__builtin_mul_overflow(v, factor, &v) || outside(v, bound)) return i;
        store(out + 16 * i, v);
    }
    return -1;
}

static void to_double_values(const uint8_t* in, int scale, bool fits64, double* out, int64_t n) {
    const double factor = std::pow(10.0, scale);
    const int128 whole = power_of_ten(scale);
    if (fits64) {
        for (int64_t i = 0; i < n; i++) out[i] = (double)load_low(in + 16 * i) / factor;
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        int128 v = load(in + 16 * i);
        if (v < ((int128)1 << 53) && v > -((int128)1 << 53)) out[i] = (double)(int64_t)v / factor;
        else out[i] = (double)(v / whole) + (double)(v % whole) / factor;  // keeps the digits before the point
    }
}

static int64_t from_double_values(const double* in, int scale, const uint8_t* valid, int128 bound, uint8_t* out, int64_t n) {
    const double factor = std::pow(10.0, scale);
    for (int64_t i = 0; i < n; i++) {
        if (!set(valid, i)) { store(out + 16 * i, 0); continue; }
        double v = std::round(in[i] * factor);
        if (!(v < 1.7e38 && v > -1.7e38)) return i;
        int128 r = (int128)v;
        if (outside(r, bound)) return i;
        store(out + 16 * i, r);
    }
    return -1;
}

static void sign_values(const uint8_t* in, bool absolute, uint8_t* out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int128 v = load(in + 16 * i);
        store(out + 16 * i, absolute && v >= 0 ? v : -v);
    }
}

// A whole expression of sums, differences and products of values of at most 18 digits, a block of rows at a time, so that
// what lies between stays in the cache. Steps are in postfix order; code: 0 add, 1 subtract, 2 multiply, 3 multiply with
// a check against `bound`, 4 push the low words of column `data` times `factor`, 5 push the constant `factor`.
struct Step { int code; const uint8_t* data; int64_t factor; int64_t left; int64_t right; int64_t bound; };

BY_VECTORS static int64_t run_program(const Step* steps, int count, const uint8_t* valid, uint8_t* out, int64_t n) {
    constexpr int64_t BLOCK = 512;
    int64_t stack[8][BLOCK];
    for (int64_t base = 0; base < n; base += BLOCK) {
        const int64_t size = n - base < BLOCK ? n - base : BLOCK;
        int top = 0;
        for (int s = 0; s < count; s++) {
            const Step& step = steps[s];
            if (step.code == 4) {
                int64_t* to = stack[top++];
                const uint8_t* from = step.data + 16 * base;
                for (int64_t i = 0; i < size; i++) to[i] = load_low(from + 16 * i);
                continue;
            }
            if (step.code == 5) {
                int64_t* to = stack[top++];
                for (int64_t i = 0; i < size; i++) to[i] = step.factor;
                continue;
            }
            int64_t* a = stack[top - 2];
            const int64_t* b = stack[top - 1];
            const uint64_t fa = (uint64_t)step.left, fb = (uint64_t)step.right;
            top--;
            switch (step.code) {
                case 0: for (int64_t i = 0; i < size; i++) a[i] = (int64_t)((uint64_t)a[i] * fa + (uint64_t)b[i] * fb); break;
                case 1: for (int64_t i = 0; i < size; i++) a[i] = (int64_t)((uint64_t)a[i] * fa - (uint64_t)b[i] * fb); break;
                case 2: for (int64_t i = 0; i < size; i++) a[i] = (int64_t)((uint64_t)a[i] * (uint64_t)b[i]); break;
                default: {
                    // Magnitudes first: where the product of the largest ones fits, no row needs a check.
                    uint64_t x = 0, y = 0;
                    for (int64_t i = 0; i < size; i++) {
                        x |= (uint64_t)(a[i] < 0 ? ~a[i] : a[i]);
                        y |= (uint64_t)(b[i] < 0 ? ~b[i] : b[i]);
                    }
                    if ((unsigned __int128)(x + 1) * (y + 1) < (unsigned __int128)step.bound) {
                        for (int64_t i = 0; i < size; i++) a[i] = (int64_t)((uint64_t)a[i] * (uint64_t)b[i]);
                        break;
                    }
                    for (int64_t i = 0; i < size; i++) {
                        int64_t r;
                        bool bad = __builtin_mul_overflow(a[i], b[i], &r);
                        if (__builtin_expect(bad || r >= step.bound || r <= -step.bound, 0)) {
                            if (set(valid, base + i)) return base + i;
                            r = 0;
                        }
                        a[i] = r;
                    }
                }
            }
        }
        uint8_t* to = out + 16 * base;
        for (int64_t i = 0; i < size; i++) store_low(to + 16 * i, stack[0][i]);
    }
    return -1;
}
