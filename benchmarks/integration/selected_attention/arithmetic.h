// Attention of queries to the keys of the blocks that each of them has chosen, and its gradients.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../weighted_mean.h"

// A group is a (batch, group of heads) with its keys; the queries of its heads follow each other.
struct Selection {
  const float *query, *key, *value;
  const int32_t* blocks;
  int64_t share, queries, keys, dim, width, count, size;
  float scale;

  // Calls body(row of the keys) for every key that a query of a group sees. The last query is
  // aligned with the last key; a block that is listed twice counts once, one that does not exist
  // not at all.
  template <typename Body>
  void each(int64_t group, int64_t at, Body body) const {
    const int32_t* listed = blocks + (group * queries + at) * count;
    const int64_t end = at + keys - queries + 1;
    for (int64_t i = 0; i < count; ++i) {
      if (listed[i] < 0 || std::find(listed, listed + i, listed[i]) != listed + i) continue;
      const int64_t first = listed[i] * size;
      for (int64_t k = first; k < std::min(first + size, end); ++k) body(group * keys + k);
    }
  }

  // Results of groups, and the logarithms of the sums of the exponentials.
  void forward(int64_t begin, int64_t end, float* out, float* logsumexp) const {
    for (int64_t row = begin * share * queries; row < end * share * queries; ++row) {
      WeightedMean mean(out + row * width, width);
      each(row / (share * queries), row % queries, [&](int64_t k) {
        mean.add_row(scale * dot(query + row * dim, key + k * dim, dim), value + k * width);
      });
      logsumexp[row] = mean.finish();
    }
  }

  void backward(int64_t begin, int64_t end, const float* out, const float* logsumexp,
                const float* dout, float* dquery, float* dkey, float* dvalue) const {
    const int64_t rows = share * queries;
    std::fill(dquery + begin * rows * dim, dquery + end * rows * dim, 0.0f);
    std::fill(dkey + begin * keys * dim, dkey + end * keys * dim, 0.0f);
    std::fill(dvalue + begin * keys * width, dvalue + end * keys * width, 0.0f);
    for (int64_t row = begin * rows; row < end * rows; ++row) {
      const float *q = query + row * dim, *slope = dout + row * width;
      const float mean = dot(slope, out + row * width, width);
      each(row / rows, row % queries, [&](int64_t k) {
        const float weight = std::exp(scale * dot(q, key + k * dim, dim) - logsumexp[row]);
        const float dlogit = scale * weight * (dot(slope, value + k * width, width) - mean);
        add(dvalue + k * width, weight, slope, width);
        add(dquery + row * dim, dlogit, key + k * dim, dim);
        add(dkey + k * dim, dlogit, q, dim);
      });
    }
  }
};
