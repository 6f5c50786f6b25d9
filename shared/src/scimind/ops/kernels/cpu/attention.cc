// Scaled dot-product attention with mask and additive bias; the probabilities are kept for the
// gradient, as the plain formulation does.
#include <vector>

#include "arithmetic.h"
#include "parallel.h"
#include "product.h"

using namespace scimind;

namespace {

struct Problem {
  int64_t batch, heads, groups, queries, keys, dim, width;
  Problem(int64_t** shapes)
      : batch(shapes[0][0]), heads(shapes[0][1]), groups(shapes[1][1]), queries(shapes[0][2]),
        keys(shapes[1][2]), dim(shapes[0][3]), width(shapes[2][3]) {}
};

// A four-dimensional tensor whose axes are full or 1.
template <typename T>
struct Broadcast {
  const T* data;
  int64_t stride[4];
  Broadcast(const void* pointer, const int64_t* shape) : data(static_cast<const T*>(pointer)) {
    int64_t step = 1;
    for (int axis = 3; axis >= 0; --axis) {
      stride[axis] = shape[axis] == 1 ? 0 : step;
      step *= shape[axis];
    }
  }
  const T* row(int64_t batch, int64_t head, int64_t query) const {
    return data + batch * stride[0] + head * stride[1] + query * stride[2];
  }
};

// One row of logits to probabilities; a row without a permitted key becomes zeros.
void normalise(float* row, int64_t keys) {
  float top = -INFINITY, total = 0.0f;
#pragma omp simd reduction(max : top)
  for (int64_t k = 0; k < keys; ++k) top = row[k] > top ? row[k] : top;
  const float shift = top == -INFINITY ? 0.0f : top;
#pragma omp simd reduction(+ : total)
  for (int64_t k = 0; k < keys; ++k) {
    row[k] = exponential(row[k] - shift);
    total += row[k];
  }
  const float scale = total == 0.0f ? 0.0f : 1.0f / total;
#pragma omp simd
  for (int64_t k = 0; k < keys; ++k) row[k] *= scale;
}

template <bool kBias, bool kMask>
int forward(void** data, int64_t** shapes) {
  const Problem p(shapes);
  const float* query = static_cast<const float*>(data[0]);
  const float* key = static_cast<const float*>(data[1]);
  const float* value = static_cast<const float*>(data[2]);
  const float scale = *static_cast<const float*>(data[3]);
  int next = 4;
  const Broadcast<float> bias(kBias ? data[next] : nullptr, shapes[kBias ? next : 0]);
  next += kBias;
  const Broadcast<uint8_t> mask(kMask ? data[next] : nullptr, shapes[kMask ? next : 0]);
  next += kMask;
  float* output = static_cast<float*>(data[next]);
  float* kept = static_cast<float*>(data[next + 1]);
  if (p.queries == 0 || p.width == 0) return 0;
  over(p.batch * p.heads, 1, [=](int64_t index, int64_t) {
    const int64_t b = index / p.heads, h = index % p.heads;
    const int64_t group = b * p.groups + h * p.groups / p.heads;
    float* out = output + index * p.queries * p.width;
    float* probability = kept + index * p.queries * p.keys;
    if (p.keys == 0) {
      for (int64_t i = 0; i < p.queries * p.width; ++i) out[i] = 0.0f;
      return;
    }
    product('N', 'T', p.queries, p.keys, p.dim, scale, query + index * p.queries * p.dim, p.dim,
            key + group * p.keys * p.dim, p.dim, 0.0f, probability, p.keys);
    for (int64_t q = 0; q < p.queries; ++q) {
      float* row = probability + q * p.keys;
      if (kBias) {
        const float* add = bias.row(b, h, q);
        const int64_t step = bias.stride[3];
        if (step == 1) {
#pragma omp simd
          for (int64_t k = 0; k < p.keys; ++k) row[k] += add[k];
        } else {
          for (int64_t k = 0; k < p.keys; ++k) row[k] += add[0];
        }
      }
      if (kMask) {
        const uint8_t* allow = mask.row(b, h, q);
        const int64_t step = mask.stride[3];
        if (step == 1) {
#pragma omp simd
          for (int64_t k = 0; k < p.keys; ++k) row[k] = allow[k] ? row[k] : -INFINITY;
        } else {
          for (int64_t k = 0; k < p.keys; ++k) row[k] = allow[0] ? row[k] : -INFINITY;
        }
      }
      normalise(row, p.keys);
    }
    product('N', 'N', p.queries, p.width, p.keys, 1.0f, probability, p.keys,
            value + group * p.keys * p.width, p.width, 0.0f, out, p.width);
  });
  return 0;
}

}  // namespace

