// The functions that Python calls, on top of what was written from a recording:
//
// constants STATES, BUSES, PARAMETERS, GIVEN, MASKS (at least one each), MOST_ROUNDS and
// PLAIN_ROUNDS of dae_solver/physics/voltages.py, MOST_STAGES, and
// slopes(x, y, p, c, out)      derivatives of the states
// limits(x, p, c, out)         states within their hard limits
// prepare(x, p, c, t, g, h)    how far the machines have turned, and of the currents what does not
//                              depend on voltages in a frame that turns with them
// currents(y, g, h, c, out)    minus the currents of the devices at each bus in that frame
//
// Arrays are [row, scenario]; complex vectors are their real parts, then their imaginary parts.

constexpr int ROWS = 2 * BUSES;

inline void product(const double* matrix, const double* right, double* out) {
  for (int i = 0; i < ROWS; ++i) {
    const double* row = matrix + i * ROWS;
    Lanes sum = splat<Lanes>(0.0);
    int j = 0;
    for (; j + LANES <= ROWS; j += LANES) {
      Lanes a, b;
      __builtin_memcpy(&a, row + j, sizeof a);
      __builtin_memcpy(&b, right + j, sizeof b);
      sum += a * b;
    }
    double total = 0.0;
    for (int lane = 0; lane < LANES; ++lane) total += sum[lane];
    for (; j < ROWS; ++j) total += row[j] * right[j];
    out[i] = total;
  }
}

// Some rows at a time, so that sums need not wait for each other.
template <int TILE, class V>
inline void rows_of_product(const Real<V>* row, const V* right, V* out) {
  V s[TILE] = {};
  for (int j = 0; j < ROWS; ++j) {
    const V x = right[j];
#pragma GCC unroll 8
    for (int r = 0; r < TILE; ++r) s[r] += row[r * ROWS + j] * x;
  }
  for (int r = 0; r < TILE; ++r) out[r] = s[r];
}

template <class V>
inline void product(const Real<V>* matrix, const V* right, V* out) {
  int i = 0;
  for (; i + 8 <= ROWS; i += 8) rows_of_product<8>(matrix + i * ROWS, right, out + i);
  if constexpr (ROWS % 8 != 0) rows_of_product<ROWS % 8>(matrix + i * ROWS, right, out + i);
}

template <class V>
inline void turned(const V* from, V cosine, V sine, V* to) {
  for (int b = 0; b < BUSES; ++b) {
    const V real = from[b], imag = from[BUSES + b];
    to[b] = real * cosine - imag * sine;
    to[BUSES + b] = imag * cosine + real * sine;
  }
}

// Anderson's method of depth 2, see dae_solver/solver/anderson.py.
template <class V>
struct Anderson {
  int rounds = 0;
  V change[ROWS], result[ROWS];    // of the round before
  V d[2][ROWS], e[2][ROWS];        // differences of changes and of results, the newest first at `at`
  int at = 0;

  void next(const V* fresh, const V* moved, bool plain, V* to) {
    const int two = at, had = rounds++;
    if (had > 0) at = 1 - at;
    V along = splat<V>(0.0), one = along, both = along, other = along, across = along;
    for (int r = 0; r < ROWS; ++r) {
      to[r] = fresh[r];
      if (had > 0) {
        const V newest = moved[r] - change[r], older = d[two][r];
        d[at][r] = newest;
        e[at][r] = fresh[r] - result[r];
        along += moved[r] * newest, one += newest * newest;
        if (had > 1) both += newest * older, other += older * older, across += moved[r] * older;
      }
      change[r] = moved[r], result[r] = fresh[r];
    }
    if (had == 0 || plain) return;
    const V least = splat<V>(std::is_same_v<Real<V>, float> ? 1e-30 : 1e-300);
    if (had == 1) {
      const V share = along / where(one > least, one, least);
      for (int r = 0; r < ROWS; ++r) to[r] -= share * e[at][r];
      return;
    }
    // The last term keeps parallel differences apart, of which one would do.
    constexpr Real<V> apart = 1.0 + (std::is_same_v<Real<V>, float> ? 1e-5 : 1e-12);
    const V size = one * other * apart - both * both + least;
    const V first = (other * along - both * across) / size;
    const V second = (one * across - both * along) / size;
    for (int r = 0; r < ROWS; ++r) to[r] -= first * e[at][r] + second * e[two][r];
  }
};

