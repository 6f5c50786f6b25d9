// Attention of the heads of several sequences to their tokens in a paged cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../weighted_mean.h"

struct Cache {
  const float *key, *value;
  const int32_t *table, *length;
  int64_t blocks, pages, slot, groups, dim, width;

  // Rows (sequence, head). Tokens of pages that do not exist are absent.
  void attend(int64_t begin, int64_t end, const float* query, int64_t heads, float scale,
              float* out) const {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sequence = i / heads, group = i % heads * groups / heads;
      const int64_t tokens = groups > 0 ? std::min<int64_t>(length[sequence], blocks * slot) : 0;
      WeightedMean mean(out + i * width, width);
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t page = table[sequence * blocks + t / slot];
        if (page < 0 || page >= pages) continue;
        const int64_t row = (page * slot + t % slot) * groups + group;
        mean.add_row(scale * dot(query + i * dim, key + row * dim, dim), value + row * width);
      }
      mean.finish();
    }
  }
};
