// Pages of Parquet column chunks: headers (Thrift compact protocol), levels and codes (RLE / bit-packed), values.
// Everything that is read from the file is checked against the end of its buffer: a corrupt page gives an error, never a
// read outside.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

typedef __int128 int128;

struct PageHeader {
    int32_t type = -1, size = -1, stored = -1;  // kind of page, bytes when decompressed, bytes in the file
    bool has_crc = false;
    uint32_t crc = 0;
    int32_t values = -1, encoding = -1, level_encoding = 3;
    int32_t definition_bytes = 0, repetition_bytes = 0;  // of version 2: uncompressed, before the values
    bool packed_values = true;
    int64_t length = 0;  // of the header itself
    void clear() { *this = PageHeader(); }
};

struct Thrift {
    const uint8_t* p;
    const uint8_t* end;
    bool bad = false;

    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            if (p >= end) { bad = true; return 0; }
            uint8_t byte = *p++;
            value |= (uint64_t)(byte & 0x7f) << shift;
            if (!(byte & 0x80)) return value;
        }
        bad = true;
        return 0;
    }
    int64_t integer() { uint64_t v = varint(); return (int64_t)(v >> 1) ^ -(int64_t)(v & 1); }
    void jump(uint64_t n) { if (n > (uint64_t)(end - p)) { bad = true; p = end; } else p += n; }
    // The next field of a struct: false at its end.
    bool field(int16_t& id, int& type) {
        if (bad || p >= end) { bad = true; return false; }
        uint8_t byte = *p++;
        type = byte & 15;
        if (!type) return false;
        id = (byte >> 4) ? id + (byte >> 4) : (int16_t)integer();
        return !bad;
    }
    void skip(int type, int depth = 0) {
        if (bad || depth > 16) { bad = true; return; }
        switch (type) {
            case 1: case 2: return;
            case 3: jump(1); return;
            case 4: case 5: case 6: varint(); return;
            case 7: jump(8); return;
            case 8: { uint64_t n = varint(); jump(n); return; }
            case 9: case 10: {
                if (p >= end) { bad = true; return; }
                uint8_t byte = *p++;
                uint64_t n = byte >> 4;
                if (n == 15) n = varint();
                int item = byte & 15;
                if (item == 1 || item == 2) { jump(n); return; }
                for (uint64_t i = 0; i < n && !bad; i++) skip(item, depth + 1);
                return;
            }
            case 12: {
                int16_t id = 0;
                int inner;
                while (field(id, inner)) skip(inner, depth + 1);
                return;
            }
            default: bad = true;
        }
    }
};

// `whole`: bytes from `start` to the end of the column chunk, of which those up to `end` are at hand.
static bool read_page_header(const uint8_t* start, const uint8_t* end, int64_t whole, PageHeader& out) {
    Thrift in{start, end};
    int16_t id = 0;
    int type;
    while (in.field(id, type)) {
        if (id == 1 && type == 5) out.type = (int32_t)in.integer();
        else if (id == 2 && type == 5) out.size = (int32_t)in.integer();
        else if (id == 3 && type == 5) out.stored = (int32_t)in.integer();
        else if (id == 4 && type == 5) { out.has_crc = true; out.crc = (uint32_t)(int32_t)in.integer(); }
        else if ((id == 5 || id == 7 || id == 8) && type == 12) {
            int16_t inner = 0;
            int kind;
            while (in.field(inner, kind)) {
                if (inner == 1 && kind == 5) out.values = (int32_t)in.integer();
                else if (id != 8 && inner == 2 && kind == 5) out.encoding = (int32_t)in.integer();
                else if (id == 5 && inner == 3 && kind == 5) out.level_encoding = (int32_t)in.integer();
                else if (id == 8 && inner == 4 && kind == 5) out.encoding = (int32_t)in.integer();
                else if (id == 8 && inner == 5 && kind == 5) out.definition_bytes = (int32_t)in.integer();
                else if (id == 8 && inner == 6 && kind == 5) out.repetition_bytes = (int32_t)in.integer();
                else if (id == 8 && inner == 7 && (kind == 1 || kind == 2)) out.packed_values = kind == 1;
                else in.skip(kind);
            }
        } else in.skip(type);
    }
    out.length = in.p - start;
    return !in.bad && out.type >= 0 && out.size >= 0 && out.stored >= 0 && out.stored <= whole - out.length &&
           (out.values >= 0 || out.type == 1) && out.definition_bytes >= 0 && out.repetition_bytes >= 0;
}