// Voltages from a guess, and how far the last round moved them; returns the number of rounds. None
// is worked out beyond the first round where they are not `wanted`.
template <class V>
int solved(const V* x, const V* p, const Real<V>* c, const Real<V>* inverse, const Real<V>* added,
           const V* guess, Real<V> tolerance, Mask<V> wanted, V* y, V* last) {
  V t[1], g[GIVEN], s[ROWS], u[ROWS], fresh[ROWS], moved[ROWS], found[ROWS];
  Mask<V> h[MASKS];
  prepare<V>(x, p, c, t, g, h);
  const V cosine = cos(t[0]), sine = sin(t[0]);
  turned<V>(guess, cosine, -sine, u);
  Anderson<V> anderson;
  Mask<V> open = truth<V>(1.0);
  *last = splat<V>(0.0);
  int number = 0;
  while (number < MOST_ROUNDS) {
    currents<V>(u, g, h, c, s);
    for (int b = 0; b < BUSES; ++b) {
      const Real<V>* a = added + 4 * b;
      const V real = u[b], imag = u[BUSES + b];
      s[b] = a[0] * real + a[1] * imag - s[b];
      s[BUSES + b] = a[2] * real + a[3] * imag - s[BUSES + b];
    }
    product(inverse, s, fresh);
    V size = splat<V>(0.0);
    for (int r = 0; r < ROWS; ++r) {
      moved[r] = fresh[r] - u[r];
      size = larger(size, abs(moved[r]));
    }
    // Scenarios that are done keep what they have, whatever the others beside them need.
    for (int r = 0; r < ROWS; ++r) found[r] = where(open, fresh[r], found[r]);
    *last = where(open, size, *last);
    open = open & wanted & !(size <= tolerance);
    const bool plain = number++ < PLAIN_ROUNDS;
    if (!any(open)) break;
    anderson.next(fresh, moved, plain, u);
  }
  turned<V>(found, cosine, sine, y);
  return number;
}

// The numbers of the grid and of its networks.
template <class R>
struct Numbers {
  const R* c;
  const R* const* inverses;
  const R* const* added;
};

struct Batch {
  Parameters parameters;
  Numbers<double> numbers;
  const double* const* admittances;
  const int64_t* network;
  Numbers<float> single;

  const Numbers<double>& of(double) const { return numbers; }
  const Numbers<float>& of(float) const { return single; }
};

// The equations of the scenarios in some lanes, which share one network.
template <class V>
struct Equations {
  V p[PARAMETERS];
  const Real<V> *c, *inverse, *added;
  const double* admittance;

  Equations(const Columns& columns, const Batch& batch) : Equations(batch, columns.at[0]) {
    batch.parameters.read(columns, p);
  }
  // Without parameters.
  Equations(const Batch& batch, int64_t scenario) {
    const int64_t network = batch.network[scenario];
    const Numbers<Real<V>>& numbers = batch.of(Real<V>());
    c = numbers.c;
    inverse = numbers.inverses[network];
    added = numbers.added[network];
    admittance = batch.admittances[network];
  }
  int voltages(const V* x, const V* guess, Real<V> tolerance, V* y, V* last,
               Mask<V> wanted = truth<V>(1.0)) const {
    return solved<V>(x, p, c, inverse, added, guess, tolerance, wanted, y, last);
  }
};

