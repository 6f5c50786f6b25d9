// Small networks in single precision: 32 windows at a time in the lanes of vectors, a single one
// with the rows of a matrix in them. See dae_solver/model/host.py.

constexpr int SHARES = 4, WIDE = SHARES * LANES, PANEL = 8;
typedef float Wide __attribute__((vector_size(WIDE * sizeof(float))));
// As wide as registers are, at most; parts of wide vectors are read and written as such.
typedef float Register __attribute__((vector_size(64), may_alias));
typedef int32_t RegisterInt __attribute__((vector_size(64)));
constexpr int EACH = sizeof(Wide) / sizeof(Register);
typedef float Share __attribute__((vector_size(LANES * sizeof(float))));
typedef float Panel __attribute__((vector_size(PANEL * sizeof(float))));

// The weights are panels of 8 rows, [panel, column, row], with zeros after the last row.
struct Matrix {
  const float *weights, *bias;
  int64_t rows, columns;
};

inline float at_lane(float value, int) { return value; }
inline float at_lane(const Wide& value, int lane) { return value[lane]; }
inline void set_lane(float& value, int, float to) { value = to; }
inline void set_lane(Wide& value, int lane, float to) { value[lane] = to; }

// Lanes of doubles are a share of those of floats.
inline void put(float& to, int, double value) { to = static_cast<float>(value); }
inline void put(Wide& to, int share, Lanes value) {
  const Share narrow = __builtin_convertvector(value, Share);
  __builtin_memcpy(reinterpret_cast<char*>(&to) + share * sizeof narrow, &narrow, sizeof narrow);
}
inline double get(float from, int) { return from; }
inline Lanes get(const Wide& from, int share) {
  Share narrow;
  __builtin_memcpy(&narrow, reinterpret_cast<const char*>(&from) + share * sizeof narrow,
                   sizeof narrow);
  return __builtin_convertvector(narrow, Lanes);
}

inline void product(const Matrix& m, const float* in, float* out) {
  for (int64_t first = 0; first < m.rows; first += PANEL) {
    const float* w = m.weights + first * m.columns;
    Panel s0 = {}, s1 = {}, s2 = {}, s3 = {}, a, b, c, d;
    int64_t k = 0;
    for (; k + 4 <= m.columns; k += 4, w += 4 * PANEL) {
      __builtin_memcpy(&a, w, sizeof a);
      __builtin_memcpy(&b, w + PANEL, sizeof b);
      __builtin_memcpy(&c, w + 2 * PANEL, sizeof c);
      __builtin_memcpy(&d, w + 3 * PANEL, sizeof d);
      s0 += a * in[k], s1 += b * in[k + 1], s2 += c * in[k + 2], s3 += d * in[k + 3];
    }
    for (; k < m.columns; ++k, w += PANEL) {
      __builtin_memcpy(&a, w, sizeof a);
      s0 += a * in[k];
    }
    s0 = (s0 + s1) + (s2 + s3);
    const int64_t rows = m.rows - first < PANEL ? m.rows - first : PANEL;
    for (int64_t r = 0; r < rows; ++r) out[first + r] = s0[r] + (m.bias ? m.bias[first + r] : 0.0f);
  }
}

inline void product(const Matrix& m, const Wide* in, Wide* out) {
  const float* w = m.weights;
  for (int64_t first = 0; first < m.rows; first += PANEL) {
    const Register* x = reinterpret_cast<const Register*>(in);
    Register s[PANEL][EACH] = {};
    for (int64_t k = 0; k < m.columns; ++k, w += PANEL, x += EACH) {
#pragma GCC unroll 8
      for (int r = 0; r < PANEL; ++r)
#pragma GCC unroll 2
        for (int e = 0; e < EACH; ++e) s[r][e] += w[r] * x[e];
    }
    for (int r = 0; r < PANEL && first + r < m.rows; ++r)
      for (int e = 0; e < EACH; ++e)
        reinterpret_cast<Register*>(out + first + r)[e] =
            m.bias ? s[r][e] + m.bias[first + r] : s[r][e];
  }
}

// Cephes' expf, whose error is below two units in the last place.
inline Register exp_of(Register x) {
  x = x > 88.0f ? Register{} + 88.0f : x;
  x = x < -87.0f ? Register{} - 87.0f : x;
  const Register k = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  const Register r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  Register y = 1.9875691500e-4f * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const RegisterInt power = (__builtin_convertvector(k, RegisterInt) + 127) << 23;
  Register scale;
  __builtin_memcpy(&scale, &power, sizeof scale);
  return y * scale;
}
inline float exp_of(float x) { return std::exp(x); }

// x / (1 + exp(-x)), in place.
inline void silu(int64_t rows, float* x) {
  for (int64_t r = 0; r < rows; ++r) x[r] = x[r] / (1.0f + exp_of(-x[r]));
}
inline void silu(int64_t rows, Wide* wide) {
  Register* x = reinterpret_cast<Register*>(wide);
  for (int64_t r = 0; r < rows * EACH; ++r) x[r] = x[r] / (1.0f + exp_of(-x[r]));
}

template <class N>
inline N root(N x) {
  for (int lane = 0; lane < static_cast<int>(sizeof(N) / sizeof(float)); ++lane)
    set_lane(x, lane, std::sqrt(at_lane(x, lane)));
  return x;
}
template <class N>
inline N logarithm(N x) {
  for (int lane = 0; lane < static_cast<int>(sizeof(N) / sizeof(float)); ++lane)
    set_lane(x, lane, std::log(at_lane(x, lane)));
  return x;
}
