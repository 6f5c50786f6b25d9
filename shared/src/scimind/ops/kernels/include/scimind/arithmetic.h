// Elementary functions without branches, so that loops over them vectorise without -ffast-math and
// NaN and infinity keep their meaning.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define SCIMIND_INLINE static inline __attribute__((always_inline))

namespace scimind {

// e^x to 2 ulp; 0 below -87.33 (no subnormal results), infinity above 88.37.
SCIMIND_INLINE float exponential(float x) {
  const float low = -87.33654f, high = 88.37626f;
  float t = x < low ? low : x;
  t = t > high ? high : t;
  const float n = __builtin_nearbyintf(t * 1.44269504088896341f);
  float r = t - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  float y = p * power;
  y = x < low ? 0.0f : y;
  y = x > high ? INFINITY : y;
  return x != x ? x : y;
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
    return x * sigmoid(x * (kGeluLinear + kGeluCubic * x * x));
  }
  SCIMIND_INLINE float slope(float x) {
    const float square = x * x;
    const float s = sigmoid(x * (kGeluLinear + kGeluCubic * square));
    return s + x * s * (1.0f - s) * (kGeluLinear + 3.0f * kGeluCubic * square);
  }
};
struct Silu {
  SCIMIND_INLINE float value(float x) { return x * sigmoid(x); }
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
