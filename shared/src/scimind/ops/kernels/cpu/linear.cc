// activation(x weight^T + bias) and its gradients, as products of tiles: of such a size that there are
// some for each thread, that what follows a product finds it in the cache, and that oneDNN, which
// rearranges both factors in every call, runs at nine tenths of its speed at least.
#include <algorithm>

#include "scimind/operator.h"
#include "scimind/tile.h"

using namespace scimind;

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A matrix in tiles of at most `height` by `width`, numbered along the rows, or down the columns.
struct Tiles {
  int64_t rows, columns, height, width;
  bool downwards = false;
  int64_t across() const { return ceil_div(columns, width); }
  int64_t down() const { return ceil_div(rows, height); }
  int64_t count() const { return down() * across(); }
};

struct Tile {
  int64_t top, left, rows, columns;
  Tile(const Tiles& tiles, int64_t index)
      : top((tiles.downwards ? index % tiles.down() : index / tiles.across()) * tiles.height),
        left((tiles.downwards ? index / tiles.down() : index % tiles.across()) * tiles.width),
        rows(std::min(tiles.height, tiles.rows - top)),
        columns(std::min(tiles.width, tiles.columns - left)) {}
};

void fill_tile(float* tile, int64_t rows, int64_t columns, int64_t stride, float value) {
  for (int64_t row = 0; row < rows; ++row)
    std::fill(tile + row * stride, tile + row * stride + columns, value);
}

constexpr int64_t kLarge = 1LL << 31;  // products, from which on lower tiles cost a tenth
constexpr int64_t kTiles = 4;         // of a product at least; more of them cost more than they balance
constexpr int64_t kEnough = 1 << 17;  // products, of a few microseconds, that are worth a thread
constexpr int64_t kDepth = 256;       // inner indices at a time, whose part of some rows stays in the cache
constexpr int64_t kSomeRows = 32, kManyRows = 512;  // for which panels are faster than oneDNN

// `forward` of so few rows that a call of oneDNN does not pay; reads the weight once.
template <typename Activation, bool kActivate>
void few(In x, In weight, In bias, Out y, Out z) {
  const int64_t in = weight.axis(1), out = weight.axis(0), rows = x.rows();
  over(ceil_div(out, kLanes), kEnough / (kLanes * in * rows + 1) + 1,
       [=](int64_t begin, int64_t end) {
         for (int64_t part = begin; part < end; ++part) {
           const int64_t first = part * kLanes, count = std::min<int64_t>(kLanes, out - first);
           const Lanes shift = bias.present ? load(bias + first, count) : Lanes{};
           const float* at[kLanes];
           some_rows(at, weight + first * in, count, in);
           for (int64_t row = 0; row < rows; ++row) {
             store(z + row * out + first, products_of(x + row * in, at, in) + shift, count);
             if (!kActivate) continue;
             const float* line = z + row * out + first;
             float* value = y + row * out + first;
#pragma omp simd
             for (int64_t i = 0; i < count; ++i) value[i] = Activation::value(line[i]);
           }
         }
       });
}

// bias and activation of a tile of z, which is in the cache.
template <typename Activation, bool kActivate>
void finish(const Tile& tile, In bias, Out y, Out z) {
  const int64_t out = z.width();
  for (int64_t row = 0; row < tile.rows; ++row) {
    const int64_t start = (tile.top + row) * out + tile.left;
    float* line = z + start;
    if (bias.present) {
      const float* shift = bias + tile.left;
#pragma omp simd
      for (int64_t i = 0; i < tile.columns; ++i) line[i] += shift[i];
    }
    if (!kActivate) continue;
    float* value = y + start;
#pragma omp simd
    for (int64_t i = 0; i < tile.columns; ++i) value[i] = Activation::value(line[i]);
  }
}

