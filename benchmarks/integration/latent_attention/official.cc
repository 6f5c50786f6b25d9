#include "../toolkit.h"
#include "arithmetic.h"

extern "C" int latent_attention(int nparam, void** params, int* ndims, int64_t** shapes,
                                const char** dtypes, void* stream, void* extra) {
  if (!matches(nparam, dtypes, "ffffiiff")) return 1;
  const float* query = static_cast<const float*>(params[0]);
  const float* query_rope = static_cast<const float*>(params[1]);
  const float* latent = static_cast<const float*>(params[2]);
  const float* rope = static_cast<const float*>(params[3]);
  const int32_t* table = static_cast<const int32_t*>(params[4]);
  const int32_t* length = static_cast<const int32_t*>(params[5]);
  const float scale = *static_cast<const float*>(params[6]);
  float* out = static_cast<float*>(params[7]);
  const int64_t rows = rows_of(ndims[0], shapes[0]), heads = shapes[0][1];
  const LatentCache cache{latent,       rope,         table,        length,      shapes[4][1],
                          shapes[2][0], shapes[2][1], shapes[2][2], shapes[3][2]};
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row)
    cache.attend(row, row + 1, query, query_rope, heads, scale, out);
  return 0;
}
