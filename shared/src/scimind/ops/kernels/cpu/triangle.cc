// The triangle multiplicative update: products of matrices, one for each channel, where the channel
// is the innermost axis. A vector holds some channels, so nothing has to be transposed.
#include <algorithm>

#include "scimind/operator.h"

using namespace scimind;

namespace {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16, kHeight = 4, kWidth = 6;
#elif defined(__AVX__)
constexpr int64_t kLanes = 8, kHeight = 4, kWidth = 3;
#else
constexpr int64_t kLanes = 4, kHeight = 4, kWidth = 3;
#endif
// Depth and columns of the part of `right` that stays in the second cache.
constexpr int64_t kDepth = 128, kColumns = 8 * kWidth;

typedef float Lanes __attribute__((vector_size(4 * kLanes)));

SCIMIND_INLINE Lanes load(const float* x) {
  Lanes lanes;
  std::memcpy(&lanes, x, sizeof(lanes));
  return lanes;
}

// Vectors that do not cross cache lines are read twice as fast.
template <int slot>
float* aligned_scratch(int64_t count) {
  const auto address = reinterpret_cast<uintptr_t>(scratch<slot>(count + 16));
  return reinterpret_cast<float*>((address + 63) / 64 * 64);
}

// (row, column, channel) at data[row * down + column * across + channel].
template <typename T>
struct Matrices {
  T* data;
  int64_t down, across;
};

struct Sizes {
  int64_t rows, columns, depth, channels;
};

// `count` rows of `from` with some channels, as (depth, kCount, kLanes), with zeros for what is
// missing.
template <int64_t kCount>
void pack(Matrices<const float> from, int64_t first, int64_t count, int64_t start, int64_t depth,
          int64_t channel, int64_t channels, float* packed) {
  for (int64_t k = 0; k < depth; ++k) {
    const float* in = from.data + first * from.down + (start + k) * from.across + channel;
    for (int64_t i = 0; i < kCount; ++i, packed += kLanes) {
      if (i < count && channels >= kLanes) {
        std::memcpy(packed, in + i * from.down, sizeof(Lanes));
        continue;
      }
      const int64_t valid = i < count ? channels : 0;
      for (int64_t lane = 0; lane < kLanes; ++lane)
        packed[lane] = lane < valid ? in[i * from.down + lane] : 0.0f;
    }
  }
}

// out[i, j] (+)= sum over k of left[k, i] right[k, j] for `rows` and `columns` of a full tile.
void multiply_tile(const float* left, const float* right, int64_t depth, bool add,
                   Matrices<float> out, int64_t rows, int64_t columns, int64_t channels) {
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
      if (channels >= kLanes) {
        const Lanes value = add ? load(to) + sums[i][j] : sums[i][j];
        std::memcpy(to, &value, sizeof(value));
        continue;
      }
      for (int64_t lane = 0; lane < channels; ++lane)
        to[lane] = add ? to[lane] + sums[i][j][lane] : sums[i][j][lane];
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
    float* block = aligned_scratch<0>(kColumns * kDepth * kLanes);
    float* panel = aligned_scratch<1>(kHeight * kDepth * kLanes);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t element = task / blocks / groups;
      const int64_t channel = task / blocks % groups * kLanes;
      const int64_t channels = std::min(kLanes, sizes.channels - channel);
      const int64_t first = task % blocks * kColumns;
      const int64_t columns = std::min(kColumns, sizes.columns - first);
      auto a = left, b = right;
      auto c = out;
      a.data += element * strides[0];
      b.data += element * strides[1];
      c.data += element * strides[2] + channel;
      for (int64_t start = 0; start < std::max<int64_t>(sizes.depth, 1); start += kDepth) {
        const int64_t depth = std::min(kDepth, sizes.depth - start);
        for (int64_t j = 0; j < columns; j += kWidth)
          pack<kWidth>(b, first + j, std::min(kWidth, columns - j), start, depth, channel, channels,
                       block + j * depth * kLanes);
        for (int64_t i = 0; i < sizes.rows; i += kHeight) {
          const int64_t rows = std::min(kHeight, sizes.rows - i);
          pack<kHeight>(a, i, rows, start, depth, channel, channels, panel);
          for (int64_t j = 0; j < columns; j += kWidth) {
            const Matrices<float> tile{c.data + i * c.down + (first + j) * c.across, c.down,
                                       c.across};
            multiply_tile(panel, block + j * depth * kLanes, depth, start > 0, tile, rows,
                          std::min(kWidth, columns - j), channels);
          }
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

}  // namespace

// incoming: 0 for left (batch, row, inner, channel), right (batch, column, inner, channel);
// 1 for (batch, inner, row, channel), (batch, inner, column, channel)
SCIMIND_OPERATOR(triangle_multiply, (In left, In right, Options options, Out y)) {
  const bool incoming = options.whole(0, 0) != 0;
  const Sizes sizes{y.axis(1), y.axis(2), left.axis(incoming ? 1 : 2), y.axis(3)};
  multiply(sizes, y.axis(0), {element(left), element(right), y.axis(1) * y.axis(2) * y.axis(3)},
           outer<const float>(left, incoming), outer<const float>(right, incoming),
           outer<float>(y, false));
}

SCIMIND_OPERATOR(triangle_multiply_grad,
                 (In left, In right, In dout, Options options, Out dleft, Out dright)) {
  const bool incoming = options.whole(0, 0) != 0;
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

// x sigmoid(gate), and 0 where the mask of a row is false
SCIMIND_OPERATOR(gated, (In x, In gate, Mask mask, Out y)) {
  const int64_t width = x.width();
  over(x.rows(), (1 << 14) / (width + 1) + 1, [=](int64_t begin, int64_t end) {
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
  over(x.rows(), (1 << 14) / (width + 1) + 1, [=](int64_t begin, int64_t end) {
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
