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
  float beta1, rest1, beta2, rest2, eps, rate, factor, step, root;
  // correction1 and correction2 are 1 - beta^t.
  Adamw(Options options, float learning_rate, float scale, float correction1, float correction2)
      : beta1(options[0]),
        rest1(1.0 - options[0]),
        beta2(options[1]),
        rest2(1.0 - options[1]),
        eps(options[2]),
        rate(learning_rate),
        factor(scale),
        step(rate / correction1),
        root(1.0f / std::sqrt(correction2)) {}

  void update(float* parameter, float* first, float* second, const float* gradient, int64_t count,
              float decay) const {
    const Adamw my = *this;
    const float shrink = 1.0f - rate * decay;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float g = gradient[i] * my.factor;
      const float m = my.beta1 * first[i] + my.rest1 * g;
      const float v = my.beta2 * second[i] + my.rest2 * g * g;
      first[i] = m;
      second[i] = v;
      parameter[i] = shrink * parameter[i] - my.step * m / (std::sqrt(v) * my.root + my.eps);
    }
  }
};

constexpr int64_t kGrain = 1 << 15;

// The elements of many tensors as one range.
class Joined {
 public:
  Joined(int64_t* const* shapes, const int* ndims, int64_t count) : ends_(count) {
    for (int64_t i = 0, total = 0; i < count; ++i)
      ends_[i] = total += elements(ndims[i], shapes[i]);
  }
  int64_t size() const { return ends_.empty() ? 0 : ends_.back(); }
  // body(tensor, offset, count) for the parts of tensors in [begin, end).
  template <typename Body>
  void parts(int64_t begin, int64_t end, Body body) const {
    int64_t i = std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin();
    for (; begin < end; ++i) {
      const int64_t stop = std::min(end, ends_[i]);
      body(i, begin - (i > 0 ? ends_[i - 1] : 0), stop - begin);
      begin = stop;
    }
  }

 private:
  std::vector<int64_t> ends_;
};

bool all_float(const char** dtypes, int64_t count) {
  for (int64_t i = 0; dtypes != nullptr && i < count; ++i)
    if (std::strcmp(dtypes[i], "float32") != 0) return false;
  return true;
}

}  // namespace

// n parameters, n first moments, n second moments, n gradients, learning rate, factor of the
// gradients, 1 - beta1^t, 1 - beta2^t, then the options beta1, beta2, eps and n decays -> done
extern "C" int adamw_all(int count, void** data, int* ndims, int64_t** shapes, const char** dtypes,
                         void*, void*) {
  const int64_t n = (count - 6) / 4, last = 4 * n + 4;
  if (n < 0 || count != 4 * n + 6 || elements(ndims[last], shapes[last]) != n + 3)
    return kWrongCount;
  const Options options(data[last], ndims[last], shapes[last],
                        dtypes == nullptr ? nullptr : dtypes[last]);
  if (!options.valid || !all_float(dtypes, last)) return kWrongDtype;
  for (int64_t i = n; i < 4 * n; ++i)
    if (elements(ndims[i], shapes[i]) != elements(ndims[i % n], shapes[i % n])) return kWrongCount;
  const auto scalar = [=](int64_t index) { return *static_cast<float*>(data[4 * n + index]); };
  const Adamw adamw(options, scalar(0), scalar(1), scalar(2), scalar(3));
  const Joined joined(shapes, ndims, n);
  over(joined.size(), kGrain, [&](int64_t begin, int64_t end) {
    joined.parts(begin, end, [&](int64_t i, int64_t offset, int64_t part) {
      const auto at = [&](int64_t role) { return static_cast<float*>(data[role * n + i]) + offset; };
      adamw.update(at(0), at(1), at(2), at(3), part, options[3 + i]);
    });
  });
  *static_cast<float*>(data[count - 1]) = 0.0f;
  return 0;
}

namespace {

// In double precision, with sums that do not wait for one another.
double squares(const float* values, int64_t count) {
  constexpr int kSums = 32, kAhead = 512;  // the processor alone fetches too few lines ahead
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    __builtin_prefetch(values + i + kAhead);
    __builtin_prefetch(values + i + kAhead + 16);
#pragma omp simd
    for (int k = 0; k < kSums; ++k) {
      const double value = values[i + k];
      sums[k] += value * value;
    }
  }
  for (; i < count; ++i) sums[0] += static_cast<double>(values[i]) * values[i];
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

// Any number of tensors -> the sum of the squares of all elements
extern "C" int square_sum(int count, void** data, int* ndims, int64_t** shapes,
                          const char** dtypes, void*, void*) {
  const int64_t n = count - 1;
  if (n < 0) return kWrongCount;
  if (!all_float(dtypes, n)) return kWrongDtype;
  const Joined joined(shapes, ndims, n);
  std::vector<double> sums((joined.size() + kGrain - 1) / kGrain, 0.0);
  over(joined.size(), kGrain, [&](int64_t begin, int64_t end) {
    joined.parts(begin, end, [&](int64_t i, int64_t offset, int64_t part) {
      const float* values = static_cast<const float*>(data[i]) + offset;
      sums[begin / kGrain] += squares(values, part);
    });
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  *static_cast<float*>(data[count - 1]) = static_cast<float>(total);
  return 0;
}
