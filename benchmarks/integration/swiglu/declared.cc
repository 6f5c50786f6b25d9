#include "arithmetic.h"
#include "scimind/operator.h"

using namespace scimind;

SCIMIND_OPERATOR(demo_swiglu, (In x, In gate, In up, Out y, Out gated, Out raised)) {
  const Swiglu layer{x.data, gate.data, up.data, gate.axis(1), gate.axis(0)};
  over(x.rows(), 4, [=](int64_t begin, int64_t end) {
    layer.forward(begin, end, y.data, gated.data, raised.data);
  });
}

SCIMIND_OPERATOR(demo_swiglu_grad,
                 (In x, In gate, In up, In gated, In raised, In dout, Out dx, Out dgate, Out dup)) {
  const SwigluGrad grad{x.data,    gate.data, up.data,      gated.data,  raised.data,
                        dout.data, x.rows(),  gate.axis(1), gate.axis(0)};
  over(x.rows(), 4, [=](int64_t begin, int64_t end) { grad.inputs(begin, end, dx.data); });
  over(gate.axis(0), 4,
       [=](int64_t begin, int64_t end) { grad.weights(begin, end, dgate.data, dup.data); });
}
