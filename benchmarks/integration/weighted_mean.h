// Softmax-weighted mean of rows that come one after another, as in online softmax (Milakov and
// Gimelshein, arXiv 1805.02867).
#pragma once

#include <cmath>
#include <cstdint>

inline float dot(const float* x, const float* y, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

inline void add(float* to, float factor, const float* x, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] += factor * x[i];
}

class WeightedMean {
 public:
  WeightedMean(float* out, int64_t width) : out_(out), width_(width) { scale(0.0f); }

  void add_row(float logit, const float* row) {
    if (logit > top_) {
      const float factor = std::exp(top_ - logit);
      total_ *= factor;
      scale(factor);
      top_ = logit;
    }
    const float weight = std::exp(logit - top_);
    total_ += weight;
    add(out_, weight, row, width_);
  }

  // Divides by the sum of the weights, whose logarithm it returns. Without rows the mean is 0.
  float finish() {
    if (total_ != 0.0f) scale(1.0f / total_);
    return top_ + std::log(total_);
  }

 private:
  void scale(float factor) {
#pragma omp simd
    for (int64_t i = 0; i < width_; ++i) out_[i] = factor == 0.0f ? 0.0f : factor * out_[i];
  }

  float* out_;
  int64_t width_;
  float top_ = -INFINITY, total_ = 0.0f;
};
