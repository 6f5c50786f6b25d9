// Windows of the learned operator, from where scenarios are to where Python has to be asked: see
// dae_solver/hybrid/solver.py, whose rules these are. It follows after batch.h.

namespace {

#include "networks.h"

// What was learned. Values of a window are [node, row]: the states, angles less that of their
// centre, which is the last row.
struct Learned {
  int64_t nodes, modes, width, features, hidden, experts, machines, degrees;
  double horizon, move;                   // seconds; slopes enter as what moves in this time
  const double *times[2], *spectrum;      // of the points of both quadratures; [degree, node]
  const float *gauss, *integrate[2];      // [node, node]
  const float *weight, *center, *spread;  // of the rows; of the features
  const float *mode_spread, *residual, *change;
  const int64_t* angles;  // rows of them
  const double* inertia;  // shares of the machines
  Matrix decode, encode, angle_modes, last;
  Matrix enter, leave, start, step, out, gate, mixed;
  const Matrix *layers, *corrector_layers;
};

// What is asked of the windows; `parts` of a window may be accepted.
// MOST_NODES of dae_solver/config/model.py comes before this file.
constexpr int PARTS = 2, MOST_DEGREES = MOST_NODES + 1;
constexpr double DEGREES = 180.0 / M_PI;
struct Demand {
  double bound, factor, residual, floor, classical, tolerance, end;
  double first, slowest, unsteady, grows, at_once, shortest;
  double parts[PARTS], doubt[PARTS];
  int64_t corrections, refuse;

  double growth(double spread) const {
    const double beyond = spread * DEGREES - unsteady;
    return std::exp(std::min(std::max(beyond, 0.0), 1000.0) / grows);
  }
};

// Why a scenario stopped: somebody has to act, a window was refused, or its error or the angles
// became too large.
enum : int64_t { ACT, REFUSED_ONE, TOO_FAR };

// Scenarios, changed in place, and the windows that were accepted.
struct Course {
  int64_t scenarios, count, capacity, accepted;
  const int64_t *list, *topology;
  // Features: first rows and numbers of rows of parameters, which machines are on (below 0: all),
  // and impedances, [topology, value].
  int64_t parameters, impedances, online;
  const int64_t *places, *rows;
  const float* z;
  double *t, *stop, *x, *y, *score, *spread, *classical;
  int64_t *at_once, *corrected;  // windows of each scenario
  int64_t* why;                  // the listed scenarios stopped
  int64_t* of;                   // scenario of each window, its begin, end, first states
  double *begin, *end, *first;
  float* coefficients;
};

// Some scenarios of one network in each share of the lanes, and their windows.
struct Group {
  int shares = 0;
  Columns columns[SHARES];
  int64_t slots[WIDE];
};

struct One {
  typedef double E;
  typedef float N;
};
struct Many {
  typedef Lanes E;
  typedef Wide N;
};

// Legendre polynomials shifted to [0, 1], at s in [-1, 1]: see dae_solver/model/collocation.py.
template <class V>
inline void legendre(V s, int64_t degrees, V* out) {
  out[0] = splat<V>(1.0), out[1] = s;
  for (int64_t d = 1; d + 1 < degrees; ++d)
    out[d + 1] = (2.0 * d + 1.0) / (d + 1.0) * s * out[d] - d / (d + 1.0) * out[d - 1];
}

// Where windows are while they are corrected.
struct Slots {
  std::vector<int64_t> scenario;
  std::vector<double> x, y, y_end, p, angle, goal, moved;
  std::vector<float> start, coefficients;
  std::vector<uint8_t> open;
};

// What part of a window is good enough, or what else is to happen to it.
constexpr int OPEN = -1, REFUSED = -2;
struct Verdict {
  int part;
  double length, score, spread;
};

template <class K>
class Windows {
  typedef typename K::E E;
  typedef typename K::N N;

