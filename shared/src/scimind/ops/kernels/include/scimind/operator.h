// How a kernel sees its arguments, and the entry point that MindSpore calls.
//
//   SCIMIND_OPERATOR(scale, (In x, Options options, Out y)) {
//     const float factor = options[0];
//     over(x.size(), 1 << 15, [=](int64_t begin, int64_t end) {
//       for (int64_t i = begin; i < end; ++i) y[i] = factor * x[i];
//     });
//   }
//
// Arguments come in the order of the declaration: tensors, then one Options with all scalars (if
// there are any), then the outputs. Everything is contiguous and row-major; any axis may be 0.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <type_traits>
#include <utility>

#include "scimind/arithmetic.h"
#include "scimind/parallel.h"
#include "scimind/product.h"

namespace scimind {

inline int64_t elements(int ndim, const int64_t* shape) {
  int64_t count = 1;
  for (int axis = 0; axis < ndim; ++axis) count *= shape[axis];
  return count;
}

template <typename T>
constexpr const char* dtype_name() {
  using Plain = std::remove_const_t<T>;
  if (std::is_same_v<Plain, float>) return "float32";
  if (std::is_same_v<Plain, double>) return "float64";
  if (std::is_same_v<Plain, int32_t> || std::is_same_v<Plain, uint32_t>) return "int32";
  if (std::is_same_v<Plain, bool>) return "bool";
  return "?";
}

// A tensor. `present` is false for an optional argument that was None; it then has no data.
template <typename T>
struct View {
  T* data = nullptr;
  int ndim = 0;
  const int64_t* shape = nullptr;
  bool present = true;
  bool valid = true;

  View() = default;
  View(T* pointer, int axes, const int64_t* sizes) : data(pointer), ndim(axes), shape(sizes) {}
  View(void* pointer, int axes, const int64_t* sizes, const char* dtype)
      : data(static_cast<T*>(pointer)), ndim(axes), shape(sizes) {
    present = dtype == nullptr || std::strcmp(dtype, "int8") != 0;
    valid = !present || dtype == nullptr || std::strcmp(dtype, dtype_name<T>()) == 0;
    if (!present) data = nullptr;
  }
  // An optional argument that was not given.
  static View absent() {
    View view;
    view.present = false;
    return view;
  }
  int64_t size() const { return elements(ndim, shape); }
  // Size of an axis; negative numbers count from the end.
  int64_t axis(int index) const { return shape[index < 0 ? index + ndim : index]; }
  // Number of rows, the product of all axes but the last.
  int64_t rows() const { return ndim > 0 ? elements(ndim - 1, shape) : 1; }
  // Size of the last axis.
  int64_t width() const { return ndim > 0 ? shape[ndim - 1] : 1; }
  T& operator[](int64_t index) const { return data[index]; }
  T* operator+(int64_t offset) const { return data + offset; }
};

using In = View<const float>;
using Out = View<float>;
using Inout = View<float>;  // an input that the operator changes
using Ints = View<const int32_t>;
using Mask = View<const bool>;

// The scalars of a call: bool as 0 or 1, a Literal as its index, None as "not given".
struct Options {
  const double* values;
  bool valid;
  Options(void* pointer, int, const int64_t*, const char* dtype)
      : values(static_cast<const double*>(pointer)),
        valid(dtype == nullptr || std::strcmp(dtype, "float64") == 0) {}
  double operator[](int index) const { return values[index]; }
  bool given(int index) const { return !std::isnan(values[index]); }
  int64_t whole(int index, int64_t otherwise) const {
    return given(index) ? static_cast<int64_t>(values[index]) : otherwise;
  }
};

// Strides of a four-dimensional tensor whose axes are of full size or 1.
template <typename T>
struct Broadcast {
  const T* data = nullptr;
  int64_t stride[4] = {0, 0, 0, 0};
  explicit Broadcast(const View<const T>& view) : data(view.data) {
    if (!view.present) return;
    int64_t step = 1;
    for (int axis = 3; axis >= 0; --axis) {
      stride[axis] = view.shape[axis] == 1 ? 0 : step;
      step *= view.shape[axis];
    }
  }
  const T* row(int64_t first, int64_t second, int64_t third) const {
    return data + first * stride[0] + second * stride[1] + third * stride[2];
  }
};

constexpr int kWrongCount = 1, kWrongDtype = 2, kException = 3;

template <typename... Arguments, size_t... Index>
int launch(void (*kernel)(Arguments...), int count, void** data, int* ndims, int64_t** shapes,
           const char** dtypes, std::index_sequence<Index...>) {
  if (count != static_cast<int>(sizeof...(Arguments))) return kWrongCount;
  auto run = [&](Arguments... views) {
    if (!(views.valid && ...)) return kWrongDtype;
    try {
      kernel(views...);
    } catch (const std::exception&) {
      return kException;
    }
    return 0;
  };
  return run(Arguments(data[Index], ndims[Index], shapes[Index],
                       dtypes == nullptr ? nullptr : dtypes[Index])...);
}

template <typename... Arguments>
int launch(void (*kernel)(Arguments...), int count, void** data, int* ndims, int64_t** shapes,
           const char** dtypes) {
  return launch(kernel, count, data, ndims, shapes, dtypes, std::index_sequence_for<Arguments...>());
}

}  // namespace scimind

#define SCIMIND_OPERATOR(name, parameters)                                                     \
  static void name##_kernel parameters;                                                        \
  extern "C" int name(int count, void** data, int* ndims, int64_t** shapes, const char** dtypes, \
                      void*, void*) {                                                          \
    return scimind::launch(name##_kernel, count, data, ndims, shapes, dtypes);                 \
  }                                                                                            \
  static void name##_kernel parameters
