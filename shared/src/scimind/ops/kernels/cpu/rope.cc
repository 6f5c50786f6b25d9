// Rotary position embedding.
#include "scimind/operator.h"

using namespace scimind;

namespace {

// Where the row (batch, head, position) of a table begins whose leading axes may be missing or 1.
struct Table {
  const float* data;
  int64_t stride[3] = {0, 0, 0};
  explicit Table(In view) : data(view.data) {
    int64_t step = view.width();
    for (int axis = 2; axis >= 0; --axis) {
      const int own = axis - 3 + view.ndim - 1;
      if (own < 0) break;
      stride[axis] = view.shape[own] == 1 ? 0 : step;
      step *= view.shape[own];
    }
  }
};

// sign is 1, or -1 for the transposed rotation, which is the gradient.
void rotate(In x, In cosines, In sines, float sign, bool interleaved, Out y) {
  const int64_t heads = x.axis(1), length = x.axis(2), dim = x.axis(3), half = cosines.width();
  const Table cos_table(cosines), sin_table(sines);
  over(x.rows(), rows_of_chunk(dim), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at[3] = {row / length / heads, row / length % heads, row % length};
      const float *c = cos_table.data, *s = sin_table.data, *in = x + row * dim;
      float* out = y + row * dim;
      for (int axis = 0; axis < 3; ++axis) {
        c += at[axis] * cos_table.stride[axis];
        s += at[axis] * sin_table.stride[axis];
      }
      if (interleaved) {
#pragma omp simd
        for (int64_t i = 0; i < half; ++i) {
          const float a = in[2 * i], b = in[2 * i + 1], sine = sign * s[i];
          out[2 * i] = a * c[i] - b * sine;
          out[2 * i + 1] = b * c[i] + a * sine;
        }
      } else {
#pragma omp simd
        for (int64_t i = 0; i < half; ++i) {
          const float a = in[i], b = in[i + half], sine = sign * s[i];
          out[i] = a * c[i] - b * sine;
          out[i + half] = b * c[i] + a * sine;
        }
      }
      for (int64_t i = 2 * half; i < dim; ++i) out[i] = in[i];
    }
  });
}

}  // namespace

// interleaved: 0 rotates the pairs (i, i + dim / 2), 1 the pairs (2 i, 2 i + 1)
SCIMIND_OPERATOR(rope, (In x, In cosines, In sines, Options options, Out y)) {
  rotate(x, cosines, sines, 1.0f, options.whole(0, 0) != 0, y);
}

SCIMIND_OPERATOR(rope_grad, (In cosines, In sines, In dout, Options options, Out dx)) {
  rotate(dout, cosines, sines, -1.0f, options.whole(0, 0) != 0, dx);
}
