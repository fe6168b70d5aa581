// The rest of a step that is many small operations otherwise: signs of standardized weights, 2x2 means with padding.

#include <cmath>

#include "vector.h"

namespace {

template <class T> void signs(const float* w, T* out, float* deviation, long filters, long size) {
    double magnitude = 0;
    for (long f = 0; f < filters; f++) {
        const float* x = w + f * size;
        double sum = 0, square = 0, absolute = 0;
        for (long i = 0; i < size; i++) sum += x[i];
        const double mean = sum / size;
        for (long i = 0; i < size; i++) {
            const double d = x[i] - mean;
            square += d * d;
            absolute += std::fabs(d);
        }
        deviation[2 * f] = mean;
        deviation[2 * f + 1] = std::sqrt(square / (size - 1));
        magnitude += absolute / (deviation[2 * f + 1] + 1e-8);
    }
    const float scale = magnitude / (filters * size);
    for (long f = 0; f < filters; f++)
        for (long i = f * size; i < (f + 1) * size; i++) put(out + i, w[i] - deviation[2 * f] >= 0 ? scale : -scale);
}

template <class T> void passed(const T* g, const float* w, const float* deviation, float* out, long filters, long size) {
    for (long f = 0; f < filters; f++) {
        const double mean = deviation[2 * f], spread = deviation[2 * f + 1], s = spread + 1e-8;
        double sum = 0, along = 0;
        for (long i = f * size; i < (f + 1) * size; i++) {
            const double x = get(g + i);
            sum += x;
            along += x * (w[i] - mean);
        }
        const float average = sum / size, factor = 1 / s, back = along / (s * s * spread * (size - 1));
        for (long i = f * size; i < (f + 1) * size; i++)
            out[i] = (get(g + i) - average) * factor - (w[i] - (float)mean) * back;
    }
}

// [n, 2h, 2w, c] to [n, h, w, front + c + back], rows of output pixels first..last-1 (a row is one n and h).
template <class T> void halve(const T* x, T* out, int width, int c, int front, int back, long first, long last) {
    const int wide = front + c + back;
    for (long row = first; row < last; row++)
        for (int j = 0; j < width; j++) {
            const T* at = x + (row * 2 * 2 * width + 2 * j) * c;
            T* to = out + (row * width + j) * wide;
            memset(to, 0, front * sizeof(T));
            memset(to + front + c, 0, back * sizeof(T));
            for (int i = 0; i < c; i += B)
                store(to + front + i, (load(at + i) + load(at + c + i) + load(at + 2 * width * c + i) +
                                       load(at + 2 * width * c + c + i)) * 0.25f);
        }
}

template <class T> void widen(const T* g, T* out, int width, int c, int front, int back, long first, long last) {
    const int wide = front + c + back;
    for (long row = first; row < last; row++)
        for (int j = 0; j < width; j++) {
            T* to = out + (row * 2 * 2 * width + 2 * j) * c;
            const T* from = g + (row * width + j) * wide + front;
            for (int i = 0; i < c; i += B) {
                const V v = load(from + i) * 0.25f;
                for (int k : {0, c, 2 * width * c, 2 * width * c + c}) store(to + k + i, v);
            }
        }
}

}  // namespace

extern "C" {

// Of each filter of w [filters][size]: its mean and deviation; out: +-E|v| by the sign of v, w standardized.
void weight_signs(int half, const float* w, void* out, float* deviation, long filters, long size) {
    if (half) signs(w, (uint16_t*)out, deviation, filters, size);
    else signs(w, (float*)out, deviation, filters, size);
}

// The gradient at w from that at v, taken to be the one at the signs.
void weight_signs_back(int half, const void* g, const float* w, const float* deviation, float* out, long filters,
                       long size) {
    if (half) passed((const uint16_t*)g, w, deviation, out, filters, size);
    else passed((const float*)g, w, deviation, out, filters, size);
}

void pool(int half, const void* x, void* out, int width, int c, int front, int back, long first, long last) {
    if (half) halve((const uint16_t*)x, (uint16_t*)out, width, c, front, back, first, last);
    else halve((const float*)x, (float*)out, width, c, front, back, first, last);
}

void pool_back(int half, const void* g, void* out, int width, int c, int front, int back, long first, long last) {
    if (half) widen((const uint16_t*)g, (uint16_t*)out, width, c, front, back, first, last);
    else widen((const float*)g, (float*)out, width, c, front, back, first, last);
}
}
