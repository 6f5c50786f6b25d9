// Stands for the matrix product of oneDNN, whose machine code no sanitizer can see into. Like that,
// it refuses strides that are too short, and does nothing when a size is 0.
#include <algorithm>
#include <cstdint>

extern "C" int dnnl_sgemm(char transa, char transb, int64_t rows, int64_t columns, int64_t inner,
                          float alpha, const float* a, int64_t lda, const float* b, int64_t ldb,
                          float beta, float* c, int64_t ldc) {
  const bool turn_a = transa == 'T', turn_b = transb == 'T';
  if ((!turn_a && transa != 'N') || (!turn_b && transb != 'N')) return 2;
  if (rows < 0 || columns < 0 || inner < 0 || !a || !b || !c) return 2;
  if (lda < std::max<int64_t>(1, turn_a ? rows : inner)) return 2;
  if (ldb < std::max<int64_t>(1, turn_b ? inner : columns)) return 2;
  if (ldc < std::max<int64_t>(1, columns)) return 2;
  if (inner == 0) return 0;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      float sum = 0.0f;
      for (int64_t k = 0; k < inner; ++k)
        sum += a[turn_a ? k * lda + i : i * lda + k] * b[turn_b ? j * ldb + k : k * ldb + j];
      float& to = c[i * ldc + j];
      to = beta == 0.0f ? alpha * sum : alpha * sum + beta * to;
    }
  return 0;
}
