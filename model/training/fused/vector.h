// Vectors of floats, as wide as the processor has them, read from and written to memory as float or bfloat16 (uint16_t): GCC's and Clang's extensions.

#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;  // wider ones are taken apart, some operations into single numbers
#else
constexpr int BYTES = 16;
#endif
constexpr int B = BYTES / sizeof(float);  // channels of a block: one vector, at most the 16 that kernels.py asks for
typedef float V __attribute__((vector_size(BYTES)));
typedef int32_t I __attribute__((vector_size(BYTES)));
typedef uint32_t U __attribute__((vector_size(BYTES)));
typedef uint16_t H __attribute__((vector_size(BYTES / 2)));

inline V load(const float* p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}
inline V load(const uint16_t* p) {
    H h;
    memcpy(&h, p, sizeof h);
    return (V)(__builtin_convertvector(h, U) << 16);
}
inline U upper_half(V v) {  // bfloat16 in the upper 16 bits: to nearest, ties to even
    U u = (U)v;
    return u + 0x7fff + ((u >> 16) & 1);
}
inline V rounded(const float*, V v) { return v; }
inline V rounded(const uint16_t*, V v) { return (V)(upper_half(v) & 0xffff0000u); }
inline void store(float* p, V v) { memcpy(p, &v, sizeof v); }
inline void store(uint16_t* p, V v) {
    H h = __builtin_convertvector(v == v ? upper_half(v) >> 16 : (U){} + 0x7fc0, H);  // NaN stays NaN
    memcpy(p, &h, sizeof h);
}
inline void put(float* p, float x) { *p = x; }
inline void put(uint16_t* p, float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    *p = x == x ? (u + 0x7fff + ((u >> 16) & 1)) >> 16 : 0x7fc0;
}
inline float get(const float* p) { return *p; }
inline float get(const uint16_t* p) {
    uint32_t u = (uint32_t)*p << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

inline V all(float x) { return (V){} + x; }
inline V lower(V a, V b) { return a < b ? a : b; }
inline V upper(V a, V b) { return a > b ? a : b; }
inline V floor_of(V v) {  // of a value whose floor fits in 32 bits
    V t = __builtin_convertvector(__builtin_convertvector(v, I), V);
    return t > v ? t - 1.0f : t;
}
inline V exp_of(V x) {  // relative error below 3e-7 for |x| < 80
    x = upper(lower(x, all(80)), all(-80));
    V n = floor_of(x * 1.44269504f + 0.5f);
    V f = x - n * 0.693359375f + n * 2.12194440e-4f;
    V p = all(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = p * f + c;
    p = p * f * f + f + 1.0f;
    return p * (V)((__builtin_convertvector(n, I) + 127) << 23);
}

}  // namespace
