// Rotary position embedding of rows.
#pragma once

#include <cstdint>

// sign is 1, or -1 for the transposed rotation, which is the gradient.
struct Rotation {
  const float *cos, *sin;
  int64_t length, half;
  float sign;
  bool interleaved;

  void rows(int64_t begin, int64_t end, const float* x, float* y) const {
    const int64_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
    for (int64_t row = begin; row < end; ++row) {
      const float *in = x + row * 2 * half, *c = cos + row % length * half;
      const float* s = sin + row % length * half;
      float* out = y + row * 2 * half;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float a = in[i * step], b = in[i * step + apart], sine = sign * s[i];
        out[i * step] = a * c[i] - b * sine;
        out[i * step + apart] = b * c[i] + a * sine;
      }
    }
  }
};
