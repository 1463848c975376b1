// Rows of columns as lines of text: cells of CSV, members of JSON objects.
#pragma once
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

// How a cell becomes text. Cell widths of whole numbers are in bytes, negative for unsigned ones.
enum CellKind { RAW = 0, QUOTE_IF_NEEDED = 1, QUOTE_ALWAYS = 2, JSON_TEXT = 3, WHOLE_NUMBER = 4 };

struct Cell {
    int kind;
    int width;
    const uint8_t* valid;  // bitmap, or NULL
    const uint8_t* data;   // offsets of texts, or numbers
    const uint8_t* bytes;
    int64_t offset;
    std::string before;  // written before each value
};

struct LineStyle {
    std::string null;  // written for NULL
    std::string after;  // written after each row
    std::string quote, escape, special;  // of CSV: single bytes, and those that make quotes needed
};

class Lines {
public:
    uint8_t* data = nullptr;
    int64_t size = 0;

    ~Lines() { std::free(data); }

    void write(const std::vector<Cell>& cells, const LineStyle& style, int64_t rows, std::vector<int64_t>& ends) {
        bool special[256] = {false}, control[256] = {false};
        for (unsigned char c : style.special) special[c] = true;
        for (int c = 0; c < 32; c++) control[c] = true;
        control[(int)'"'] = control[(int)'\\'] = true;
        for (int64_t row = 0; row < rows; row++) {
            for (const Cell& cell : cells) {
                put(cell.before.data(), cell.before.size());
                int64_t at = cell.offset + row;
                if (cell.valid && !(cell.valid[at >> 3] >> (at & 7) & 1)) {
                    put(style.null.data(), style.null.size());
                    continue;
                }
                if (cell.kind == WHOLE_NUMBER) {
                    number(cell, at);
                    continue;
                }
                const int32_t* offsets = reinterpret_cast<const int32_t*>(cell.data);
                const uint8_t* text = cell.bytes + offsets[at];
                int64_t length = offsets[at + 1] - offsets[at];
                switch (cell.kind) {
                    case RAW: put(text, length); break;
                    case JSON_TEXT: json(text, length, control); break;
                    default:
                        if (cell.kind == QUOTE_ALWAYS || needs(text, length, special, style.null))
                            quoted(text, length, style);
                        else
                            put(text, length);
                }
            }
            put(style.after.data(), style.after.size());
            ends[row] = size;
        }
    }

private:
    int64_t room_ = 0;

    void reserve(int64_t more) {
        if (size + more <= room_) return;
        room_ = (size + more) * 2;
        void* moved = std::realloc(data, room_);
        if (!moved) throw std::bad_alloc();
        data = static_cast<uint8_t*>(moved);
    }

    void put(const void* text, int64_t length) {
        reserve(length);
        std::memcpy(data + size, text, length);
        size += length;
    }

    static bool needs(const uint8_t* text, int64_t length, const bool* special, const std::string& null) {
        for (int64_t i = 0; i < length; i++)
            if (special[text[i]]) return true;
        return (size_t)length == null.size() && std::memcmp(text, null.data(), length) == 0;
    }

    void quoted(const uint8_t* text, int64_t length, const LineStyle& style) {
        reserve(2 * length + 2);
        uint8_t quote = style.quote[0], escape = style.escape[0];
        data[size++] = quote;
        for (int64_t i = 0; i < length; i++) {
            if (text[i] == quote || text[i] == escape) data[size++] = escape;
            data[size++] = text[i];
        }
        data[size++] = quote;
    }

    void json(const uint8_t* text, int64_t length, const bool* control) {
        static const char digits[] = "0123456789abcdef";
        reserve(6 * length + 2);
        data[size++] = '"';
        int64_t from = 0;
        for (int64_t i = 0; i < length; i++) {
            uint8_t c = text[i];
            if (!control[c]) continue;
            std::memcpy(data + size, text + from, i - from);
            size += i - from;
            from = i + 1;
            data[size++] = '\\';
            switch (c) {
                case '"': case '\\': data[size++] = c; break;
                case '\n': data[size++] = 'n'; break;
                case '\r': data[size++] = 'r'; break;
                case '\t': data[size++] = 't'; break;
                case '\b': data[size++] = 'b'; break;
                case '\f': data[size++] = 'f'; break;
                default:
                    std::memcpy(data + size, "u00", 3);
                    data[size + 3] = digits[c >> 4];
                    data[size + 4] = digits[c & 15];
                    size += 5;
            }
        }
        std::memcpy(data + size, text + from, length - from);
        size += length - from;
        data[size++] = '"';
    }

    template <typename T> void number_of(const Cell& cell, int64_t at) {
        T value;
        std::memcpy(&value, cell.data + at * sizeof(T), sizeof(T));
        reserve(24);
        char* end = std::to_chars(reinterpret_cast<char*>(data + size), reinterpret_cast<char*>(data + size + 24), value).ptr;
        size = end - reinterpret_cast<char*>(data);
    }

    void number(const Cell& cell, int64_t at) {
        switch (cell.width) {
            case 1: number_of<int8_t>(cell, at); break;
            case 2: number_of<int16_t>(cell, at); break;
            case 4: number_of<int32_t>(cell, at); break;
            case 8: number_of<int64_t>(cell, at); break;
            case -1: number_of<uint8_t>(cell, at); break;
            case -2: number_of<uint16_t>(cell, at); break;
            case -4: number_of<uint32_t>(cell, at); break;
            case -8: number_of<uint64_t>(cell, at); break;
        }
    }
};
