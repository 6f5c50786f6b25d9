// Scaled dot-product attention and its gradients, in blocks of queries and keys; the gradients
// compute the probabilities again (Dao, arXiv 2307.08691).
#include "scimind/attend.h"

using namespace scimind;

namespace {

Sight sight_of(const In& query, const In& key, const Options& options) {
  return {query.shape[2], key.shape[2], options.whole(1, kUnlimited), options[0] != 0.0};
}

float scalar_product(const float* a, const float* b, int64_t count) {
  Lanes total{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) total += load(a + i) * load(b + i);
  if (i < count) total += load(a + i, count - i) * load(b + i, count - i);
  return sum(total);
}

// Sums `parts` arrays that follow each other.
void sum_parts(const float* from, int64_t parts, int64_t size, float* to) {
  over(size, 1 << 14, [=](int64_t begin, int64_t end) {
    std::copy(from + begin, from + end, to + begin);
    for (int64_t part = 1; part < parts; ++part) {
      const float* next = from + part * size;
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) to[i] += next[i];
    }
  });
}

// How the gradients are split. A lane is a batch row and a group. Lanes whose gradients are summed
// in the same entries of dbias have one owner, which takes them in turn, in `slices` of its lanes
// with a sum each; the keys are split in `chunks`, each with its own dquery.
struct Split {
  bool own_batch, own_head, key_sum;
  int64_t batch, groups, keys, owners, lanes, slices, chunks, bias_parts;

  Split(const Shape& s, const In& bias)
      : own_batch(!bias.present || bias.shape[0] > 1 || s.batch == 1),
        own_head(!bias.present || bias.shape[1] > 1 || s.heads == 1),
        key_sum(bias.present && bias.shape[3] == 1 && s.capacity > 1),
        batch(s.batch),
        groups(s.groups),
        keys(s.capacity),
        owners((own_batch ? batch : 1) * (own_head ? groups : 1)),
        lanes(batch * groups / owners),
        slices(std::clamp<int64_t>(kUnits / owners, 1, std::max<int64_t>(lanes / 4, 1))),
        chunks(
            std::clamp<int64_t>(keys / 512, 1, std::max<int64_t>(kUnits / (owners * slices), 1))),
        bias_parts(bias.present ? slices * (key_sum ? chunks : 1) : 1) {}

  int64_t units() const { return owners * slices * chunks; }
  int64_t owner(int64_t unit) const { return unit / (slices * chunks); }
  int64_t chunk(int64_t unit) const { return unit % chunks; }
  int64_t bias_part(int64_t unit) const {
    return key_sum ? unit % (slices * chunks) : unit / chunks % slices;
  }
  Range lanes_of(int64_t unit) const {
    const int64_t slice = unit / chunks % slices;
    return {lanes * slice / slices, lanes * (slice + 1) / slices};
  }
  Range keys_of(int64_t unit) const {
    return {keys * chunk(unit) / chunks, keys * (chunk(unit) + 1) / chunks};
  }
  int64_t batch_of(int64_t owner, int64_t lane) const {
    return own_batch ? owner / (own_head ? groups : 1) : lane / (own_head ? 1 : groups);
  }
  int64_t group_of(int64_t owner, int64_t lane) const {
    return own_head ? owner % groups : lane % groups;
  }
};

// A block of keys of one lane.
struct Keys {
  int64_t batch, group, first, size;
  Right across, values_across, along;
  Range range() const { return {first, first + size}; }
};

// Gradients of one unit. dbias is null without a bias; when `exclusive`, no other unit or lane
// contributes to the same entries of dbias and all of them are written, else they are added to.
struct Gradient {
  const Attention& forward;
  const Sight& sight;
  const float *lse, *out, *dout;
  float *dquery, *dkey, *dvalue, *dbias;
  bool exclusive;

  static constexpr int64_t kQueries = 64, kKeys = 256;

  void lane(int64_t batch, int64_t group, Range span) const {
    const Shape& s = forward.shape;
    const int64_t most = std::min(s.block(), kKeys), row_size = most + kLanes;
    const auto [probability, slope, across, values_across, along, kept_queries, kept_dout] =
        pieces({kQueries * row_size, kQueries * row_size, most * s.dim, most * s.width,
                most * whole_lanes(s.dim), kQueries * whole_lanes(s.dim),
                kQueries * whole_lanes(s.width)});
    for (int64_t first = span.first; first < span.second; first += most) {
      const int64_t size = std::min(most, span.second - first);
      const int64_t row = (batch * s.groups + group) * s.capacity + first;
      const float* key_rows = forward.key + row * s.dim;
      const float* value_rows = forward.value + row * s.width;
      const Keys keys{batch,
                      group,
                      first,
                      size,
                      right_transposed(key_rows, size, s.dim, across),
                      right_transposed(value_rows, size, s.width, values_across),
                      right(key_rows, size, s.dim, along)};
      bool started = false;
      for (int64_t head = group * s.share; head < (group + 1) * s.share; ++head)
        for (int64_t query = 0; query < s.queries; query += kQueries) {
          const Range queries(query, std::min(query + kQueries, s.queries));
          const Range near = forward.terms.permitted(batch, head, queries,
                                                     common(sight.of(queries), keys.range()));
          if (near.first == near.second) {
            leave(keys, head, queries, first == span.first);
            continue;
          }
          logits(keys, near, head, queries, probability, slope, row_size);
          for (int64_t q = query; q < queries.second; ++q)
            soften(keys, common(sight.of(q), near), head, q, probability + (q - query) * row_size,
                   slope + (q - query) * row_size);
          products(keys, near, head, queries, probability, slope, row_size, kept_queries, kept_dout,
                   {dvalue + row * s.width, s.width, started}, {dkey + row * s.dim, s.dim, started},
                   first > span.first);
          started = true;
        }
      if (!started) {
        std::fill(dkey + row * s.dim, dkey + (row + size) * s.dim, 0.0f);
        std::fill(dvalue + row * s.width, dvalue + (row + size) * s.width, 0.0f);
      }
    }
  }

