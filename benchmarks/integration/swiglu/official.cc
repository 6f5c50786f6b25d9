#include "../toolkit.h"
#include "arithmetic.h"

extern "C" int swiglu(int nparam, void** params, int* ndims, int64_t** shapes, const char** dtypes,
                      void* stream, void* extra) {
  if (!matches(nparam, dtypes, "ffffff")) return 1;
  const float* x = static_cast<const float*>(params[0]);
  const float* gate = static_cast<const float*>(params[1]);
  const float* up = static_cast<const float*>(params[2]);
  float* y = static_cast<float*>(params[3]);
  float* gated = static_cast<float*>(params[4]);
  float* raised = static_cast<float*>(params[5]);
  const int64_t rows = rows_of(ndims[0], shapes[0]);
  const Swiglu layer{x, gate, up, shapes[1][1], shapes[1][0]};
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) layer.forward(row, row + 1, y, gated, raised);
  return 0;
}

extern "C" int swiglu_grad(int nparam, void** params, int* ndims, int64_t** shapes,
                           const char** dtypes, void* stream, void* extra) {
  if (!matches(nparam, dtypes, "fffffffff")) return 1;
  const float* x = static_cast<const float*>(params[0]);
  const float* gate = static_cast<const float*>(params[1]);
  const float* up = static_cast<const float*>(params[2]);
  const float* gated = static_cast<const float*>(params[3]);
  const float* raised = static_cast<const float*>(params[4]);
  const float* dout = static_cast<const float*>(params[5]);
  float* dx = static_cast<float*>(params[6]);
  float* dgate = static_cast<float*>(params[7]);
  float* dup = static_cast<float*>(params[8]);
  const int64_t rows = rows_of(ndims[0], shapes[0]), hidden = shapes[1][0];
  const SwigluGrad grad{x, gate, up, gated, raised, dout, rows, shapes[1][1], hidden};
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) grad.inputs(row, row + 1, dx);
#pragma omp parallel for
  for (int64_t row = 0; row < hidden; ++row) grad.weights(row, row + 1, dgate, dup);
  return 0;
}
