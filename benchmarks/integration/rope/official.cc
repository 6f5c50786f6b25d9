#include "../toolkit.h"
#include "arithmetic.h"

static void rotate(const float* x, const Rotation& by, int64_t rows, float* y) {
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) by.rows(row, row + 1, x, y);
}

extern "C" int rope(int nparam, void** params, int* ndims, int64_t** shapes, const char** dtypes,
                    void* stream, void* extra) {
  if (!matches(nparam, dtypes, "fffff")) return 1;
  const float* x = static_cast<const float*>(params[0]);
  const float* cos = static_cast<const float*>(params[1]);
  const float* sin = static_cast<const float*>(params[2]);
  const bool interleaved = *static_cast<const float*>(params[3]) != 0.0f;
  float* y = static_cast<float*>(params[4]);
  const Rotation by{cos, sin, shapes[0][2], shapes[1][1], 1.0f, interleaved};
  rotate(x, by, rows_of(ndims[0], shapes[0]), y);
  return 0;
}

extern "C" int rope_grad(int nparam, void** params, int* ndims, int64_t** shapes,
                         const char** dtypes, void* stream, void* extra) {
  if (!matches(nparam, dtypes, "fffff")) return 1;
  const float* cos = static_cast<const float*>(params[0]);
  const float* sin = static_cast<const float*>(params[1]);
  const float* dout = static_cast<const float*>(params[2]);
  const bool interleaved = *static_cast<const float*>(params[3]) != 0.0f;
  float* dx = static_cast<float*>(params[4]);
  const Rotation by{cos, sin, shapes[2][2], shapes[0][1], -1.0f, interleaved};
  rotate(dout, by, rows_of(ndims[2], shapes[2]), dx);
  return 0;
}