// `n` integers of `width` bits, least significant bit first; bytes up to `end` may be read.
static void unpack_bits(const uint8_t* p, const uint8_t* end, int width, int64_t n, int32_t* out) {
    const uint64_t mask = width == 32 ? 0xffffffffULL : ((1ULL << width) - 1);
    int64_t i = 0;
    int64_t at = 0;
    const int64_t safe_bits = (end - p - 8) * 8;
    for (; i < n && at <= safe_bits; i++, at += width) {
        uint64_t word;
        memcpy(&word, p + (at >> 3), 8);
        out[i] = (int32_t)((word >> (at & 7)) & mask);
    }
    for (; i < n; i++, at += width) {
        uint64_t word = 0;
        const uint8_t* q = p + (at >> 3);
        for (int k = 0; k < 8 && q + k < end; k++) word |= (uint64_t)q[k] << (8 * k);
        out[i] = (int32_t)((word >> (at & 7)) & mask);
    }
}

// The hybrid of runs and bit-packed groups. False when the bytes end too early or make no sense.
static bool unpack_hybrid(const uint8_t* p, const uint8_t* end, int width, int64_t n, int32_t* out) {
    if (width == 0) { memset(out, 0, 4 * n); return true; }
    if (width < 0 || width > 32) return false;
    const int bytes = (width + 7) / 8;
    Thrift in{p, end};
    int64_t i = 0;
    while (i < n) {
        uint64_t header = in.varint();
        if (in.bad) return false;
        if (header & 1) {
            uint64_t groups = header >> 1;
            if (groups > (1u << 28)) return false;
            int64_t take = (int64_t)groups * 8 < n - i ? (int64_t)groups * 8 : n - i;
            int64_t size = (int64_t)groups * width;
            if (size > end - in.p) {
                size = end - in.p;  // some writers leave out the padding of the last group
                if ((take * width + 7) / 8 > size) return false;
            }
            unpack_bits(in.p, end, width, take, out + i);
            in.p += size;
            i += take;
        } else {
            uint64_t run = header >> 1;
            if (end - in.p < bytes) return false;
            uint32_t value = 0;
            memcpy(&value, in.p, bytes);
            in.p += bytes;
            int64_t take = run < (uint64_t)(n - i) ? (int64_t)run : n - i;
            for (int64_t k = 0; k < take; k++) out[i + k] = (int32_t)value;
            i += take;
        }
    }
    return true;
}

// Levels of at most 8 bits, a few at a time.
struct LevelRuns {
    Thrift in{nullptr, nullptr};
    int width = 0;
    bool packed = false;
    uint8_t value = 0;
    int64_t left = 0, at = 0;          // of the run: levels left, and of a packed one the bit that comes next
    const uint8_t* bits = nullptr;

    void start(const uint8_t* p, int64_t size, int width_) { in = Thrift{p, p + size}; width = width_; left = 0; }
    bool take(int64_t n, uint8_t* out) {
        if (width == 0) { memset(out, 0, n); return true; }
        while (n > 0) {
            if (left == 0) {
                uint64_t header = in.varint();
                if (in.bad || (header >> 1) > ((uint64_t)1 << 31)) return false;
                packed = header & 1;
                if (packed) {
                    left = (int64_t)(header >> 1) * 8;
                    bits = in.p;
                    at = 0;
                    int64_t size = left / 8 * width;
                    if (size > in.end - in.p) { size = in.end - in.p; left = size * 8 / width; }
                    in.p += size;
                } else {
                    left = (int64_t)(header >> 1);
                    if (in.p >= in.end) return false;
                    value = *in.p++;
                }
                if (left == 0) return false;
            }
            int64_t here = left < n ? left : n;
            if (packed) {
                for (int64_t i = 0; i < here; i++, at += width) {
                    uint32_t word = bits[at >> 3];
                    if ((at & 7) + width > 8) word |= (uint32_t)bits[(at >> 3) + 1] << 8;
                    out[i] = (uint8_t)((word >> (at & 7)) & ((1u << width) - 1));
                }
            } else memset(out, value, here);
            out += here;
            n -= here;
            left -= here;
        }
        return true;
    }
};