 public:
  Windows(const Batch& batch, const Learned& o, const Demand& demand, const Course& course)
      : batch(batch), o(o), demand(demand), course(course), rows(STATES + 1) {
    const int64_t values = rows * o.nodes;
    seen.resize(o.features), h.resize(2 * o.width + o.features + o.modes), more.resize(o.width);
    c.resize(o.modes), unit.resize(2 * o.modes + 1), change.resize(o.modes);
    mixed.resize(o.experts * o.modes), gates.resize(o.experts);
    there.resize(values), at.resize(values), left.resize(values);
    moved.resize(o.machines * o.nodes), end.resize(STATES);
  }

  // First guesses of windows, and whether their voltages exist.
  void begin(const Group& group, Slots& slots) {
    for (int share = 0; share < group.shares; ++share) start_of(group, share, slots);
    for (int64_t k = 0; k < o.features; ++k) seen[k] = (seen[k] - o.center[k]) / o.spread[k];
    product(o.start, seen.data(), more.data());
    store(group, more.data(), o.width, slots.start);
    product(o.enter, seen.data(), h.data());
    silu(o.width, h.data());
    through(o.layers);
    std::copy(seen.begin(), seen.end(), h.begin() + o.width);
    product(o.leave, h.data(), c.data());
    for (int64_t m = 0; m < o.modes; ++m) c[m] = c[m] * o.mode_spread[m];
    store(group, c.data(), o.modes, slots.coefficients);
  }

  // One correction of windows, of which some are accepted, some refused and some left open.
  void correct(const Group& group, Slots& slots, int64_t round, Course& out) {
    load(group, slots.coefficients, o.modes, c.data());
    load(group, slots.start, o.width, more.data());
    const N size = residual(group, slots, round);
    step();
    store(group, c.data(), o.modes, slots.coefficients);
    N furthest[MOST_NODES], apart[MOST_NODES];
    angles(group, slots, furthest, apart);
    Verdict verdicts[WIDE];
    bool any_accepted = false;
    each_lane(group, [&](int place) {
      const bool first = round == 0, last = round == demand.corrections;
      verdicts[place] = judge(slots, group.slots[place], place, furthest, apart,
                              at_lane(size, place), first, last);
      slots.open[group.slots[place]] = verdicts[place].part == OPEN;
      any_accepted |= verdicts[place].part >= 0;
    });
    if (!any_accepted) return;
    ends(group, slots, verdicts);
    each_lane(group, [&](int place) {
      if (verdicts[place].part >= 0) accept(group, place, slots, verdicts[place], round, out);
    });
  }

 private:
  const Batch& batch;
  const Learned& o;
  const Demand& demand;
  const Course& course;
  const int64_t rows;
  std::vector<N> seen, h, more, c, unit, change, mixed, gates, there, at, left, moved, end;
  std::vector<double> ending = std::vector<double>(WIDE * STATES);

  // Calls `what` with the lane of each window.
  template <class What>
  static void each_lane(const Group& group, What what) {
    for (int share = 0; share < group.shares; ++share)
      for (int lane = 0; lane < group.columns[share].count; ++lane)
        what(share * LANES + lane);
  }
  void store(const Group& group, const N* from, int64_t count, std::vector<float>& to) const {
    each_lane(group, [&](int place) {
      float* row = &to[group.slots[place] * count];
      for (int64_t k = 0; k < count; ++k) row[k] = at_lane(from[k], place);
    });
  }
  void load(const Group& group, const std::vector<float>& from, int64_t count, N* to) const {
    each_lane(group, [&](int place) {
      const float* row = &from[group.slots[place] * count];
      for (int64_t k = 0; k < count; ++k) set_lane(to[k], place, row[k]);
    });
  }
  static void keep(const Group& group, int share, const E* from, int64_t count, double* to) {
    for (int lane = 0; lane < group.columns[share].count; ++lane)
      for (int64_t k = 0; k < count; ++k)
        to[group.slots[share * LANES + lane] * count + k] = at_lane(from[k], lane);
  }
  // Lanes without a window do what the last one does.
  static void fetch(const Group& group, int share, const double* from, int64_t count, E* to) {
    const int lanes = static_cast<int>(sizeof(E) / sizeof(double)), some = group.columns[share].count;
    for (int lane = 0; lane < lanes; ++lane) {
      const int64_t slot = group.slots[share * LANES + (lane < some ? lane : some - 1)];
      for (int64_t k = 0; k < count; ++k) set_lane(to[k], lane, from[slot * count + k]);
    }
  }

