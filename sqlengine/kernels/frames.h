// Trees over the rows of partitions, for any frame in O(log n). Source: Leis et al., "Efficient Processing of Window
// Functions in Analytical SQL Queries", VLDB 2015.
#pragma once
#include "sort_keys.h"

template <class T> struct Sums {
    std::vector<T> tree; int64_t n;
    explicit Sums(int64_t n_) : tree(2 * n_ + 2), n(n_) {}
    void build() { for (int64_t i = n - 1; i > 0; i--) tree[i] = tree[2 * i] + tree[2 * i + 1]; }
    T sum(int64_t l, int64_t r) const {
        T left = 0, right = 0;
        for (l += n, r += n; l < r; l >>= 1, r >>= 1) {
            if (l & 1) left = left + tree[l++];
            if (r & 1) right = tree[--r] + right;
        }
        return left + right;
    }
};

// The row with the extreme key; the first of equals. Nodes hold rows (-1: none).
struct Extremes {
    const KeyRows& keys; bool greatest; int64_t n;
    std::vector<int64_t> tree;
    Extremes(const KeyRows& k, const uint8_t* mask, int64_t offset, bool g) : keys(k), greatest(g), n(k.n), tree(2 * k.n + 2, -1) {
        for (int64_t i = 0; i < n; i++) tree[n + i] = bit(mask, offset + i) ? i : -1;
        for (int64_t i = n - 1; i > 0; i--) tree[i] = better(tree[2 * i], tree[2 * i + 1]);
    }
    int64_t better(int64_t a, int64_t b) const {
        if (a < 0) return b;
        if (b < 0) return a;
        int r = keys.compare(a, keys, b);
        if (r == 0) return a < b ? a : b;
        return (r < 0) != greatest ? a : b;
    }
    int64_t best(int64_t l, int64_t r) const {
        if (r - l == 1) return tree[n + l];
        int64_t found = -1;
        for (l += n, r += n; l < r; l >>= 1, r >>= 1) {
            if (l & 1) found = better(found, tree[l++]);
            if (r & 1) found = better(found, tree[--r]);
        }
        return found;
    }
};

// The nodes of a tree of 16 children that make up a range of leaves.
struct TreeNodes {
    std::vector<std::vector<int32_t>> nodes, queries;
    explicit TreeNodes(int levels) : nodes(levels), queries(levels) {}
    void put(int level, int64_t l, int64_t r, int32_t q) { for (; l < r; l++) { nodes[level].push_back((int32_t)l); queries[level].push_back(q); } }
    int64_t add(int64_t l, int64_t r, int32_t q) {
        int64_t count = 0;
        for (int level = 0; l < r; level++) {
            int64_t up = (l + 15) / 16, down = r / 16;
            if (level + 1 == (int)nodes.size() || up >= down) { put(level, l, r, q); return count + r - l; }
            put(level, l, up * 16, q); put(level, down * 16, r, q);
            count += up * 16 - l + r - down * 16;
            l = up; r = down;
        }
        return count;
    }
};
