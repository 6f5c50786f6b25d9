// Scenarios of a batch: some at a time in the lanes of vectors, twice as many in single precision; a
// single one in plain numbers. What is written from the recording of a grid follows after this
// file, then batch.h.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#ifdef __AVX512F__
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && defined(__linux__) && __has_include(<amxbf16intrin.h>)
#define TILES  // the compiler knows the matrix unit
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// LANES comes before this file.

namespace {

constexpr int SINGLES = 2 * LANES;
typedef double Lanes __attribute__((vector_size(LANES * sizeof(double))));
typedef float Singles __attribute__((vector_size(SINGLES * sizeof(float))));

template <class V>
using Mask = decltype(V{} < V{});

// What is in the lanes of a vector, and how many there are.
template <class V>
struct Element {
  typedef V type;
};
template <>
struct Element<Lanes> {
  typedef double type;
};
template <>
struct Element<Singles> {
  typedef float type;
};
template <class V>
using Real = typename Element<V>::type;
template <class V>
constexpr int lanes_of = sizeof(V) / sizeof(Real<V>);

// Voltages are solved for no better than this in single precision, per unit.
constexpr double FINEST = 3e-6;
template <class V>
inline Real<V> solvable(double tolerance) {
  return std::is_same_v<Real<V>, float> ? std::max(tolerance, FINEST) : tolerance;
}

template <class V>
inline V splat(double value) {
  return V{} + static_cast<Real<V>>(value);
}

template <class V>
inline Mask<V> truth(double value) {
  return splat<V>(value) != splat<V>(0.0);
}

template <class V>
inline V where(Mask<V> mask, V a, V b) {
  return mask ? a : b;
}

inline bool at_lane(bool mask, int) { return mask; }
inline bool at_lane(Mask<Lanes> mask, int lane) { return mask[lane] != 0; }
inline bool at_lane(Mask<Singles> mask, int lane) { return mask[lane] != 0; }
inline double at_lane(double value, int) { return value; }
inline double at_lane(Lanes value, int lane) { return value[lane]; }
inline float at_lane(Singles value, int lane) { return value[lane]; }
inline void set_lane(double& value, int, double to) { value = to; }
inline void set_lane(Lanes& value, int lane, double to) { value[lane] = to; }
inline void set_lane(Singles& value, int lane, double to) { value[lane] = static_cast<float>(to); }
inline void set_lane(bool& mask, int, bool to) { mask = to; }
inline void set_lane(Mask<Lanes>& mask, int lane, bool to) { mask[lane] = to ? -1 : 0; }
inline void set_lane(Mask<Singles>& mask, int lane, bool to) { mask[lane] = to ? -1 : 0; }

inline bool any(bool mask) { return mask; }
template <class M>
inline bool any(M mask) {
  uint64_t words[sizeof(M) / sizeof(uint64_t)], found = 0;
  __builtin_memcpy(words, &mask, sizeof mask);
  for (const uint64_t word : words) found |= word;
  return found != 0;
}

#include "mathematics.h"

// Rows of `columns` scenarios, of which those in `lanes` are read and written; the last fills up.
struct Columns {
  int64_t scenarios;
  int64_t at[SINGLES];
  int count;
  bool side_by_side;

  template <class V>
  void read(const double* from, int rows, V* to) const {
    for (int r = 0; r < rows; ++r) {
      const double* row = from + r * scenarios;
      if (std::is_same_v<V, Lanes> && side_by_side)
        __builtin_memcpy(&to[r], row + at[0], sizeof(V));
      else
        for (int lane = 0; lane < lanes_of<V>; ++lane) set_lane(to[r], lane, row[at[lane]]);
    }
  }
  template <class V>
  void write(const V* from, int rows, double* to) const {
    for (int r = 0; r < rows; ++r) {
      double* row = to + r * scenarios;
      if (std::is_same_v<V, Lanes> && side_by_side)
        __builtin_memcpy(row + at[0], &from[r], sizeof(V));
      else
        for (int lane = 0; lane < count; ++lane) row[at[lane]] = at_lane(from[r], lane);
    }
  }
  // One number of each, in double precision whatever the lanes are.
  template <int NUMBER>
  void read_each(const double* from, double (&to)[NUMBER]) const {
    for (int lane = 0; lane < NUMBER; ++lane) to[lane] = from[at[lane]];
  }
  void write_each(const double* from, double* to) const {
    for (int lane = 0; lane < count; ++lane) to[at[lane]] = from[lane];
  }
};

// The parameters of a batch: each array by its address, with its number of rows.
struct Parameters {
  const double* const* address;
  const int64_t* rows;
  int64_t arrays;

  template <class V>
  void read(const Columns& columns, V* to) const {
    for (int64_t k = 0; k < arrays; ++k) {
      columns.read(address[k], static_cast<int>(rows[k]), to);
      to += rows[k];
    }
  }
};

// Calls `block` for some scenarios at a time, all of one network, in the order of `order`, by which
// `network` is sorted; without one in their own order, all of the same network. Its second argument
// has the type to compute with: `V`, or plain numbers for a single scenario.
template <class V = Lanes, class Block>
void each_block(int64_t scenarios, const int64_t* order, const int64_t* network, Block block) {
  Columns columns;
  columns.scenarios = scenarios;
  for (int64_t begin = 0, end; begin < scenarios; begin = end) {
    const auto place = [&](int64_t k) { return order ? order[k] : k; };
    for (end = begin + 1; end < scenarios && end < begin + lanes_of<V>; ++end)
      if (order && network[place(end)] != network[place(begin)]) break;
    columns.count = static_cast<int>(end - begin);
    for (int lane = 0; lane < lanes_of<V>; ++lane)
      columns.at[lane] = place(begin + (lane < columns.count ? lane : columns.count - 1));
    columns.side_by_side = !order && columns.count == lanes_of<V>;
    if (columns.count == 1)
      block(columns, double());
    else
      block(columns, V());
  }
}