  Equations<E> equations_of(const Group& group, int share, const Slots& slots) const {
    Equations<E> found(batch, group.columns[share].at[0]);
    fetch(group, share, slots.p.data(), PARAMETERS, found.p);
    return found;
  }

  void through(const Matrix* layers) {
    N* beyond = h.data() + o.width + o.features + o.modes;
    for (int64_t k = 0; k < o.hidden; ++k) {
      product(layers[k], h.data(), beyond);
      silu(o.width, beyond);
      for (int64_t r = 0; r < o.width; ++r) h[r] += beyond[r];
    }
  }

  void start_of(const Group& group, int share, Slots& slots) {
    const Columns& columns = group.columns[share];
    const Equations<E> equations(columns, batch);
    E x[STATES], v[ROWS], guess[ROWS], f[STATES], last, angle = splat<E>(0.0);
    columns.read(course.x, STATES, x);
    columns.read(course.y, ROWS, v);
    for (int64_t k = 0; k < o.machines; ++k) angle += o.inertia[k] * x[o.angles[k]];
    for (int64_t k = 0; k < o.machines; ++k) x[o.angles[k]] -= angle;
    turned<E>(v, cos(angle), -sin(angle), guess);
    equations.voltages(x, guess, demand.tolerance, v, &last);
    slopes<E>(x, v, equations.p, equations.c, f);
    keep(group, share, x, STATES, slots.x.data());
    keep(group, share, v, ROWS, slots.y.data());
    keep(group, share, &angle, 1, slots.angle.data());
    keep(group, share, equations.p, PARAMETERS, slots.p.data());
    const Mask<E> solved = last <= demand.tolerance;
    N* to = seen.data();
    for (int r = 0; r < STATES; ++r) put(*to++, share, x[r]);
    for (int r = 0; r < STATES; ++r) put(*to++, share, o.move * f[r]);
    for (int r = 0; r < ROWS; ++r) put(*to++, share, v[r]);
    for (int part = 0; part < course.parameters; ++part)
      for (int64_t r = 0; r < course.rows[part]; ++r)
        put(*to++, share, equations.p[course.places[part] + r]);
    for (int64_t k = 0; k < o.machines; ++k)
      put(*to++, share, course.online < 0 ? splat<E>(1.0) : equations.p[course.online + k]);
    for (int lane = 0; lane < columns.count; ++lane) {
      const int64_t topology = course.topology[columns.at[lane]];
      const float* z = course.z + topology * course.impedances;
      for (int64_t k = 0; k < course.impedances; ++k) set_lane(to[k], share * LANES + lane, z[k]);
      slots.open[group.slots[share * LANES + lane]] = at_lane(solved, lane);
    }
  }

