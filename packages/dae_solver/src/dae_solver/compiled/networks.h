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

// Rows and columns of a tile of weights; rows are as many as the lanes of a share.
constexpr int TILE = 16, DEEP = 32;
// What products are written to has room for so many rows more, which make up whole tiles.
constexpr int ROOM = TILE - 1;

// The weights are [chunk of columns, panel of rows, column, row], with zeros after the last row; so
// are the biases. The tiles have the weights as sums of one or two numbers of 16 bits, the halves,
// [tile of rows, tile of columns, half, row, column], with zeros; there may be none.
struct Matrix {
  const float *weights, *bias;
  const uint16_t* tiles;
  int64_t rows, columns, halves;
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

#ifdef TILES
// Products by the processor's matrix unit (AMX). It multiplies numbers of 16 bits (bfloat16) and adds
// up in single precision. Where weights have two halves, both factors are sums of two such numbers,
// which have 16 bits together, and of the four products the least is left out.
class Tiles {
 public:
  // Whether there is such a unit, and the system lets this process use it.
  static bool there() {
    static const bool found = asked();
    return found;
  }

  Tiles() {
    if (!there()) return;
    alignas(64) const struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE};
    } shape;
    asm volatile("ldtilecfg %0" ::"m"(shape));
  }
  ~Tiles() {
    if (there()) asm volatile("tilerelease");
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  static void product(const Matrix& m, const Wide* in, Wide* out, int shares) {
    m.halves == 1 ? product_of<1>(m, in, out, shares) : product_of<2>(m, in, out, shares);
  }

 private:
  typedef uint32_t Pairs __attribute__((vector_size(sizeof(Singles))));
  typedef uint16_t Words __attribute__((vector_size(sizeof(Singles))));
  typedef Pairs Tile[TILE];
  // Of the input so many tiles at a time are halved: they stay in the nearest cache.
  static constexpr int64_t AT_ONCE = 4;
  static inline thread_local Tile inputs[AT_ONCE][SHARES][2];

  static bool asked() {
    constexpr unsigned tile = 1u << 24, bfloat = 1u << 22;
    constexpr long request = 0x1023, data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (tile | bfloat)) != (tile | bfloat))
      return false;
    return syscall(SYS_arch_prctl, request, data) == 0;
  }

  // Sums are in the tiles 0 to 3, one for each share.
  template <int HALVES>
  static void product_of(const Matrix& m, const Wide* in, Wide* out, int shares) {
    const int64_t deep = (m.columns + DEEP - 1) / DEEP;
    if (m.bias)
      for (int64_t r = 0; r < m.rows; ++r)
        for (int share = 0; share < shares; ++share) put(out[r], share, Singles{} + m.bias[r]);
    for (int64_t begin = 0; begin < deep; begin += AT_ONCE) {
      const int64_t end = std::min(begin + AT_ONCE, deep);
      halve<HALVES>(in, begin * DEEP, std::min(m.columns, end * DEEP), shares);
      for (int64_t first = 0; first < m.rows; first += TILE) {
        const uint16_t* weights = m.tiles + (first / TILE * deep + begin) * HALVES * TILE * DEEP;
        if (begin || m.bias)
          read(out + first, shares);
        else
          zero(shares);
        for (int64_t k = begin; k < end; ++k, weights += HALVES * TILE * DEEP)
          add<HALVES>(weights, inputs[k - begin], shares);
        write(out + first, shares);
      }
    }
  }

  // The upper 16 bits of two numbers in each lane.
  static Pairs both(Pairs low, Pairs high) {
#ifdef __clang__
    return low >> 16 | (high & 0xffff0000u);
#else
    constexpr Words from = {1,  33, 3,  35, 5,  37, 7,  39, 9,  41, 11, 43, 13, 45, 15, 47,
                            17, 49, 19, 51, 21, 53, 23, 55, 25, 57, 27, 59, 29, 61, 31, 63};
    return (Pairs)__builtin_shuffle((Words)low, (Words)high, from);
#endif
  }

  // Two inputs in each lane: their upper halves, and what is left.
  template <int HALVES>
  static void halve(const Wide* in, int64_t first, int64_t last, int shares) {
    for (int64_t k = first; k < last; k += 2) {
      const int64_t row = (k - first) % DEEP / 2;
      for (int share = 0; share < shares; ++share) {
        const Singles even = get(in[k], share), odd = k + 1 < last ? get(in[k + 1], share) : Singles{};
        Tile* to = inputs[(k - first) / DEEP][share];
        const Pairs low = (Pairs)even + 0x8000u, high = (Pairs)odd + 0x8000u;
        to[0][row] = both(low, high);
        if (HALVES == 1) continue;
        const Singles less = even - (Singles)(low & 0xffff0000u);
        const Singles rest = odd - (Singles)(high & 0xffff0000u);
        to[1][row] = both((Pairs)less + 0x8000u, (Pairs)rest + 0x8000u);
      }
    }
    for (int64_t k = last + last % 2; k % DEEP; k += 2)
      for (int share = 0; share < shares; ++share)
        for (Tile& half : inputs[(k - first) / DEEP][share]) half[(k - first) % DEEP / 2] = Pairs{};
  }

  // The unit's instructions name their tiles.
