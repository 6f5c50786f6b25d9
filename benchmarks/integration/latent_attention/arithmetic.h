// Attention of the heads of several sequences to their latents in a paged cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../weighted_mean.h"

struct LatentCache {
  const float *latent, *rope;
  const int32_t *table, *length;
  int64_t blocks, pages, slot, rank, turned;

  // Rows (sequence, head). Tokens of pages that do not exist are absent.
  void attend(int64_t begin, int64_t end, const float* query, const float* query_rope,
              int64_t heads, float scale, float* out) const {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sequence = i / heads;
      WeightedMean mean(out + i * rank, rank);
      for (int64_t t = 0; t < std::min<int64_t>(length[sequence], blocks * slot); ++t) {
        const int64_t page = table[sequence * blocks + t / slot];
        if (page < 0 || page >= pages) continue;
        const int64_t row = page * slot + t % slot;
        const float logit = dot(query + i * rank, latent + row * rank, rank) +
                            dot(query_rope + i * turned, rope + row * turned, turned);
        mean.add_row(scale * logit, latent + row * rank);
      }
      mean.finish();
    }
  }
};
