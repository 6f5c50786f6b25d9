#include "arithmetic.h"
#include "scimind/operator.h"

using namespace scimind;

static void rotate(In x, In cos, In sin, float sign, Options options, Out y) {
  const Rotation by{cos.data, sin.data, x.axis(2), cos.width(), sign, options[0] != 0.0};
  over(x.rows(), 256, [=](int64_t begin, int64_t end) { by.rows(begin, end, x.data, y.data); });
}

SCIMIND_OPERATOR(demo_rope, (In x, In cos, In sin, Options options, Out y)) {
  rotate(x, cos, sin, 1.0f, options, y);
}

SCIMIND_OPERATOR(demo_rope_grad, (In cos, In sin, In dout, Options options, Out dx)) {
  rotate(dout, cos, sin, -1.0f, options, dx);
}
