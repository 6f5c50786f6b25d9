// Cross-entropy of a softmax over the last axis.
#include <algorithm>

#include "scimind/operator.h"

using namespace scimind;

namespace {

// The maximum of a block and then its exponentials: the second reading is from the first cache.
constexpr int64_t kBlock = 1024;

struct Total {
  float log_sum, sum;
};

// log(sum(e^x)) in one pass over memory, and sum(x) where that is wanted.
Total log_sum_exp(const float* x, int64_t width, bool with_sum) {
  float top = -INFINITY, total = 0.0f, sum = 0.0f;
  for (int64_t start = 0; start < width; start += kBlock) {
    const float* in = x + start;
    const int64_t count = std::min(kBlock, width - start);
    float highest = top, part = 0.0f;
#pragma omp simd reduction(max : highest)
    for (int64_t i = 0; i < count; ++i) highest = in[i] > highest ? in[i] : highest;
    // Nothing but -inf so far: any finite shift will do.
    const float shift = highest == -INFINITY ? 0.0f : highest;
#pragma omp simd reduction(+ : part)
    for (int64_t i = 0; i < count; ++i) part += exponential(in[i] - shift);
    total = total * exponential(top - shift) + part;
    top = highest;
    if (!with_sum) continue;
    part = 0.0f;
#pragma omp simd reduction(+ : part)
    for (int64_t i = 0; i < count; ++i) part += in[i];
    sum += part;
  }
  return {top + std::log(total), sum};
}

struct Settings {
  bool ignores;
  int64_t ignored;
  float smoothing;
  explicit Settings(Options options)
      : ignores(options.given(0)), ignored(options.whole(0, 0)), smoothing(options[1]) {}
  bool skips(int32_t label) const { return ignores && label == ignored; }
};

}  // namespace

// ignore_index, label_smoothing -> the loss of each row, and the log of the sum of exponentials
SCIMIND_OPERATOR(cross_entropy,
                 (In logits, Ints labels, Options options, Out loss, Out log_sum)) {
  const int64_t width = logits.width();
  const Settings settings(options);
  over(logits.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int32_t label = labels[row];
      loss[row] = log_sum[row] = 0.0f;
      if (settings.skips(label)) continue;
      const float* x = logits + row * width;
      const Total total = log_sum_exp(x, width, settings.smoothing != 0.0f);
      log_sum[row] = total.log_sum;
      if (label < 0 || label >= width) {
        loss[row] = NAN;
        continue;
      }
      float value = total.log_sum - x[label];
      if (settings.smoothing != 0.0f)
        value = (1.0f - settings.smoothing) * value +
                settings.smoothing * (total.log_sum - total.sum / width);
      loss[row] = value;
    }
  });
}

SCIMIND_OPERATOR(cross_entropy_grad, (In logits, Ints labels, In log_sum, In dout, Options options,
                                      Out dlogits)) {
  const int64_t width = logits.width();
  const Settings settings(options);
  over(logits.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int32_t label = labels[row];
      const float* x = logits + row * width;
      float* dx = dlogits + row * width;
      if (settings.skips(label) || label < 0 || label >= width) {
        std::fill(dx, dx + width, settings.skips(label) ? 0.0f : NAN);
        continue;
      }
      const float d = dout[row], shift = log_sum[row], uniform = settings.smoothing / width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) dx[i] = d * (exponential(x[i] - shift) - uniform);
      dx[label] -= d * (1.0f - settings.smoothing);
    }
  });
}
