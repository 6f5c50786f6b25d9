// The single-precision matrix product of oneDNN, which MindSpore brings along; row-major.
#pragma once

#include <dlfcn.h>

#include <cstdint>

#include "scimind/parallel.h"

namespace scimind {

// C = alpha op(A) op(B) + beta C with (transa, transb, rows, columns, inner, alpha, A, lda, B, ldb,
// beta, C, ldc); one thread.
using Sgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t,
                      const float*, int64_t, float, float*, int64_t);
inline Sgemm product = nullptr;

}  // namespace scimind

// Called once when the library is loaded: finds dnnl_sgemm in the library at `path`; 0 when a small
// product comes out right.
extern "C" __attribute__((weak)) int scimind_start(const char* path, int threads) {
  scimind::Pool::instance().resize(threads);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 1;
  scimind::product = reinterpret_cast<scimind::Sgemm>(dlsym(library, "dnnl_sgemm"));
  if (scimind::product == nullptr) return 2;
  const float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, 2, -1, 3, 1};
  float c[4] = {1, 1, 1, 1};
  // a (2, 3) times the transpose of b (2, 3), added to ones.
  if (scimind::product('N', 'T', 2, 2, 3, 1.0f, a, 3, b, 3, 1.0f, c, 2) != 0) return 3;
  return c[0] == 8 && c[1] == 9 && c[2] == 17 && c[3] == 18 ? 0 : 4;
}

extern "C" __attribute__((weak)) void scimind_threads(int threads) {
  scimind::Pool::instance().resize(threads);
}
