// Random words and the AdamW update.
#include <cmath>

#include "arithmetic.h"
#include "parallel.h"

using namespace scimind;

namespace {

SCIMIND_INLINE uint32_t rotate(uint32_t x, int count) { return (x << count) | (x >> (32 - count)); }

SCIMIND_INLINE void threefry(uint32_t k0, uint32_t k1, uint32_t& x0, uint32_t& x1) {
  const uint32_t schedule[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
  x0 += k0;
  x1 += k1;
#define SCIMIND_ROUNDS(a, b, c, d, block)     \
  x0 += x1, x1 = rotate(x1, a) ^ x0;          \
  x0 += x1, x1 = rotate(x1, b) ^ x0;          \
  x0 += x1, x1 = rotate(x1, c) ^ x0;          \
  x0 += x1, x1 = rotate(x1, d) ^ x0;          \
  x0 += schedule[(block) % 3];                \
  x1 += schedule[((block) + 1) % 3] + (block);
  SCIMIND_ROUNDS(13, 15, 26, 6, 1)
  SCIMIND_ROUNDS(17, 29, 16, 24, 2)
  SCIMIND_ROUNDS(13, 15, 26, 6, 3)
  SCIMIND_ROUNDS(17, 29, 16, 24, 4)
  SCIMIND_ROUNDS(13, 15, 26, 6, 5)
#undef SCIMIND_ROUNDS
}

}  // namespace

// key (2), stream (1), extent (count; for its shape) -> words; Threefry-2x32-20 of the counters (i, stream)
SCIMIND_OPERATOR(random_bits) {
  const uint32_t* key = static_cast<const uint32_t*>(data[0]);
  const uint32_t stream = *static_cast<const uint32_t*>(data[1]);
  uint32_t* words = static_cast<uint32_t*>(data[3]);
  const int64_t total = elements(ndims[3], shapes[3]), half = (total + 1) / 2;
  const uint32_t k0 = key[0], k1 = key[1];
  over(half, 1 << 14, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      uint32_t x0 = static_cast<uint32_t>(i), x1 = stream;
      threefry(k0, k1, x0, x1);
      words[i] = x0;
      if (half + i < total) words[half + i] = x1;
    }
  });
  return 0;
}

// parameter, m, v, gradient, rate, power1, power2, (beta1, beta2, eps, decay) -> done; in place
SCIMIND_OPERATOR(adamw) {
  float* parameter = static_cast<float*>(data[0]);
  float* first = static_cast<float*>(data[1]);
  float* second = static_cast<float*>(data[2]);
  const float* gradient = static_cast<const float*>(data[3]);
  const float rate = *static_cast<const float*>(data[4]);
  const float power1 = *static_cast<const float*>(data[5]);
  const float power2 = *static_cast<const float*>(data[6]);
  const float* constants = static_cast<const float*>(data[7]);
  const float beta1 = constants[0], beta2 = constants[1], eps = constants[2];
  const float shrink = 1.0f - rate * constants[3];
  const float step = rate / (1.0f - power1), correction = 1.0f / std::sqrt(1.0f - power2);
  over(elements(ndims[0], shapes[0]), 1 << 15, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i];
      const float m = beta1 * first[i] + (1.0f - beta1) * g;
      const float v = beta2 * second[i] + (1.0f - beta2) * g * g;
      first[i] = m;
      second[i] = v;
      parameter[i] = shrink * parameter[i] - step * m / (std::sqrt(v) * correction + eps);
    }
  });
  *static_cast<float*>(data[8]) = 0.0f;
  return 0;
}
