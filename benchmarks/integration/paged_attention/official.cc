#include "../toolkit.h"
#include "arithmetic.h"

extern "C" int paged_attention(int nparam, void** params, int* ndims, int64_t** shapes,
                               const char** dtypes, void* stream, void* extra) {
  if (!matches(nparam, dtypes, "fffiiff")) return 1;
  const float* query = static_cast<const float*>(params[0]);
  const float* key = static_cast<const float*>(params[1]);
  const float* value = static_cast<const float*>(params[2]);
  const int32_t* table = static_cast<const int32_t*>(params[3]);
  const int32_t* length = static_cast<const int32_t*>(params[4]);
  const float scale = *static_cast<const float*>(params[5]);
  float* out = static_cast<float*>(params[6]);
  const int64_t rows = rows_of(ndims[0], shapes[0]), heads = shapes[0][1];
  const Cache cache{key,          value,        table,        length,       shapes[3][1],
                    shapes[1][0], shapes[1][1], shapes[1][2], shapes[1][3], shapes[2][3]};
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) cache.attend(row, row + 1, query, heads, scale, out);
  return 0;
}
