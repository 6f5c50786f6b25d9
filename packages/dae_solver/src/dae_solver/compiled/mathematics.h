// Elementary functions of several scenarios at once. Coefficients are those of Sun's fdlibm and, in
// single precision, of Moshier's Cephes; errors are below three units in the last place. Lanes
// beyond the reach of the reduction are left to libm.

#define EACH_LANE(name)                                                             \
  inline double name(double a) { return std::name(a); }                             \
  template <class V>                                                                \
  inline V each_##name(V a) {                                                       \
    V out;                                                                          \
    for (int lane = 0; lane < lanes_of<V>; ++lane) out[lane] = std::name(a[lane]);  \
    return out;                                                                     \
  }
EACH_LANE(sin)
EACH_LANE(cos)
EACH_LANE(exp)
EACH_LANE(log)
EACH_LANE(tanh)
EACH_LANE(sqrt)
EACH_LANE(floor)
#undef EACH_LANE
inline Lanes log(Lanes a) { return each_log(a); }
inline Lanes tanh(Lanes a) { return each_tanh(a); }
inline Singles log(Singles a) { return each_log(a); }
inline Singles tanh(Singles a) { return each_tanh(a); }

// Adding it rounds to whole numbers, which are then in the lowest bits.
constexpr double ROUNDS = 6755399441055744.0;
constexpr float ROUNDS_SINGLE = 12582912.0f;

// Numbers as their bits, and back: masks are whole numbers of the same size.
template <class V>
inline Mask<V> bits(V a) {
  Mask<V> out;
  __builtin_memcpy(&out, &a, sizeof out);
  return out;
}
template <class V>
inline V number(Mask<V> a) {
  V out;
  __builtin_memcpy(&out, &a, sizeof out);
  return out;
}

inline double abs(double a) { return std::fabs(a); }
template <class V>
inline V abs(V a) {
  return number<V>(bits(a) & ~bits(-V{}));
}

// The larger of two numbers that are not negative; what is not a number stays, as the bits of both
// kinds are ordered like that.
inline double larger(double a, double b) { return b <= a || a != a ? a : b; }
template <class V>
inline V larger(V a, V b) {
  return number<V>(bits(a) > bits(b) ? bits(a) : bits(b));
}

// What is not a number is left to the formulas, which keep it.
template <class V>
inline bool within(V a, Real<V> reach) {
  return !any(abs(a) > reach);
}

// The sine of a quarter turn times `ahead`, and further by an angle.
inline Lanes turned_sine(Lanes a, int64_t ahead) {
  const Lanes shifted = a * 6.36619772367581382433e-01 + ROUNDS, quarters = shifted - ROUNDS;
  const Lanes r = ((a - quarters * 1.57079632673412561417e+00) -
                   quarters * 6.07710050630396597660e-11) -
                  quarters * 2.02226624879595063154e-21;
  const Lanes z = r * r;
  const Lanes s =
      r + r * z *
              (-1.66666666666666324348e-01 +
               z * (8.33333333332248946124e-03 +
                    z * (-1.98412698298579493134e-04 +
                         z * (2.75573137070700676789e-06 +
                              z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
  const Lanes c =
      1.0 - 0.5 * z +
      z * z *
          (4.16666666666666019037e-02 +
           z * (-1.38888888888741095749e-03 +
                z * (2.48015872894767294178e-05 +
                     z * (-2.75573143513906633035e-07 +
                          z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  const Mask<Lanes> turn = bits(shifted) + ahead;
  const Lanes found = (turn & 1) != 0 ? c : s;
  return number<Lanes>(bits(found) ^ ((turn & 2) << 62));
}
inline Lanes sin(Lanes a) { return within(a, 1e6) ? turned_sine(a, 0) : each_sin(a); }
inline Lanes cos(Lanes a) { return within(a, 1e6) ? turned_sine(a, 1) : each_cos(a); }

inline Singles turned_sine(Singles a, int32_t ahead) {
  const Singles shifted = a * 6.36619772e-01f + ROUNDS_SINGLE, quarters = shifted - ROUNDS_SINGLE;
  const Singles r = ((a - quarters * 1.5703125f) - quarters * 4.837512969970703125e-4f) -
                    quarters * 7.54978995489188216e-8f;
  const Singles z = r * r;
  const Singles s =
      r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
  const Singles c =
      1.0f - 0.5f * z +
      z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const Mask<Singles> turn = bits(shifted) + ahead;
  const Singles found = (turn & 1) != 0 ? c : s;
  return number<Singles>(bits(found) ^ ((turn & 2) << 30));
}
inline Singles sin(Singles a) { return within(a, 1e3f) ? turned_sine(a, 0) : each_sin(a); }
inline Singles cos(Singles a) { return within(a, 1e3f) ? turned_sine(a, 1) : each_cos(a); }

// Up to 87, which the caller knows.
inline Singles exp_within(Singles a) {
  const Singles shifted = a * 1.44269504f + ROUNDS_SINGLE, powers = shifted - ROUNDS_SINGLE;
  const Singles r = (a - powers * 0.693359375f) + powers * 2.12194440e-4f;
  Singles y = 1.9875691500e-4f * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return y * number<Singles>((bits(shifted) + 127) << 23);
}
inline Singles exp(Singles a) { return within(a, 87.0f) ? exp_within(a) : each_exp(a); }

inline Lanes exp(Lanes a) {
  if (!within(a, 700.0)) return each_exp(a);
  const Lanes shifted = a * 1.44269504088896338700e+00 + ROUNDS, powers = shifted - ROUNDS;
  const Lanes high = a - powers * 6.93147180369123816490e-01;
  const Lanes low = powers * 1.90821492927058770002e-10, r = high - low, z = r * r;
  const Lanes c =
      r - z * (1.66666666666666019037e-01 +
               z * (-2.77777777770155933842e-03 +
                    z * (6.61375632143793436117e-05 +
                         z * (-1.65339022054652515390e-06 + z * 4.13813679705723846039e-08))));
  const Lanes found = 1.0 - ((low - r * c / (2.0 - c)) - high);
  return found * number<Lanes>((bits(shifted) + 1023) << 52);
}

template <class V>
inline V sqrt(V a) {
  Real<V> values[lanes_of<V>];
  __builtin_memcpy(values, &a, sizeof a);
#pragma omp simd
  for (int lane = 0; lane < lanes_of<V>; ++lane) values[lane] = std::sqrt(values[lane]);
  __builtin_memcpy(&a, values, sizeof a);
  return a;
}

inline Lanes floor(Lanes a) {
  if (!within(a, 1e15)) return each_floor(a);
  const Lanes nearest = (a + ROUNDS) - ROUNDS;
  return nearest > a ? nearest - 1.0 : nearest;
}
inline Singles floor(Singles a) { return each_floor(a); }

inline double atan2(double a, double b) { return std::atan2(a, b); }
template <class V>
inline V atan2(V a, V b) {
  V out;
  for (int lane = 0; lane < lanes_of<V>; ++lane) out[lane] = std::atan2(a[lane], b[lane]);
  return out;
}
