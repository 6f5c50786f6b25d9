#include "../toolkit.h"
#include "arithmetic.h"

static Selection chosen(void** params, int64_t** shapes) {
  const float* query = static_cast<const float*>(params[0]);
  const float* key = static_cast<const float*>(params[1]);
  const float* value = static_cast<const float*>(params[2]);
  const int32_t* blocks = static_cast<const int32_t*>(params[3]);
  const float* options = static_cast<const float*>(params[4]);
  const int64_t size = static_cast<int64_t>(options[0]);
  return {query,        key,          value,        blocks,       shapes[0][1] / shapes[1][1],
          shapes[0][2], shapes[1][2], shapes[1][3], shapes[2][3], shapes[3][3],
          size,         options[1]};
}

extern "C" int selected_attention(int nparam, void** params, int* ndims, int64_t** shapes,
                                  const char** dtypes, void* stream, void* extra) {
  if (!matches(nparam, dtypes, "fffifff")) return 1;
  float* out = static_cast<float*>(params[5]);
  float* logsumexp = static_cast<float*>(params[6]);
  const int64_t groups = shapes[1][0] * shapes[1][1];
  const Selection selection = chosen(params, shapes);
#pragma omp parallel for
  for (int64_t i = 0; i < groups; ++i) selection.forward(i, i + 1, out, logsumexp);
  return 0;
}

extern "C" int selected_attention_grad(int nparam, void** params, int* ndims, int64_t** shapes,
                                       const char** dtypes, void* stream, void* extra) {
  if (!matches(nparam, dtypes, "fffifffffff")) return 1;
  const float* out = static_cast<const float*>(params[5]);
  const float* logsumexp = static_cast<const float*>(params[6]);
  const float* dout = static_cast<const float*>(params[7]);
  float* dquery = static_cast<float*>(params[8]);
  float* dkey = static_cast<float*>(params[9]);
  float* dvalue = static_cast<float*>(params[10]);
  const int64_t groups = shapes[1][0] * shapes[1][1];
  const Selection selection = chosen(params, shapes);
#pragma omp parallel for
  for (int64_t i = 0; i < groups; ++i)
    selection.backward(i, i + 1, out, logsumexp, dout, dquery, dkey, dvalue);
  return 0;
}
