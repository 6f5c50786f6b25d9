// Scenarios of a batch: eight at a time in the lanes of vectors, a single one in plain numbers.
// What is written from the recording of a grid follows after this file, then batch.h.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

// LANES comes before this file.

namespace {

typedef double Lanes __attribute__((vector_size(LANES * sizeof(double))));

template <class V>
using Mask = decltype(V{} < V{});

template <class V>
inline V splat(double value) {
  return V{} + value;
}

template <class V>
inline Mask<V> truth(double value) {
  return splat<V>(value) != 0.0;
}

inline double where(bool mask, double a, double b) { return mask ? a : b; }
inline bool where(bool mask, bool a, bool b) { return mask ? a : b; }
inline Lanes where(Mask<Lanes> mask, Lanes a, Lanes b) { return mask ? a : b; }
inline Mask<Lanes> where(Mask<Lanes> mask, Mask<Lanes> a, Mask<Lanes> b) { return mask ? a : b; }

inline bool any(bool mask) { return mask; }
inline bool any(Mask<Lanes> mask) {
  bool found = false;
  for (int lane = 0; lane < LANES; ++lane) found |= mask[lane] != 0;
  return found;
}

#include "mathematics.h"

inline double abs(double a) { return std::fabs(a); }
inline Lanes abs(Lanes a) { return number(bits(a) & INT64_MAX); }

// The larger of two numbers that are not negative; what is not a number stays, as the bits of both
// kinds are ordered like that.
inline double larger(double a, double b) { return b <= a || a != a ? a : b; }
inline Lanes larger(Lanes a, Lanes b) {
  const LanesInt one = bits(a), other = bits(b);
  return number(one > other ? one : other);
}
inline bool at_lane(bool mask, int) { return mask; }
inline bool at_lane(Mask<Lanes> mask, int lane) { return mask[lane] != 0; }
inline double at_lane(double value, int) { return value; }
inline double at_lane(Lanes value, int lane) { return value[lane]; }
inline void set_lane(double& value, int, double to) { value = to; }
inline void set_lane(Lanes& value, int lane, double to) { value[lane] = to; }
inline void set_lane(bool& mask, int, bool to) { mask = to; }
inline void set_lane(Mask<Lanes>& mask, int lane, bool to) { mask[lane] = to ? -1 : 0; }

inline double atan2(double a, double b) { return std::atan2(a, b); }
inline Lanes atan2(Lanes a, Lanes b) {
  Lanes out;
  for (int lane = 0; lane < LANES; ++lane) out[lane] = std::atan2(a[lane], b[lane]);
  return out;
}

// Rows of `columns` scenarios, of which those in `lanes` are read and written; the last fills up.
struct Columns {
  int64_t scenarios;
  int64_t at[LANES];
  int count;
  bool side_by_side;

  void read(const double* from, int rows, double* to) const {
    for (int r = 0; r < rows; ++r) to[r] = from[r * scenarios + at[0]];
  }
  void read(const double* from, int rows, Lanes* to) const {
    for (int r = 0; r < rows; ++r) {
      const double* row = from + r * scenarios;
      if (side_by_side)
        __builtin_memcpy(&to[r], row + at[0], sizeof(Lanes));
      else
        for (int lane = 0; lane < LANES; ++lane) to[r][lane] = row[at[lane]];
    }
  }
  void write(const double* from, int rows, double* to) const {
    for (int r = 0; r < rows; ++r) to[r * scenarios + at[0]] = from[r];
  }
  void write(const Lanes* from, int rows, double* to) const {
    for (int r = 0; r < rows; ++r) {
      double* row = to + r * scenarios;
      if (side_by_side)
        __builtin_memcpy(row + at[0], &from[r], sizeof(Lanes));
      else
        for (int lane = 0; lane < count; ++lane) row[at[lane]] = from[r][lane];
    }
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
// has the type to compute with.
template <class Block>
void each_block(int64_t scenarios, const int64_t* order, const int64_t* network, Block block) {
  Columns columns;
  columns.scenarios = scenarios;
  for (int64_t begin = 0, end; begin < scenarios; begin = end) {
    const auto place = [&](int64_t k) { return order ? order[k] : k; };
    for (end = begin + 1; end < scenarios && end < begin + LANES; ++end)
      if (order && network[place(end)] != network[place(begin)]) break;
    columns.count = static_cast<int>(end - begin);
    for (int lane = 0; lane < LANES; ++lane)
      columns.at[lane] = place(begin + (lane < columns.count ? lane : columns.count - 1));
    columns.side_by_side = !order && columns.count == LANES;
    if (columns.count == 1)
      block(columns, double());
    else
      block(columns, Lanes());
  }
}
