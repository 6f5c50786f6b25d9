// Equal steps of an explicit Runge-Kutta method from event to event, see
// dae_solver/solver/methods/explicit.py and dae_solver/solver/run.py, whose rules these are. Times are
// in double precision whatever the lanes are.

struct Stretch {
  // The method.
  int64_t stages;
  const double *a, *b, *c;
  // Steps end at multiples of `step` after `first`, and at `stop`; the first to end at `pause` or
  // later is the last. Of each scenario.
  const double *first, *step, *stop, *pause;
  double tolerance;
  // Where the scenarios are; changed in place.
  double *t, *x, *y, *f, *slope, *missed, *h;
  // Outputs: [scenario, time, row] with the place of each scenario, and the number of its next.
  // Without times the end of each step is one, and has derivatives instead of voltages; they are
  // [output, row], and the place is the first of a scenario, if there is but one output in a place.
  const double* times;
  int64_t outputs;
  double *x_out, *y_out, *f_out;
  const int64_t* place;
  int64_t *next, *steps;
  // Where the next step could not be done.
  uint8_t* stuck;
};

template <class V>
inline Mask<V> finite(const V* values, int rows) {
  Mask<V> found = truth<V>(1.0);
  for (int r = 0; r < rows; ++r) found = found & (values[r] - values[r] == 0.0);
  return found;
}

template <class V>
struct Place {
  V x[STATES], y[ROWS], f[STATES], slope[ROWS], missed[MOST_STAGES * ROWS], h;
  double t[lanes_of<V>];
};

// One step from `start`; true where all equations were solved.
template <class V>
Mask<V> one_step(const Equations<V>& equations, const Stretch& s, const Place<V>& start, V h,
             Place<V>& end) {
  const int stages = static_cast<int>(s.stages);
  const Real<V> tolerance = solvable<V>(s.tolerance);
  V k[MOST_STAGES][STATES], stage[STATES], guess[ROWS], better[ROWS], y[ROWS];
  for (int r = 0; r < STATES; ++r) k[0][r] = start.f[r];
  Mask<V> good = truth<V>(1.0), moving = truth<V>(0.0);
  for (int r = 0; r < ROWS; ++r) moving = moving | (start.slope[r] != 0.0);
  const V ratio = h / start.h, square = ratio * ratio;
  Real<V> node = 0.0;
  for (int number = 1; number <= stages; ++number) {
    const bool end_of_step = number == stages;
    const double* weights = end_of_step ? s.b : s.a + number * stages;
    const Real<V> at = end_of_step ? 1.0 : s.c[number];
    for (int r = 0; r < STATES; ++r) {
      V sum = splat<V>(0.0);
      for (int j = 0; j < number; ++j)
        if (weights[j] != 0.0) sum += static_cast<Real<V>>(weights[j]) * k[j][r];
      stage[r] = start.x[r] + h * sum;
    }
    if (end_of_step) {
      limits<V>(stage, equations.p, equations.c, end.x);
      for (int r = 0; r < STATES; ++r) stage[r] = end.x[r];
    }
    // Guesses follow the slope of the step before, then the stages before, and are corrected by
    // what such a guess missed in the step before.
    const V* missed = start.missed + (number - 1) * ROWS;
    for (int r = 0; r < ROWS; ++r) {
      if (node == 0.0)
        guess[r] = start.y[r] + at * h * start.slope[r];
      else if (at == node)
        guess[r] = y[r];
      else
        guess[r] = start.y[r] + (at / node) * (y[r] - start.y[r]);
      better[r] = guess[r] + missed[r] * square;
    }
    node = at;
    V last;
    equations.voltages(stage, better, tolerance, y, &last);
    good = good & (last <= tolerance);
    for (int r = 0; r < ROWS; ++r) {
      const V miss = y[r] - guess[r];
      end.missed[(number - 1) * ROWS + r] =
          number == 1 ? where(moving, miss, splat<V>(0.0)) : miss;
    }
    slopes<V>(stage, y, equations.p, equations.c, end_of_step ? end.f : k[number]);
  }
  for (int r = 0; r < ROWS; ++r) {
    end.y[r] = y[r];
    end.slope[r] = (y[r] - start.y[r]) / h;
  }
  end.h = h;
  return good & finite(end.x, STATES) & finite(end.y, ROWS);
}

template <class V>
inline void write_lane(const V* values, int rows, int lane, int64_t at, double* to) {
  for (int r = 0; r < rows; ++r) to[at * rows + r] = at_lane(values[r], lane);
}