// `forward` of rows that stay in the cache while a thread has a panel of the weight: oneDNN would
// rearrange the weight for each of their tiles.
template <typename Activation, bool kActivate>
void by_panels(In x, In weight, In bias, Out y, Out z) {
  const int64_t in = weight.axis(1), out = weight.axis(0), rows = x.rows();
  const int64_t pieces = std::clamp<int64_t>(kTiles / panels(out), 1, ceil_div(rows, 64));
  const Tiles tiles{rows, out, ceil_div(rows, pieces), kPanel, true};
  const int64_t grain = rows * out * in <= kEnough ? tiles.count() : 1;
  over(tiles.count(), grain, [=](int64_t begin, int64_t end) {
    float* kept = scratch<0>(kPanel * in);
    for (int64_t index = begin; index < end; ++index) {
      const Tile tile(tiles, index);
      const Right panel = right_transposed(weight + tile.left * in, tile.columns, in, kept);
      for (int64_t k = 0; k < in; k += kDepth) {
        const Range depth{0, std::min(kDepth, in - k)};
        multiply(tile.rows, tile.columns, 1.0f, {x + tile.top * in + k, in, 1},
                 {panel.data + k * panel.row, panel.row, panel.panel},
                 {z + tile.top * out + tile.left, out, k > 0},
                 [=](int64_t, int64_t) { return depth; });
      }
      finish<Activation, kActivate>(tile, bias, y, z);
    }
  });
}

// z = x weight^T + bias and y = Activation(z); without activation y is z.
template <typename Activation, bool kActivate>
void forward(In x, In weight, In bias, Out y, Out z) {
  const int64_t in = weight.axis(1), out = weight.axis(0), rows = x.rows();
  if (rows == 0 || out == 0) return;
  if (rows <= kFewRows) return few<Activation, kActivate>(x, weight, bias, y, z);
  if (rows >= kSomeRows && rows <= kManyRows && in > 0)
    return by_panels<Activation, kActivate>(x, weight, bias, y, z);
  // oneDNN is slow for 9 to 31 rows by a transposed matrix, faster for 8.
  const bool large = rows * out * in >= kLarge;
  Tiles tiles{rows, out, rows < kSomeRows ? 8 : large ? 512 : 256, large ? 1024 : 512};
  // Threads have tiles that follow each other: each reads a part of the larger factor.
  tiles.downwards = out > rows;
  const int64_t down = tiles.down();
  if (down < kTiles)
    tiles.width = std::clamp<int64_t>(ceil_div(out * down, kTiles * 64) * 64, 128, tiles.width);
  const int64_t grain = rows * out * in <= kEnough ? tiles.count() : 1;
  over(tiles.count(), grain, [=](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const Tile tile(tiles, index);
      float* result = z + tile.top * out + tile.left;
      if (in > 0)
        product('N', 'T', tile.rows, tile.columns, in, 1.0f, x + tile.top * in, in,
                weight + tile.left * in, in, 0.0f, result, out);
      else
        fill_tile(result, tile.rows, tile.columns, out, 0.0f);
      finish<Activation, kActivate>(tile, bias, y, z);
    }
  });
}

// Columns summed by blocks of rows, then the blocks in order.
constexpr int64_t kBlock = 64;

void add_blocks(const float* partial, int64_t blocks, int64_t size, float* total) {
  over(size, 1 << 12, [=](int64_t begin, int64_t end) {
    std::fill(total + begin, total + end, 0.0f);
    for (int64_t block = 0; block < blocks; ++block) {
      const float* part = partial + block * size;
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) total[i] += part[i];
    }
  });
}

// A matrix whose rows are `stride` apart.
struct Strided {
  float* data;
  int64_t stride;
};

