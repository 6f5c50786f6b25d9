// Scaled dot-product attention and its gradients, in blocks of queries and keys; the gradients
// compute the probabilities again (Dao, arXiv 2307.08691).
#include "scimind/attend.h"

using namespace scimind;

namespace {

Attention attention_of(const In& query, const In& key, const In& value, const Mask& mask,
                       const In& bias, const Options& options) {
  const double dim = std::max<double>(query.shape[3], 1.0);
  const double scale = options.given(2) ? options[2] : 1.0 / std::sqrt(dim);
  return {Shape(query, key, value),
          query.data,
          key.data,
          value.data,
          Terms{Broadcast<bool>(mask), Broadcast<float>(bias)},
          static_cast<float>(scale)};
}

Sight sight_of(const In& query, const In& key, const Options& options) {
  return {query.shape[2], key.shape[2], options.whole(1, kUnlimited), options[0] != 0.0};
}

float scalar_product(const float* a, const float* b, int64_t count) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) total += a[i] * b[i];
  return total;
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
        chunks(std::clamp<int64_t>(keys / 512, 1, std::max<int64_t>(kUnits / (owners * slices), 1))),
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

struct Gradient {
  const Attention& forward;
  const Sight& sight;
  const float *lse, *out, *dout;
  float *dkey, *dvalue;

  // One lane and the keys in `span`; dquery and dbias are those of the unit. When `exclusive`, no
  // other lane contributes to these entries of dbias, and all of them are written; else they are
  // added to.
  void lane(int64_t batch, int64_t group, Range span, float* dquery, Broadcast<float> bias,
            float* dbias, bool exclusive) const {
    const Shape& s = forward.shape;
    const int64_t block = std::min<int64_t>(s.block(), 256), row_size = block + kLanes;
    const int64_t sizes[] = {kBlock * row_size,   kBlock * row_size,
                             block * s.dim,       block * s.width,
                             block * whole_lanes(s.dim), kBlock * whole_lanes(s.dim),
                             kBlock * whole_lanes(s.width)};
    int64_t floats = 0;
    for (const int64_t size : sizes) floats += Pieces::size(size);
    Pieces pieces(floats);
    float* probability = pieces.take(sizes[0]);
    float* slope = pieces.take(sizes[1]);
    float* kept_across = pieces.take(sizes[2]);
    float* kept_values = pieces.take(sizes[3]);
    float* kept_keys = pieces.take(sizes[4]);
    float* kept_queries = pieces.take(sizes[5]);
    float* kept_dout = pieces.take(sizes[6]);
    const int64_t key_row = (batch * s.groups + group) * s.capacity;

    for (int64_t first = span.first; first < span.second; first += block) {
      const int64_t size = std::min(block, span.second - first), padded = whole_lanes(size);
      const float* keys = forward.key + (key_row + first) * s.dim;
      const float* values = forward.value + (key_row + first) * s.width;
      const Right keys_across = right_transposed(keys, size, s.dim, kept_across);
      const Right values_across = right_transposed(values, size, s.width, kept_values);
      const Right keys_along = right(keys, size, s.dim, kept_keys);
      float* dk = dkey + (key_row + first) * s.dim;
      float* dv = dvalue + (key_row + first) * s.width;
      bool started = false;
      for (int64_t member = 0; member < s.share; ++member) {
        const int64_t head = group * s.share + member;
        for (int64_t begin = 0; begin < s.queries; begin += kBlock) {
          const Range queries(begin, std::min(begin + kBlock, s.queries));
          const int64_t count = queries.second - begin;
          const int64_t row = (batch * s.heads + head) * s.queries + begin;
          float* dq = dquery + row * s.dim;
          const Range near = forward.terms.permitted(
              batch, head, queries, common(sight.of(queries), {first, first + size}));
          if (near.first == near.second) {
            if (first == span.first) std::fill(dq, dq + count * s.dim, 0.0f);
            for (int64_t r = 0; exclusive && r < count; ++r) {
              float* cells = dbias + (bias.row(batch, head, begin + r) - bias.data) + first;
              std::fill(cells, cells + size, 0.0f);
            }
            continue;
          }
          // Rows that see keys [from, to) of this block, and the other way round.
          auto seeing = [&](int64_t from, int64_t to) -> Range {
            const Range keys_seen = common(near, {first + from, first + to});
            if (keys_seen.first == keys_seen.second) return {0, 0};
            const Range some = common(sight.onto(keys_seen), queries);
            return {some.first - begin, some.second - begin};
          };
          auto seen = [&](int64_t from, int64_t to) -> Range {
            const Range some = common(sight.of(Range(begin + from, begin + to)), near);
            return {some.first - first, some.second - first};
          };
          const float* q = forward.query + row * s.dim;
          const float* d = dout + row * s.width;
          for (int64_t k = 0; k < size; k += kPanel) {
            const int64_t columns = std::min<int64_t>(kPanel, size - k);
            const Range some = seeing(k, k + columns);
            if (some.first == some.second) continue;
            auto product = [&](const float* left, int64_t inner, float alpha, Right across,
                               float* to) {
              multiply(some.second - some.first, whole_lanes(columns), alpha,
                       {left + some.first * inner, inner, 1},
                       {across.data + k / kPanel * across.panel, across.row, 0},
                       {to + some.first * row_size + k, row_size, false},
                       [&](int64_t, int64_t) { return Range(0, inner); });
            };
            product(q, s.dim, forward.scale, keys_across, probability);
            product(d, s.width, 1.0f, values_across, slope);
          }
          for (int64_t r = 0; r < count; ++r) {
            const Range visible = common(sight.of(begin + r), near);
            const int64_t from = visible.first - first, to = visible.second - first;
            float* p = probability + r * row_size;
            float* ds = slope + r * row_size;
            const Range vectors = framed(p, from, to, padded, -INFINITY);
            framed(ds, from, to, padded, 0.0f);
            if (from < to) {
              forward.terms.apply(p, batch, head, begin + r, first, from, to);
              const float shift = lse[row + r] == -INFINITY ? INFINITY : lse[row + r];
              const float dot = scalar_product(d + r * s.width, out + (row + r) * s.width, s.width);
              for (int64_t k = vectors.first; k < vectors.second; k += kLanes) {
                const Lanes y = exponential(load(p + k) - shift);
                store(p + k, y);
                store(ds + k, y * (load(ds + k) - dot));
              }
            }
            if (dbias == nullptr) continue;
            float* cells = dbias + (bias.row(batch, head, begin + r) - bias.data);
            if (exclusive) {
              std::copy(ds, ds + size, cells + first);
            } else if (bias.stride[3] == 0) {
              float total = 0.0f;
#pragma omp simd reduction(+ : total)
              for (int64_t k = from; k < to; ++k) total += ds[k];
              cells[0] += total;
            } else {
#pragma omp simd
              for (int64_t k = from; k < to; ++k) cells[first + k] += ds[k];
            }
          }
          multiply(size, s.width, 1.0f, {probability, 1, row_size},
                   right(d, count, s.width, kept_dout), {dv, s.width, started}, seeing);
          multiply(size, s.dim, forward.scale, {slope, 1, row_size},
                   right(q, count, s.dim, kept_queries), {dk, s.dim, started}, seeing);
          multiply(count, s.dim, forward.scale, {slope, row_size, 1}, keys_along,
                   {dq, s.dim, first > span.first}, seen);
          started = true;
        }
      }
      if (!started) {
        std::fill(dk, dk + size * s.dim, 0.0f);
        std::fill(dv, dv + size * s.width, 0.0f);
      }
    }
  }
  static constexpr int64_t kBlock = 128;
};

