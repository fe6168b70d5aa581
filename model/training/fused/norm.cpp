// BatchNorm, the addition to the stream and the next quantizer in few passes over memory; formulas: norm.py.
//
// Tensors are pixels x channels, channels innermost, in float or bfloat16 (`half`); channels come in blocks of B. A
// call with first and last works on those pixels alone, so that threads share a tensor.

#include <cmath>

#include "vector.h"

namespace {

constexpr long CHUNK = 512;  // pixels whose sums are added in float, before they go on in double

// What follows the addition, as in norm.py; CLIP's k and top are levels / step and levels.
enum { NOTHING, RELU, MISH, CLIP, SIGN };

// Rows [channels] of a place's coefficients, which norm_finish fills and the others read.
enum { GAIN, BIAS, MEAN, INVERSE, LOW, BELOW, SLOPE, AFTER };

struct Work {
    int kind, channels;
    float k, top;
    const float* rows;  // the coefficients
    V row(int which, int c) const { return load(rows + which * channels + c); }
};

float scale_of(int kind, const float* step, int levels) {
    return kind == CLIP ? levels / (*step > 1e-3f ? *step : 1e-3f) : 1.0f;
}

template <int KIND> inline V value(V r, V low, float k, float top, float unit) {
    if (KIND == RELU) return upper(r, all(0));
    if (KIND == MISH) {
        V e = exp_of(lower(r, all(30))), n = (e + 2.0f) * e;
        return r * n / (n + 2.0f);
    }
    if (KIND == CLIP) return floor_of(lower(upper(r * k + low, all(0.5f)), all(top + 0.5f))) * unit;
    if (KIND == SIGN) return r >= low ? all(1) : all(0);
    return r;
}

template <class T, int KIND, bool SKIP, bool PRELU>
void forward(const T* z, const T* s, T* r, T* q, Work w, long first, long last) {
    const float unit = 1 / w.top;
    for (long p = first; p < last; p++)
        for (int c = 0; c < w.channels; c += B) {
            const long i = p * w.channels + c;
            V v = load(z + i) * w.row(GAIN, c) + w.row(BIAS, c);
            if (SKIP) v += load(s + i);
            if (PRELU) {
                V u = v - w.row(BELOW, c);
                v = (u < 0.0f ? u * w.row(SLOPE, c) : u) + w.row(AFTER, c);
            }
            store(r + i, v);
            if (KIND != NOTHING)  // of the value as it is stored, which the backward pass reads
                store(q + i, value<KIND>(rounded(r, v), w.row(LOW, c), w.k, w.top, unit));
        }
}

// Sums of each channel: of the gradient g at BatchNorm's output, which is written, of g * (z - mean), of the clipped
// gradient, of that times u, and of what AFTER and SLOPE get.
enum { TOTAL, CENTRED, CLIPPED, WEIGHTED, PASSED, BENT, SUMS };

template <class T, int KIND, bool STREAM, bool PRELU>
void backward(const T* to_r, const T* to_q, const T* r, const T* z, const T* s, T* g, Work w, double* sums, long first,
              long last) {
    for (int c = 0; c < w.channels; c += B) {
        const V mean = w.row(MEAN, c), low = w.row(LOW, c);
        for (long from = first; from < last; from += CHUNK) {
            const long to = from + CHUNK < last ? from + CHUNK : last;
            V sum[SUMS] = {};
            for (long p = from; p < to; p++) {
                const long i = p * w.channels + c;
                V total = STREAM ? load(to_r + i) : V{};
                if (KIND != NOTHING) {
                    const V x = load(r + i), in = load(to_q + i);
                    if (KIND == RELU) total += x > 0.0f ? in : V{};
                    if (KIND == MISH) {
                        V e = exp_of(lower(x, all(30))), n = (e + 2.0f) * e, t = n / (n + 2.0f);
                        total += in * (t + x * (1.0f - t * t) * (e / (e + 1.0f)));
                    }
                    if (KIND == CLIP) {
                        const V u = x * w.k + low;
                        const V kept = u > 0.5f && u < w.top + 0.5f ? in : V{};
                        total += kept * (w.k / w.top);
                        sum[CLIPPED] += kept;
                        sum[WEIGHTED] += kept * u;
                    }
                    if (KIND == SIGN) {
                        const V d = x - low;
                        const V kept = in * upper(1.0f - (d < 0.0f ? -d : d), all(0));
                        total += kept;
                        sum[CLIPPED] += kept;
                    }
                }
                const V zi = load(z + i);
                if (PRELU) {
                    V v = zi * w.row(GAIN, c) + w.row(BIAS, c);
                    if (s) v += load(s + i);
                    const V u = v - w.row(BELOW, c), bent = u < 0.0f ? total : V{};
                    sum[PASSED] += total;
                    sum[BENT] += bent * u;
                    total += bent * (w.row(SLOPE, c) - 1.0f);
                }
                store(g + i, total);
                sum[TOTAL] += total;
                sum[CENTRED] += total * (zi - mean);
            }
            for (int k = 0; k < SUMS; k++)
                for (int j = 0; j < B; j++) sums[k * w.channels + c + j] += sum[k][j];
        }
    }
}

template <class T> void moments(const T* z, double* sums, int channels, long first, long last) {
    for (int c = 0; c < channels; c += B) {
        const V at = load(z + c);  // the first pixel: what is near the mean loses no digits in the squares
        for (long from = first; from < last; from += CHUNK) {
            const long to = from + CHUNK < last ? from + CHUNK : last;
            V sum{}, square{};
            for (long p = from; p < to; p++) {
                const V d = load(z + p * channels + c) - at;
                sum += d;
                square += d * d;
            }
            for (int j = 0; j < B; j++) {
                sums[c + j] += sum[j];
                sums[channels + c + j] += square[j];
            }
        }
    }
}

template <class T> void input(const T* g, const T* z, T* out, const float* rows, int channels, long first, long last) {
    for (long p = first; p < last; p++)
        for (int c = 0; c < channels; c += B) {
            const long i = p * channels + c;
            store(out + i, load(g + i) * load(rows + c) + load(z + i) * load(rows + channels + c) +
                               load(rows + 2 * channels + c));
        }
}

template <class T, int KIND>
void forward_of(const void* z, const void* s, void* r, void* q, bool prelu, Work w, long first, long last) {
    auto f = s ? (prelu ? forward<T, KIND, true, true> : forward<T, KIND, true, false>)
               : (prelu ? forward<T, KIND, false, true> : forward<T, KIND, false, false>);
    f((const T*)z, (const T*)s, (T*)r, (T*)q, w, first, last);
}

template <class T, int KIND>
void backward_of(const void* to_r, const void* to_q, const void* r, const void* z, const void* s, void* g, bool prelu,
                 Work w, double* sums, long first, long last) {
    auto f = to_r ? (prelu ? backward<T, KIND, true, true> : backward<T, KIND, true, false>)
                  : (prelu ? backward<T, KIND, false, true> : backward<T, KIND, false, false>);
    f((const T*)to_r, (const T*)to_q, (const T*)r, (const T*)z, (const T*)s, (T*)g, w, sums, first, last);
}

}  // namespace