// Currents into the network less those of the devices.
template <class V>
void residuals(const Equations<V>& equations, const V* states, const V* voltages, V* out) {
  V t[1], g[GIVEN], u[ROWS], s[ROWS], found[ROWS];
  Mask<V> h[MASKS];
  prepare<V>(states, equations.p, equations.c, t, g, h);
  const V cosine = cos(t[0]), sine = sin(t[0]);
  turned<V>(voltages, cosine, -sine, u);
  currents<V>(u, g, h, equations.c, s);
  product(equations.admittance, u, found);
  for (int r = 0; r < ROWS; ++r) found[r] += s[r];
  turned<V>(found, cosine, sine, out);
}

template <class V>
void residuals_of(const Columns& columns, const Batch& batch, const double* x, const double* y,
                  double* out) {
  const Equations<V> equations(columns, batch);
  V states[STATES], voltages[ROWS], found[ROWS];
  columns.read(x, STATES, states);
  columns.read(y, ROWS, voltages);
  residuals<V>(equations, states, voltages, found);
  columns.write(found, ROWS, out);
}

// Voltages where the iteration leads there, the guess elsewhere, and their largest residual.
template <class V>
void settled_of(const Columns& columns, const Batch& batch, const double* x, const double* guess,
                double tolerance, double* y, double* residual) {
  const Equations<V> equations(columns, batch);
  V states[STATES], start[ROWS], voltages[ROWS], found[ROWS], last, largest = splat<V>(0.0);
  columns.read(x, STATES, states);
  columns.read(guess, ROWS, start);
  equations.voltages(states, start, tolerance, voltages, &last);
  for (int r = 0; r < ROWS; ++r) voltages[r] = where(last < 1.0, voltages[r], start[r]);
  residuals<V>(equations, states, voltages, found);
  for (int r = 0; r < ROWS; ++r) largest = larger(largest, abs(found[r]));
  columns.write(voltages, ROWS, y);
  columns.write(&largest, 1, residual);
}

template <class V>
void slopes_of(const Columns& columns, const Batch& batch, const double* x, const double* y,
               double* out) {
  V states[STATES], voltages[ROWS], p[PARAMETERS], found[STATES];
  columns.read(x, STATES, states);
  columns.read(y, ROWS, voltages);
  batch.parameters.read(columns, p);
  slopes<V>(states, voltages, p, batch.numbers.c, found);
  columns.write(found, STATES, out);
}

template <class V>
void limits_of(const Columns& columns, const Batch& batch, const double* x, double* out) {
  V states[STATES], p[PARAMETERS], found[STATES];
  columns.read(x, STATES, states);
  batch.parameters.read(columns, p);
  limits<V>(states, p, batch.numbers.c, found);
  columns.write(found, STATES, out);
}

template <class V>
void voltages_of(const Columns& columns, const Batch& batch, const double* x, const double* guess,
                 double tolerance, double* y, double* moved, int64_t* rounds) {
  const Equations<V> equations(columns, batch);
  V states[STATES], voltages[ROWS], start[ROWS];
  columns.read(x, STATES, states);
  columns.read(guess, ROWS, start);
  V last;
  const int64_t number = equations.voltages(states, start, tolerance, voltages, &last);
  if (number > *rounds) *rounds = number;
  columns.write(voltages, ROWS, y);
  columns.write(&last, 1, moved);
}

#include "stretch.h"

// Voltages where somebody looks: [scenario, time, row] of each scenario from its first output on up
// to its last, which is the one before `last`. Each is the guess for the next.
struct Along {
  int64_t outputs;
  const int64_t *first, *last;
  double tolerance;
  const double *x, *guess;  // [scenario, time, state]; [row, scenario]
  double* y;
  uint8_t* missed;  // [scenario, time], 1 where no voltages were found
};

