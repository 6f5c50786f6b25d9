// Operators that reduce over the last axis: softmax, layer norm, RMS norm.
#include <vector>

#include "arithmetic.h"
#include "parallel.h"

using namespace scimind;

namespace {

struct Rows {
  int64_t count, width, grain;
  Rows(int ndim, const int64_t* shape) {
    width = ndim > 0 ? shape[ndim - 1] : 1;
    count = elements(ndim > 0 ? ndim - 1 : 0, shape);
    grain = width > 0 ? (1 << 15) / width + 1 : 1;
  }
};

// Parameter gradients are summed per block of rows, then over blocks in order.
constexpr int64_t kBlock = 128;

}  // namespace

// x -> y
SCIMIND_OPERATOR(softmax) {
  const Rows rows(ndims[0], shapes[0]);
  const float* x = static_cast<const float*>(data[0]);
  float* y = static_cast<float*>(data[1]);
  over(rows.count, rows.grain, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * rows.width;
      float* out = y + row * rows.width;
      float top = -INFINITY, total = 0.0f;
#pragma omp simd reduction(max : top)
      for (int64_t i = 0; i < rows.width; ++i) top = in[i] > top ? in[i] : top;
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < rows.width; ++i) {
        out[i] = exponential(in[i] - top);
        total += out[i];
      }
      const float scale = 1.0f / total;
#pragma omp simd
      for (int64_t i = 0; i < rows.width; ++i) out[i] *= scale;
    }
  });
  return 0;
}

// y, dy -> dx
SCIMIND_OPERATOR(softmax_grad) {
  const Rows rows(ndims[0], shapes[0]);
  const float* y = static_cast<const float*>(data[0]);
  const float* dy = static_cast<const float*>(data[1]);
  float* dx = static_cast<float*>(data[2]);
  over(rows.count, rows.grain, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* p = y + row * rows.width;
      const float* d = dy + row * rows.width;
      float* out = dx + row * rows.width;
      float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < rows.width; ++i) dot += p[i] * d[i];
#pragma omp simd
      for (int64_t i = 0; i < rows.width; ++i) out[i] = p[i] * (d[i] - dot);
    }
  });
  return 0;
}

// x, weight, bias, eps -> y, statistics (row, 2): mean and 1 / sqrt(variance + eps)
SCIMIND_OPERATOR(layer_norm) {
  const Rows rows(ndims[0], shapes[0]);
  const float* x = static_cast<const float*>(data[0]);
  const float* weight = static_cast<const float*>(data[1]);
  const float* bias = static_cast<const float*>(data[2]);
  const float eps = *static_cast<const float*>(data[3]);
  float* y = static_cast<float*>(data[4]);
  float* statistics = static_cast<float*>(data[5]);
  over(rows.count, rows.grain, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * rows.width;
      float* out = y + row * rows.width;
      float total = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < rows.width; ++i) total += in[i];
      const float mean = total / rows.width;
#pragma omp simd reduction(+ : squares)
      for (int64_t i = 0; i < rows.width; ++i) squares += (in[i] - mean) * (in[i] - mean);
      const float inverse = 1.0f / std::sqrt(squares / rows.width + eps);
#pragma omp simd
      for (int64_t i = 0; i < rows.width; ++i)
        out[i] = (in[i] - mean) * inverse * weight[i] + bias[i];
      statistics[2 * row] = mean;
      statistics[2 * row + 1] = inverse;
    }
  });
  return 0;
}