// dbias and, with an activation, dz = dout * slope(z).
template <typename Activation, bool kActivate>
void columns(In z, In dout, In bias, Strided dz, Out dbias) {
  const int64_t rows = dout.rows(), out = dout.width(), blocks = ceil_div(rows, kBlock);
  float* partial = scratch<1>(bias.present ? blocks * out : 0);
  over(rows, kBlock, [=](int64_t begin, int64_t end) {
    float* sums = partial + begin / kBlock * out;
    if (bias.present) std::fill(sums, sums + out, 0.0f);
    for (int64_t row = begin; row < end; ++row) {
      const float* line = dout + row * out;
      if (kActivate) {
        const float* at = z + row * out;
        float* slope = dz.data + row * dz.stride;
#pragma omp simd
        for (int64_t i = 0; i < out; ++i) slope[i] = line[i] * Activation::slope(at[i]);
        line = slope;
      }
      if (!bias.present) continue;
#pragma omp simd
      for (int64_t i = 0; i < out; ++i) sums[i] += line[i];
    }
  });
  if (bias.present) add_blocks(partial, blocks, out, dbias.data);
}

// tile = dz^T x over `rows` rows.
void weight_tile(const float* dz, int64_t stride, const float* x, int64_t in, int64_t rows,
                 const Tile& tile, float* result) {
  constexpr int64_t kMost = 512;
  if (rows <= 0) fill_tile(result, tile.rows, tile.columns, in, 0.0f);
  for (int64_t start = 0; start < rows; start += kMost) {
    const int64_t depth = std::min(kMost, rows - start);
    const float* left = dz + start * stride + tile.top;
    int64_t step = stride;
    if (stride % 512 == 0) {
      // Rows this far apart fall on the same few cache lines.
      step = tile.rows;
      float* packed = scratch<3>(depth * step);
      for (int64_t row = 0; row < depth; ++row)
        std::copy(left + row * stride, left + row * stride + step, packed + row * step);
      left = packed;
    }
    product('T', 'N', tile.rows, tile.columns, depth, 1.0f, left, step,
            x + start * in + tile.left, in, start > 0 ? 1.0f : 0.0f, result, in);
  }
}

// dx and dweight from the gradient dz of z.
void products(In x, In weight, const float* dz, int64_t stride, Out dx, Out dweight) {
  const int64_t rows = x.rows(), in = weight.axis(1), out = weight.axis(0);
  if (in == 0) return;
  const bool large = rows * out * in >= kLarge;
  const int64_t width = large ? 1024 : 512;
  const Tiles inputs{rows, in, large ? 512 : 256, width}, weights{out, in, large ? 512 : 128, width};
  // A small weight has too few tiles for several cores, so its sum over many rows is cut in pieces.
  const int64_t wanted = weights.count() > 0 ? ceil_div(8, weights.count()) : 1;
  const int64_t pieces = std::clamp<int64_t>(rows / 1024, 1, wanted);
  const int64_t piece = ceil_div(rows, pieces), size = out * in;
  float* partial = pieces > 1 ? scratch<2>(pieces * size) : dweight.data;
  const int64_t first = inputs.count();
  over(first + pieces * weights.count(), 1, [=](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      if (index < first) {
        const Tile tile(inputs, index);
        float* result = dx + tile.top * in + tile.left;
        if (out > 0)
          product('N', 'N', tile.rows, tile.columns, out, 1.0f, dz + tile.top * stride, stride,
                  weight + tile.left, in, 0.0f, result, in);
        else
          fill_tile(result, tile.rows, tile.columns, in, 0.0f);
      } else {
        const int64_t part = (index - first) % pieces, start = part * piece;
        const Tile tile(weights, (index - first) / pieces);
        weight_tile(dz + start * stride, stride, x + start * in, in,
                    std::min(piece, rows - start), tile,
                    partial + part * size + tile.top * in + tile.left);
      }
    }
  });
  if (pieces > 1) add_blocks(partial, pieces, size, dweight.data);
}

template <typename Activation>
void activation_grad(In x, In weight, In bias, In z, In dout, Out dx, Out dweight, Out dbias) {
  const int64_t stride = z.width() + 16;
  const Strided dz{scratch<0>(z.rows() * stride), stride};
  columns<Activation, true>(z, dout, bias, dz, dbias);
  products(x, weight, dz.data, stride, dx, dweight);
}

