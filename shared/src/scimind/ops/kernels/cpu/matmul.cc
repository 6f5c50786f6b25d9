// Batched products of matrices.
#include <algorithm>

#include "scimind/operator.h"
#include "scimind/tile.h"

using namespace scimind;

namespace {

constexpr int64_t kRows = 256;      // rows of a result that make one piece of work
constexpr int64_t kTiny = 1 << 12;  // multiplications below which a call of sgemm does not pay
// From so many rows on, up to so many multiplications and columns, tiles are faster than sgemm.
#if defined(__AVX512F__)
constexpr int64_t kFew = 8, kSmall = 1 << 18, kNarrow = 128;
#else
constexpr int64_t kFew = 8, kSmall = 1 << 14, kNarrow = 128;
#endif

// One operand: its numbers are at first * rows + second * columns.
struct Operand {
  const float* data;
  int64_t rows, columns;
};

// y (rows, columns) = a (rows, inner) b (inner, columns), whose operands are not turned both
void small(int64_t rows, int64_t columns, int64_t inner, Operand a, Operand b, float* y) {
  for (int64_t i = 0; i < rows; ++i) {
    float* out = y + i * columns;
    if (b.columns != 1) {
      const float* row = a.data + i * a.rows;
      for (int64_t j = 0; j < columns; ++j) {
        const float* line = b.data + j * b.columns;
        float total = 0.0f;
#pragma omp simd reduction(+ : total)
        for (int64_t k = 0; k < inner; ++k) total += row[k] * line[k];
        out[j] = total;
      }
      continue;
    }
    for (int64_t j = 0; j < columns; ++j) out[j] = 0.0f;
    for (int64_t k = 0; k < inner; ++k) {
      const float factor = a.data[i * a.rows + k * a.columns];
      const float* line = b.data + k * b.rows;
#pragma omp simd
      for (int64_t j = 0; j < columns; ++j) out[j] += factor * line[j];
    }
  }
}

// The same of matrices that stay in the nearest cache.
void tiles(int64_t rows, int64_t columns, int64_t inner, Operand a, Operand b, float* y) {
  float* kept = scratch<0>(panels(columns) * kPanel * inner);
  const Right panels_of_b = b.columns != 1 ? right_transposed(b.data, columns, inner, kept)
                                           : right(b.data, inner, columns, kept);
  multiply(rows, columns, 1.0f, {a.data, a.rows, a.columns}, panels_of_b, {y, columns, false},
           [=](int64_t, int64_t) { return Range{0, inner}; });
}

void one(int64_t rows, int64_t columns, int64_t inner, Operand a, Operand b, float* y) {
  if (rows == 0 || columns == 0) return;
  const int64_t work = rows * columns * inner;
  if (work <= kTiny) return small(rows, columns, inner, a, b, y);
  if (rows >= kFew && columns <= kNarrow && work <= kSmall)
    return tiles(rows, columns, inner, a, b, y);
  const bool turned_a = a.columns != 1, turned_b = b.columns != 1;
  product(turned_a ? 'T' : 'N', turned_b ? 'T' : 'N', rows, columns, inner, 1.0f, a.data,
          turned_a ? a.columns : a.rows, b.data, turned_b ? b.columns : b.rows, 0.0f, y, columns);
}

// y = a b for every matrix of the batch; the offsets from one matrix to the next are sizes.
void batched(int64_t batch, int64_t rows, int64_t columns, int64_t inner, Operand a, Operand b,
             float* y) {
  const int64_t pieces = (rows + kRows - 1) / kRows;
  const int64_t work = std::max<int64_t>(1, std::min(rows, kRows) * columns * inner);
  const int64_t enough = work > kTiny ? 1 << 18 : 1 << 14;  // tiny ones take longer for their work
  over(batch * pieces, std::max<int64_t>(1, enough / work), [=](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t matrix = index / pieces, first = index % pieces * kRows;
      Operand left = a, right = b;
      left.data += matrix * rows * inner + first * a.rows;
      right.data += matrix * inner * columns;
      one(std::min(kRows, rows - first), columns, inner, left, right,
          y + (matrix * rows + first) * columns);
    }
  });
}

struct Sizes {
  int64_t batch, rows, inner, columns;
  Sizes(In left, In right)
      : batch(elements(left.ndim - 2, left.shape)),
        rows(left.axis(-2)),
        inner(left.axis(-1)),
        columns(right.axis(-1)) {}
};

}  // namespace

SCIMIND_OPERATOR(matmul, (In left, In right, Out y)) {
  const Sizes s(left, right);
  batched(s.batch, s.rows, s.columns, s.inner, {left.data, s.inner, 1}, {right.data, s.columns, 1},
          y.data);
}

SCIMIND_OPERATOR(matmul_grad, (In left, In right, In dout, Out dleft, Out dright)) {
  const Sizes s(left, right);
  batched(s.batch, s.rows, s.inner, s.columns, {dout.data, s.columns, 1},
          {right.data, 1, s.columns}, dleft.data);
  batched(s.batch, s.inner, s.columns, s.rows, {left.data, 1, s.inner}, {dout.data, s.columns, 1},
          dright.data);
}
