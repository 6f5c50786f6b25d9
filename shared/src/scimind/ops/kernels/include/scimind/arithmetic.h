// Elementary functions without branches, so that loops over them vectorise without -ffast-math and
// NaN and infinity keep their meaning.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define SCIMIND_INLINE static inline __attribute__((always_inline))

namespace scimind {

SCIMIND_INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

SCIMIND_INLINE float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// condition ? a : b as masks of bits: from a conditional of constants GCC makes separate paths, each
// with its own copy of what follows, and vectorised code then goes through all of them.
SCIMIND_INLINE float select(bool condition, float a, float b) {
  const uint32_t mask = -static_cast<uint32_t>(condition);
  return from_bits((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

// e^x to 2 ulp; 0 below -87.33 (no subnormal results), infinity above 88.37.
SCIMIND_INLINE float exponential(float x) {
  // At -88 and 89 the power of two is 0 and infinity.
  const float above = select(x < -87.33654f, -88.0f, x);
  const float t = select(x > 88.37626f, 89.0f, above);
  // Adding 1.5 2^23 rounds to an integer, which is then in the lowest bits.
  const float shifted = t * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  float r = t - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  // Pairs of terms, because a chain of eight products waits longer than it computes.
  const float square = r * r;
  const float high = 1.9875691500e-4f * r + 1.3981999507e-3f;
  const float middle = 8.3334519073e-3f * r + 4.1665795894e-2f;
  const float low = 1.6666665459e-1f * r + 5.0000001201e-1f;
  const float p = ((high * square + middle) * square + low) * square + (r + 1.0f);
  return p * from_bits((bits_of(shifted) + 127) << 23);
}

SCIMIND_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// GELU in the tanh form is x sigmoid(u(x)) with u = 2 sqrt(2/pi) (x + 0.044715 x^3).
constexpr float kGeluLinear = 1.5957691216057308f;
constexpr float kGeluCubic = 0.044715f * kGeluLinear;

struct Identity {
  SCIMIND_INLINE float value(float x) { return x; }
  SCIMIND_INLINE float slope(float) { return 1.0f; }
};
struct Gelu {
  SCIMIND_INLINE float value(float x) {
    return x / (1.0f + exponential(-x * (kGeluLinear + kGeluCubic * x * x)));
  }
  SCIMIND_INLINE float slope(float x) {
    const float square = x * x;
    const float s = sigmoid(x * (kGeluLinear + kGeluCubic * square));
    return s + x * s * (1.0f - s) * (kGeluLinear + 3.0f * kGeluCubic * square);
  }
};
struct Silu {
  SCIMIND_INLINE float value(float x) { return x / (1.0f + exponential(-x)); }
  SCIMIND_INLINE float slope(float x) {
    const float s = sigmoid(x);
    return s + x * s * (1.0f - s);
  }
};
struct Relu {
  SCIMIND_INLINE float value(float x) { return x < 0.0f ? 0.0f : x; }
  SCIMIND_INLINE float slope(float x) { return x > 0.0f ? 1.0f : x != x ? x : 0.0f; }
};

}  // namespace scimind
