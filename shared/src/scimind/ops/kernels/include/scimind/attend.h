// What attention kernels share: which keys a query sees, and the softmax over blocks of keys.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>

#include "scimind/operator.h"
#include "scimind/tile.h"

namespace scimind {

constexpr int64_t kUnlimited = int64_t{1} << 40;

// Permitted keys by position; the last query is aligned with the last key.
struct Sight {
  int64_t queries, keys, window;
  bool causal;

  int64_t position(int64_t query) const { return query + keys - queries; }
  // The keys of a query.
  Range of(int64_t query) const {
    const int64_t at = position(query);
    const int64_t low = std::clamp<int64_t>(at - window + 1, 0, keys);
    return {low, std::clamp<int64_t>(causal ? at + 1 : at + window, low, keys)};
  }
  // The keys that some of these queries see.
  Range of(Range some) const {
    if (some.first >= some.second) return {0, 0};
    return {of(some.first).first, of(some.second - 1).second};
  }
  // All queries that see some of these keys are in this range.
  Range onto(Range some) const {
    const int64_t shift = keys - queries;
    const int64_t first = causal ? some.first : some.first - window + 1;
    const int64_t begin = std::clamp<int64_t>(first - shift, 0, queries);
    return {begin, std::clamp<int64_t>(some.second + window - 1 - shift, begin, queries)};
  }
};

inline Range common(Range a, Range b) {
  const int64_t begin = std::max(a.first, b.first);
  return {begin, std::max(begin, std::min(a.second, b.second))};
}

// Bias and mask, read where they are broadcast.
struct Terms {
  Broadcast<bool> mask;
  Broadcast<float> bias;
  Terms(const Mask& allowed, const In& added) : mask(allowed), bias(added) {}

  // The part of `keys` outside which nothing is permitted to these queries of one head.
  Range permitted(int64_t batch, int64_t head, Range queries, Range keys) const {
    if (mask.data == nullptr || keys.first >= keys.second) return keys;
    const bool* row = mask.row(batch, head, queries.first);
    const int64_t step = mask.stride[3];
    if (mask.stride[2] == 0) {
      while (keys.first < keys.second && !row[keys.first * step]) ++keys.first;
      while (keys.first < keys.second && !row[(keys.second - 1) * step]) --keys.second;
      return keys;
    }
    const int64_t count = step == 0 ? 1 : keys.second - keys.first;
    for (int64_t query = queries.first; query < queries.second; ++query)
      if (std::memchr(mask.row(batch, head, query) + keys.first * step, 1, count)) return keys;
    return {keys.first, keys.first};
  }