  // What the equations say less what the windows are, as coefficients in `change`; its size.
  N residual(const Group& group, Slots& slots, int64_t round) {
    const int64_t nodes = o.nodes, other = round % 2;
    product(o.decode, c.data(), there.data());
    const N* points = there.data();
    if (other) {
      mixed_nodes(o.gauss, rows, there.data(), at.data());
      points = at.data();
    }
    N good = N{};
    for (int share = 0; share < group.shares; ++share)
      put(good, share, slopes_at(group, share, slots, points, o.times[other]));
    mixed_nodes(o.integrate[other], STATES, left.data(), at.data());
    N size = N{};
    for (int64_t n = 0; n < nodes; ++n) {
      N* value = &at[n * rows];
      N center = N{};
      for (int64_t k = 0; k < o.machines; ++k)
        center += static_cast<float>(o.inertia[k]) * value[o.angles[k]];
      for (int64_t k = 0; k < o.machines; ++k) value[o.angles[k]] -= center;
      value[STATES] = center;
      for (int64_t r = 0; r < rows; ++r) {
        const N by = (value[r] - there[n * rows + r]) * o.weight[r];
        left[n * rows + r] = by;
        size += by * by;
      }
    }
    size = root(size / static_cast<float>(rows * nodes));
    const auto known = (good > 0.0f) & (size - size == 0.0f);
    for (int64_t k = 0; k < rows * nodes; ++k) left[k] = known ? left[k] : N{};
    product(o.encode, left.data(), change.data());
    return known ? size : N{} + INFINITY;
  }

  // At each point a sum over nodes, of the first rows.
  void mixed_nodes(const float* weights, int64_t count, const N* from, N* to) const {
    for (int64_t n = 0; n < o.nodes; ++n)
      for (int64_t r = 0; r < count; ++r) {
        N sum = N{};
        for (int64_t k = 0; k < o.nodes; ++k) sum += weights[n * o.nodes + k] * from[k * rows + r];
        to[n * rows + r] = sum;
      }
  }

  // Slopes at some points of windows, in `left`; 1 where all voltages there exist.
  E slopes_at(const Group& group, int share, Slots& slots, const N* points, const double* times) {
    const Equations<E> equations = equations_of(group, share, slots);
    E first[STATES], start[ROWS], x[STATES], inside[STATES], guess[ROWS], v[ROWS], f[STATES], last;
    fetch(group, share, slots.x.data(), STATES, first);
    fetch(group, share, slots.y.data(), ROWS, start);
    // In the frame of the centre of inertia, voltages go on as they did between the points before.
    E before[ROWS], after[ROWS];
    for (int r = 0; r < ROWS; ++r) before[r] = after[r] = start[r];
    Mask<E> solved = truth<E>(1.0);
    for (int64_t n = 0; n < o.nodes; ++n) {
      const N* point = points + n * rows;
      const E center = get(point[STATES], share);
      for (int r = 0; r < STATES; ++r) x[r] = first[r] + get(point[r], share);
      for (int64_t k = 0; k < o.machines; ++k) x[o.angles[k]] += center;
      limits<E>(x, equations.p, equations.c, inside);
      const double two = n > 1 ? times[n - 2] : 0.0, one = n ? times[n - 1] : 0.0;
      const double ahead = n ? (times[n] - one) / (one - two) : 0.0;
      for (int r = 0; r < ROWS; ++r) guess[r] = after[r] + ahead * (after[r] - before[r]);
      const E cosine = cos(center), sine = sin(center);
      turned<E>(guess, cosine, sine, v);
      equations.voltages(inside, v, demand.tolerance, guess, &last, solved);
      for (int r = 0; r < ROWS; ++r) v[r] = guess[r], before[r] = after[r];
      turned<E>(v, cosine, -sine, after);
      solved = solved & (last <= demand.tolerance);
      slopes<E>(inside, v, equations.p, equations.c, f);
      for (int r = 0; r < STATES; ++r) put(left[n * rows + r], share, f[r]);
    }
    keep(group, share, v, ROWS, slots.y_end.data());
    return where(solved, splat<E>(1.0), splat<E>(0.0));
  }

