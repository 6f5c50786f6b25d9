// silu(gate x) (up x) for rows, and its gradients.
#pragma once

#include <cmath>
#include <cstdint>

struct Swiglu {
  const float *x, *gate, *up;
  int64_t dim, hidden;

  // Rows of the result, and of the two products that the gradients need.
  void forward(int64_t begin, int64_t end, float* y, float* gated, float* raised) const {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t h = 0; h < hidden; ++h) {
        const float *in = x + row * dim, *a = gate + h * dim, *b = up + h * dim;
        float g = 0.0f, u = 0.0f;
#pragma omp simd reduction(+ : g, u)
        for (int64_t i = 0; i < dim; ++i) {
          g += in[i] * a[i];
          u += in[i] * b[i];
        }
        gated[row * hidden + h] = g;
        raised[row * hidden + h] = u;
        y[row * hidden + h] = g * logistic(g) * u;
      }
    }
  }

  static float logistic(float x) { return 1.0f / (1.0f + std::exp(-x)); }
};

struct SwigluGrad {
  const float *x, *gate, *up, *gated, *raised, *dout;
  int64_t rows, dim, hidden;

  struct Slopes {
    float gated, raised;
  };
  // Slopes of the two products.
  Slopes slopes(int64_t at) const {
    const float g = gated[at], s = Swiglu::logistic(g);
    return {dout[at] * raised[at] * (s + g * s * (1.0f - s)), dout[at] * g * s};
  }

  // Rows of the gradient of x.
  void inputs(int64_t begin, int64_t end, float* dx) const {
    for (int64_t row = begin; row < end; ++row) {
      float* out = dx + row * dim;
      for (int64_t i = 0; i < dim; ++i) out[i] = 0.0f;
      for (int64_t h = 0; h < hidden; ++h) {
        const Slopes d = slopes(row * hidden + h);
        const float *a = gate + h * dim, *b = up + h * dim;
#pragma omp simd
        for (int64_t i = 0; i < dim; ++i) out[i] += d.gated * a[i] + d.raised * b[i];
      }
    }
  }

  // Rows of the gradients of both weights.
  void weights(int64_t begin, int64_t end, float* dgate, float* dup) const {
    for (int64_t h = begin; h < end; ++h) {
      float *a = dgate + h * dim, *b = dup + h * dim;
      for (int64_t i = 0; i < dim; ++i) a[i] = b[i] = 0.0f;
      for (int64_t row = 0; row < rows; ++row) {
        const Slopes d = slopes(row * hidden + h);
        const float* in = x + row * dim;
#pragma omp simd
        for (int64_t i = 0; i < dim; ++i) {
          a[i] += d.gated * in[i];
          b[i] += d.raised * in[i];
        }
      }
    }
  }
};