  // Logits of one query for the keys from `first`, of which [begin, end) are visible.
  void apply(float* row, int64_t batch, int64_t head, int64_t query, int64_t first, int64_t begin,
             int64_t end) const {
    if (bias.data != nullptr) {
      const float* add = bias.row(batch, head, query);
      if (bias.stride[3] == 0) {
#pragma omp simd
        for (int64_t k = begin; k < end; ++k) row[k] += add[0];
      } else {
        add += first;
#pragma omp simd
        for (int64_t k = begin; k < end; ++k) row[k] += add[k];
      }
    }
    if (mask.data != nullptr) {
      const bool* allow = mask.row(batch, head, query);
      if (mask.stride[3] == 0) {
        if (!allow[0]) std::fill(row + begin, row + end, -INFINITY);
      } else {
        allow += first;
#pragma omp simd
        for (int64_t k = begin; k < end; ++k) row[k] = allow[k] ? row[k] : -INFINITY;
      }
    }
  }
};

// Whole vectors around [begin, end) of a row. What they hold besides becomes `edge`, and the rest
// of the row, which has `size` elements, becomes 0.
SCIMIND_INLINE Range framed(float* row, int64_t begin, int64_t end, int64_t size, float edge) {
  if (begin >= end) begin = end = 0;
  const int64_t first = begin / kLanes * kLanes, last = whole_lanes(end);
  if (begin > first)
    store(row + first, lane_numbers() < spread(begin - first) ? spread(edge) : load(row + first));
  if (end < last) {
    float* to = row + last - kLanes;
    store(to, lane_numbers() < spread(end - last + kLanes) ? load(to) : spread(edge));
  }
  for (int64_t i = 0; i < first; i += kLanes) store(row + i, Lanes{});
  for (int64_t i = last; i < size; i += kLanes) store(row + i, Lanes{});
  return {first, last};
}

// Queries [queries.first, queries.second) of `members` heads of one group; all queries when there
// are several heads, so that the rows of all of them follow each other in memory.
struct Rows {
  int64_t batch, group, member, members;
  Range queries;
  int64_t each() const { return queries.second - queries.first; }
  int64_t count() const { return members * each(); }
};

struct Shape {
  int64_t batch, heads, groups, queries, capacity, dim, width, share;
  Shape(const In& query, const In& key, const In& value)
      : batch(query.shape[0]),
        heads(query.shape[1]),
        groups(key.shape[1]),
        queries(query.shape[2]),
        capacity(key.shape[2]),
        dim(query.shape[3]),
        width(value.shape[3]),
        share(groups > 0 ? heads / groups : 0) {}
  // Keys that are handled at once; with their values they stay in the second-level cache.
  int64_t block() const {
    return std::clamp<int64_t>(32768 / std::max<int64_t>({dim, width, 1}) / kPanel * kPanel, 64,
                               512);
  }
};

constexpr int64_t kRows = 128, kUnits = 16;

// Pieces of this thread's scratch memory, each from a multiple of 64 bytes on.
template <size_t count>
std::array<float*, count> pieces(const int64_t (&sizes)[count]) {
  int64_t total = 0;
  for (const int64_t size : sizes) total += (size + 15) / 16 * 16;
  float* next = scratch<0>(total);
  std::array<float*, count> found;
  for (size_t i = 0; i < count; ++i) {
    found[i] = next;
    next += (sizes[i] + 15) / 16 * 16;
  }
  return found;
}

struct Attention {
  Shape shape;
  const float *query, *key, *value;
  Terms terms;
  float scale;