  // The corrector: from the residual in `change` to the change there, which `c` gets.
  void step() {
    N size = N{};
    for (int64_t m = 0; m < o.modes; ++m) {
      change[m] = change[m] / o.residual[m];
      size += change[m] * change[m];
    }
    size = root(size / static_cast<float>(o.modes)) + 1e-12f;
    for (int64_t m = 0; m < o.modes; ++m) {
      unit[m] = c[m] / o.mode_spread[m];
      unit[o.modes + m] = change[m] / size;
    }
    unit[2 * o.modes] = logarithm(size);
    product(o.step, unit.data(), h.data());
    for (int64_t r = 0; r < o.width; ++r) h[r] += more[r];
    silu(o.width, h.data());
    through(o.corrector_layers);
    std::copy(unit.begin() + o.modes, unit.begin() + 2 * o.modes, h.begin() + o.width);
    product(o.out, h.data(), change.data());
    product(o.gate, h.data(), gates.data());
    product(o.mixed, unit.data() + o.modes, mixed.data());
    for (int64_t e = 0; e < o.experts; ++e)
      for (int64_t m = 0; m < o.modes; ++m) change[m] += mixed[e * o.modes + m] * gates[e];
    for (int64_t m = 0; m < o.modes; ++m) {
      change[m] = change[m] * (o.change[m] * size);
      c[m] += change[m];
    }
  }

  // How far the change moves an angle, degrees, and the spread of the angles, up to each node.
  void angles(const Group& group, const Slots& slots, N* furthest, N* apart) {
    product(o.angle_modes, change.data(), moved.data());
    for (int64_t n = 0; n < o.nodes; ++n) furthest[n] = N{};
    N lowest[MOST_NODES], highest[MOST_NODES];
    for (int64_t n = 0; n < o.nodes; ++n) lowest[n] = N{} + INFINITY, highest[n] = N{} - INFINITY;
    for (int64_t k = 0; k < o.machines; ++k) {
      N first = N{}, online = N{} + 1.0f;
      for (int share = 0; share < group.shares; ++share) {
        for (int lane = 0; lane < group.columns[share].count; ++lane) {
          const int place = share * LANES + lane;
          const int64_t slot = group.slots[place];
          set_lane(first, place, slots.x[slot * STATES + o.angles[k]]);
          if (course.online >= 0)
            set_lane(online, place, slots.p[slot * PARAMETERS + course.online + k]);
        }
      }
      for (int64_t n = 0; n < o.nodes; ++n) {
        const N by = moved[n * o.machines + k], far = by < 0.0f ? -by : by;
        furthest[n] = (far <= furthest[n]) | (furthest[n] != furthest[n]) ? furthest[n] : far;
        const N now = first + there[n * rows + o.angles[k]] + by;
        const auto on = online > 0.0f;
        lowest[n] = on & !(now >= lowest[n]) ? now : lowest[n];
        highest[n] = on & !(now <= highest[n]) ? now : highest[n];
      }
    }
    for (int64_t n = 0; n < o.nodes; ++n) {
      furthest[n] = furthest[n] * static_cast<float>(DEGREES);
      apart[n] = highest[n] - lowest[n];
      if (!n) continue;
      furthest[n] = furthest[n] >= furthest[n - 1] ? furthest[n] : furthest[n - 1];
      apart[n] = apart[n] >= apart[n - 1] ? apart[n] : apart[n - 1];
    }
  }

  Verdict judge(Slots& slots, int64_t slot, int place, const N* furthest, const N* apart,
                double size, bool first, bool last) const {
    const int64_t scenario = slots.scenario[slot];
    const double t = course.t[scenario], whole = slots.goal[slot] - t;
    bool stuck = last || !std::isfinite(size);
    for (int part = 0; part < PARTS; ++part) {
      const double length = demand.parts[part] * whole;
      const double* found = std::lower_bound(o.times[0], o.times[0] + o.nodes, length - 1e-12);
      const int64_t node = std::min<int64_t>(found - o.times[0], o.nodes - 1);
      const double by = at_lane(furthest[node], place), spread = at_lane(apart[node], place);
      const double left = std::hypot(first ? demand.first * by : by, demand.residual * size);
      const double score = demand.doubt[part] * left;
      if (!part) {
        stuck = stuck || !(by < demand.slowest * slots.moved[slot]);
        slots.moved[slot] = by;
      }
      if (part && (!stuck || length < demand.shortest)) continue;
      if (fits(scenario, t + length, score, spread)) return {part, length, score, spread};
    }
    return {stuck ? REFUSED : OPEN, 0.0, 0.0, 0.0};
  }

