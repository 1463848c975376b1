// Raw Snappy decompressed a piece at a time. The format allows copies from anywhere before; all compressors work in
// blocks of 64 KiB, so the last 64 KiB are kept, and a copy from further back is an error.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

struct SnappyStream {
    static const int64_t HISTORY = 1 << 16;
    std::vector<uint8_t> out;   // history, then what was made and not taken
    int64_t taken = 0;          // bytes of `out` that were given away already
    std::vector<uint8_t> in;    // what was fed and not used
    int64_t at = 0;             // place in `in`
    int64_t literal = 0;        // bytes of a literal that are still to come
    int64_t size = -1;          // decompressed size, from the front of the data
    int64_t made = 0;           // of which were made

    void feed(const uint8_t* p, int64_t n) {
        in.erase(in.begin(), in.begin() + at);
        at = 0;
        in.insert(in.end(), p, p + n);
    }

    int64_t ready() const { return (int64_t)out.size() - taken; }

    void take(uint8_t* to, int64_t n) {
        memcpy(to, out.data() + taken, n);
        taken += n;
        if (taken > 16 * HISTORY) {
            out.erase(out.begin(), out.begin() + (taken - HISTORY));
            taken = HISTORY;
        }
    }

    // Makes bytes until `wanted` are ready or the input is used up. False: the data is corrupt.
    bool run(int64_t wanted) {
        while (size < 0) {
            uint64_t value = 0;
            int64_t k = at;
            for (int shift = 0; ; shift += 7) {
                if (k >= (int64_t)in.size()) return true;
                if (shift > 28) return false;
                uint8_t byte = in[k++];
                value |= (uint64_t)(byte & 0x7f) << shift;
                if (!(byte & 0x80)) break;
            }
            size = (int64_t)value;
            at = k;
        }
        while (ready() < wanted) {
            int64_t left = (int64_t)in.size() - at;
            if (literal) {
                int64_t n = literal < left ? literal : left;
                if (n > wanted - ready() + HISTORY) n = wanted - ready() + HISTORY;
                if (!n) return true;
                if (made + n > size) return false;
                out.insert(out.end(), in.begin() + at, in.begin() + at + n);
                at += n;
                literal -= n;
                made += n;
                continue;
            }
            if (!left) return true;
            uint8_t tag = in[at];
            int extra = (tag & 3) == 0 ? ((tag >> 2) < 60 ? 0 : (tag >> 2) - 59) : (tag & 3) == 3 ? 4 : tag & 3;
            if (left < 1 + extra) return true;
            uint32_t value = 0;
            for (int k = 0; k < extra; k++) value |= (uint32_t)in[at + 1 + k] << (8 * k);
            at += 1 + extra;
            if ((tag & 3) == 0) {
                literal = extra ? (int64_t)value + 1 : (tag >> 2) + 1;
                continue;
            }
            int64_t length = (tag & 3) == 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
            int64_t offset = (tag & 3) == 1 ? ((int64_t)(tag >> 5) << 8 | value) : value;
            if (!offset || offset > (int64_t)out.size() || made + length > size) return false;
            size_t from = out.size() - offset;
            for (int64_t k = 0; k < length; k++) out.push_back(out[from + k]);
            made += length;
        }
        return true;
    }
};