// query, key, value, scale, [bias], [mask] -> output, probabilities
SCIMIND_OPERATOR(attention) { return forward<false, false>(data, shapes); }
SCIMIND_OPERATOR(attention_bias) { return forward<true, false>(data, shapes); }
SCIMIND_OPERATOR(attention_mask) { return forward<false, true>(data, shapes); }
SCIMIND_OPERATOR(attention_bias_mask) { return forward<true, true>(data, shapes); }

// query, key, value, scale, probabilities, doutput -> dquery, dkey, dvalue, dlogits.
// dlogits is also the gradient of a bias of full size.
SCIMIND_OPERATOR(attention_grad) {
  const Problem p(shapes);
  const float* query = static_cast<const float*>(data[0]);
  const float* key = static_cast<const float*>(data[1]);
  const float* value = static_cast<const float*>(data[2]);
  const float scale = *static_cast<const float*>(data[3]);
  const float* kept = static_cast<const float*>(data[4]);
  const float* doutput = static_cast<const float*>(data[5]);
  float* dquery = static_cast<float*>(data[6]);
  float* dkey = static_cast<float*>(data[7]);
  float* dvalue = static_cast<float*>(data[8]);
  float* dlogits = static_cast<float*>(data[9]);
  const int64_t share = p.groups > 0 ? p.heads / p.groups : 0;
  over(p.batch * p.groups, 1, [=](int64_t group, int64_t) {
    const float* k = key + group * p.keys * p.dim;
    const float* v = value + group * p.keys * p.width;
    float* dk = dkey + group * p.keys * p.dim;
    float* dv = dvalue + group * p.keys * p.width;
    const bool empty = p.queries == 0 || p.keys == 0;
    if (p.queries == 0) {
      for (int64_t i = 0; i < p.keys * p.dim; ++i) dk[i] = 0.0f;
      for (int64_t i = 0; i < p.keys * p.width; ++i) dv[i] = 0.0f;
    }
    for (int64_t member = 0; member < share; ++member) {
      const int64_t index = group * share + member;
      float* dq = dquery + index * p.queries * p.dim;
      if (empty) {
        for (int64_t i = 0; i < p.queries * p.dim; ++i) dq[i] = 0.0f;
        continue;
      }
      const float* q = query + index * p.queries * p.dim;
      const float* probability = kept + index * p.queries * p.keys;
      const float* d = doutput + index * p.queries * p.width;
      float* ds = dlogits + index * p.queries * p.keys;
      const float keep = member == 0 ? 0.0f : 1.0f;
      product('T', 'N', p.keys, p.width, p.queries, 1.0f, probability, p.keys, d, p.width, keep, dv,
              p.width);
      product('N', 'T', p.queries, p.keys, p.width, 1.0f, d, p.width, v, p.width, 0.0f, ds, p.keys);
      for (int64_t row = 0; row < p.queries; ++row) {
        const float* weight = probability + row * p.keys;
        float* slope = ds + row * p.keys;
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < p.keys; ++i) dot += weight[i] * slope[i];
#pragma omp simd
        for (int64_t i = 0; i < p.keys; ++i) slope[i] = weight[i] * (slope[i] - dot);
      }
      product('N', 'N', p.queries, p.dim, p.keys, scale, ds, p.keys, k, p.dim, 0.0f, dq, p.dim);
      product('T', 'N', p.keys, p.dim, p.queries, scale, ds, p.keys, q, p.dim, keep, dk, p.dim);
    }
  });
  return 0;
}