// Lists from the levels of one page after the other: repetition 0 begins a row, definition tells what is there.
struct ListLevels {
    int list_null = 0, most = 0;       // whether a list may be NULL; the definition of a value
    LevelRuns repetition, definition;
    int64_t left = 0;                  // levels of the page that are not in the block
    int pos = 0, len = 0;
    uint8_t r[512], d[512];
    bool open = false;                 // a row has begun

    void load(const uint8_t* rep, int64_t rep_size, const uint8_t* def, int64_t def_size, int def_width, int64_t n) {
        repetition.start(rep, rep_size, 1);
        definition.start(def, def_size, def_width);
        left = n;
        pos = len = 0;
    }
    // Up to `wanted` more rows; `done`: they are whole. Else the page has come to its end, and the last row may go on.
    bool rows(int64_t wanted, std::vector<int32_t>& lengths, std::vector<uint8_t>& lists, std::vector<uint8_t>& items,
              int64_t& stored, bool& done) {
        done = false;
        while (true) {
            if (pos == len) {
                if (left == 0) return true;
                len = (int)(left < 512 ? left : 512);
                left -= len;
                pos = 0;
                if (!repetition.take(len, r) || !definition.take(len, d)) return false;
            }
            if (r[pos] == 0) {
                if (wanted == 0) { done = true; return true; }
                wanted--;
                open = true;
                lengths.push_back(0);
                lists.push_back(d[pos] >= list_null);
            } else if (!open || lengths.empty()) return false;
            if (d[pos] > list_null) {
                if (d[pos] > most) return false;
                lengths.back()++;
                items.push_back(d[pos] == most);
                stored += d[pos] == most;
            }
            pos++;
        }
    }
};

// How a stored value becomes an Arrow value.
enum Form { F_COPY = 0, F_NARROW = 1, F_WIDEN = 2, F_BIG_ENDIAN = 3, F_TEXT = 4 };

static inline void convert(int form, int in, int out, const uint8_t* from, uint8_t* to) {
    switch (form) {
        case F_COPY: memcpy(to, from, in); break;
        case F_NARROW: memcpy(to, from, out); break;
        case F_WIDEN: {
            int128 value;
            if (in == 4) { int32_t v; memcpy(&v, from, 4); value = v; }
            else { int64_t v; memcpy(&v, from, 8); value = v; }
            memcpy(to, &value, 16);
            break;
        }
        case F_BIG_ENDIAN: {
            int128 value = (in && (from[0] & 0x80)) ? -1 : 0;
            for (int k = 0; k < in; k++) value = (int128)(((unsigned __int128)value << 8) | from[k]);
            memcpy(to, &value, 16);
            break;
        }
    }
}

// Rows of a page that are wanted: all from `first`, or `numbers[i] - base`.
struct Wanted {
    const int32_t* numbers;
    int64_t base, first, count;
    inline int64_t row(int64_t i) const { return numbers ? numbers[i] - base : first + i; }
};

// A bitmap written bit by bit from position `at` on; it starts as zeros.
static inline void set_bit(uint8_t* bits, int64_t i) { bits[i >> 3] |= (uint8_t)(1 << (i & 7)); }

struct Page {
    int form = F_COPY, in = 0, out = 0;
    bool nullable = false;
    // The dictionary as the file holds it, which outlives the pages; `words`: where its texts begin.
    const uint8_t* dictionary = nullptr;
    const uint8_t* dictionary_end = nullptr;
    std::vector<int32_t> words;
    int64_t entries = -1;
    // The page at hand.
    const uint8_t* values = nullptr;
    bool coded = false;
    int64_t rows = 0, present = 0;
    std::vector<int32_t> codes, place, starts;