  // Whether a score leaves enough of the bound to what follows the window.
  bool fits(int64_t scenario, double end, double score, double spread) const {
    if (!demand.refuse || !std::isfinite(score)) return std::isfinite(score);
    const double room = demand.bound - demand.classical - demand.floor;
    const double allowed = room * (demand.at_once + (1.0 - demand.at_once) * end / demand.end);
    const double grown = demand.growth(std::max(course.spread[scenario], spread));
    return demand.factor * grown * (course.score[scenario] + score) <= allowed;
  }

  // States where windows end.
  void ends(const Group& group, const Slots& slots, const Verdict* verdicts) {
    bool whole = true;
    each_lane(group, [&](int place) {
      const Verdict& verdict = verdicts[place];
      whole &= verdict.part < 0 || verdict.length >= o.horizon * (1 - 1e-9);
    });
    if (whole)
      product(o.last, c.data(), end.data());
    else
      within(group, verdicts);
    for (int share = 0; share < group.shares; ++share) {
      const Equations<E> equations = equations_of(group, share, slots);
      E x[STATES], angle[1], inside[STATES];
      fetch(group, share, slots.x.data(), STATES, x);
      fetch(group, share, slots.angle.data(), 1, angle);
      for (int r = 0; r < STATES; ++r) x[r] += get(end[r], share);
      for (int64_t k = 0; k < o.machines; ++k) x[o.angles[k]] += angle[0];
      limits<E>(x, equations.p, equations.c, inside);
      for (int lane = 0; lane < group.columns[share].count; ++lane)
        for (int r = 0; r < STATES; ++r)
          ending[(share * LANES + lane) * STATES + r] = at_lane(inside[r], lane);
    }
  }

  // Deviations somewhere in windows, by the polynomial through their nodes.
  void within(const Group& group, const Verdict* verdicts) {
    product(o.decode, c.data(), left.data());
    N weights[MOST_NODES] = {};
    each_lane(group, [&](int place) {
      double polynomials[MOST_DEGREES], sums[MOST_NODES] = {};
      legendre(2.0 * verdicts[place].length / o.horizon - 1.0, o.degrees, polynomials);
      for (int64_t d = 0; d < o.degrees; ++d)
        for (int64_t n = 0; n < o.nodes; ++n)
          sums[n] += polynomials[d] * o.spectrum[d * o.nodes + n];
      for (int64_t n = 0; n < o.nodes; ++n) set_lane(weights[n], place, sums[n]);
    });
    N center = N{};
    for (int64_t r = STATES; r >= 0; --r) {
      N sum = N{};
      for (int64_t n = 0; n < o.nodes; ++n) sum += weights[n] * left[n * rows + r];
      if (r == STATES)
        center = sum;
      else
        end[r] = sum;
    }
    for (int64_t k = 0; k < o.machines; ++k) end[o.angles[k]] += center;
  }