// One call for each kind and type.
#define DISPATCH(F, ...)                                                                          \
    switch (kind) {                                                                               \
        case NOTHING: (half ? F<uint16_t, NOTHING> : F<float, NOTHING>)(__VA_ARGS__); break;      \
        case RELU: (half ? F<uint16_t, RELU> : F<float, RELU>)(__VA_ARGS__); break;               \
        case MISH: (half ? F<uint16_t, MISH> : F<float, MISH>)(__VA_ARGS__); break;               \
        case CLIP: (half ? F<uint16_t, CLIP> : F<float, CLIP>)(__VA_ARGS__); break;               \
        case SIGN: (half ? F<uint16_t, SIGN> : F<float, SIGN>)(__VA_ARGS__); break;               \
    }

extern "C" {

// Sums [2][channels] of z - z[0] and of its square.
void norm_moments(int half, const void* z, double* sums, int channels, long first, long last) {
    if (half) moments((const uint16_t*)z, sums, channels, first, last);
    else moments((const float*)z, sums, channels, first, last);
}

// Coefficients rows [8][channels] from the sums of `threads` threads, and running statistics; or, where sums is
// null, from those statistics.
void norm_finish(int half, int kind, const void* z, const double* sums, int threads, long count, int channels,
                 const float* weight, const float* bias, float* running_mean, float* running_var, double momentum,
                 double eps, const float* offset, const float* step, int levels, float* rows) {
    const float k = scale_of(kind, step, levels);
    for (int c = 0; c < channels; c++) {
        double mean = running_mean[c], variance = running_var[c];
        if (sums) {
            double first = 0, second = 0;
            for (int t = 0; t < threads; t++) {
                first += sums[(2 * t) * channels + c];
                second += sums[(2 * t + 1) * channels + c];
            }
            first /= count;
            mean = first + (half ? get((const uint16_t*)z + c) : get((const float*)z + c));
            variance = second / count - first * first;
            if (variance < 0) variance = 0;
            running_mean[c] += momentum * (mean - running_mean[c]);
            running_var[c] += momentum * (variance * count / (count > 1 ? count - 1 : 1) - running_var[c]);
        }
        const double inverse = 1 / std::sqrt(variance + eps);
        rows[GAIN * channels + c] = weight[c] * inverse;
        rows[BIAS * channels + c] = bias[c] - weight[c] * inverse * mean;
        rows[MEAN * channels + c] = mean;
        rows[INVERSE * channels + c] = inverse;
        rows[LOW * channels + c] = kind == CLIP ? 0.5f - offset[c] * k : kind == SIGN ? offset[c] : 0;
    }
}

void norm_forward(int half, int kind, const void* z, const void* s, void* r, void* q, int prelu, const float* rows,
                  const float* step, int levels, int channels, long first, long last) {
    const Work w{kind, channels, scale_of(kind, step, levels), (float)levels, rows};
    DISPATCH(forward_of, z, s, r, q, prelu, w, first, last)
}

// Sums [6][channels]: see backward.
void norm_backward(int half, int kind, const void* to_r, const void* to_q, const void* r, const void* z, const void* s,
                   void* g, int prelu, const float* rows, const float* step, int levels, double* sums, int channels,
                   long first, long last) {
    const Work w{kind, channels, scale_of(kind, step, levels), (float)levels, rows};
    DISPATCH(backward_of, to_r, to_q, r, z, s, g, prelu, w, sums, first, last)
}

// From the sums of `threads` threads, out [9][channels]: three factors for norm_input, and the gradients of weight,
// bias, offset and the RPReLU's below, slope, after; that of step into to_step.
void norm_gradients(int kind, const double* sums, int threads, long count, int channels, const float* weight,
                    const float* rows, const float* step, int levels, float* out, float* to_step) {
    const float k = scale_of(kind, step, levels);
    double spread = 0;
    for (int c = 0; c < channels; c++) {
        double sum[SUMS] = {};
        for (int t = 0; t < threads; t++)
            for (int i = 0; i < SUMS; i++) sum[i] += sums[(t * SUMS + i) * channels + c];
        const double inverse = rows[INVERSE * channels + c], gain = weight[c] * inverse;
        const double by_z = -gain * inverse * inverse * sum[CENTRED] / count;
        const double row[9] = {
            gain, by_z, -gain * sum[TOTAL] / count - by_z * rows[MEAN * channels + c], sum[CENTRED] * inverse, sum[TOTAL],
            kind == CLIP ? -sum[CLIPPED] * k / levels : -sum[CLIPPED], -sum[TOTAL], sum[BENT], sum[PASSED]};
        for (int i = 0; i < 9; i++) out[i * channels + c] = row[i];
        spread += sum[WEIGHTED] - 0.5 * sum[CLIPPED];
    }
    if (kind == CLIP) *to_step = *step > 1e-3f ? -spread / (levels * *step) : 0;  // clamped below, it has no gradient
}

void norm_input(int half, const void* g, const void* z, void* out, const float* rows, int channels, long first,
                long last) {
    if (half) input((const uint16_t*)g, (const uint16_t*)z, (uint16_t*)out, rows, channels, first, last);
    else input((const float*)g, (const float*)z, (float*)out, rows, channels, first, last);
}
}