// Outputs that the steps of the lanes in `done` pass.
template <class V>
void outputs(const Columns& columns, const Equations<V>& equations, const Stretch& s,
             const Place<V>& start, const Place<V>& end, Mask<V> done) {
  const auto next = [&](int lane) {
    const int64_t scenario = columns.at[lane];
    return s.place[scenario] * s.outputs + s.next[scenario]++;
  };
  if (!s.times) {
    for (int lane = 0; lane < columns.count; ++lane)
      if (at_lane(done, lane)) {
        const int64_t at = next(lane);
        write_lane<V>(end.x, STATES, lane, at, s.x_out);
        write_lane<V>(end.f, STATES, lane, at, s.f_out);
      }
    return;
  }
  for (;;) {
    Mask<V> inside = truth<V>(0.0);
    V share = splat<V>(1.0);
    bool more = false;
    for (int lane = 0; lane < columns.count; ++lane) {
      if (!at_lane(done, lane)) continue;
      const int64_t scenario = columns.at[lane], number = s.next[scenario];
      if (number >= s.outputs) continue;
      const double goal = s.times[number], t = end.t[lane], h = t - start.t[lane];
      if (goal > t + 1e-12 * std::fmax(1.0, std::fabs(t))) continue;
      more = true;
      if (std::fabs(goal - t) <= 1e-9 * h) {
        const int64_t at = next(lane);
        write_lane<V>(end.x, STATES, lane, at, s.x_out);
        write_lane<V>(end.y, ROWS, lane, at, s.y_out);
      } else {
        set_lane(inside, lane, true);
        const double by = (goal - start.t[lane]) / h;
        set_lane(share, lane, std::fmin(std::fmax(by, 0.0), 1.0));
      }
    }
    if (!more) return;
    if (!any(inside)) continue;
    V x[STATES], guess[ROWS], y[ROWS];
    const V square = share * share, cube = square * share;
    for (int r = 0; r < STATES; ++r)
      x[r] = (1.0 - 3.0 * square + 2.0 * cube) * start.x[r] +
             (3.0 * square - 2.0 * cube) * end.x[r] +
             end.h * ((share - 2.0 * square + cube) * start.f[r] + (cube - square) * end.f[r]);
    for (int r = 0; r < ROWS; ++r) guess[r] = start.y[r] + share * (end.y[r] - start.y[r]);
    V last;
    equations.voltages(x, guess, solvable<V>(s.tolerance), y, &last);
    for (int lane = 0; lane < columns.count; ++lane)
      if (at_lane(inside, lane)) {
        const int64_t at = next(lane);
        write_lane<V>(x, STATES, lane, at, s.x_out);
        write_lane<V>(y, ROWS, lane, at, s.y_out);
      }
  }
}

template <class V>
inline void blend(Mask<V> mask, const V* from, int rows, V* to) {
  for (int r = 0; r < rows; ++r) to[r] = where(mask, from[r], to[r]);
}

template <class V>
void stretch_of(const Columns& columns, const Batch& batch, const Stretch& s) {
  const Equations<V> equations(columns, batch);
  const int guesses = static_cast<int>(s.stages) * ROWS;
  Place<V> here, there;
  constexpr int NUMBER = lanes_of<V>;
  double first[NUMBER], step[NUMBER], stop[NUMBER], pause[NUMBER], goal[NUMBER];
  columns.read(s.x, STATES, here.x);
  columns.read(s.y, ROWS, here.y);
  columns.read(s.f, STATES, here.f);
  columns.read(s.slope, ROWS, here.slope);
  columns.read(s.missed, guesses, here.missed);
  columns.read(s.h, 1, &here.h);
  columns.read_each(s.t, here.t);
  columns.read_each(s.first, first);
  columns.read_each(s.step, step);
  columns.read_each(s.stop, stop);
  columns.read_each(s.pause, pause);
  Mask<V> going = truth<V>(0.0), stuck = going;
  for (int lane = 0; lane < NUMBER; ++lane) set_lane(going, lane, here.t[lane] < stop[lane]);
  while (any(going)) {
    V h = V{};
    for (int lane = 0; lane < NUMBER; ++lane) {
      const double t = here.t[lane];
      const double passed = std::floor((t - first[lane]) / step[lane] + 1e-9);
      const double node = first[lane] + (passed + 1.0) * step[lane];
      goal[lane] = node >= stop[lane] - 1e-9 * (node - t) ? stop[lane] : node;
      set_lane(h, lane, at_lane(going, lane) ? goal[lane] - t : step[lane]);
    }
    const Mask<V> good = one_step(equations, s, here, h, there);
    stuck = stuck | (going & !good);
    going = going & good;
    for (int lane = 0; lane < NUMBER; ++lane)
      there.t[lane] = at_lane(going, lane) ? goal[lane] : here.t[lane];
    outputs(columns, equations, s, here, there, going);
    blend(going, there.x, STATES, here.x);
    blend(going, there.y, ROWS, here.y);
    blend(going, there.f, STATES, here.f);
    blend(going, there.slope, ROWS, here.slope);
    blend(going, there.missed, guesses, here.missed);
    blend(going, &there.h, 1, &here.h);
    for (int lane = 0; lane < columns.count; ++lane)
      if (at_lane(going, lane)) ++s.steps[columns.at[lane]];
    for (int lane = 0; lane < NUMBER; ++lane) {
      const double t = here.t[lane] = there.t[lane];
      if (t >= stop[lane] || t >= pause[lane] - 1e-12 * (1.0 + std::fabs(t)))
        set_lane(going, lane, false);
    }
  }
  columns.write(here.x, STATES, s.x);
  columns.write(here.y, ROWS, s.y);
  columns.write(here.f, STATES, s.f);
  columns.write(here.slope, ROWS, s.slope);
  columns.write(here.missed, guesses, s.missed);
  columns.write_each(here.t, s.t);
  columns.write(&here.h, 1, s.h);
  for (int lane = 0; lane < columns.count; ++lane)
    if (at_lane(stuck, lane)) s.stuck[columns.at[lane]] = 1;
}