// A layer with an activation, whose results are h, and a layer.
template <typename Activation>
void two_layers(In x, In expand, In expand_bias, In contract, In contract_bias, Out y, Out z,
                Out h) {
  forward<Activation, true>(x, expand, expand_bias, h, z);
  forward<Identity, false>(In(h.data, h.ndim, h.shape), contract, contract_bias, y, y);
}

template <typename Activation>
void two_layers_grad(In x, In expand, In expand_bias, In contract, In contract_bias, In z, In h,
                     In dout, Out dx, Out dexpand, Out dexpand_bias, Out dcontract,
                     Out dcontract_bias) {
  if (contract_bias.present)
    columns<Identity, false>(dout, dout, contract_bias, {nullptr, 0}, dcontract_bias);
  float* const dh = scratch<4>(h.size());
  products(h, contract, dout.data, dout.width(), Out(dh, h.ndim, h.shape), dcontract);
  activation_grad<Activation>(x, expand, expand_bias, z, In(dh, h.ndim, h.shape), dx, dexpand,
                              dexpand_bias);
}

}  // namespace

SCIMIND_OPERATOR(linear, (In x, In weight, In bias, Out y)) {
  forward<Identity, false>(x, weight, bias, y, y);
}

SCIMIND_OPERATOR(linear_grad,
                 (In x, In weight, In bias, In dout, Out dx, Out dweight, Out dbias)) {
  if (bias.present) columns<Identity, false>(dout, dout, bias, {nullptr, 0}, dbias);
  products(x, weight, dout.data, dout.width(), dx, dweight);
}

// activation: 0 GELU (tanh form), 1 SiLU, 2 ReLU
SCIMIND_OPERATOR(linear_activation, (In x, In weight, In bias, Options options, Out y, Out z)) {
  const int64_t activation = options.whole(0, 0);
  if (activation == 0) return forward<Gelu, true>(x, weight, bias, y, z);
  if (activation == 1) return forward<Silu, true>(x, weight, bias, y, z);
  forward<Relu, true>(x, weight, bias, y, z);
}

SCIMIND_OPERATOR(linear_activation_grad, (In x, In weight, In bias, In z, In dout, Options options,
                                          Out dx, Out dweight, Out dbias)) {
  const int64_t activation = options.whole(0, 0);
  if (activation == 0)
    return activation_grad<Gelu>(x, weight, bias, z, dout, dx, dweight, dbias);
  if (activation == 1)
    return activation_grad<Silu>(x, weight, bias, z, dout, dx, dweight, dbias);
  activation_grad<Relu>(x, weight, bias, z, dout, dx, dweight, dbias);
}

// activation: see linear_activation
SCIMIND_OPERATOR(mlp, (In x, In expand, In expand_bias, In contract, In contract_bias,
                       Options options, Out y, Out z, Out h)) {
  const int64_t activation = options.whole(0, 0);
  const auto layers = activation == 0   ? two_layers<Gelu>
                      : activation == 1 ? two_layers<Silu>
                                        : two_layers<Relu>;
  layers(x, expand, expand_bias, contract, contract_bias, y, z, h);
}

SCIMIND_OPERATOR(mlp_grad,
                 (In x, In expand, In expand_bias, In contract, In contract_bias, In z, In h,
                  In dout, Options options, Out dx, Out dexpand, Out dexpand_bias, Out dcontract,
                  Out dcontract_bias)) {
  const int64_t activation = options.whole(0, 0);
  const auto layers = activation == 0   ? two_layers_grad<Gelu>
                      : activation == 1 ? two_layers_grad<Silu>
                                        : two_layers_grad<Relu>;
  layers(x, expand, expand_bias, contract, contract_bias, z, h, dout, dx, dexpand, dexpand_bias,
         dcontract, dcontract_bias);
}
