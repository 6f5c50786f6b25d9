// Attention of new queries to cached keys, and the writing of the cache.
#include "scimind/attend.h"

using namespace scimind;

// Options: window, scale.
SCIMIND_OPERATOR(decode_attention,
                 (In query, In key_cache, In value_cache, Ints length, Options options, Out out)) {
  Mask mask;
  In bias;
  mask.present = bias.present = false;
  const Attention attention =
      attention_of(query, key_cache, value_cache, Terms(mask, bias), options[1]);
  const int64_t window = options.whole(0, kUnlimited);
  auto sight = [&](int64_t batch) {
    return Sight{query.shape[2], std::clamp<int64_t>(length[batch], 0, key_cache.shape[2]), window,
                 true};
  };
  attend_all(attention, sight, out.data, nullptr);
}

// Rows that would start outside the cache are left out. `done` is written so that a graph has
// something to depend on.
SCIMIND_OPERATOR(cache_update, (Inout cache, In added, Ints start, Out done)) {
  const int64_t groups = cache.shape[1], capacity = cache.shape[2], dim = cache.shape[3];
  const int64_t count = added.shape[2];
  over(cache.shape[0] * groups, (1 << 14) / (count * dim + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = start[row / groups];
      const int64_t first = std::clamp<int64_t>(-at, 0, count);
      const int64_t last = std::clamp<int64_t>(capacity - at, first, count);
      if (first == last) continue;
      std::copy(added + (row * count + first) * dim, added + (row * count + last) * dim,
                cache + (row * capacity + at + first) * dim);
    }
  });
  done[0] = 0.0f;
}
