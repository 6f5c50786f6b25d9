// Attention of new tokens to cached ones and themselves.
#include "scimind/attend.h"
#include "scimind/heads.h"

using namespace scimind;

namespace {

// Keys or values of new tokens, wherever their rows lie.
struct New {
  const float* rows;
  int64_t batch, group, token;  // distances
  explicit New(const In& apart)
      : rows(apart.data),
        batch(apart.shape[1] * apart.shape[2] * apart.shape[3]),
        group(apart.shape[2] * apart.shape[3]),
        token(apart.shape[3]) {}
  // The groups from head `first` on, side by side in each token.
  New(const In& joined, int64_t first, int64_t dim)
      : rows(joined + first * dim),
        batch(joined.shape[1] * joined.shape[2]),
        group(dim),
        token(joined.shape[2]) {}
};

// Writes the rows of the new tokens; those that would be outside the cache are left out.
void write(Inout cache, New added, int64_t count, Ints start) {
  const int64_t groups = cache.shape[1], capacity = cache.shape[2], dim = cache.shape[3];
  over(cache.shape[0] * groups, rows_of_chunk(count * dim), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = start[row / groups];
      const int64_t first = std::clamp<int64_t>(-at, 0, count);
      const int64_t last = std::clamp<int64_t>(capacity - at, first, count);
      const float* from = added.rows + row / groups * added.batch + row % groups * added.group;
      for (int64_t token = first; token < last; ++token)
        std::copy_n(from + token * added.token, dim, cache + (row * capacity + at + token) * dim);
    }
  });
}

In constant(Inout view) { return In(view.data, view.ndim, view.shape); }

void attend_cached(In query, Inout key_cache, Inout value_cache, Ints start, double scale,
                   int64_t window, float* out) {
  const int64_t added = query.shape[2], capacity = key_cache.shape[2];
  const Terms terms(Mask::absent(), In::absent());
  const Attention attention =
      attention_of(query, constant(key_cache), constant(value_cache), terms, scale);
  auto sight = [&](int64_t batch) {
    return Sight{added, std::clamp<int64_t>(start[batch] + added, 0, capacity), window, true};
  };
  attend_all(attention, sight, out, nullptr);
}

}  // namespace

// Options: window, scale.
SCIMIND_OPERATOR(cached_attention, (In query, In key, In value, Inout key_cache, Inout value_cache,
                                    Ints start, Options options, Out out)) {
  write(key_cache, New(key), query.shape[2], start);
  write(value_cache, New(value), query.shape[2], start);
  attend_cached(query, key_cache, value_cache, start, options[1], options.whole(0, kUnlimited),
                out.data);
}

// Options: share, window, scale.
SCIMIND_OPERATOR(cached_self_attention, (In x, Inout key_cache, Inout value_cache, Ints start,
                                         Options options, Out out)) {
  const int64_t batch = x.shape[0], added = x.shape[1];
  const int64_t groups = key_cache.shape[1], dim = key_cache.shape[3];
  const int64_t heads = dim > 0 ? out.shape[2] / dim : 0;
  write(key_cache, New(x, heads, dim), added, start);
  write(value_cache, New(x, heads + groups, dim), added, start);
  // With one token the rows of its heads follow each other in any case.
  const bool one = added == 1, there = one && batch == 1;
  const int64_t shape[4] = {batch, heads, added, dim};
  const int64_t size = elements(4, shape);
  float* const kept = scratch<1>((there ? 0 : size) + (one ? 0 : size));
  const In query(there ? x.data : kept, 4, shape);
  if (!there) split(x, {Out(kept, 4, shape)});
  float* const mixed = one ? out.data : kept + size;
  attend_cached(query, key_cache, value_cache, start, options[2], options.whole(1, kUnlimited),
                mixed);
  if (!one) merge({In(mixed, 4, shape)}, out);
}
