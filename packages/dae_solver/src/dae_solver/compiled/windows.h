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
  const float *weight, *center, *spread, *reach;  // of the rows; of the features
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
  double first, slowest, unsteady, grows, separation, at_once, shortest;
  double parts[PARTS], doubt[PARTS];
  int64_t corrections, refuse;

  double growth(double spread) const {
    const double beyond = std::min(spread * DEGREES, separation) - unsteady;
    return beyond <= 0.0 ? 1.0 : std::exp(beyond / grows);
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

// Lanes of one network in a share.
struct Part {
  int share, first, last;
  int64_t scenario;  // one of that network
};
// Windows in the lanes of some shares, in the order of their networks.
struct Group {
  int shares = 0, parts = 0;
  Columns columns[SHARES];
  int64_t slots[WIDE];
  Part part[WIDE];
};

struct One {
  typedef double E;
  typedef float N, S;
};
struct Many {
  typedef Singles E;
  typedef Wide N;
  typedef Singles S;
};
// Legendre polynomials shifted to [0, 1], at s in [-1, 1]: see dae_solver/model/collocation.py.
struct Legendre {
  double ahead[MOST_DEGREES] = {}, back[MOST_DEGREES] = {};
  constexpr Legendre() {
    for (int d = 1; d < MOST_DEGREES; ++d) ahead[d] = (2.0 * d + 1.0) / (d + 1.0), back[d] = d / (d + 1.0);
  }
};
template <class V>
inline void legendre(V s, int64_t degrees, V* out) {
  static constexpr Legendre by;
  out[0] = splat<V>(1.0), out[1] = s;
  for (int64_t d = 1; d + 1 < degrees; ++d)
    out[d + 1] = by.ahead[d] * s * out[d] - by.back[d] * out[d - 1];
}

// Where windows are while they are corrected.
struct Slots {
  std::vector<int64_t> scenario;
  std::vector<double> x, angle, goal, moved;
  std::vector<float> y, y_end, p, start, coefficients;
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
  typedef typename K::E E;  // of equations
  typedef typename K::N N;  // of all shares
  typedef typename K::S S;  // of one

 public:
  Windows(const Batch& batch, const Learned& o, const Demand& demand, const Course& course)
      : batch(batch),
        o(o),
        demand(demand),
        course(course),
        rows(STATES + 1),
        tolerance(solvable<E>(demand.tolerance)) {
    const int64_t values = rows * o.nodes, room = ROOM;
    seen.resize(o.features), h.resize(2 * o.width + o.features + o.modes + room);
    more.resize(o.width + room), c.resize(o.modes + room), change.resize(o.modes + room);
    unit.resize(2 * o.modes + 1), gates.resize(o.experts + room);
    mixed.resize(o.experts * o.modes + room), there.resize(values + room);
    at.resize(values), left.resize(values + room), deviation.resize(STATES + room);
    moved.resize(o.machines * o.nodes + room);
  }

  // First guesses of windows, where their voltages exist, and their first correction.
  void begin(const Group& group, Slots& slots, Course& out) {
    shares = group.shares;
    for (int part = 0; part < group.parts; ++part) start_of(group, group.part[part], slots);
    each(seen, o.features, [&](int64_t k, int, S value) {
      return (value - o.center[k]) / o.spread[k];
    });
    if (demand.refuse) stay_within(group, slots);
    apply(o.start, seen.data(), more.data());
    apply(o.enter, seen.data(), h.data());
    each(h, o.width, [](int64_t, int, S value) { return silu(value); });
    through(o.layers);
    std::copy(seen.begin(), seen.end(), h.begin() + o.width);
    apply(o.leave, h.data(), c.data());
    each(c, o.modes, [&](int64_t m, int, S value) { return value * o.mode_spread[m]; });
    correct(group, slots, 0, out);
    store(group, more.data(), o.width, slots.open, slots.start);
  }

  // A later correction.
  void go_on(const Group& group, Slots& slots, int64_t round, Course& out) {
    shares = group.shares;
    load(group, slots.coefficients, o.modes, c.data());
    load(group, slots.start, o.width, more.data());
    correct(group, slots, round, out);
  }

 private:
  const Batch& batch;
  const Learned& o;
  const Demand& demand;
  const Course& course;
  const int64_t rows;
  const Real<E> tolerance;
  int shares = 0;
  std::vector<N> seen, h, more, c, unit, change, mixed, gates, there, at, left, moved, deviation;

  // Windows that begin where training never was are refused.
  void stay_within(const Group& group, Slots& slots) const {
    for (int share = 0; share < shares; ++share) {
      S beyond = S{};
      for (int64_t k = 0; k < o.features; ++k) {
        const S value = share_of(seen[k], share), size = value < 0.0f ? -value : value;
        beyond = size > o.reach[k] ? S{} + 1.0f : beyond;
      }
      for (int lane = 0; lane < group.columns[share].count; ++lane)
        if (at_lane(beyond, lane) > 0.0f) slots.open[group.slots[share * SINGLES + lane]] = 0;
    }
  }

  // A correction of windows, of which some are accepted, some refused and some left open.
  void correct(const Group& group, Slots& slots, int64_t round, Course& out) {
    const N size = residual(group, slots, round);
    step();
    N furthest[MOST_NODES], apart[MOST_NODES];
    angles(group, slots, furthest, apart);
    Verdict verdicts[WIDE];
    bool any_accepted = false;
    each_lane(group, [&](int place) {
      const int64_t slot = group.slots[place];
      const bool first = round == 0, last = round == demand.corrections;
      verdicts[place] = !slots.open[slot] ? Verdict{REFUSED}
                                          : judge(slots, slot, place, furthest, apart,
                                                  at_lane(size, place), first, last);
      slots.open[slot] = verdicts[place].part == OPEN;
      any_accepted |= verdicts[place].part >= 0;
    });
    store(group, c.data(), o.modes, slots.open, slots.coefficients);
    if (!any_accepted) return;
    ends(group, verdicts);
    each_lane(group, [&](int place) {
      if (verdicts[place].part >= 0) accept(group, place, slots, verdicts[place], round, out);
    });
  }

  // Replaces some values by what follows from each.
  template <class What>
  void each(std::vector<N>& values, int64_t count, What what) const {
    for (int64_t k = 0; k < count; ++k)
      for (int share = 0; share < shares; ++share)
        put(values[k], share, what(k, share, share_of(values[k], share)));
  }
  static S share_of(const N& values, int share) { return static_cast<S>(get(values, share)); }

  void apply(const Matrix& matrix, const N* in, N* to) const { product(matrix, in, to, shares); }

  // Calls `what` with the lane of each window.
  template <class What>
  static void each_lane(const Group& group, What what) {
    for (int share = 0; share < group.shares; ++share)
      for (int lane = 0; lane < group.columns[share].count; ++lane) what(share * SINGLES + lane);
  }
  // Of some windows.
  void store(const Group& group, const N* from, int64_t count, const std::vector<uint8_t>& some,
             std::vector<float>& to) const {
    each_lane(group, [&](int place) {
      if (!some[group.slots[place]]) return;
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
  static void keep(const Group& group, const Part& part, const E* from, int64_t count,
                   std::vector<float>& to) {
    for (int lane = part.first; lane < part.last; ++lane)
      for (int64_t k = 0; k < count; ++k)
        to[group.slots[part.share * SINGLES + lane] * count + k] = at_lane(from[k], lane);
  }
  // Lanes without a window do what the last one does.
  template <class R>
  static void fetch(const Group& group, int share, const std::vector<R>& from, int64_t count,
                    E* to) {
    const int some = group.columns[share].count;
    for (int lane = 0; lane < lanes_of<E>; ++lane) {
      const int64_t slot = group.slots[share * SINGLES + (lane < some ? lane : some - 1)];
      for (int64_t k = 0; k < count; ++k) set_lane(to[k], lane, from[slot * count + k]);
    }
  }

  // The lanes of a part.
  static Mask<E> lanes(const Part& part) {
    Mask<E> found = truth<E>(1.0);
    for (int lane = 0; lane < lanes_of<E>; ++lane)
      set_lane(found, lane, lane >= part.first && lane < part.last);
    return found;
  }
  static void blend(N& to, const Part& part, Mask<E> mask, E value) {
    put(to, part.share, where(mask, value, static_cast<E>(get(to, part.share))));
  }

  void through(const Matrix* layers) {
    N* beyond = h.data() + o.width + o.features + o.modes;
    for (int64_t k = 0; k < o.hidden; ++k) {
      apply(layers[k], h.data(), beyond);
      each(h, o.width, [&](int64_t r, int share, S value) {
        return value + silu(share_of(beyond[r], share));
      });
    }
  }

  void start_of(const Group& group, const Part& part, Slots& slots) {
    const Columns& columns = group.columns[part.share];
    Equations<E> equations(batch, part.scenario);
    batch.parameters.read(columns, equations.p);
    E x[STATES], v[ROWS], guess[ROWS], f[STATES], last, angle[1];
    for (int lane = part.first; lane < part.last; ++lane) {
      const int64_t slot = group.slots[part.share * SINGLES + lane];
      const double* from = course.x + columns.at[lane];
      double* own = &slots.x[slot * STATES];
      double center = 0.0;
      for (int64_t r = 0; r < STATES; ++r) own[r] = from[r * course.scenarios];
      for (int64_t k = 0; k < o.machines; ++k) center += o.inertia[k] * own[o.angles[k]];
      for (int64_t k = 0; k < o.machines; ++k) own[o.angles[k]] -= center;
      slots.angle[slot] = center;
    }
    fetch(group, part.share, slots.x, STATES, x);
    fetch(group, part.share, slots.angle, 1, angle);
    columns.read(course.y, ROWS, v);
    turned<E>(v, cos(angle[0]), -sin(angle[0]), guess);
    const Mask<E> ours = lanes(part);
    equations.voltages(x, guess, tolerance, v, &last, ours);
    slopes<E>(x, v, equations.p, equations.c, f);
    keep(group, part, v, ROWS, slots.y);
    keep(group, part, equations.p, PARAMETERS, slots.p);
    const Mask<E> solved = last <= tolerance;
    N* to = seen.data();
    const auto see = [&](E value) { blend(*to++, part, ours, value); };
    for (int r = 0; r < STATES; ++r) see(x[r]);
    for (int r = 0; r < STATES; ++r) see(static_cast<Real<E>>(o.move) * f[r]);
    for (int r = 0; r < ROWS; ++r) see(v[r]);
    for (int of = 0; of < course.parameters; ++of)
      for (int64_t r = 0; r < course.rows[of]; ++r) see(equations.p[course.places[of] + r]);
    for (int64_t k = 0; k < o.machines; ++k)
      see(course.online < 0 ? splat<E>(1.0) : equations.p[course.online + k]);
    for (int lane = part.first; lane < part.last; ++lane) {
      const int place = part.share * SINGLES + lane;
      const float* z = course.z + course.topology[columns.at[lane]] * course.impedances;
      for (int64_t k = 0; k < course.impedances; ++k) set_lane(to[k], place, z[k]);
      slots.open[group.slots[place]] = at_lane(solved, lane);
    }
  }

  // What the equations say less what the windows are, as coefficients in `change`; its size.
  N residual(const Group& group, Slots& slots, int64_t round) {
    const int64_t nodes = o.nodes, other = round % 2;
    apply(o.decode, c.data(), there.data());
    const N* points = there.data();
    if (other) {
      mixed_nodes(o.gauss, rows, there.data(), at.data());
      points = at.data();
    }
    N good = N{};
    for (int part = 0; part < group.parts; ++part)
      slopes_at(group, group.part[part], slots, points, o.times[other], good);
    mixed_nodes(o.integrate[other], STATES, left.data(), at.data());
    N sizes = N{};
    for (int share = 0; share < shares; ++share) {
      S size = S{};
      for (int64_t n = 0; n < nodes; ++n) {
        N* value = &at[n * rows];
        S center = S{};
        for (int64_t k = 0; k < o.machines; ++k)
          center += static_cast<float>(o.inertia[k]) * share_of(value[o.angles[k]], share);
        for (int64_t k = 0; k < o.machines; ++k) {
          N& angle = value[o.angles[k]];
          put(angle, share, share_of(angle, share) - center);
        }
        put(value[STATES], share, center);
        for (int64_t r = 0; r < rows; ++r) {
          const S by =
              (share_of(value[r], share) - share_of(there[n * rows + r], share)) * o.weight[r];
          put(left[n * rows + r], share, by);
          size += by * by;
        }
      }
      size = root(size / static_cast<float>(rows * nodes));
      const auto known = (share_of(good, share) > 0.0f) & (size - size == 0.0f);
      if (any(!known))
        for (int64_t k = 0; k < rows * nodes; ++k)
          put(left[k], share, known ? share_of(left[k], share) : S{});
      put(sizes, share, known ? size : S{} + INFINITY);
    }
    apply(o.encode, left.data(), change.data());
    return sizes;
  }

  // At each point a sum over nodes, of the first rows.
  void mixed_nodes(const float* weights, int64_t count, const N* from, N* to) const {
    for (int64_t r = 0; r < count; ++r)
      for (int share = 0; share < shares; ++share) {
        S values[MOST_NODES];
        for (int64_t k = 0; k < o.nodes; ++k) values[k] = share_of(from[k * rows + r], share);
        for (int64_t n = 0; n < o.nodes; ++n) {
          S sum = S{};
          for (int64_t k = 0; k < o.nodes; ++k) sum += weights[n * o.nodes + k] * values[k];
          put(to[n * rows + r], share, sum);
        }
      }
  }

  // Slopes at some points of windows, in `left`; `good` becomes 1 where all voltages there exist.
  void slopes_at(const Group& group, const Part& part, Slots& slots, const N* points,
                 const double* times, N& good) {
    const int share = part.share;
    Equations<E> equations(batch, part.scenario);
    fetch(group, share, slots.p, PARAMETERS, equations.p);
    E first[STATES], start[ROWS], x[STATES], inside[STATES], guess[ROWS], v[ROWS], f[STATES], last;
    fetch(group, share, slots.x, STATES, first);
    fetch(group, share, slots.y, ROWS, start);
    // In the frame of the centre of inertia, voltages go on as they did between the points before.
    E before[ROWS], after[ROWS];
    for (int r = 0; r < ROWS; ++r) before[r] = after[r] = start[r];
    const Mask<E> ours = lanes(part);
    Mask<E> solved = ours;
    for (int64_t n = 0; n < o.nodes; ++n) {
      const N* point = points + n * rows;
      const E center = get(point[STATES], share);
      for (int r = 0; r < STATES; ++r) x[r] = first[r] + get(point[r], share);
      for (int64_t k = 0; k < o.machines; ++k) x[o.angles[k]] += center;
      limits<E>(x, equations.p, equations.c, inside);
      const double two = n > 1 ? times[n - 2] : 0.0, one = n ? times[n - 1] : 0.0;
      const Real<E> ahead = n ? (times[n] - one) / (one - two) : 0.0;
      for (int r = 0; r < ROWS; ++r) guess[r] = after[r] + ahead * (after[r] - before[r]);
      const E cosine = cos(center), sine = sin(center);
      turned<E>(guess, cosine, sine, v);
      equations.voltages(inside, v, tolerance, guess, &last, solved);
      for (int r = 0; r < ROWS; ++r) v[r] = guess[r], before[r] = after[r];
      turned<E>(v, cosine, -sine, after);
      solved = solved & (last <= tolerance);
      slopes<E>(inside, v, equations.p, equations.c, f);
      for (int r = 0; r < STATES; ++r) blend(left[n * rows + r], part, ours, f[r]);
    }
    keep(group, part, v, ROWS, slots.y_end);
    blend(good, part, ours, where(solved, splat<E>(1.0), splat<E>(0.0)));
  }

  // The corrector: from the residual in `change` to the change there, which `c` gets.
  void step() {
    N sizes = N{};
    for (int share = 0; share < shares; ++share) {
      S size = S{};
      for (int64_t m = 0; m < o.modes; ++m) {
        const S scaled = share_of(change[m], share) / o.residual[m];
        put(change[m], share, scaled);
        size += scaled * scaled;
      }
      size = root(size / static_cast<float>(o.modes)) + 1e-12f;
      for (int64_t m = 0; m < o.modes; ++m) {
        put(unit[m], share, share_of(c[m], share) / o.mode_spread[m]);
        put(unit[o.modes + m], share, share_of(change[m], share) / size);
      }
      put(unit[2 * o.modes], share, log(size));
      put(sizes, share, size);
    }
    apply(o.step, unit.data(), h.data());
    each(h, o.width, [&](int64_t r, int share, S value) {
      return silu(value + share_of(more[r], share));
    });
    through(o.corrector_layers);
    std::copy(unit.begin() + o.modes, unit.begin() + 2 * o.modes, h.begin() + o.width);
    apply(o.out, h.data(), change.data());
    apply(o.gate, h.data(), gates.data());
    apply(o.mixed, unit.data() + o.modes, mixed.data());
    each(change, o.modes, [&](int64_t m, int share, S value) {
      for (int64_t e = 0; e < o.experts; ++e)
        value += share_of(mixed[e * o.modes + m], share) * share_of(gates[e], share);
      return value * (o.change[m] * share_of(sizes, share));
    });
    each(c, o.modes, [&](int64_t m, int share, S value) { return value + share_of(change[m], share); });
  }

  // How far the change moves an angle, degrees, and the spread of the angles, up to each node.
  void angles(const Group& group, const Slots& slots, N* furthest, N* apart) {
    apply(o.angle_modes, change.data(), moved.data());
    for (int share = 0; share < shares; ++share) {
      S far[MOST_NODES], lowest[MOST_NODES], highest[MOST_NODES];
      for (int64_t n = 0; n < o.nodes; ++n)
        far[n] = S{}, lowest[n] = S{} + INFINITY, highest[n] = S{} - INFINITY;
      for (int64_t k = 0; k < o.machines; ++k) {
        S first = S{}, online = S{} + 1.0f;
        for (int lane = 0; lane < group.columns[share].count; ++lane) {
          const int64_t slot = group.slots[share * SINGLES + lane];
          set_lane(first, lane, slots.x[slot * STATES + o.angles[k]]);
          if (course.online >= 0)
            set_lane(online, lane, slots.p[slot * PARAMETERS + course.online + k]);
        }
        const auto on = online > 0.0f;
        for (int64_t n = 0; n < o.nodes; ++n) {
          const S by = share_of(moved[n * o.machines + k], share), size = by < 0.0f ? -by : by;
          far[n] = (size <= far[n]) | (far[n] != far[n]) ? far[n] : size;
          const S now = first + share_of(there[n * rows + o.angles[k]], share) + by;
          lowest[n] = on & !(now >= lowest[n]) ? now : lowest[n];
          highest[n] = on & !(now <= highest[n]) ? now : highest[n];
        }
      }
      for (int64_t n = 0; n < o.nodes; ++n) {
        S degrees = far[n] * static_cast<float>(DEGREES), spread = highest[n] - lowest[n];
        if (n) {
          const S before = share_of(furthest[n - 1], share), least = share_of(apart[n - 1], share);
          degrees = degrees >= before ? degrees : before;
          spread = spread >= least ? spread : least;
        }
        put(furthest[n], share, degrees);
        put(apart[n], share, spread);
      }
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
      const double ahead = first ? demand.first * by : by, missed = demand.residual * size;
      const double left = std::sqrt(ahead * ahead + missed * missed);
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
    const double grown = demand.growth(std::max(course.spread[scenario], spread));
    const double room = demand.bound - grown * demand.classical - demand.floor;
    const double allowed = room * (demand.at_once + (1.0 - demand.at_once) * end / demand.end);
    return demand.factor * grown * (course.score[scenario] + score) <= allowed;
  }

  // Deviations where windows end.
  void ends(const Group& group, const Verdict* verdicts) {
    bool whole = true;
    each_lane(group, [&](int place) {
      const Verdict& verdict = verdicts[place];
      whole &= verdict.part < 0 || verdict.length >= o.horizon * (1 - 1e-9);
    });
    if (whole)
      apply(o.last, c.data(), deviation.data());
    else
      within(group, verdicts);
  }

  // Deviations somewhere in windows, by the polynomial through their nodes.
  void within(const Group& group, const Verdict* verdicts) {
    apply(o.decode, c.data(), left.data());
    N weights[MOST_NODES] = {};
    each_lane(group, [&](int place) {
      double polynomials[MOST_DEGREES], sums[MOST_NODES] = {};
      legendre(2.0 * verdicts[place].length / o.horizon - 1.0, o.degrees, polynomials);
      for (int64_t d = 0; d < o.degrees; ++d)
        for (int64_t n = 0; n < o.nodes; ++n)
          sums[n] += polynomials[d] * o.spectrum[d * o.nodes + n];
      for (int64_t n = 0; n < o.nodes; ++n) set_lane(weights[n], place, sums[n]);
    });
    for (int share = 0; share < shares; ++share) {
      const auto sum = [&](int64_t r) {
        S found = S{};
        for (int64_t n = 0; n < o.nodes; ++n)
          found += share_of(weights[n], share) * share_of(left[n * rows + r], share);
        return found;
      };
      for (int64_t r = 0; r < STATES; ++r) put(deviation[r], share, sum(r));
      const S center = sum(STATES);
      for (int64_t k = 0; k < o.machines; ++k) {
        N& angle = deviation[o.angles[k]];
        put(angle, share, share_of(angle, share) + center);
      }
    }
  }

  void accept(const Group& group, int place, const Slots& slots, const Verdict& verdict,
              int64_t round, Course& out) const {
    const int64_t slot = group.slots[place], scenario = slots.scenario[slot], k = out.accepted++;
    const double t = out.t[scenario], goal = slots.goal[slot];
    const double angle = slots.angle[slot];
    double x[STATES], p[PARAMETERS], inside[STATES], v[ROWS], y[ROWS];
    for (int r = 0; r < STATES; ++r)
      x[r] = slots.x[slot * STATES + r] + at_lane(deviation[r], place);
    for (int64_t m = 0; m < o.machines; ++m) x[o.angles[m]] += angle;
    // Side by side, unlike those of the batch.
    std::copy_n(&slots.p[slot * PARAMETERS], PARAMETERS, p);
    limits<double>(x, p, batch.numbers.c, inside);
    out.of[k] = scenario, out.begin[k] = t, out.end[k] = t + verdict.length;
    for (int r = 0; r < STATES; ++r) {
      double& state = out.x[r * out.scenarios + scenario];
      out.first[k * STATES + r] = state;
      state = inside[r];
    }
    for (int64_t m = 0; m < o.modes; ++m)
      out.coefficients[k * o.modes + m] = at_lane(c[m], place);
    for (int r = 0; r < ROWS; ++r) v[r] = slots.y_end[slot * ROWS + r];
    turned<double>(v, std::cos(angle), std::sin(angle), y);
    for (int r = 0; r < ROWS; ++r) out.y[r * out.scenarios + scenario] = y[r];
    out.score[scenario] += verdict.score;
    out.spread[scenario] = std::max(out.spread[scenario], verdict.spread);
    ++(round ? out.corrected : out.at_once)[scenario];
    out.t[scenario] = verdict.length < goal - t ? t + verdict.length : goal;
  }
};

// Calls `block` for windows, which are sorted by network, in groups.
template <class Block>
void each_group(const std::vector<int64_t>& slots, const Slots& all, const Batch& batch,
                int64_t scenarios, Block block) {
  for (size_t begin = 0; begin < slots.size(); begin += WIDE) {
    const int number = static_cast<int>(std::min<size_t>(slots.size() - begin, WIDE));
    Group group;
    group.shares = (number + SINGLES - 1) / SINGLES;
    for (int place = 0; place < group.shares * SINGLES; ++place) {
      const int share = place / SINGLES, lane = place % SINGLES;
      const int64_t slot = slots[begin + std::min(place, number - 1)], scenario = all.scenario[slot];
      Columns& columns = group.columns[share];
      group.slots[place] = slot, columns.at[lane] = scenario;
      columns.scenarios = scenarios, columns.side_by_side = false;
      columns.count = std::min(number - share * SINGLES, SINGLES);
      if (place >= number) continue;
      Part& last = group.part[std::max(group.parts - 1, 0)];
      if (!lane || batch.network[last.scenario] != batch.network[scenario])
        group.part[group.parts++] = {share, lane, lane + 1, scenario};
      else
        last.last = lane + 1;
    }
    block(group);
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
#ifdef TILES
  const Tiles tiles;
#endif
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
    each([&](auto& windows, const Group& group) { windows.begin(group, slots, course); });
    for (int64_t round = 1; round <= demand.corrections && !open.empty(); ++round)
      each([&](auto& windows, const Group& group) { windows.go_on(group, slots, round, course); });
    for (const int64_t scenario : going) course.why[place[scenario]] = REFUSED_ONE;
    for (int64_t k = before; k < course.accepted; ++k) course.why[place[course.of[k]]] = ACT;
    still.clear();
    for (const int64_t scenario : going) {
      int64_t& why = course.why[place[scenario]];
      if (why == REFUSED_ONE) continue;
      const double sum = demand.factor * course.score[scenario] + course.classical[scenario];
      const double bound = demand.growth(course.spread[scenario]) * sum + demand.floor;
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
  int64_t count, outputs, rows, degrees;
  double horizon, rounding;
  const int64_t* of;
  const double *begin, *end, *times;
  const double* first;   // [window, row]
  const float* spectra;  // of the deviations from there, [window, degree, row]
  double* out;
};

void views_of(const Views& v) {
  const int64_t blocks = (v.rows + LANES - 1) / LANES;
  std::vector<Lanes> spectra(blocks * v.degrees);  // [block, degree]
  for (int64_t w = 0; w < v.count; ++w) {
    const double begin = v.begin[w], end = v.end[w];
    const double slack = v.rounding * std::fmax(1.0, std::fabs(end));
    const double* last = std::upper_bound(v.times, v.times + v.outputs, end + slack);
    const double* time = std::upper_bound(v.times, last, begin + slack);
    if (time == last) continue;
    for (int64_t r = 0; r < v.rows; ++r) {
      Lanes* to = &spectra[r / LANES * v.degrees];
      for (int64_t d = 0; d < v.degrees; ++d)
        to[d][r % LANES] = v.spectra[(w * v.degrees + d) * v.rows + r];
      to[0][r % LANES] += v.first[w * v.rows + r];
    }
    for (; time < last; time += LANES) {
      const int some = static_cast<int>(std::min<int64_t>(last - time, LANES));
      Lanes s = splat<Lanes>(0.0), polynomials[MOST_DEGREES];
      for (int lane = 0; lane < some; ++lane) s[lane] = 2.0 * (time[lane] - begin) / v.horizon - 1.0;
      legendre(s, v.degrees, polynomials);
      double* to = v.out + (v.of[w] * v.outputs + (time - v.times)) * v.rows;
      if (v.rows <= LANES / 2) {  // too few to fill vectors: times do
        for (int64_t r = 0; r < v.rows; ++r) {
          Lanes sum = splat<Lanes>(spectra[0][r]);
          for (int64_t d = 1; d < v.degrees; ++d) sum += polynomials[d] * spectra[d][r];
          for (int lane = 0; lane < some; ++lane) to[lane * v.rows + r] = sum[lane];
        }
        continue;
      }
      for (int64_t block = 0; block < blocks; ++block) {
        const Lanes* part = &spectra[block * v.degrees];
        Lanes sums[LANES];
        for (int lane = 0; lane < LANES; ++lane) sums[lane] = part[0];
        for (int64_t d = 1; d < v.degrees; ++d) {
#pragma GCC unroll 8
          for (int lane = 0; lane < LANES; ++lane) sums[lane] += polynomials[d][lane] * part[d];
        }
        const int64_t first = block * LANES, width = std::min<int64_t>(v.rows - first, LANES);
        for (int lane = 0; lane < some; ++lane)
          if (width == LANES)
            __builtin_memcpy(to + lane * v.rows + first, &sums[lane], sizeof(Lanes));
          else
            __builtin_memcpy(to + lane * v.rows + first, &sums[lane], width * sizeof(double));
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

int32_t dae_matrix_unit() {
#ifdef TILES
  return Tiles::there();
#else
  return 0;
#endif
}

// Here, as the equations in single precision are compiled for windows only.
void dae_stretch_single(int64_t scenarios, const Batch* batch, const int64_t* order,
                        const Stretch* stretch) {
  each_block<Singles>(scenarios, order, batch->network, [&](const Columns& columns, auto kind) {
    stretch_of<decltype(kind)>(columns, *batch, *stretch);
  });
}
}