#define EACH_SHARE(what)   \
  what(0);                 \
  if (shares > 1) what(1); \
  if (shares > 2) what(2); \
  if (shares > 3) what(3)
#define AT_SHARE(at, share) "r"(reinterpret_cast<const Share*>(at) + share), "r"(sizeof(Wide))

  static void zero(int shares) {
#define ZERO(share) asm volatile("tilezero %%tmm" #share ::)
    EACH_SHARE(ZERO);
#undef ZERO
  }
  static void read(const Wide* from, int shares) {
#define READ(share) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #share ::AT_SHARE(from, share) : "memory")
    EACH_SHARE(READ);
#undef READ
  }
  static void write(Wide* to, int shares) {
#define WRITE(share) \
  asm volatile("tilestored %%tmm" #share ", (%0,%1,1)" ::AT_SHARE(to, share) : "memory")
    EACH_SHARE(WRITE);
#undef WRITE
  }

  // The products of a tile of weights with that of each share.
  template <int HALVES>
  static void add(const uint16_t* weights, const Tile (*of)[2], int shares) {
    constexpr int64_t row = DEEP * sizeof(uint16_t);
    asm volatile("tileloadd (%0,%1,1), %%tmm4" ::"r"(weights), "r"(row) : "memory");
    if (HALVES == 1) {
#define ADD(share)                                                                           \
  asm volatile("tileloadd (%0,%1,1), %%tmm6\n\ttdpbf16ps %%tmm6, %%tmm4, %%tmm" #share ::"r"( \
                   of[share][0]),                                                            \
               "r"(row)                                                                      \
               : "memory")
      EACH_SHARE(ADD);
#undef ADD
      return;
    }
    asm volatile("tileloadd (%0,%1,1), %%tmm5" ::"r"(weights + TILE * DEEP), "r"(row) : "memory");
#define ADD(share)                                                                         \
  asm volatile(                                                                            \
      "tileloadd (%0,%2,1), %%tmm6\n\ttdpbf16ps %%tmm6, %%tmm4, %%tmm" #share              \
      "\n\ttdpbf16ps %%tmm6, %%tmm5, %%tmm" #share                                         \
      "\n\ttileloadd (%1,%2,1), %%tmm7\n\ttdpbf16ps %%tmm7, %%tmm4, %%tmm" #share ::"r"(   \
          of[share][0]),                                                                   \
      "r"(of[share][1]), "r"(row)                                                          \
      : "memory")
    EACH_SHARE(ADD);
#undef ADD
  }
#undef AT_SHARE
#undef EACH_SHARE
};
#endif

inline void product(const Matrix& m, const Wide* in, Wide* out, int shares) {
#ifdef TILES
  if (m.tiles && Tiles::there()) return Tiles::product(m, in, out, shares);
#endif
  switch (shares) {
    case 1: return product_of<1>(m, in, out);
    case 2: return product_of<2>(m, in, out);
    case 3: return product_of<3>(m, in, out);
    default: return product_of<SHARES>(m, in, out);
  }
}

// 1 / x of what is not near the ends of the range.
inline Singles inverse(Singles x) {
#ifdef __AVX512F__
  // A fourth of the time of a division: 14 bits, doubled by a step of Newton's.
  const Singles rough = _mm512_rcp14_ps(x);
  return rough * (2.0f - x * rough);
#else
  return 1.0f / x;
#endif
}

// x / (1 + exp(-x)).
inline float silu(float x) { return x / (1.0f + std::exp(-x)); }
inline Singles silu(Singles x) {
  Singles limited = x < -87.0f ? Singles{} - 87.0f : x;
  limited = limited > 87.0f ? Singles{} + 87.0f : limited;
  return x * inverse(1.0f + exp_within(-limited));
}

inline float root(float x) { return std::sqrt(x); }
inline Singles root(Singles x) { return sqrt(x); }
