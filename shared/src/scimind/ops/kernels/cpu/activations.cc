// Activations, forward and backward.
#include <algorithm>

#include "scimind/lanes.h"
#include "scimind/operator.h"

using namespace scimind;

namespace {

constexpr int64_t kGrain = 1 << 15;

// The tail P(-|x|) of the normal distribution and the bell e^(-x^2/2), with the bounded |x| that
// they were computed from. The tail keeps its relative accuracy, 4e-7 and what the rounding of x^2
// adds, which a difference from erf would lose.
struct Normal {
  float size, tail, bell;
  SCIMIND_INLINE Normal at(float x) {
    // From 13.26 on the bell is 2^-127, which is stored as 0. The minimum of the bits is that of
    // the numbers, as they are not negative; of NaN it is 13.26.
    const float size = from_bits(std::min<uint32_t>(bits_of(std::fabs(x)), bits_of(13.26f)));
    const float square = size * size;
    // Adding 1.5 2^23 rounds to an integer, which is then in the lowest bits.
    constexpr float kExponent = -0.721347520f;  // -log2(e) / 2
    const float shifted = square * kExponent + 12582912.0f;
    const float r = square * kExponent - (shifted - 12582912.0f);
    float power = 0.000153458124f;
    power = power * r + 0.00133999321f;
    power = power * r + 0.00961848907f;
    power = power * r + 0.0555032864f;
    power = power * r + 0.240226462f;
    power = power * r + 0.693147182f;
    power = power * r + 1.0f;
    const float bell = power * from_bits((bits_of(shifted) + 127) << 23);
    // The tail is the bell times a polynomial in t without constant term: minimax in relative error
    // for |x| up to 14, where float32 ends.
    const float t = 1.0f / (1.0f + 0.3f * size);
    float p = 0.0356747545f;
    p = p * t - 0.157203004f;
    p = p * t + 0.206353366f;
    p = p * t - 0.0536835082f;
    p = p * t + 0.128561556f;
    p = p * t + 0.0999135152f;
    p = p * t + 0.120753951f;
    p = p * t + 0.119629301f;
    return {size, p * t * bell, bell};
  }
};

struct GeluErf {
  // x P(x), which is x - x P(-x) where x is positive.
  SCIMIND_INLINE float value(float x) {
    const Normal normal = Normal::at(x);
    return (x < 0.0f ? 0.0f : x) - normal.size * normal.tail;
  }
  SCIMIND_INLINE float slope(float x) {
    constexpr float kDensity = 0.398942280f;  // 1 / sqrt(2 pi)
    const Normal normal = Normal::at(x);
    const float below = x > 0.0f ? 1.0f - normal.tail : normal.tail;
    return below + kDensity * x * normal.bell;
  }
};

template <typename Activation>
void forward(In x, Out y) {
  each(y.data, x.size(), kGrain, [=](int64_t i) { y[i] = Activation::value(x[i]); });
}

template <typename Activation>
void backward(In x, In dout, Out dx) {
  each(dx.data, x.size(), kGrain, [=](int64_t i) { dx[i] = dout[i] * Activation::slope(x[i]); });
}

bool exact(Options options) { return options.whole(0, 0) == 1; }

}  // namespace

// approximate: 0 "tanh", 1 "none"
SCIMIND_OPERATOR(gelu, (In x, Options options, Out y)) {
  if (exact(options)) return forward<GeluErf>(x, y);
  forward<Gelu>(x, y);
}

SCIMIND_OPERATOR(gelu_grad, (In x, In dout, Options options, Out dx)) {
  if (exact(options)) return backward<GeluErf>(x, dout, dx);
  backward<Gelu>(x, dout, dx);
}

SCIMIND_OPERATOR(silu, (In x, Out y)) { forward<Silu>(x, y); }
SCIMIND_OPERATOR(silu_grad, (In x, In dout, Out dx)) { backward<Silu>(x, dout, dx); }

// silu(gate) up
SCIMIND_OPERATOR(swiglu, (In gate, In up, Out y)) {
  each(y.data, gate.size(), kGrain, [=](int64_t i) { y[i] = Silu::value(gate[i]) * up[i]; });
}

SCIMIND_OPERATOR(swiglu_grad, (In gate, In up, In dout, Out dgate, Out dup)) {
  each(dgate.data, gate.size(), kGrain, [=](int64_t i) {
    const float s = sigmoid(gate[i]), value = gate[i] * s;
    dgate[i] = dout[i] * up[i] * (s + value * (1.0f - s));
    dup[i] = dout[i] * value;
  });
}