  // Attends from `rows` to the keys in `span`: unnormalised results, and of each row the largest
  // logit and the sum of the exponentials relative to it.
  void attend(const Sight& sight, const Rows& rows, Range span, float* out, float* top,
              float* total) const {
    const int64_t count = rows.count(), block = shape.block();
    const int64_t group = rows.batch * shape.groups + rows.group;
    const int64_t head = rows.group * shape.share + rows.member;
    const float* queries =
        query +
        ((rows.batch * shape.heads + head) * shape.queries + rows.queries.first) * shape.dim;
    const float* keys = key + group * shape.capacity * shape.dim;
    const float* values = value + group * shape.capacity * shape.width;
    const int64_t row_size = block + kLanes;
    const auto [logits, kept_keys, kept_values] =
        pieces({count * row_size, kPanel * shape.dim, block * whole_lanes(shape.width)});
    std::fill(top, top + count, -INFINITY);
    std::fill(total, total + count, 0.0f);
    span = common(span, sight.of(rows.queries));
    bool started = false;
    const bool several = rows.members > 1;
    if (!several) span = terms.permitted(rows.batch, head, rows.queries, span);
    for (int64_t first = span.first; first < span.second; first += block) {
      const int64_t size = std::min(block, span.second - first), padded = whole_lanes(size);
      if (!several) {
        const Range some = terms.permitted(rows.batch, head, rows.queries, {first, first + size});
        if (some.first == some.second) continue;
      }
      // Rows that see keys [begin, end) of this block, and the other way round.
      auto seeing = [&](int64_t begin, int64_t end) -> Range {
        if (several) return {0, count};
        const Range some = common(sight.onto({first + begin, first + end}), rows.queries);
        return {some.first - rows.queries.first, some.second - rows.queries.first};
      };
      auto seen = [&](int64_t begin, int64_t end) -> Range {
        if (several) return {0, size};
        const Range some = common(sight.of({rows.queries.first + begin, rows.queries.first + end}),
                                  {first, first + size});
        return {some.first - first, some.second - first};
      };
      const float* near = keys + first * shape.dim;
      if (count <= kFewRows)
        scalar_products(count, scale, queries, near, size, shape.dim, logits, row_size);
      for (int64_t k = 0; count > kFewRows && k < size; k += kPanel) {
        const int64_t columns = std::min<int64_t>(kPanel, size - k);
        const Range some = seeing(k, k + columns);
        if (some.first == some.second) continue;
        multiply(some.second - some.first, whole_lanes(columns), scale,
                 {queries + some.first * shape.dim, shape.dim, 1},
                 right_transposed(near + k * shape.dim, columns, shape.dim, kept_keys),
                 {logits + some.first * row_size + k, row_size, false},
                 [&](int64_t, int64_t) { return Range(0, shape.dim); });
      }
      for (int64_t r = 0; r < count; ++r) {
        const int64_t q = rows.queries.first + r % rows.each();
        const Range visible = common(sight.of(q), {first, first + size});
        float* row = logits + r * row_size;
        const float factor = soften(row, padded, visible.first - first, visible.second - first,
                                    rows.batch, head + r / rows.each(), q, first, top[r], total[r]);
        if (started && factor != 1.0f) {
          float* to = out + r * shape.width;
#pragma omp simd
          for (int64_t i = 0; i < shape.width; ++i) to[i] *= factor;
        }
      }
      const Right along = right(values + first * shape.width, size, shape.width, kept_values);
      multiply(count, shape.width, 1.0f, {logits, row_size, 1}, along, {out, shape.width, started},
               seen);
      started = true;
    }
    if (!started) std::fill(out, out + count * shape.width, 0.0f);
  }

  // Logits of a row to unnormalised probabilities; the factor for what was summed before.
  float soften(float* row, int64_t size, int64_t begin, int64_t end, int64_t batch, int64_t head,
               int64_t q, int64_t first, float& top, float& total) const {
    const Range vectors = framed(row, begin, end, size, -INFINITY);
    if (begin >= end) return 1.0f;
    terms.apply(row, batch, head, q, first, begin, end);
    Lanes most = spread(-INFINITY);
    for (int64_t k = vectors.first; k < vectors.second; k += kLanes)
      most = larger(load(row + k), most);
    const float before = top;
    top = std::max(before, maximum(most));
    const float shift = top == -INFINITY ? 0.0f : top;
    Lanes sums{};
    for (int64_t k = vectors.first; k < vectors.second; k += kLanes) {
      const Lanes y = exponential(load(row + k) - shift);
      store(row + k, y);
      sums += y;
    }
    const float factor = before == top ? 1.0f : exponential(before - top);
    total = total * factor + sum(sums);
    return factor;
  }

