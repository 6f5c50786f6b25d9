// Operators that reduce over the last axis: softmax, layer norm, RMS norm.
#include <algorithm>

#include "scimind/lanes.h"
#include "scimind/operator.h"

using namespace scimind;

namespace {

// The argument, or `value` repeated where it was not given.
template <int slot>
const float* given(In argument, int64_t width, float value) {
  if (argument.present) return argument.data;
  float* same = scratch<slot>(width);
  std::fill(same, same + width, value);
  return same;
}

// Normalises x, or sum = x + residual. The statistics of a row are its mean, only when centred, and
// 1 / sqrt(mean square of what is normalised + eps).
template <bool kCentred, bool kAdd>
void forward(In x, In residual, In weight, In bias, float eps, Out y, Out sum, Out statistics) {
  const int64_t width = x.width();
  const float* scale = given<0>(weight, width, 1.0f);
  const float* shift = given<1>(bias, width, 0.0f);
  over(x.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * width;
      const float* next = in + width;
      const float* factor = scale;  // captured pointers would be read again at each step
      const float* offset = shift;
      float* out = y + row * width;
      if (kAdd) {
        const float* other = residual + row * width;
        float* added = sum + row * width;
        assign(added, width, [=](auto at) { return at(in) + at(other); });
        in = added;
      }
      const float mean = kCentred ? total(width, [=](auto at) { return at(in); }) / width : 0.0f;
      const float squares = total(width, [=](auto at) {
        at.claim(out);
        const auto centred = at(in) - mean;
        return centred * centred;
      });
      const float inverse = 1.0f / std::sqrt(squares / width + eps);
      assign(out, width, [=](auto at) {
        at.fetch(next);
        return (at(in) - mean) * inverse * at(factor) + at(offset);
      });
      float* kept = statistics + row * (kCentred ? 2 : 1);
      if (kCentred) *kept++ = mean;
      *kept = inverse;
    }
  });
}

// Rows whose parameter gradients are added to the sums together.
constexpr int kGroup = 4;

// Adds the terms of kGroup rows to the gradients of weight and bias.
void add_parameters(const float* x, const float* dout, const float* mean, const float* inverse,
                    int64_t width, float* dweight, float* dbias) {
  const float *x0 = x, *x1 = x0 + width, *x2 = x1 + width, *x3 = x2 + width;
  const float *d0 = dout, *d1 = d0 + width, *d2 = d1 + width, *d3 = d2 + width;
  const float m0 = mean[0], m1 = mean[1], m2 = mean[2], m3 = mean[3];
  const float s0 = inverse[0], s1 = inverse[1], s2 = inverse[2], s3 = inverse[3];
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    dweight[i] += (d0[i] * ((x0[i] - m0) * s0) + d1[i] * ((x1[i] - m1) * s1)) +
                  (d2[i] * ((x2[i] - m2) * s2) + d3[i] * ((x3[i] - m3) * s3));
    dbias[i] += (d0[i] + d1[i]) + (d2[i] + d3[i]);
  }
}

// The gradient dx; `extra` is a cotangent of x itself, and `copy` gets dx too.
template <bool kCentred>
void backward(In x, In weight, In bias, In statistics, In dout, In extra, Out dx, Out copy,
              Out dweight, Out dbias) {
  const int64_t width = x.width(), rows = x.rows();
  const float* scale = given<0>(weight, width, 1.0f);
  const bool parameters = weight.present || bias.present;
  // Parameter gradients are summed per block of rows, then over blocks in order.
  const int64_t block = std::max<int64_t>(64, (rows + 255) / 256);
  const int64_t blocks = (rows + block - 1) / block;
  float* partial = scratch<1>(parameters ? 2 * blocks * width : 0);
  over(rows, block, [=](int64_t begin, int64_t end) {
    float* weights = partial + 2 * (begin / block) * width;
    float* biases = weights + width;
    if (parameters) std::fill(weights, weights + 2 * width, 0.0f);
    float mean[kGroup], inverse[kGroup];
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * width;
      const float* d = dout + row * width;
      const float* factor = scale;  // a captured pointer, read at each step, stops vectorisation
      float* out = dx + row * width;
      const float m = kCentred ? statistics[2 * row] : 0.0f;
      const float s = kCentred ? statistics[2 * row + 1] : statistics[row];
      const float slopes =
          kCentred ? total(width, [=](auto at) { return at(d) * at(factor); }) : 0.0f;
      const float products = total(width, [=](auto at) {
        at.claim(out);
        return at(d) * at(factor) * (at(in) - m);
      });
      const float along = slopes * s / width, across = products * s * s * s / width;
      // dx = (slope - mean(slope) - normal mean(slope normal)) s with normal = (x - m) s
      const auto slope = [=](auto at) {
        at.fetch(in + width);
        at.fetch(d + width);
        return at(d) * at(factor) * s - along - (at(in) - m) * across;
      };
      if (extra.present) {
        const float* e = extra + row * width;
        assign(out, width, [=](auto at) {
          at.fetch(e + width);
          return slope(at) + at(e);
        });
        std::copy(out, out + width, copy + row * width);
      } else {
        assign(out, width, slope);
      }
      if (!parameters) continue;
      const int64_t filled = (row - begin) % kGroup;
      mean[filled] = m;
      inverse[filled] = s;
      if (filled + 1 == kGroup) {
        const int64_t first = (row + 1 - kGroup) * width;
        add_parameters(x + first, dout + first, mean, inverse, width, weights, biases);
      } else if (row >= begin + (end - begin) / kGroup * kGroup) {
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) {
          weights[i] += d[i] * ((in[i] - m) * s);
          biases[i] += d[i];
        }
      }
    }
  });
  if (weight.present) std::fill(dweight.data, dweight + width, 0.0f);
  if (bias.present) std::fill(dbias.data, dbias + width, 0.0f);
  for (int64_t index = 0; parameters && index < blocks; ++index) {
    const float* weights = partial + 2 * index * width;
    const float* biases = weights + width;
    if (weight.present)
      for (int64_t i = 0; i < width; ++i) dweight[i] += weights[i];
    if (bias.present)
      for (int64_t i = 0; i < width; ++i) dbias[i] += biases[i];
  }
}

}  // namespace

