// The triangle multiplicative update: products of matrices, one for each channel, where the channel
// is the innermost axis. A vector holds some channels, so nothing has to be transposed.
#include <algorithm>

#include "scimind/lanes.h"
#include "scimind/operator.h"

using namespace scimind;

namespace {

// Vectors of sums that fit the registers.
#if defined(__AVX512F__)
constexpr int64_t kHeight = 4, kWidth = 6;
#else
constexpr int64_t kHeight = 4, kWidth = 3;
#endif
// Depth and columns of the part of `right` that stays in the second cache.
constexpr int64_t kDepth = 64, kColumns = 22 * kWidth;

// (row, column, channel) at data[row * down + column * across + channel].
template <typename T>
struct Matrices {
  T* data;
  int64_t down, across;
  Matrices from(int64_t offset) const { return {data + offset, down, across}; }
  Matrices at(int64_t row, int64_t column) const { return from(row * down + column * across); }
};

struct Sizes {
  int64_t rows, columns, depth, channels;
};

// `count` rows of `from` with `channels` channels, as (depth, kCount, kLanes), with zeros for what
// is missing.
template <int64_t kCount>
void pack(Matrices<const float> from, int64_t count, int64_t depth, int64_t channels,
          float* packed) {
  // Lines far apart are not fetched ahead by the processor.
  constexpr int64_t kAhead = 8;
  for (int64_t k = 0; k < depth; ++k) {
    const float* in = from.data + k * from.across;
    if (k + kAhead < depth)
      for (int64_t i = 0; i < count; ++i)
        __builtin_prefetch(in + i * from.down + kAhead * from.across);
    for (int64_t i = 0; i < kCount; ++i, packed += kLanes)
      store(packed, i < count ? load(in + i * from.down, channels) : Lanes{});
  }
}

// out[i, j] (+)= sum over k of left[k, i] right[k, j], of which only `rows` and `columns` are kept.
void multiply_tile(const float* left, const float* right, int64_t depth, bool add,
                   Matrices<float> out, int64_t rows, int64_t columns, int64_t channels) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      __builtin_prefetch(out.data + i * out.down + j * out.across, 1);
  Lanes sums[kHeight][kWidth] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Lanes row[kHeight];
    for (int64_t i = 0; i < kHeight; ++i) row[i] = load(left + (k * kHeight + i) * kLanes);
    for (int64_t j = 0; j < kWidth; ++j) {
      const Lanes column = load(right + (k * kWidth + j) * kLanes);
      for (int64_t i = 0; i < kHeight; ++i) sums[i][j] += row[i] * column;
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      float* to = out.data + i * out.down + j * out.across;
      store(to, add ? load(to, channels) + sums[i][j] : sums[i][j], channels);
    }
  }
}

// out[i, j] = sum over k of left[i, k] right[j, k], for each channel and each of `batch`, whose
// elements are `strides` apart.
void multiply(const Sizes& sizes, int64_t batch, const int64_t (&strides)[3],
              Matrices<const float> left, Matrices<const float> right, Matrices<float> out) {
  const int64_t groups = (sizes.channels + kLanes - 1) / kLanes;
  const int64_t blocks = (sizes.columns + kColumns - 1) / kColumns;
  over(batch * groups * blocks, 1, [=](int64_t begin, int64_t end) {
    float* block = scratch<0>(kColumns * kDepth * kLanes);
    float* panel = scratch<1>(kHeight * kDepth * kLanes);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t element = task / blocks / groups;
      const int64_t channel = task / blocks % groups * kLanes;
      const int64_t channels = std::min<int64_t>(kLanes, sizes.channels - channel);
      const int64_t first = task % blocks * kColumns;
      const int64_t columns = std::min(kColumns, sizes.columns - first);
      const auto a = left.from(element * strides[0] + channel);
      const auto b = right.from(element * strides[1] + channel);
      const auto c = out.from(element * strides[2] + channel);
      for (int64_t start = 0; start < std::max<int64_t>(sizes.depth, 1); start += kDepth) {
        const int64_t depth = std::min(kDepth, sizes.depth - start);
        for (int64_t j = 0; j < columns; j += kWidth)
          pack<kWidth>(b.at(first + j, start), std::min(kWidth, columns - j), depth, channels,
                       block + j * depth * kLanes);
        for (int64_t i = 0; i < sizes.rows; i += kHeight) {
          const int64_t rows = std::min(kHeight, sizes.rows - i);
          pack<kHeight>(a.at(i, start), rows, depth, channels, panel);
          for (int64_t j = 0; j < columns; j += kWidth)
            multiply_tile(panel, block + j * depth * kLanes, depth, start > 0,
                          c.at(i, first + j), rows, std::min(kWidth, columns - j), channels);
        }
      }
    }
  });
}