// x, weight, statistics, dy -> dx, dweight, dbias
SCIMIND_OPERATOR(layer_norm_grad) {
  const Rows rows(ndims[0], shapes[0]);
  const int64_t width = rows.width;
  const float* x = static_cast<const float*>(data[0]);
  const float* weight = static_cast<const float*>(data[1]);
  const float* statistics = static_cast<const float*>(data[2]);
  const float* dy = static_cast<const float*>(data[3]);
  float* dx = static_cast<float*>(data[4]);
  float* dweight = static_cast<float*>(data[5]);
  float* dbias = static_cast<float*>(data[6]);
  const int64_t blocks = (rows.count + kBlock - 1) / kBlock;
  std::vector<float> partial(2 * blocks * width, 0.0f);
  float* sums = partial.data();
  over(rows.count, kBlock, [=](int64_t begin, int64_t end) {
    float* scale = sums + 2 * (begin / kBlock) * width;
    float* shift = scale + width;
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * width;
      const float* d = dy + row * width;
      float* out = dx + row * width;
      const float mean = statistics[2 * row], inverse = statistics[2 * row + 1];
      float along = 0.0f, across = 0.0f;
#pragma omp simd reduction(+ : along, across)
      for (int64_t i = 0; i < width; ++i) {
        const float normal = (in[i] - mean) * inverse;
        along += d[i] * weight[i];
        across += d[i] * weight[i] * normal;
        scale[i] += d[i] * normal;
        shift[i] += d[i];
      }
      along /= width;
      across /= width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i)
        out[i] = (d[i] * weight[i] - along - (in[i] - mean) * inverse * across) * inverse;
    }
  });
  for (int64_t i = 0; i < width; ++i) dweight[i] = dbias[i] = 0.0f;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < width; ++i) {
      dweight[i] += sums[2 * block * width + i];
      dbias[i] += sums[(2 * block + 1) * width + i];
    }
  }
  return 0;
}

// x, weight, eps -> y, 1 / root mean square (row)
SCIMIND_OPERATOR(rms_norm) {
  const Rows rows(ndims[0], shapes[0]);
  const float* x = static_cast<const float*>(data[0]);
  const float* weight = static_cast<const float*>(data[1]);
  const float eps = *static_cast<const float*>(data[2]);
  float* y = static_cast<float*>(data[3]);
  float* inverses = static_cast<float*>(data[4]);
  over(rows.count, rows.grain, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * rows.width;
      float* out = y + row * rows.width;
      float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
      for (int64_t i = 0; i < rows.width; ++i) squares += in[i] * in[i];
      const float inverse = 1.0f / std::sqrt(squares / rows.width + eps);
#pragma omp simd
      for (int64_t i = 0; i < rows.width; ++i) out[i] = in[i] * inverse * weight[i];
      inverses[row] = inverse;
    }
  });
  return 0;
}

// x, weight, inverse, dy -> dx, dweight
SCIMIND_OPERATOR(rms_norm_grad) {
  const Rows rows(ndims[0], shapes[0]);
  const int64_t width = rows.width;
  const float* x = static_cast<const float*>(data[0]);
  const float* weight = static_cast<const float*>(data[1]);
  const float* inverses = static_cast<const float*>(data[2]);
  const float* dy = static_cast<const float*>(data[3]);
  float* dx = static_cast<float*>(data[4]);
  float* dweight = static_cast<float*>(data[5]);
  const int64_t blocks = (rows.count + kBlock - 1) / kBlock;
  std::vector<float> partial(blocks * width, 0.0f);
  float* sums = partial.data();
  over(rows.count, kBlock, [=](int64_t begin, int64_t end) {
    float* scale = sums + (begin / kBlock) * width;
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * width;
      const float* d = dy + row * width;
      float* out = dx + row * width;
      const float inverse = inverses[row];
      float across = 0.0f;
#pragma omp simd reduction(+ : across)
      for (int64_t i = 0; i < width; ++i) {
        across += d[i] * weight[i] * in[i] * inverse;
        scale[i] += d[i] * in[i] * inverse;
      }
      across /= width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i)
        out[i] = (d[i] * weight[i] - in[i] * inverse * across) * inverse;
    }
  });
  for (int64_t i = 0; i < width; ++i) dweight[i] = 0.0f;
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t i = 0; i < width; ++i) dweight[i] += sums[block * width + i];
  return 0;
}
