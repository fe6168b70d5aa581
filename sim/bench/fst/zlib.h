// Stands in for zlib where Verilator writes an FST file, so that waves need no package of the system's.
// What is written is a valid zlib stream (RFC 1950) of stored blocks (RFC 1951, 3.2.4), uncompressed.
#pragma once
#include <cstring>

using Bytef = unsigned char;
using uLong = unsigned long;
using uLongf = unsigned long;
enum { Z_OK = 0, Z_BUF_ERROR = -5 };
constexpr uLong STORED = 65535;  // bytes that a block holds

inline uLong compressBound(uLong size) { return size + 5 * (size / STORED + 1) + 6; }

inline int compress2(Bytef* target, uLongf* room, const Bytef* source, uLong size, int) {
    if (*room < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = target;
    *out++ = 0x78;
    *out++ = 0x01;
    unsigned long low = 1, high = 0;  // Adler-32
    uLong done = 0;
    do {
        const uLong part = size - done < STORED ? size - done : STORED;
        *out++ = done + part == size;  // whether it is the last block
        *out++ = part & 255;
        *out++ = part >> 8;
        *out++ = ~part & 255;
        *out++ = ~part >> 8 & 255;
        std::memcpy(out, source + done, part);
        out += part;
        for (uLong i = 0; i < part; i++) {
            low = (low + source[done + i]) % 65521;
            high = (high + low) % 65521;
        }
        done += part;
    } while (done < size);
    for (int shift = 24; shift >= 0; shift -= 8) *out++ = (shift >= 16 ? high >> (shift - 16) : low >> shift) & 255;
    *room = out - target;
    return Z_OK;
}