    // Beside the buffers it looks into.
    int64_t nbytes() const { return 4 * (int64_t)(words.capacity() + codes.capacity() + place.capacity() + starts.capacity()); }

    bool text_places(const uint8_t* p, int64_t size, int64_t n, std::vector<int32_t>& found) {
        found.resize(n + 1);
        int64_t at = 0;
        for (int64_t i = 0; i < n; i++) {
            if (size - at < 4) return false;
            uint32_t length;
            memcpy(&length, p + at, 4);
            if (length > (uint64_t)(size - at - 4)) return false;
            found[i] = (int32_t)at;
            at += 4 + (int64_t)length;
        }
        found[n] = (int32_t)at;
        return true;
    }

    bool set_dictionary(const uint8_t* p, int64_t size, int64_t n) {
        dictionary = p;
        dictionary_end = p + size;
        entries = n;
        return form == F_TEXT ? text_places(p, size, n, words) : size / (in ? in : 1) >= n;
    }

    // The dictionary in Arrow form.
    int64_t dictionary_bytes() const { return form == F_TEXT ? words[entries] - 4 * entries : entries * out; }
    void write_dictionary(uint8_t* to, int32_t* offsets) const {
        int64_t filled = 0;
        for (int64_t i = 0; i < entries; i++) {
            if (form == F_TEXT) {
                int64_t n = words[i + 1] - words[i] - 4;
                memcpy(to + filled, dictionary + words[i] + 4, n);
                offsets[i] = (int32_t)filled;
                filled += n;
            } else convert(form, in, out, dictionary + i * in, to + i * out);
        }
        if (form == F_TEXT) offsets[entries] = (int32_t)filled;
    }

    // `level`: the bytes of the definition levels; null when all rows have values.
    bool load(const uint8_t* level, int64_t level_size, const uint8_t* data, int64_t size, int64_t count, bool dict) {
        rows = present = count;
        place.clear();
        if (nullable && level != nullptr) {
            std::vector<int32_t> levels(count);
            if (!unpack_hybrid(level, level + level_size, 1, count, levels.data())) return false;
            present = 0;
            for (int64_t i = 0; i < count; i++) present += levels[i] != 0;
            if (present < count) {
                place.resize(count);
                int32_t at = 0;
                for (int64_t i = 0; i < count; i++) place[i] = levels[i] ? at++ : -1;
            }
        }
        coded = dict;
        values = data;
        if (dict) {
            codes.resize(present);
            if (!present) return true;
            if (entries < 0 || size < 1 || !unpack_hybrid(data + 1, data + size, data[0], present, codes.data()))
                return false;
            uint32_t most = 0;
            for (int64_t i = 0; i < present; i++) most = (uint32_t)codes[i] > most ? (uint32_t)codes[i] : most;
            return (int64_t)most < entries;
        }
        if (form == F_TEXT) return text_places(data, size, present, starts);
        return size / (in ? in : 1) >= present;
    }

    inline int64_t at(int64_t row) const { return place.empty() ? row : place[row]; }

    void mark(const Wanted& w, uint8_t* valid, int64_t to) const {
        if (place.empty()) {
            int64_t i = 0;
            for (; i < w.count && ((to + i) & 7); i++) set_bit(valid, to + i);
            int64_t whole = (w.count - i) >> 3;
            memset(valid + ((to + i) >> 3), 0xff, whole);
            for (i += whole * 8; i < w.count; i++) set_bit(valid, to + i);
        } else {
            for (int64_t i = 0; i < w.count; i++)
                if (place[w.row(i)] >= 0) set_bit(valid, to + i);
        }
    }

    int64_t nulls(const Wanted& w) const {
        int64_t n = 0;
        if (!place.empty()) for (int64_t i = 0; i < w.count; i++) n += place[w.row(i)] < 0;
        return n;
    }

    void take_codes(const Wanted& w, int32_t* to) const {
        if (place.empty() && !w.numbers) { memcpy(to, codes.data() + w.first, 4 * w.count); return; }
        for (int64_t i = 0; i < w.count; i++) {
            int64_t k = at(w.row(i));
            to[i] = k < 0 ? 0 : codes[k];
        }
    }

