// Matrix products of small tiles, without the packing and the call overhead of a general product.
#pragma once

#include <cstdint>
#include <utility>

#include "scimind/lanes.h"

namespace scimind {

// A panel is as many columns as one tile holds: rows times vectors fit the registers.
#if defined(__AVX512F__)
constexpr int kPanelVectors = 4, kTileRows = 6;
#else
constexpr int kPanelVectors = 2, kTileRows = 4;
#endif
constexpr int kPanel = kPanelVectors * kLanes;

// The left factor: element (r, i) is data[r * row + i * step].
struct Left {
  const float* data;
  int64_t row, step;
};

// The right factor in panels of kPanel columns: row i of panel p starts at
// data + p * panel + i * row, and is readable in whole vectors.
struct Right {
  const float* data;
  int64_t row, panel;
};

// The result: row r starts at data + r * row. When not `add`, it is overwritten.
struct Result {
  float* data;
  int64_t row;
  bool add;
};

// The inner indices that contribute to some rows of a product.
using Range = std::pair<int64_t, int64_t>;

template <int rows, int vectors>
SCIMIND_INLINE void tile(float alpha, const Left& a, int64_t first, const Right& b, Range inner,
                         const Result& c, int64_t columns) {
  Lanes sums[rows][vectors] = {};
  const float* left = a.data + first * a.row + inner.first * a.step;
  const float* right = b.data + inner.first * b.row;
  for (int64_t i = inner.first; i < inner.second; ++i, left += a.step, right += b.row) {
    Lanes y[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) y[v] = load(right + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const float x = left[r * a.row];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[r][v] += x * y[v];
    }
  }
  const int64_t last = columns - (vectors - 1) * kLanes;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    float* to = c.data + (first + r) * c.row;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v, to += kLanes) {
      const Lanes product = alpha * sums[r][v];
      if (v + 1 < vectors || last == kLanes) {
        store(to, c.add ? load(to) + product : product);
      } else {
        store(to, c.add ? load(to, last) + product : product, last);
      }
    }
  }
}

template <int vectors, typename Inner>
void panel(int64_t rows, float alpha, const Left& a, const Right& b, const Result& c,
           int64_t columns, Inner inner) {
  constexpr int most = vectors > kPanelVectors / 2 ? kTileRows : 8;
  int64_t r = 0;
  for (; r + most <= rows; r += most)
    tile<most, vectors>(alpha, a, r, b, inner(r, r + most), c, columns);
  for (; r + 4 <= rows; r += 4) tile<4, vectors>(alpha, a, r, b, inner(r, r + 4), c, columns);
  for (; r + 2 <= rows; r += 2) tile<2, vectors>(alpha, a, r, b, inner(r, r + 2), c, columns);
  for (; r < rows; ++r) tile<1, vectors>(alpha, a, r, b, inner(r, r + 1), c, columns);
}

// C (+)= alpha A B, where rows [begin, end) use only the inner indices inner(begin, end).
template <typename Inner>
void multiply(int64_t rows, int64_t columns, float alpha, const Left& a, Right b, Result c,
              Inner inner) {
  for (; columns > 0; columns -= kPanel, b.data += b.panel, c.data += kPanel) {
    if (columns > 3 * kLanes && kPanelVectors == 4) {
      panel<kPanelVectors>(rows, alpha, a, b, c, columns < kPanel ? columns : kPanel, inner);
    } else if (columns > 2 * kLanes && kPanelVectors == 4) {
      panel<kPanelVectors == 4 ? 3 : 1>(rows, alpha, a, b, c, columns, inner);
    } else if (columns > kLanes) {
      panel<2>(rows, alpha, a, b, c, columns < 2 * kLanes ? columns : 2 * kLanes, inner);
    } else {
      panel<1>(rows, alpha, a, b, c, columns, inner);
    }
  }
}

inline int64_t panels(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

// A row-major matrix as the right factor, copied to `kept` when its rows end within a vector.
// `kept` holds panels(columns) * kPanel * rows floats.
inline Right right(const float* x, int64_t rows, int64_t columns, float* kept) {
  if (columns % kLanes == 0) return {x, columns, kPanel};
  const int64_t row = whole_lanes(columns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; j += kLanes)
      store(kept + i * row + j, columns - j < kLanes ? load(x + i * columns + j, columns - j)
                                                     : load(x + i * columns + j));
  return {kept, row, kPanel};
}

// The transpose of a row-major matrix as the right factor, in `kept`, which holds
// panels(rows) * kPanel * columns floats.
inline Right right_transposed(const float* x, int64_t rows, int64_t columns, float* kept) {
  for (int64_t first = 0; first < rows; first += kLanes) {
    float* to = kept + first / kPanel * kPanel * columns + first % kPanel;
    for (int64_t j = 0; j < columns; j += kLanes) {
      Lanes square[kLanes];
      if (first + kLanes <= rows && j + kLanes <= columns) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) square[i] = load(x + (first + i) * columns + j);
        transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + (j + i) * kPanel, square[i]);
      } else {
        const int64_t width = columns - j < kLanes ? columns - j : kLanes;
        for (int i = 0; i < kLanes; ++i)
          square[i] = first + i < rows ? load(x + (first + i) * columns + j, width) : Lanes{};
        transpose(square);
        for (int64_t i = 0; i < width; ++i) store(to + (j + i) * kPanel, square[i]);
      }
    }
  }
  return {kept, kPanel, kPanel * columns};
}

constexpr int64_t kFewRows = 4;

// The kLanes rows from x on, of which the last of `count` stands for those beyond it.
SCIMIND_INLINE void some_rows(const float* (&at)[kLanes], const float* x, int64_t count,
                              int64_t inner) {
  for (int64_t i = 0; i < kLanes; ++i) at[i] = x + (i < count ? i : count - 1) * inner;
}

// Their products with a row.
SCIMIND_INLINE Lanes products_of(const float* left, const float* const (&at)[kLanes],
                                 int64_t inner) {
  const int64_t whole = inner / kLanes * kLanes;
  Lanes sums[kLanes] = {};
  for (int64_t j = 0; j < whole; j += kLanes) {
    const Lanes y = load(left + j);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) sums[i] += y * load(at[i] + j);
  }
  if (whole < inner) {
    const Lanes y = load(left + whole, inner - whole);
    for (int i = 0; i < kLanes; ++i) sums[i] += y * load(at[i] + whole, inner - whole);
  }
  return sums_of(sums);
}

// C = alpha A X^T for few rows of A, which reads X once, without a copy. Rows of C are written in
// whole vectors.
inline void scalar_products(int64_t rows, float alpha, const float* a, const float* x,
                            int64_t columns, int64_t inner, float* c, int64_t c_row) {
  for (int64_t first = 0; first < columns; first += kLanes) {
    const float* at[kLanes];
    some_rows(at, x + first * inner, columns - first, inner);
    for (int64_t r = 0; r < rows; ++r)
      store(c + r * c_row + first, alpha * products_of(a + r * inner, at, inner));
  }
}

}  // namespace scimind