// Steps of equal size where somebody looks: [scenario, time, row] at the times within each.
struct Passed {
  int64_t count, outputs, rows, states;
  double rounding;
  const int64_t *of, *row, *steps, *first;  // the first node of each window
  const double *begin, *end, *times;
  const double *x, *f;  // [node, state]
  double* out;
};

void passed_of(const Passed& p) {
  for (int64_t w = 0; w < p.count; ++w) {
    const double begin = p.begin[w], end = p.end[w];
    const double slack = p.rounding * std::fmax(1.0, std::fabs(end));
    const double* last = std::upper_bound(p.times, p.times + p.outputs, end + slack);
    const double* time = std::upper_bound(p.times, last, begin + slack);
    double* to = p.out + (p.of[w] * p.outputs + (time - p.times)) * p.rows;
    if (!p.steps[w]) {
      const double* x = p.x + p.first[w] * p.states;
      for (; time < last; ++time, to += p.rows)
        for (int64_t k = 0; k < p.rows; ++k) to[k] = x[p.row[k]];
      continue;
    }
    const double h = (end - begin) / p.steps[w];
    for (; time < last; ++time, to += p.rows) {
      const double place = (*time - begin) / h;
      // A step ends where it ends, but for rounding.
      const int64_t number = std::clamp<int64_t>(
          static_cast<int64_t>(std::ceil(place - 1e-9)) - 1, 0, p.steps[w] - 1);
      const double s = std::clamp(place - number, 0.0, 1.0), square = s * s, cube = square * s;
      const double* x = p.x + (p.first[w] + number) * p.states;
      const double* f = p.f + (p.first[w] + number) * p.states;
      const double here = 1.0 - 3.0 * square + 2.0 * cube, there = 3.0 * square - 2.0 * cube;
      const double leaves = h * (s - 2.0 * square + cube), arrives = h * (cube - square);
      for (int64_t k = 0; k < p.rows; ++k) {
        const int64_t r = p.row[k], next = r + p.states;
        to[k] = here * x[r] + there * x[next] + leaves * f[r] + arrives * f[next];
      }
    }
  }
}

// How far angles are apart at the nodes of steps: of each window the largest spread, at how many
// nodes before synchronism is lost it is beyond `far`, and the last of these.
struct Spreads {
  int64_t count, states, machines;
  double far, separation;
  const int64_t *steps, *first, *row;
  const double *x;       // [node, state]
  const double *online;  // [machine, window], null where all are connected
  double* largest;
  int64_t *beyond, *last;
};

void spreads_of(const Spreads& s) {
  for (int64_t w = 0; w < s.count; ++w) {
    const double* x = s.x + s.first[w] * s.states;
    double largest = 0.0;
    int64_t beyond = 0, last = 0;
    bool together = true;
    for (int64_t node = 0; node <= s.steps[w]; ++node, x += s.states) {
      double high = -INFINITY, low = INFINITY, total = 0.0;
      for (int64_t m = 0; m < s.machines; ++m) {
        if (s.online && !(s.online[m * s.count + w] > 0.0)) continue;
        const double angle = x[s.row[m]];
        high = std::fmax(high, angle);
        low = std::fmin(low, angle);
        total += angle;
      }
      // Not a number where equations could not be solved, or no machine is left.
      const double apart = std::isfinite(total) && high >= low ? high - low : 0.0;
      largest = std::fmax(largest, apart);
      together = together && apart <= s.separation;
      if (together && apart > s.far) {
        ++beyond;
        last = node;
      }
    }
    s.largest[w] = largest;
    s.beyond[w] = beyond;
    s.last[w] = last;
  }
}