    template <int FORM, int IN, int OUT, bool CODED> void spread(const Wanted& w, uint8_t* to) const {
        const uint8_t* from = CODED ? dictionary : values;
        if (place.empty() && !w.numbers) {
            for (int64_t i = 0; i < w.count; i++)
                convert(FORM, IN, OUT, from + (CODED ? (int64_t)codes[w.first + i] : w.first + i) * IN, to + i * OUT);
            return;
        }
        for (int64_t i = 0; i < w.count; i++) {
            int64_t k = at(w.row(i));
            if (k < 0) memset(to + i * OUT, 0, OUT);
            else convert(FORM, IN, OUT, from + (CODED ? (int64_t)codes[k] : k) * IN, to + i * OUT);
        }
    }

    template <int FORM, int IN, int OUT> void spread_any(const Wanted& w, uint8_t* to) const {
        if (coded) spread<FORM, IN, OUT, true>(w, to);
        else spread<FORM, IN, OUT, false>(w, to);
    }

    void take_fixed(const Wanted& w, uint8_t* to) const {
        if (form == F_COPY && !coded && place.empty() && !w.numbers)
            memcpy(to, values + w.first * in, w.count * in);
        else if (form == F_COPY && in == 4) spread_any<F_COPY, 4, 4>(w, to);
        else if (form == F_COPY) spread_any<F_COPY, 8, 8>(w, to);
        else if (form == F_NARROW && out == 1) spread_any<F_NARROW, 4, 1>(w, to);
        else if (form == F_NARROW) spread_any<F_NARROW, 4, 2>(w, to);
        else if (form == F_WIDEN && in == 4) spread_any<F_WIDEN, 4, 16>(w, to);
        else if (form == F_WIDEN) spread_any<F_WIDEN, 8, 16>(w, to);
        else for (int64_t i = 0; i < w.count; i++) {
            int64_t k = at(w.row(i));
            if (k < 0) memset(to + i * out, 0, out);
            else convert(form, in, out, (coded ? dictionary + codes[k] * (int64_t)in : values + k * in), to + i * out);
        }
    }

    inline void text(int64_t k, const uint8_t*& p, int64_t& n) const {
        if (coded) { int32_t c = codes[k]; p = dictionary + words[c] + 4; n = words[c + 1] - words[c] - 4; }
        else { p = values + starts[k] + 4; n = starts[k + 1] - starts[k] - 4; }
    }

    int64_t text_bytes(const Wanted& w) const {
        int64_t total = 0;
        for (int64_t i = 0; i < w.count; i++) {
            int64_t k = at(w.row(i));
            if (k < 0) continue;
            total += (coded ? words[codes[k] + 1] - words[codes[k]] : starts[k + 1] - starts[k]) - 4;
        }
        return total;
    }

    // Offsets (`to`, the end of each text) and the bytes themselves, after `filled` bytes.
    void take_text(const Wanted& w, int32_t* to, uint8_t* bytes, int64_t filled) const {
        for (int64_t i = 0; i < w.count; i++) {
            int64_t k = at(w.row(i));
            if (k >= 0) {
                const uint8_t* p;
                int64_t n;
                text(k, p, n);
                // The target has 16 bytes to spare; the dictionary has them unless it ends there.
                if (coded && n <= 16 && p + 16 <= dictionary_end) memcpy(bytes + filled, p, 16);
                else memcpy(bytes + filled, p, n);
                filled += n;
            }
            to[i] = (int32_t)filled;
        }
    }
};

// Whole texts (4 bytes of length each) at the front of `size` bytes: their number, the bytes they take, and the bytes that
// the text after them takes as far as is known.
static void whole_texts(const uint8_t* p, int64_t size, int64_t& count, int64_t& used, int64_t& next) {
    count = used = 0;
    next = 4;
    while (size - used >= 4) {
        uint32_t length;
        memcpy(&length, p + used, 4);
        next = 4 + (int64_t)length;
        if (next > size - used) return;
        used += next;
        count++;
        next = 4;
    }
}