 private:
  int64_t row_of(const Keys& keys, int64_t head, int64_t query) const {
    return (keys.batch * forward.shape.heads + head) * forward.shape.queries + query;
  }
  float* bias_row(const Keys& keys, int64_t head, int64_t query) const {
    const Broadcast<float>& bias = forward.terms.bias;
    return dbias + (bias.row(keys.batch, head, query) - bias.data);
  }
  // Queries, counted from the first of `queries`, that see some of the keys [from, to), counted
  // from the first of the block; and the keys that some of these queries see.
  Range seeing(const Keys& keys, Range near, Range queries, int64_t from, int64_t to) const {
    const Range some = common(near, {keys.first + from, keys.first + to});
    if (some.first == some.second) return {0, 0};
    const Range found = common(sight.onto(some), queries);
    return {found.first - queries.first, found.second - queries.first};
  }
  Range seen(const Keys& keys, Range near, Range queries, int64_t from, int64_t to) const {
    const Range found = common(sight.of(Range(queries.first + from, queries.first + to)), near);
    return {found.first - keys.first, found.second - keys.first};
  }

  // What queries and keys that do not see each other leave behind.
  void leave(const Keys& keys, int64_t head, Range queries, bool first) const {
    const int64_t dim = forward.shape.dim;
    if (first)
      std::fill(dquery + row_of(keys, head, queries.first) * dim,
                dquery + row_of(keys, head, queries.second) * dim, 0.0f);
    for (int64_t q = queries.first; exclusive && q < queries.second; ++q) {
      float* cells = bias_row(keys, head, q) + keys.first;
      std::fill(cells, cells + keys.size, 0.0f);
    }
  }

  // scale Q K^T and dO V^T, where rows and panels of keys see each other.
  void logits(const Keys& keys, Range near, int64_t head, Range queries, float* probability,
              float* slope, int64_t row_size) const {
    const Shape& s = forward.shape;
    const int64_t row = row_of(keys, head, queries.first);
    for (int64_t k = 0; k < keys.size; k += kPanel) {
      const int64_t columns = std::min<int64_t>(kPanel, keys.size - k);
      const Range some = seeing(keys, near, queries, k, k + columns);
      if (some.first == some.second) continue;
      auto product = [&](const float* left, int64_t inner, float alpha, Right panel, float* to) {
        panel.data += k / kPanel * panel.panel;
        multiply(some.second - some.first, whole_lanes(columns), alpha,
                 {left + (row + some.first) * inner, inner, 1}, panel,
                 {to + some.first * row_size + k, row_size, false},
                 [=](int64_t, int64_t) { return Range(0, inner); });
      };
      product(forward.query, s.dim, forward.scale, keys.across, probability);
      product(dout, s.width, 1.0f, keys.values_across, slope);
    }
  }

  // One row of logits to probabilities p, and of dp to p (dp - mean of dp), which is the gradient
  // of the logits.
  void soften(const Keys& keys, Range visible, int64_t head, int64_t q, float* probability,
              float* slope) const {
    const int64_t from = visible.first - keys.first, to = visible.second - keys.first;
    const int64_t padded = whole_lanes(keys.size), row = row_of(keys, head, q);
    const int64_t width = forward.shape.width;
    const Range vectors = framed(probability, from, to, padded, -INFINITY);
    framed(slope, from, to, padded, 0.0f);
    if (from < to) {
      forward.terms.apply(probability, keys.batch, head, q, keys.first, from, to);
      const float shift = lse[row] == -INFINITY ? INFINITY : lse[row];
      Lanes weights{}, total{};
      for (int64_t k = vectors.first; k < vectors.second; k += kLanes) {
        const Lanes p = exponential(load(probability + k) - shift);
        store(probability + k, p);
        weights += p;
        total += p * load(slope + k);
      }
      // The mean of dp is also dO O. Taken over the same p and dp, it leaves less rounding.
      const float weight = sum(weights);
      const float dot = keys.size < forward.shape.capacity
                            ? scalar_product(dout + row * width, out + row * width, width)
                        : weight == 0.0f ? 0.0f
                                         : sum(total) / weight;
      for (int64_t k = vectors.first; k < vectors.second; k += kLanes)
        store(slope + k, load(probability + k) * (load(slope + k) - dot));
    }
    if (dbias == nullptr) return;
    float* cells = bias_row(keys, head, q);
    if (exclusive) {
      std::copy(slope, slope + keys.size, cells + keys.first);
    } else if (forward.terms.bias.stride[3] == 0) {
      Lanes total{};
      for (int64_t k = vectors.first; k < vectors.second; k += kLanes) total += load(slope + k);
      cells[0] += sum(total);
    } else {
      cells += keys.first;
#pragma omp simd
      for (int64_t k = from; k < to; ++k) cells[k] += slope[k];
    }
  }

