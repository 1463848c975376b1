// Values by number in chunks that never move: growing copies nothing but the first, small chunk, and what has been read
// can be freed from the front.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

template <class T> struct Chunked {
    static constexpr int64_t SHIFT = 14, SIZE = 1 << SHIFT, MASK = SIZE - 1;
    std::vector<T*> chunks;
    int64_t size = 0;
    int64_t first = 0;      // capacity of the first chunk; all others are full
    int64_t released = 0;   // chunks freed from the front

    Chunked() = default;
    Chunked(const Chunked&) = delete;
    Chunked& operator=(const Chunked&) = delete;
    ~Chunked() { clear(); }

    T& operator[](int64_t i) const { return chunks[i >> SHIFT][i & MASK]; }
    T* small() const { return chunks.empty() ? nullptr : chunks[0]; }

    static int64_t first_capacity(int64_t n) {
        int64_t c = 16;
        while (c < n && c < SIZE) c *= 2;
        return c;
    }
    static int64_t bytes_at(int64_t n) {
        if (n <= 0) return 0;
        if (n <= SIZE) return first_capacity(n) * (int64_t)sizeof(T);
        return ((n + MASK) >> SHIFT) * (SIZE * (int64_t)sizeof(T) + 16);
    }
    int64_t nbytes() const {
        if (chunks.empty()) return 0;
        int64_t full = (int64_t)chunks.size() - 1 - (released > 0 ? released - 1 : 0);
        return ((released ? 0 : first) + full * SIZE) * (int64_t)sizeof(T) + 16 * (int64_t)chunks.size();
    }
    // New values are all bytes zero.
    void resize(int64_t n) {
        if (n <= size) return;
        if (chunks.empty()) chunks.push_back(nullptr);
        int64_t want = first_capacity(n);
        if (!released && want > first) {
            T* p = (T*)realloc((void*)chunks[0], want * sizeof(T));
            if (!p) throw std::bad_alloc();
            memset((void*)(p + first), 0, (want - first) * sizeof(T));
            chunks[0] = p;
            first = want;
        }
        while ((int64_t)chunks.size() * SIZE < n) {
            T* p = (T*)calloc(SIZE, sizeof(T));
            if (!p) throw std::bad_alloc();
            chunks.push_back(p);
        }
        size = n;
    }
    void push(const T& value) { resize(size + 1); (*this)[size - 1] = value; }
    // Forget the values before number `before`, as far as they fill chunks.
    void release(int64_t before) {
        int64_t upto = before >> SHIFT;
        for (; released < upto && released < (int64_t)chunks.size(); released++) { free(chunks[released]); chunks[released] = nullptr; }
    }
    void clear() {
        for (T* p : chunks) free(p);
        chunks.clear(); size = first = released = 0;
    }
    // Call f(pointer, first number, count) for the runs of values start .. start + n.
    template <class F> void runs(int64_t start, int64_t n, F f) const {
        while (n > 0) {
            int64_t here = SIZE - (start & MASK);
            if (here > n) here = n;
            f(chunks[start >> SHIFT] + (start & MASK), start, here);
            start += here; n -= here;
        }
    }
};
