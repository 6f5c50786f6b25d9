// The single-precision matrix product of oneDNN, which MindSpore brings along; row-major.
#pragma once

#include <cstdint>

namespace scimind {

using Sgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t,
                      const float*, int64_t, float, float*, int64_t);
extern Sgemm product;

}  // namespace scimind
