// What the official versions share in C++.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

// Whether the arguments have these dtypes: f is float32, i is int32.
inline bool matches(int nparam, const char** dtypes, const std::string& kinds) {
  if (nparam != static_cast<int>(kinds.size())) return false;
  for (char kind : kinds)
    if (std::strcmp(*dtypes++, kind == 'f' ? "float32" : "int32") != 0) return false;
  return true;
}

// The product of all axes but the last.
inline int64_t rows_of(int ndim, const int64_t* shape) {
  int64_t rows = 1;
  for (int axis = 0; axis < ndim - 1; ++axis) rows *= shape[axis];
  return rows;
}