void clear(const Out& x) { std::fill(x.data, x.data + x.size(), 0.0f); }

}  // namespace

// lse is the logarithm of the sum of the exponentials of the logits.
SCIMIND_OPERATOR(attention, (In query, In key, In value, Mask mask, In bias, Options options,
                             Out out, Out lse)) {
  const Attention attention = attention_of(query, key, value, mask, bias, options);
  const Sight sight = sight_of(query, key, options);
  attend_all(attention, [&](int64_t) { return sight; }, out.data, lse.data);
}

SCIMIND_OPERATOR(attention_grad,
                 (In query, In key, In value, Mask mask, In bias, In lse, In out, In dout,
                  Options options, Out dquery, Out dkey, Out dvalue, Out dbias)) {
  const Attention attention = attention_of(query, key, value, mask, bias, options);
  const Sight sight = sight_of(query, key, options);
  const Shape& s = attention.shape;
  if (s.batch * s.heads * s.queries * s.capacity == 0) {
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
  float* dbias_parts =
      split.bias_parts > 1 ? kept.get() + split.chunks * query_size : dbias.data;
  if (bias.present && !exclusive)
    std::fill(dbias_parts, dbias_parts + split.bias_parts * bias_size, 0.0f);

  const Gradient gradient{attention, sight, lse.data, out.data, dout.data, dkey.data, dvalue.data};
  const Broadcast<float> strides(bias);
  const double work = 10.0 * s.share * s.queries * s.capacity * (s.dim + s.width + 16) *
                      split.lanes / (split.slices * split.chunks);
  const int64_t grain = static_cast<int64_t>(2e6 / (work + 1.0)) + 1;
  over(split.units(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const Range lanes = split.lanes_of(unit);
      for (int64_t lane = lanes.first; lane < lanes.second; ++lane)
        gradient.lane(split.batch_of(split.owner(unit), lane),
                      split.group_of(split.owner(unit), lane), split.keys_of(unit),
                      dquery_parts + split.chunk(unit) * query_size, strides,
                      bias.present ? dbias_parts + split.bias_part(unit) * bias_kept : nullptr,
                      exclusive);
    }
  });
  if (split.chunks > 1) sum_parts(dquery_parts, split.chunks, query_size, dquery.data);
  if (split.bias_parts > 1) sum_parts(dbias_parts, split.bias_parts, bias_size, dbias.data);
}
