// Random words and the AdamW update.
#include <algorithm>
#include <vector>

#include "scimind/operator.h"

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

using Words = View<uint32_t>;

// Threefry-2x32-20 of the counters (i, stream).
SCIMIND_OPERATOR(random_bits, (View<const uint32_t> key, View<const uint32_t> stream, Options,
                               Words words)) {
  const int64_t total = words.size(), half = (total + 1) / 2;
  const uint32_t k0 = key[0], k1 = key[1], number = stream[0];
  over(half, 1 << 14, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      uint32_t x0 = static_cast<uint32_t>(i), x1 = number;
      threefry(k0, k1, x0, x1);
      words[i] = x0;
      if (half + i < total) words[half + i] = x1;
    }
  });
}

namespace {

// What one AdamW update is made of, apart from the decay.
struct Adamw {
  float beta1, rest1, beta2, rest2, eps, rate, step, correction;
  Adamw(Options options, In learning_rate, In power1, In power2)
      : beta1(options[0]),
        rest1(1.0 - options[0]),
        beta2(options[1]),
        rest2(1.0 - options[1]),
        eps(options[2]),
        rate(learning_rate[0]),
        step(rate / (1.0f - power1[0])),
        correction(1.0f / std::sqrt(1.0f - power2[0])) {}

  void update(float* parameter, float* first, float* second, const float* gradient, int64_t count,
              float decay) const {
    const Adamw my = *this;
    const float shrink = 1.0f - rate * decay;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float g = gradient[i];
      const float m = my.beta1 * first[i] + my.rest1 * g;
      const float v = my.beta2 * second[i] + my.rest2 * g * g;
      first[i] = m;
      second[i] = v;
      parameter[i] = shrink * parameter[i] - my.step * m / (std::sqrt(v) * my.correction + my.eps);
    }
  }
};

constexpr int64_t kGrain = 1 << 15;

}  // namespace

// One update in place, with the options beta1, beta2, eps, decay and the powers of the betas; `done`
// is written so that a graph has something to depend on.
SCIMIND_OPERATOR(adamw, (Inout parameter, Inout first, Inout second, In gradient, In learning_rate,
                         In power1, In power2, Options options, Out done)) {
  const Adamw adamw(options, learning_rate, power1, power2);
  const float decay = options[3];
  over(parameter.size(), kGrain, [=](int64_t begin, int64_t end) {
    adamw.update(parameter + begin, first + begin, second + begin, gradient + begin, end - begin,
                 decay);
  });
  done[0] = 0.0f;
}

// The same for n parameters, in chunks of all their elements: n parameters, n first moments,
// n second moments, n gradients, learning rate, powers, then the options beta1, beta2, eps and
// n decays, and `done`.
extern "C" int adamw_all(int count, void** data, int* ndims, int64_t** shapes, const char** dtypes,
                         void*, void*) {
  const int64_t n = (count - 5) / 4;
  if (n < 0 || count != 4 * n + 5) return kWrongCount;
  const auto float_at = [=](int64_t index) {
    return In(data[index], ndims[index], shapes[index], dtypes == nullptr ? nullptr : dtypes[index]);
  };
  const int64_t scalars = 4 * n, last = scalars + 3;
  const Options options(data[last], ndims[last], shapes[last],
                        dtypes == nullptr ? nullptr : dtypes[last]);
  if (!options.valid) return kWrongDtype;
  if (elements(ndims[last], shapes[last]) != n + 3) return kWrongCount;
  for (int64_t index = 0; index < count; ++index) {
    const In view = float_at(index);
    if (index != last && !(view.valid && view.present)) return kWrongDtype;
  }
  std::vector<int64_t> ends(n);
  for (int64_t i = 0, total = 0; i < n; ++i) {
    const int64_t size = float_at(i).size();
    for (int64_t role = 1; role < 4; ++role)
      if (float_at(role * n + i).size() != size) return kWrongCount;
    ends[i] = total += size;
  }
  const Adamw adamw(options, float_at(scalars), float_at(scalars + 1), float_at(scalars + 2));
  over(n > 0 ? ends.back() : 0, kGrain, [&](int64_t begin, int64_t end) {
    int64_t i = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
    for (; begin < end; ++i) {
      const int64_t offset = begin - (i > 0 ? ends[i - 1] : 0);
      const int64_t stop = std::min(end, ends[i]);
      float* own[4];
      for (int64_t role = 0; role < 4; ++role)
        own[role] = static_cast<float*>(data[role * n + i]) + offset;
      adamw.update(own[0], own[1], own[2], own[3], stop - begin, options[3 + i]);
      begin = stop;
    }
  });
  *static_cast<float*>(data[count - 1]) = 0.0f;
  return 0;
}
