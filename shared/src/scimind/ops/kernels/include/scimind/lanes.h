// Vectors as wide as the registers of the target, in the vector extensions of GCC and Clang.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "scimind/arithmetic.h"
#include "scimind/parallel.h"

namespace scimind {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef int32_t LaneIndex __attribute__((vector_size(4 * kLanes)));

SCIMIND_INLINE Lanes load(const float* p) {
  Lanes x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
SCIMIND_INLINE void store(float* p, Lanes x) { std::memcpy(p, &x, sizeof(x)); }

// The first `count` lanes, at most kLanes; the others are 0. Copies of a size that the compiler
// knows need no call.
SCIMIND_INLINE void copy_lanes(float* to, const float* from, int64_t count) {
  if (count == kLanes) {
    std::memcpy(to, from, 4 * kLanes);
    return;
  }
#pragma GCC unroll 4
  for (int part = kLanes / 2; part > 0; part /= 2) {
    if (!(count & part)) continue;
    std::memcpy(to, from, 4 * part);
    to += part;
    from += part;
  }
}
SCIMIND_INLINE Lanes load(const float* p, int64_t count) {
  if (count == kLanes) return load(p);
  float lanes[kLanes] = {};
  copy_lanes(lanes, p, count);
  return load(lanes);
}
SCIMIND_INLINE void store(float* p, Lanes x, int64_t count) {
  float lanes[kLanes];
  store(lanes, x);
  copy_lanes(p, lanes, count);
}

SCIMIND_INLINE Lanes spread(float x) { return x - Lanes{}; }

template <int... i>
SCIMIND_INLINE Lanes lane_numbers(std::integer_sequence<int, i...>) {
  return Lanes{static_cast<float>(i)...};
}
SCIMIND_INLINE Lanes lane_numbers() {
  return lane_numbers(std::make_integer_sequence<int, kLanes>());
}

// Number of lanes that hold `count` floats in whole vectors.
SCIMIND_INLINE int64_t whole_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Lane i becomes lane Pattern::at(i) of the pair (a, b).
template <typename Pattern, int... i>
SCIMIND_INLINE Lanes shuffle(Lanes a, Lanes b, std::integer_sequence<int, i...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, Pattern::at(i)...);
#else
  return __builtin_shuffle(a, b, LaneIndex{Pattern::at(i)...});
#endif
}
template <typename Pattern>
SCIMIND_INLINE Lanes shuffle(Lanes a, Lanes b) {
  return shuffle<Pattern>(a, b, std::make_integer_sequence<int, kLanes>());
}

template <int step>
struct Across {
  static constexpr int at(int lane) { return lane ^ step; }
};
template <int step>
struct Lower {
  static constexpr int at(int lane) { return lane & step ? kLanes + lane - step : lane; }
};
template <int step>
struct Upper {
  static constexpr int at(int lane) { return lane & step ? kLanes + lane : lane + step; }
};

SCIMIND_INLINE Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

template <int step = kLanes / 2>
SCIMIND_INLINE float sum(Lanes x) {
  if constexpr (step == 0) {
    return x[0];
  } else {
    return sum<step / 2>(x + shuffle<Across<step>>(x, x));
  }
}

template <int step = kLanes / 2>
SCIMIND_INLINE float maximum(Lanes x) {
  if constexpr (step == 0) {
    return x[0];
  } else {
    return maximum<step / 2>(larger(x, shuffle<Across<step>>(x, x)));
  }
}

// What a term of `total` or `assign` reads with: several elements from the i-th on, or the i-th. It
// may also fetch what is read next, or claim what is written next, into the cache.
struct Several {
  int64_t i;
  Lanes operator()(const float* p) const { return load(p + i); }
  void fetch(const float* p) const { __builtin_prefetch(p + i); }
  void claim(const float* p) const { __builtin_prefetch(p + i, 1); }
};
struct Single {
  int64_t i;
  float operator()(const float* p) const { return p[i]; }
  void fetch(const float*) const {}
  void claim(const float*) const {}
};

// A row that will be read soon, where the processor cannot see it coming.
SCIMIND_INLINE void prefetch(const float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += 16) __builtin_prefetch(row + i);
}

