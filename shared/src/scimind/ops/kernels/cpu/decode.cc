// Attention of new tokens to cached ones and themselves.
#include "scimind/attend.h"

using namespace scimind;

namespace {

// Writes the rows of the new tokens; those that would be outside the cache are left out.
void write(Inout cache, In rows, Ints start) {
  const int64_t groups = cache.shape[1], capacity = cache.shape[2], dim = cache.shape[3];
  const int64_t count = rows.shape[2];
  over(cache.shape[0] * groups, rows_of_chunk(count * dim), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = start[row / groups];
      const int64_t first = std::clamp<int64_t>(-at, 0, count);
      const int64_t last = std::clamp<int64_t>(capacity - at, first, count);
      if (first == last) continue;
      std::copy(rows + (row * count + first) * dim, rows + (row * count + last) * dim,
                cache + (row * capacity + at + first) * dim);
    }
  });
}

In constant(Inout view) {
  In same;
  same.data = view.data;
  same.ndim = view.ndim;
  same.shape = view.shape;
  return same;
}

}  // namespace

// Options: window, scale.
SCIMIND_OPERATOR(cached_attention, (In query, In key, In value, Inout key_cache, Inout value_cache,
                                    Ints start, Options options, Out out)) {
  const int64_t added = query.shape[2], capacity = key_cache.shape[2];
  write(key_cache, key, start);
  write(value_cache, value, start);
  const Terms terms(Mask::absent(), In::absent());
  const Attention attention =
      attention_of(query, constant(key_cache), constant(value_cache), terms, options[1]);
  const int64_t window = options.whole(0, kUnlimited);
  auto sight = [&](int64_t batch) {
    return Sight{added, std::clamp<int64_t>(start[batch] + added, 0, capacity), window, true};
  };
  attend_all(attention, sight, out.data, nullptr);
}