SCIMIND_OPERATOR(softmax, (In x, Out y)) {
  const int64_t width = x.width();
  over(x.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * width;
      float* out = y + row * width;
      float top = -INFINITY;
#pragma omp simd reduction(max : top)
      for (int64_t i = 0; i < width; ++i) top = in[i] > top ? in[i] : top;
      assign(out, width, [=](auto at) { return exponential(at(in) - top); });
      const float scale = 1.0f / total(width, [=](auto at) { return at(out); });
      assign(out, width, [=](auto at) { return at(out) * scale; });
    }
  });
}

SCIMIND_OPERATOR(softmax_grad, (In y, In dout, Out dx)) {
  const int64_t width = y.width();
  over(y.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* p = y + row * width;
      const float* d = dout + row * width;
      float* out = dx + row * width;
      const float dot = total(width, [=](auto at) { return at(p) * at(d); });
      assign(out, width, [=](auto at) { return at(p) * (at(d) - dot); });
    }
  });
}

SCIMIND_OPERATOR(layer_norm, (In x, In weight, In bias, Options options, Out y, Out statistics)) {
  const Out none = Out::absent();
  forward<true, false>(x, x, weight, bias, options[0], y, none, statistics);
}

SCIMIND_OPERATOR(layer_norm_grad, (In x, In weight, In bias, In statistics, In dout, Options,
                                   Out dx, Out dweight, Out dbias)) {
  backward<true>(x, weight, bias, statistics, dout, In::absent(), dx, Out::absent(), dweight,
                 dbias);
}

SCIMIND_OPERATOR(add_layer_norm, (In x, In residual, In weight, In bias, Options options, Out y,
                                  Out sum, Out statistics)) {
  forward<true, true>(x, residual, weight, bias, options[0], y, sum, statistics);
}

SCIMIND_OPERATOR(add_layer_norm_grad,
                 (In sum, In weight, In bias, In statistics, In dout, In dsum, Options, Out dx,
                  Out dresidual, Out dweight, Out dbias)) {
  backward<true>(sum, weight, bias, statistics, dout, dsum, dx, dresidual, dweight, dbias);
}

SCIMIND_OPERATOR(rms_norm, (In x, In weight, Options options, Out y, Out inverse)) {
  forward<false, false>(x, x, weight, In::absent(), options[0], y, Out::absent(), inverse);
}

SCIMIND_OPERATOR(rms_norm_grad,
                 (In x, In weight, In inverse, In dout, Options, Out dx, Out dweight)) {
  backward<false>(x, weight, In::absent(), inverse, dout, In::absent(), dx, Out::absent(), dweight,
                  Out::absent());
}

SCIMIND_OPERATOR(add_rms_norm, (In x, In residual, In weight, Options options, Out y, Out sum,
                                Out inverse)) {
  forward<false, true>(x, residual, weight, In::absent(), options[0], y, sum, inverse);
}

SCIMIND_OPERATOR(add_rms_norm_grad, (In sum, In weight, In inverse, In dout, In dsum, Options,
                                     Out dx, Out dresidual, Out dweight)) {
  backward<false>(sum, weight, In::absent(), inverse, dout, dsum, dx, dresidual, dweight,
                  Out::absent());
}