  void products(const Keys& keys, Range near, int64_t head, Range queries, const float* probability,
                const float* slope, int64_t row_size, float* kept_queries, float* kept_dout,
                const Result& dv, const Result& dk, bool add) const {
    const Shape& s = forward.shape;
    const int64_t count = queries.second - queries.first;
    const int64_t row = row_of(keys, head, queries.first);
    auto by_key = [&](int64_t from, int64_t to) { return seeing(keys, near, queries, from, to); };
    auto by_query = [&](int64_t from, int64_t to) { return seen(keys, near, queries, from, to); };
    multiply(keys.size, s.width, 1.0f, {probability, 1, row_size},
             right(dout + row * s.width, count, s.width, kept_dout), dv, by_key);
    multiply(keys.size, s.dim, forward.scale, {slope, 1, row_size},
             right(forward.query + row * s.dim, count, s.dim, kept_queries), dk, by_key);
    multiply(count, s.dim, forward.scale, {slope, row_size, 1}, keys.along,
             {dquery + row * s.dim, s.dim, add}, by_query);
  }
};

void clear(const Out& x) { std::fill(x.data, x.data + x.size(), 0.0f); }

}  // namespace

// lse is the logarithm of the sum of the exponentials of the logits.
SCIMIND_OPERATOR(attention, (In query, In key, In value, Mask mask, In bias, Options options,
                             Out out, Out lse)) {
  const Attention attention = attention_of(query, key, value, Terms(mask, bias), options[2]);
  const Sight sight = sight_of(query, key, options);
  attend_all(attention, [&](int64_t) { return sight; }, out.data, lse.data);
}

SCIMIND_OPERATOR(attention_grad,
                 (In query, In key, In value, Mask mask, In bias, In lse, In out, In dout,
                  Options options, Out dquery, Out dkey, Out dvalue, Out dbias)) {
  const Attention attention = attention_of(query, key, value, Terms(mask, bias), options[2]);
  const Sight sight = sight_of(query, key, options);
  const Shape& s = attention.shape;
  if (s.batch * s.share * s.groups * s.queries * s.capacity == 0) {
    clear(dquery);
    clear(dkey);
    clear(dvalue);
    if (bias.present) clear(dbias);
    return;
  }
  const Split split(s, bias);
  const int64_t bias_size = bias.present ? dbias.size() : 0;
  const bool exclusive = bias.present && split.own_batch && split.own_head &&
                         (bias.shape[2] > 1 || s.queries == 1) && !split.key_sum;
  const int64_t query_size = split.chunks > 1 ? dquery.size() : 0;
  const int64_t bias_kept = split.bias_parts > 1 ? bias_size : 0;
  std::unique_ptr<float[]> kept(
      new float[split.chunks * query_size + split.bias_parts * bias_kept]);
  float* dquery_parts = split.chunks > 1 ? kept.get() : dquery.data;
  float* dbias_parts = split.bias_parts > 1 ? kept.get() + split.chunks * query_size : dbias.data;
  if (bias.present && !exclusive)
    std::fill(dbias_parts, dbias_parts + split.bias_parts * bias_size, 0.0f);

  const double work = 10.0 * s.share * s.queries * s.capacity * (s.dim + s.width + 16) *
                      split.lanes / (split.slices * split.chunks);
  const int64_t grain = static_cast<int64_t>(2e6 / (work + 1.0)) + 1;
  over(split.units(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const Gradient gradient{
          attention,
          sight,
          lse.data,
          out.data,
          dout.data,
          dquery_parts + split.chunk(unit) * query_size,
          dkey.data,
          dvalue.data,
          bias.present ? dbias_parts + split.bias_part(unit) * bias_kept : nullptr,
          exclusive};
      const Range lanes = split.lanes_of(unit);
      for (int64_t lane = lanes.first; lane < lanes.second; ++lane)
        gradient.lane(split.batch_of(split.owner(unit), lane),
                      split.group_of(split.owner(unit), lane), split.keys_of(unit));
    }
  });
  if (split.chunks > 1) sum_parts(dquery_parts, split.chunks, query_size, dquery.data);
  if (split.bias_parts > 1) sum_parts(dbias_parts, split.bias_parts, bias_size, dbias.data);
}
