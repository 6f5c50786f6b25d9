// Activations, forward and backward.
#include "arithmetic.h"
#include "parallel.h"

using namespace scimind;

namespace {

constexpr int64_t kGrain = 1 << 15;

template <typename Activation>
int forward(void** data, int* ndims, int64_t** shapes) {
  const float* x = static_cast<const float*>(data[0]);
  float* y = static_cast<float*>(data[1]);
  over(elements(ndims[0], shapes[0]), kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) y[i] = Activation::value(x[i]);
  });
  return 0;
}

template <typename Activation>
int backward(void** data, int* ndims, int64_t** shapes) {
  const float* x = static_cast<const float*>(data[0]);
  const float* dy = static_cast<const float*>(data[1]);
  float* dx = static_cast<float*>(data[2]);
  over(elements(ndims[0], shapes[0]), kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) dx[i] = dy[i] * Activation::slope(x[i]);
  });
  return 0;
}

}  // namespace

SCIMIND_OPERATOR(gelu) { return forward<Gelu>(data, ndims, shapes); }
SCIMIND_OPERATOR(gelu_grad) { return backward<Gelu>(data, ndims, shapes); }
SCIMIND_OPERATOR(silu) { return forward<Silu>(data, ndims, shapes); }
SCIMIND_OPERATOR(silu_grad) { return backward<Silu>(data, ndims, shapes); }

// gate, up -> silu(gate) up
SCIMIND_OPERATOR(swiglu) {
  const float* gate = static_cast<const float*>(data[0]);
  const float* up = static_cast<const float*>(data[1]);
  float* y = static_cast<float*>(data[2]);
  over(elements(ndims[0], shapes[0]), kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) y[i] = Silu::value(gate[i]) * up[i];
  });
  return 0;
}

// gate, up, dy -> dgate, dup
SCIMIND_OPERATOR(swiglu_grad) {
  const float* gate = static_cast<const float*>(data[0]);
  const float* up = static_cast<const float*>(data[1]);
  const float* dy = static_cast<const float*>(data[2]);
  float* dgate = static_cast<float*>(data[3]);
  float* dup = static_cast<float*>(data[4]);
  over(elements(ndims[0], shapes[0]), kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float s = sigmoid(gate[i]);
      dgate[i] = dy[i] * up[i] * (s + gate[i] * s * (1.0f - s));
      dup[i] = dy[i] * gate[i] * s;
    }
  });
  return 0;
}
