// Stands in for liblz4 where Verilator writes an FST file, so that waves need no package of the system's.
// What is written is valid LZ4: one sequence of literals, uncompressed.
#pragma once
#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* source, char* target, int size, int room) {
    if (room < LZ4_compressBound(size)) return 0;
    char* out = target;
    *out++ = static_cast<char>((size < 15 ? size : 15) << 4);  // token: how many literals, and no match behind
    if (size >= 15) {
        int left = size - 15;
        for (; left >= 255; left -= 255) *out++ = static_cast<char>(255);
        *out++ = static_cast<char>(left);
    }
    std::memcpy(out, source, size);
    return static_cast<int>(out - target) + size;
}
