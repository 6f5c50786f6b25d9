// Elementary functions of several scenarios at once. Coefficients are those of Sun's fdlibm; errors
// are below three units in the last place. Lanes beyond the reach of the reduction are left to libm.

typedef int64_t LanesInt __attribute__((vector_size(LANES * sizeof(int64_t))));

#define EACH_LANE(name)                                                      \
  inline double name(double a) { return std::name(a); }                      \
  inline Lanes each_##name(Lanes a) {                                        \
    Lanes out;                                                               \
    for (int lane = 0; lane < LANES; ++lane) out[lane] = std::name(a[lane]); \
    return out;                                                              \
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

// Adding it rounds to whole numbers, which are then in the lowest bits.
constexpr double ROUNDS = 6755399441055744.0;

inline LanesInt bits(Lanes a) {
  LanesInt out;
  __builtin_memcpy(&out, &a, sizeof out);
  return out;
}
inline Lanes number(LanesInt a) {
  Lanes out;
  __builtin_memcpy(&out, &a, sizeof out);
  return out;
}
inline bool within(Lanes a, double reach) { return !any(!(number(bits(a) & INT64_MAX) <= reach)); }

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
  const LanesInt turn = bits(shifted) + ahead;
  const Lanes found = (turn & 1) != 0 ? c : s;
  return number(bits(found) ^ ((turn & 2) << 62));
}
inline Lanes sin(Lanes a) { return within(a, 1e6) ? turned_sine(a, 0) : each_sin(a); }
inline Lanes cos(Lanes a) { return within(a, 1e6) ? turned_sine(a, 1) : each_cos(a); }

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
  return number(bits(found) + (bits(shifted) << 52));
}

inline Lanes sqrt(Lanes a) {
  double values[LANES];
  __builtin_memcpy(values, &a, sizeof a);
#pragma omp simd
  for (int lane = 0; lane < LANES; ++lane) values[lane] = std::sqrt(values[lane]);
  __builtin_memcpy(&a, values, sizeof a);
  return a;
}

inline Lanes floor(Lanes a) {
  if (!within(a, 1e15)) return each_floor(a);
  const Lanes nearest = (a + ROUNDS) - ROUNDS;
  return nearest > a ? nearest - 1.0 : nearest;
}
