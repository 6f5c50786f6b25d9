// Small networks in single precision: windows side by side in the lanes of some vectors, the shares,
// of which as many are worked out as are used; a single one with the rows of a matrix in them. See
// dae_solver/model/host.py.

// So many columns of an input stay in the nearest cache.
constexpr int SHARES = 4, WIDE = SHARES * SINGLES, PANEL = 8;
constexpr int64_t CHUNK = 64;
typedef float Wide __attribute__((vector_size(WIDE * sizeof(float))));
typedef float Panel __attribute__((vector_size(PANEL * sizeof(float))));
// A part of a wide vector, read and written as such; as wide as registers are, at most.
typedef float Share __attribute__((vector_size(SINGLES * sizeof(float)), may_alias));

// The weights are [chunk of columns, panel of rows, column, row], with zeros after the last row; so
// are the biases. What products are written to has room for whole panels.
struct Matrix {
  const float *weights, *bias;
  int64_t rows, columns;
};

inline float at_lane(float value, int) { return value; }
inline float at_lane(const Wide& value, int lane) { return value[lane]; }
inline void set_lane(float& value, int, float to) { value = to; }
inline void set_lane(Wide& value, int lane, float to) { value[lane] = to; }

inline void put(float& to, int, double value) { to = static_cast<float>(value); }
inline void put(Wide& to, int share, Singles value) {
  reinterpret_cast<Share*>(&to)[share] = value;
}
inline double get(float from, int) { return from; }
inline Singles get(const Wide& from, int share) {
  return reinterpret_cast<const Share*>(&from)[share];
}

inline void product(const Matrix& m, const float* in, float* out, int) {
  const float* w = m.weights;
  for (int64_t begin = 0; begin < m.columns; begin += CHUNK) {
    const int64_t end = std::min(begin + CHUNK, m.columns);
    for (int64_t first = 0; first < m.rows; first += PANEL) {
      Panel s0 = {}, s1 = {}, s2 = {}, s3 = {}, a, b, c, d;
      if (begin)
        __builtin_memcpy(&s0, out + first, sizeof s0);
      else if (m.bias)
        __builtin_memcpy(&s0, m.bias + first, sizeof s0);
      int64_t k = begin;
      for (; k + 4 <= end; k += 4, w += 4 * PANEL) {
        __builtin_memcpy(&a, w, sizeof a);
        __builtin_memcpy(&b, w + PANEL, sizeof b);
        __builtin_memcpy(&c, w + 2 * PANEL, sizeof c);
        __builtin_memcpy(&d, w + 3 * PANEL, sizeof d);
        s0 += a * in[k], s1 += b * in[k + 1], s2 += c * in[k + 2], s3 += d * in[k + 3];
      }
      for (; k < end; ++k, w += PANEL) {
        __builtin_memcpy(&a, w, sizeof a);
        s0 += a * in[k];
      }
      s0 = (s0 + s1) + (s2 + s3);
      __builtin_memcpy(out + first, &s0, sizeof s0);
    }
  }
}

// Rows at a time of so many shares, whose sums fit into the registers; they divide those of a panel.
constexpr int rows_at_once(int used) {
#ifdef __AVX512F__
  return used <= 2 ? 8 : 4;
#else
  return used == 1 ? 8 : used <= 3 ? 4 : 2;
#endif
}

// Some rows and some shares at once.
template <int SOME, int USED>
inline void block(const float* w, const Wide* in, int64_t columns, const float* bias, bool fresh,
                  Wide* out) {
  Share s[SOME][USED];
#pragma GCC unroll 8
  for (int r = 0; r < SOME; ++r)
#pragma GCC unroll 4
    for (int e = 0; e < USED; ++e)
      s[r][e] = !fresh ? reinterpret_cast<Share*>(out + r)[e] : bias ? Share{} + bias[r] : Share{};
  const Share* x = reinterpret_cast<const Share*>(in);
  for (int64_t k = 0; k < columns; ++k, w += PANEL, x += SHARES) {
#pragma GCC unroll 8
    for (int r = 0; r < SOME; ++r)
#pragma GCC unroll 4
      for (int e = 0; e < USED; ++e) s[r][e] += w[r] * x[e];
  }
#pragma GCC unroll 8
  for (int r = 0; r < SOME; ++r)
#pragma GCC unroll 4
    for (int e = 0; e < USED; ++e) reinterpret_cast<Share*>(out + r)[e] = s[r][e];
}

template <int USED>
void product_of(const Matrix& m, const Wide* in, Wide* out) {
  constexpr int SOME = rows_at_once(USED);
  const float* w = m.weights;
  for (int64_t begin = 0; begin < m.columns; begin += CHUNK) {
    const int64_t columns = std::min(CHUNK, m.columns - begin);
    for (int64_t first = 0; first < m.rows; first += PANEL, w += columns * PANEL)
      for (int64_t r = 0; r < PANEL; r += SOME)
        block<SOME, USED>(w + r, in + begin, columns, m.bias ? m.bias + first + r : nullptr,
                          begin == 0, out + first + r);
  }
}

inline void product(const Matrix& m, const Wide* in, Wide* out, int shares) {
  switch (shares) {
    case 1: return product_of<1>(m, in, out);
    case 2: return product_of<2>(m, in, out);
    case 3: return product_of<3>(m, in, out);
    default: return product_of<SHARES>(m, in, out);
  }
}

// x / (1 + exp(-x)), in place.
inline void silu(int64_t rows, float* x, int) {
  for (int64_t r = 0; r < rows; ++r) x[r] = x[r] / (1.0f + std::exp(-x[r]));
}
inline void silu(int64_t rows, Wide* x, int shares) {
  for (int64_t r = 0; r < rows; ++r)
    for (int share = 0; share < shares; ++share) {
      const Singles value = get(x[r], share);
      Singles limited = value < -87.0f ? Singles{} - 87.0f : value;
      limited = limited > 87.0f ? Singles{} + 87.0f : limited;
      put(x[r], share, value / (1.0f + exp_within(-limited)));
    }
}

inline float root(float x) { return std::sqrt(x); }
inline Singles root(Singles x) { return sqrt(x); }
