// activation(x weight^T + bias) and its gradients.
#include <dlfcn.h>

#include "arithmetic.h"
#include "parallel.h"
#include "product.h"

using namespace scimind;

namespace scimind {
Sgemm product = nullptr;
}

// Finds dnnl_sgemm in the library at `path`; 0 when a small product comes out right.
extern "C" int scimind_start(const char* path, int threads) {
  Pool::instance().resize(threads);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 1;
  product = reinterpret_cast<Sgemm>(dlsym(library, "dnnl_sgemm"));
  if (product == nullptr) return 2;
  const float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, 2, -1, 3, 1};
  float c[4] = {1, 1, 1, 1};
  // a (2, 3) times the transpose of b (2, 3), added to ones.
  if (product('N', 'T', 2, 2, 3, 1.0f, a, 3, b, 3, 1.0f, c, 2) != 0) return 3;
  return c[0] == 8 && c[1] == 9 && c[2] == 17 && c[3] == 18 ? 0 : 4;
}

extern "C" void scimind_threads(int threads) { Pool::instance().resize(threads); }

namespace {

constexpr int64_t kRows = 256, kColumns = 128;

struct Problem {
  int64_t rows, in, out;
  Problem(int ndim, const int64_t* x, const int64_t* weight)
      : rows(elements(ndim - 1, x)), in(weight[1]), out(weight[0]) {}
};

// x, weight, [bias] -> y, [z before the activation]
template <typename Activation, bool kBias, bool kKeep>
int forward(void** data, int* ndims, int64_t** shapes) {
  const Problem p(ndims[0], shapes[0], shapes[1]);
  const float* x = static_cast<const float*>(data[0]);
  const float* weight = static_cast<const float*>(data[1]);
  const float* bias = kBias ? static_cast<const float*>(data[2]) : nullptr;
  float* y = static_cast<float*>(data[kBias ? 3 : 2]);
  float* z = kKeep ? static_cast<float*>(data[kBias ? 4 : 3]) : y;
  over(p.rows, kRows, [=](int64_t begin, int64_t end) {
    if (p.out == 0) return;
    float* block = z + begin * p.out;
    if (kBias || p.in == 0) {
      for (int64_t row = 0; row < end - begin; ++row)
#pragma omp simd
        for (int64_t i = 0; i < p.out; ++i) block[row * p.out + i] = kBias ? bias[i] : 0.0f;
    }
    if (p.in > 0)
      product('N', 'T', end - begin, p.out, p.in, 1.0f, x + begin * p.in, p.in, weight, p.in,
              kBias ? 1.0f : 0.0f, block, p.out);
    if (kKeep) {
#pragma omp simd
      for (int64_t i = begin * p.out; i < end * p.out; ++i) y[i] = Activation::value(z[i]);
    }
  });
  return 0;
}

// x, weight, [z], dy -> dx, dweight, dbias, [dz]
template <typename Activation, bool kKeep>
int backward(void** data, int* ndims, int64_t** shapes) {
  const Problem p(ndims[0], shapes[0], shapes[1]);
  const float* x = static_cast<const float*>(data[0]);
  const float* weight = static_cast<const float*>(data[1]);
  const float* z = kKeep ? static_cast<const float*>(data[2]) : nullptr;
  const float* dy = static_cast<const float*>(data[kKeep ? 3 : 2]);
  float* dx = static_cast<float*>(data[kKeep ? 4 : 3]);
  float* dweight = static_cast<float*>(data[kKeep ? 5 : 4]);
  float* dbias = static_cast<float*>(data[kKeep ? 6 : 5]);
  float* slope = kKeep ? static_cast<float*>(data[7]) : nullptr;
  over(p.rows, kRows, [=](int64_t begin, int64_t end) {
    if (kKeep) {
#pragma omp simd
      for (int64_t i = begin * p.out; i < end * p.out; ++i)
        slope[i] = dy[i] * Activation::slope(z[i]);
    }
    const float* dz = (kKeep ? slope : dy) + begin * p.out;
    float* block = dx + begin * p.in;
    if (p.out == 0) {
      for (int64_t i = 0; i < (end - begin) * p.in; ++i) block[i] = 0.0f;
    } else if (p.in > 0) {
      product('N', 'N', end - begin, p.in, p.out, 1.0f, dz, p.out, weight, p.in, 0.0f, block, p.in);
    }
  });
  const float* dz = kKeep ? slope : dy;
  over(p.out, kColumns, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dbias[i] = 0.0f;
    for (int64_t row = 0; row < p.rows; ++row)
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) dbias[i] += dz[row * p.out + i];
    if (p.in == 0) return;
    if (p.rows == 0) {
      for (int64_t i = begin * p.in; i < end * p.in; ++i) dweight[i] = 0.0f;
    } else {
      product('T', 'N', end - begin, p.in, p.rows, 1.0f, dz + begin, p.out, x, p.in, 0.0f,
              dweight + begin * p.in, p.in);
    }
  });
  return 0;
}

}  // namespace

SCIMIND_OPERATOR(linear) { return forward<Identity, false, false>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_bias) { return forward<Identity, true, false>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_bias_gelu) { return forward<Gelu, true, true>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_bias_silu) { return forward<Silu, true, true>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_bias_relu) { return forward<Relu, true, true>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_grad) { return backward<Identity, false>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_gelu_grad) { return backward<Gelu, true>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_silu_grad) { return backward<Silu, true>(data, ndims, shapes); }
SCIMIND_OPERATOR(linear_relu_grad) { return backward<Relu, true>(data, ndims, shapes); }