  void accept(const Group& group, int place, const Slots& slots, const Verdict& verdict,
              int64_t round, Course& out) const {
    const int64_t slot = group.slots[place], scenario = slots.scenario[slot], k = out.accepted++;
    const double t = out.t[scenario], goal = slots.goal[slot];
    out.of[k] = scenario, out.begin[k] = t, out.end[k] = t + verdict.length;
    for (int r = 0; r < STATES; ++r) {
      double& x = out.x[r * out.scenarios + scenario];
      out.first[k * STATES + r] = x;
      x = ending[place * STATES + r];
    }
    std::copy_n(&slots.coefficients[slot * o.modes], o.modes, out.coefficients + k * o.modes);
    const double angle = slots.angle[slot];
    double y[ROWS];
    turned<double>(&slots.y_end[slot * ROWS], std::cos(angle), std::sin(angle), y);
    for (int r = 0; r < ROWS; ++r) out.y[r * out.scenarios + scenario] = y[r];
    out.score[scenario] += verdict.score;
    out.spread[scenario] = std::max(out.spread[scenario], verdict.spread);
    ++(round ? out.corrected : out.at_once)[scenario];
    out.t[scenario] = verdict.length < goal - t ? t + verdict.length : goal;
  }
};

// Calls `block` for windows in groups whose shares have one network each.
template <class Block>
void each_group(const std::vector<int64_t>& slots, const Slots& all, const Batch& batch,
                int64_t scenarios, Block block) {
  Group group;
  const auto fill = [&](size_t begin, size_t end) {
    Columns& columns = group.columns[group.shares];
    columns.scenarios = scenarios, columns.side_by_side = false;
    columns.count = static_cast<int>(end - begin);
    for (int lane = 0; lane < LANES; ++lane) {
      const int64_t slot = slots[begin + (lane < columns.count ? lane : columns.count - 1)];
      group.slots[group.shares * LANES + lane] = slot;
      columns.at[lane] = all.scenario[slot];
    }
    ++group.shares;
  };
  const auto network = [&](size_t k) { return batch.network[all.scenario[slots[k]]]; };
  for (size_t begin = 0, end; begin < slots.size(); begin = end) {
    for (end = begin + 1; end < slots.size() && end < begin + LANES; ++end)
      if (network(end) != network(begin)) break;
    fill(begin, end);
    if (group.shares == SHARES || end == slots.size()) block(group), group.shares = 0;
  }
}

inline double spread_of(const Learned& o, const Batch& batch, const Course& course,
                        int64_t scenario) {
  double lowest = INFINITY, highest = -INFINITY;
  for (int64_t k = 0; k < o.machines; ++k) {
    int64_t row = course.online + k, array = 0;
    if (course.online >= 0) {
      for (; row >= batch.parameters.rows[array]; ++array) row -= batch.parameters.rows[array];
      if (!(batch.parameters.address[array][row * course.scenarios + scenario] > 0)) continue;
    }
    const double angle = course.x[o.angles[k] * course.scenarios + scenario];
    lowest = std::fmin(lowest, angle), highest = std::fmax(highest, angle);
  }
  return highest - lowest;
}

// Windows of the listed scenarios, which are sorted by network, until each has to be looked at.
void windows_of(const Batch& batch, const Learned& o, const Demand& demand, Course& course) {
  std::unique_ptr<Windows<One>> one;
  std::unique_ptr<Windows<Many>> many;
  Slots slots;
  std::vector<int64_t> going(course.list, course.list + course.count), place(course.scenarios);
  for (int64_t k = 0; k < course.count; ++k) place[course.list[k]] = k;
  std::vector<int64_t> open, still;
  const auto goal_of = [&](int64_t scenario) {
    const double t = course.t[scenario], stop = course.stop[scenario];
    return stop - t <= o.horizon * (1 + 1e-9) ? stop : t + o.horizon;
  };
  while (!going.empty() && course.accepted + static_cast<int64_t>(going.size()) <= course.capacity) {
    const size_t number = going.size();
    slots.scenario = going;
    slots.x.resize(number * STATES), slots.y.resize(number * ROWS);
    slots.y_end.resize(number * ROWS), slots.p.resize(number * PARAMETERS);
    slots.angle.resize(number), slots.goal.resize(number);
    slots.moved.assign(number, INFINITY), slots.open.assign(number, 0);
    slots.start.resize(number * o.width), slots.coefficients.resize(number * o.modes);
    open.resize(number);
    for (size_t k = 0; k < number; ++k) {
      slots.goal[k] = goal_of(going[k]);
      open[k] = k;
    }
    const int64_t before = course.accepted;
    const auto each = [&](auto what) {
      each_group(open, slots, batch, course.scenarios, [&](const Group& group) {
        if (group.shares == 1 && group.columns[0].count == 1) {
          if (!one) one = std::make_unique<Windows<One>>(batch, o, demand, course);
          what(*one, group);
        } else {
          if (!many) many = std::make_unique<Windows<Many>>(batch, o, demand, course);
          what(*many, group);
        }
      });
      still.clear();
      for (const int64_t slot : open)
        if (slots.open[slot]) still.push_back(slot);
      open.swap(still);
    };
    each([&](auto& windows, const Group& group) { windows.begin(group, slots); });
    for (int64_t round = 0; round <= demand.corrections && !open.empty(); ++round)
      each([&](auto& windows, const Group& group) {
        windows.correct(group, slots, round, course);
      });
    for (const int64_t scenario : going) course.why[place[scenario]] = REFUSED_ONE;
    for (int64_t k = before; k < course.accepted; ++k) course.why[place[course.of[k]]] = ACT;
    still.clear();
    for (const int64_t scenario : going) {
      int64_t& why = course.why[place[scenario]];
      if (why == REFUSED_ONE) continue;
      const double grown = demand.growth(course.spread[scenario]) * course.score[scenario];
      const double bound = demand.factor * grown + demand.floor + course.classical[scenario];
      if ((demand.refuse && bound > demand.bound) || spread_of(o, batch, course, scenario) > M_PI) {
        why = TOO_FAR;
        continue;
      }
      const double t = course.t[scenario];
      if (t >= course.stop[scenario] || goal_of(scenario) - t < demand.shortest) continue;
      still.push_back(scenario);
    }
    going.swap(still);
  }
}

// Accepted windows where somebody looks: [scenario, time, row] at the times within each.
struct Views {
  int64_t count, outputs, rows, nodes, degrees;
  double horizon, rounding;
  const int64_t* of;
  const double *begin, *end, *times, *spectrum;
  const double* first;      // [window, row]
  const float* deviations;  // [window, row, node]
  double* out;
};

void views_of(const Views& v) {
  const int64_t degrees = v.degrees;
  std::vector<double> spectra(v.rows * degrees);
  for (int64_t w = 0; w < v.count; ++w) {
    const double begin = v.begin[w], end = v.end[w];
    const double slack = v.rounding * std::fmax(1.0, std::fabs(end));
    const double* last = std::upper_bound(v.times, v.times + v.outputs, end + slack);
    const double* time = std::upper_bound(v.times, last, begin + slack);
    if (time == last) continue;
    for (int64_t r = 0; r < v.rows; ++r)
      for (int64_t d = 0; d < degrees; ++d) {
        const float* node = v.deviations + (w * v.rows + r) * v.nodes;
        double sum = 0.0;
        for (int64_t n = 0; n < v.nodes; ++n) sum += v.spectrum[d * v.nodes + n] * node[n];
        spectra[r * degrees + d] = sum;
      }
    for (; time < last; time += LANES) {
      const int some = static_cast<int>(std::min<int64_t>(last - time, LANES));
      Lanes s = splat<Lanes>(0.0);
      for (int lane = 0; lane < some; ++lane) s[lane] = 2.0 * (time[lane] - begin) / v.horizon - 1.0;
      Lanes polynomials[MOST_DEGREES];
      legendre(s, degrees, polynomials);
      double* to = v.out + (v.of[w] * v.outputs + (time - v.times)) * v.rows;
      for (int64_t r = 0; r < v.rows; ++r) {
        Lanes sum = splat<Lanes>(v.first[w * v.rows + r]);
        for (int64_t d = 0; d < degrees; ++d) sum += spectra[r * degrees + d] * polynomials[d];
        for (int lane = 0; lane < some; ++lane) to[lane * v.rows + r] = sum[lane];
      }
    }
  }
}

}  // namespace

extern "C" {

void dae_windows(const Batch* batch, const Learned* learned, const Demand* demand,
                 Course* course) {
  windows_of(*batch, *learned, *demand, *course);
}

void dae_views(const Views* views) { views_of(*views); }
}