  // Rows divided by their totals, and the logarithms of the totals of the exponentials.
  void normalise(int64_t count, float* out, const float* top, const float* total,
                 float* lse) const {
    for (int64_t r = 0; r < count; ++r) {
      const float factor = total[r] == 0.0f ? 0.0f : 1.0f / total[r];
      float* to = out + r * shape.width;
#pragma omp simd
      for (int64_t i = 0; i < shape.width; ++i) to[i] *= factor;
      if (lse != nullptr) lse[r] = top[r] + std::log(total[r]);
    }
  }
};

// `scale` is NaN for the default, 1 / sqrt(dim).
inline Attention attention_of(const In& query, const In& key, const In& value, const Terms& terms,
                              double scale) {
  const double otherwise = 1.0 / std::sqrt(std::max<double>(query.shape[3], 1.0));
  return {Shape(query, key, value),
          query.data,
          key.data,
          value.data,
          terms,
          static_cast<float>(std::isnan(scale) ? otherwise : scale)};
}

// Attention of all queries, where the batch row b sees keys by sight(b). Few queries and many keys
// are split over the keys. Nothing depends on the number of threads.
template <typename SightOf>
void attend_all(const Attention& a, SightOf sight, float* out, float* lse) {
  const Shape& s = a.shape;
  const int64_t all_rows = s.batch * s.heads * s.queries;
  if (all_rows == 0) return;
  if (s.share == 0) {  // heads without a group have no keys
    std::fill(out, out + all_rows * s.width, 0.0f);
    if (lse != nullptr) std::fill(lse, lse + all_rows, -INFINITY);
    return;
  }
  const int64_t members = std::clamp<int64_t>(kRows / s.queries, 1, s.share);
  const int64_t parts = (s.queries + kRows - 1) / kRows;
  const int64_t part = (s.queries + parts - 1) / parts;
  const int64_t blocks = (s.share + members - 1) / members * parts;
  const int64_t units = s.batch * s.groups * blocks;
  const int64_t splits =
      std::clamp<int64_t>(s.capacity / 512, 1, std::max<int64_t>(kUnits / units, 1));
  auto rows_of = [&](int64_t unit) {
    const int64_t group = unit / blocks, block = unit % blocks;
    const int64_t member = block / parts * members,
                  begin = std::min(block % parts * part, s.queries);
    return Rows{group / s.groups,
                group % s.groups,
                member,
                std::min(members, s.share - member),
                {begin, std::min(begin + part, s.queries)}};
  };
  auto row_of = [&](const Rows& rows) {
    const int64_t head = rows.group * s.share + rows.member;
    return (rows.batch * s.heads + head) * s.queries + rows.queries.first;
  };
  const double work = 2.0 * part * members * s.capacity * (s.dim + s.width + 16);
  const int64_t grain = static_cast<int64_t>(2e6 / (work + 1.0)) + 1;
  if (splits == 1) {
    over(units, grain, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const Rows rows = rows_of(unit);
        const int64_t row = row_of(rows);
        float top[kRows], total[kRows];
        const Sight seen = sight(rows.batch);
        a.attend(seen, rows, {0, seen.keys}, out + row * s.width, top, total);
        a.normalise(rows.count(), out + row * s.width, top, total,
                    lse == nullptr ? nullptr : lse + row);
      }
    });
    return;
  }
  std::unique_ptr<float[]> kept(new float[splits * all_rows * (s.width + 2)]);
  float* tops = kept.get();
  float* totals = tops + splits * all_rows;
  float* results = totals + splits * all_rows;
  over(units * splits, 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const Rows rows = rows_of(index / splits);
      const int64_t split = index % splits;
      const int64_t row = split * all_rows + row_of(rows);
      const Sight seen = sight(rows.batch);
      const Range whole = seen.of(rows.queries);
      const int64_t count = whole.second - whole.first;
      a.attend(seen, rows,
               {whole.first + count * split / splits, whole.first + count * (split + 1) / splits},
               results + row * s.width, tops + row, totals + row);
    }
  });
  over(all_rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float top = -INFINITY, total = 0.0f;
      for (int64_t split = 0; split < splits; ++split)
        top = std::max(top, tops[split * all_rows + row]);
      float* to = out + row * s.width;
      std::fill(to, to + s.width, 0.0f);
      for (int64_t split = 0; split < splits; ++split) {
        const int64_t from = split * all_rows + row;
        const float factor = tops[from] == top ? 1.0f : exponential(tops[from] - top);
        total += factor * totals[from];
        const float* part = results + from * s.width;
#pragma omp simd
        for (int64_t i = 0; i < s.width; ++i) to[i] += factor * part[i];
      }
      a.normalise(1, to, &top, &total, lse == nullptr ? nullptr : lse + row);
    }
  });
}

}  // namespace scimind