template <class V>
void along_of(const Columns& columns, const Batch& batch, const Along& a) {
  const Equations<V> equations(columns, batch);
  V x[STATES], guess[ROWS], y[ROWS], last;
  columns.read(a.guess, ROWS, y);
  int64_t begin = a.outputs, end = 0;
  for (int lane = 0; lane < columns.count; ++lane) {
    const int64_t first = a.first[columns.at[lane]], last = a.last[columns.at[lane]];
    if (first < last) begin = std::min(begin, first), end = std::max(end, last);
  }
  for (int64_t n = begin; n < end; ++n) {
    Mask<V> inside = truth<V>(0.0);
    for (int lane = 0; lane < lanes_of<V>; ++lane) {
      const int64_t scenario = columns.at[lane];
      const int64_t own = std::min(std::max(n, a.first[scenario]), a.last[scenario] - 1);
      set_lane(inside, lane, lane < columns.count && own == n);
      const double* from = a.x + (scenario * a.outputs + std::max<int64_t>(own, 0)) * STATES;
      for (int r = 0; r < STATES; ++r) set_lane(x[r], lane, from[r]);
    }
    for (int r = 0; r < ROWS; ++r) guess[r] = y[r];
    equations.voltages(x, guess, a.tolerance, y, &last, inside);
    for (int r = 0; r < ROWS; ++r) y[r] = where(inside, y[r], guess[r]);
    for (int lane = 0; lane < columns.count; ++lane) {
      if (!at_lane(inside, lane)) continue;
      const int64_t at = columns.at[lane] * a.outputs + n;
      write_lane<V>(y, ROWS, lane, at, a.y);
      a.missed[at] = !(at_lane(last, lane) <= a.tolerance);
    }
  }
}

}  // namespace

extern "C" {

void dae_slopes(int64_t scenarios, const Batch* batch, const double* x, const double* y,
                double* out) {
  each_block(scenarios, nullptr, nullptr, [&](const Columns& columns, auto kind) {
    slopes_of<decltype(kind)>(columns, *batch, x, y, out);
  });
}

void dae_residuals(int64_t scenarios, const Batch* batch, const int64_t* order, const double* x,
                   const double* y, double* out) {
  each_block(scenarios, order, batch->network, [&](const Columns& columns, auto kind) {
    residuals_of<decltype(kind)>(columns, *batch, x, y, out);
  });
}

void dae_limits(int64_t scenarios, const Batch* batch, const double* x, double* out) {
  each_block(scenarios, nullptr, nullptr, [&](const Columns& columns, auto kind) {
    limits_of<decltype(kind)>(columns, *batch, x, out);
  });
}

void dae_voltages(int64_t scenarios, const Batch* batch, const int64_t* order, const double* x,
                  const double* guess, double tolerance, double* y, double* moved,
                  int64_t* rounds) {
  each_block(scenarios, order, batch->network, [&](const Columns& columns, auto kind) {
    voltages_of<decltype(kind)>(columns, *batch, x, guess, tolerance, y, moved, rounds);
  });
}

void dae_settled(int64_t scenarios, const Batch* batch, const int64_t* order, const double* x,
                 const double* guess, double tolerance, double* y, double* residual) {
  each_block(scenarios, order, batch->network, [&](const Columns& columns, auto kind) {
    settled_of<decltype(kind)>(columns, *batch, x, guess, tolerance, y, residual);
  });
}

void dae_along(int64_t scenarios, const Batch* batch, const int64_t* order, const Along* along) {
  each_block(scenarios, order, batch->network, [&](const Columns& columns, auto kind) {
    along_of<decltype(kind)>(columns, *batch, *along);
  });
}

void dae_passed(const Passed* passed) { passed_of(*passed); }

void dae_spreads(const Spreads* spreads) { spreads_of(*spreads); }

void dae_stretch(int64_t scenarios, const Batch* batch, const int64_t* order,
                 const Stretch* stretch) {
  each_block(scenarios, order, batch->network, [&](const Columns& columns, auto kind) {
    stretch_of<decltype(kind)>(columns, *batch, *stretch);
  });
}
}