// An argument of the product as (row, inner) matrices; `incoming` ones are stored as (inner, row).
template <typename T, typename V>
Matrices<T> outer(V view, bool incoming) {
  const int64_t channels = view.axis(3), line = view.axis(2) * channels;
  return incoming ? Matrices<T>{view.data, channels, line} : Matrices<T>{view.data, line, channels};
}

template <typename T>
Matrices<T> transposed(Matrices<T> matrices) {
  return {matrices.data, matrices.across, matrices.down};
}

int64_t element(In view) { return view.axis(1) * view.axis(2) * view.axis(3); }

void forward(In left, In right, bool incoming, Out y) {
  const Sizes sizes{y.axis(1), y.axis(2), left.axis(incoming ? 1 : 2), y.axis(3)};
  multiply(sizes, y.axis(0), {element(left), element(right), y.axis(1) * y.axis(2) * y.axis(3)},
           outer<const float>(left, incoming), outer<const float>(right, incoming),
           outer<float>(y, false));
}

void backward(In left, In right, In dout, bool incoming, Out dleft, Out dright) {
  const int64_t rows = dout.axis(1), columns = dout.axis(2), inner = left.axis(incoming ? 1 : 2);
  const int64_t channels = dout.axis(3), batch = dout.axis(0);
  const auto a = outer<const float>(left, incoming), b = outer<const float>(right, incoming);
  const auto d = outer<const float>(dout, false);
  multiply({rows, inner, columns, channels}, batch,
           {element(dout), element(right), element(left)}, d, transposed(b),
           outer<float>(dleft, incoming));
  multiply({columns, inner, rows, channels}, batch,
           {element(dout), element(left), element(right)}, transposed(d), transposed(a),
           outer<float>(dright, incoming));
}

}  // namespace

// left (batch, row, inner, channel), right (batch, column, inner, channel)
SCIMIND_OPERATOR(triangle_outgoing, (In left, In right, Out y)) { forward(left, right, false, y); }

SCIMIND_OPERATOR(triangle_outgoing_grad, (In left, In right, In dout, Out dleft, Out dright)) {
  backward(left, right, dout, false, dleft, dright);
}

// left (batch, inner, row, channel), right (batch, inner, column, channel)
SCIMIND_OPERATOR(triangle_incoming, (In left, In right, Out y)) { forward(left, right, true, y); }

SCIMIND_OPERATOR(triangle_incoming_grad, (In left, In right, In dout, Out dleft, Out dright)) {
  backward(left, right, dout, true, dleft, dright);
}

// x sigmoid(gate), and 0 where the mask of a row is false
SCIMIND_OPERATOR(gated, (In x, In gate, Mask mask, Out y)) {
  const int64_t width = x.width();
  over(x.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *in = x + row * width, *open = gate + row * width;
      float* out = y + row * width;
      const float factor = mask.present && !mask[row] ? 0.0f : 1.0f;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) out[i] = factor * in[i] * sigmoid(open[i]);
    }
  });
}

SCIMIND_OPERATOR(gated_grad, (In x, In gate, Mask mask, In dout, Out dx, Out dgate)) {
  const int64_t width = x.width();
  over(x.rows(), rows_of_chunk(width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * width;
      const float *in = x + at, *open = gate + at, *d = dout + at;
      float *to_x = dx + at, *to_gate = dgate + at;
      const float factor = mask.present && !mask[row] ? 0.0f : 1.0f;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) {
        const float s = sigmoid(open[i]), along = factor * d[i] * s;
        to_x[i] = along;
        to_gate[i] = along * in[i] * (1.0f - s);
      }
    }
  });
}