// The sum of term(at) over `count` places, where at(p) reads p there. An addition waits for the one
// before it, so there are four sums.
template <typename Term>
SCIMIND_INLINE float total(int64_t count, Term term) {
  Lanes sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] += term(Several{i + k * kLanes});
  }
  for (; i + kLanes <= count; i += kLanes) sums[0] += term(Several{i});
  float rest = 0.0f;
  for (; i < count; ++i) rest += term(Single{i});
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

// out[i] = term(at) for `count` places, where at(p) reads p there; p may be out itself. Whole vectors
// from the first aligned address on, because stores that cross a cache line take twice the time, and
// one at each end that overlaps them: however out is aligned, every element is computed the same way.
template <typename Term>
SCIMIND_INLINE void assign(float* out, int64_t count, Term term) {
  if (count < kLanes) {
    for (int64_t i = 0; i < count; ++i) out[i] = term(Single{i});
    return;
  }
  const Lanes first = term(Several{0}), last = term(Several{count - kLanes});
  for (int64_t i = to_multiple(out, kLanes); i + kLanes <= count; i += kLanes)
    store(out + i, term(Several{i}));
  store(out, first);
  store(out + count - kLanes, last);
}

// element(i) for all i below `count`, which sets out[i] and the like from other tensors, in chunks of
// about `grain`. In vectors as `assign` has them, all of them by the same instructions, so that not
// even the bits of a NaN depend on how out is aligned.
template <typename Element>
void each(const float* out, int64_t count, int64_t grain, Element element) {
  if (count < kLanes) {
    for (int64_t i = 0; i < count; ++i) element(i);
    return;
  }
  const int64_t lead = to_multiple(out, kLanes), last = (count - lead) / kLanes + 1;
  over(last, grain / kLanes, [=](int64_t begin, int64_t end) {
    if (end == last) ++end;  // overlaps with the one before it, so the same thread has both
    for (int64_t vector = begin; vector < end; ++vector) {
      const int64_t aligned = lead + (vector - 1) * kLanes;
      const int64_t first = std::clamp<int64_t>(aligned, 0, count - kLanes);
#pragma omp simd
      for (int64_t i = first; i < first + kLanes; ++i) element(i);
    }
  });
}

// Transposes the square of kLanes vectors.
template <int step = 1>
SCIMIND_INLINE void transpose(Lanes (&x)[kLanes]) {
  if constexpr (step < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & step) continue;
      const Lanes a = x[i], b = x[i + step];
      x[i] = shuffle<Lower<step>>(a, b);
      x[i + step] = shuffle<Upper<step>>(a, b);
    }
    transpose<2 * step>(x);
  }
}

// Lane i of the result is the sum of vector i.
template <int step = 1>
SCIMIND_INLINE Lanes sums_of(Lanes (&x)[kLanes]) {
  if constexpr (step < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i += 2 * step)
      x[i] = shuffle<Lower<step>>(x[i], x[i + step]) + shuffle<Upper<step>>(x[i], x[i + step]);
    return sums_of<2 * step>(x);
  }
  return x[0];
}

// e^x to 2 ulp for x up to 88; 0 below -87.33 (no subnormal results). Adding 1.5 * 2^23 rounds to
// the nearest integer and leaves it in the low bits.
SCIMIND_INLINE Lanes exponential(Lanes x) {
  const Lanes low = spread(-87.33654f), magic = spread(12582912.0f);
  const Lanes t = x < low ? low : x;
  const Lanes shifted = t * 1.44269504088896341f + magic;
  const Lanes n = shifted - magic;
  Lanes r = t - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Lanes p = spread(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
  Bits bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127u) << 23;
  Lanes power;
  std::memcpy(&power, &bits, sizeof(power));
  return x < low ? Lanes{} : p * power;
}

}  // namespace scimind
