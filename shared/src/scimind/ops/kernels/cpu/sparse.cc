// The branches of native sparse attention that have no dense counterpart: attention to compressed
// blocks, the choice of blocks, and attention to the chosen ones. Nothing larger than the keys is
// kept; the gradients compute probabilities again from the logarithm of their sums.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "scimind/operator.h"

using namespace scimind;

namespace {

// Columns of a block of transposed keys.
constexpr int64_t kBlock = 128;
// Logits of a tile of queries, at most, and its queries.
constexpr int64_t kLogits = 1 << 16, kFewest = 16, kMost = 128;
// Rows (query and head) of a tile of selected attention.
constexpr int64_t kRows = 512;
// Parts of a gradient that are summed apart, at least as long as there are tiles for them.
constexpr int64_t kParts = 8;

using Buffer = std::unique_ptr<float[]>;
Buffer buffer(int64_t count) { return Buffer(new float[count > 0 ? count : 1]); }

int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

SCIMIND_INLINE float larger(float x, float y) { return y > x ? y : x; }
// What to subtract before the exponential: a row of -infinity keeps a sum of zero, 0 / 0 is NaN.
SCIMIND_INLINE float shift(float top) { return top == -INFINITY ? 0.0f : top; }

void fill(float* data, int64_t count, float value) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) data[i] = value;
}

void copy(const float* from, int64_t count, float* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

float dot(const float* x, const float* y, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

// A row of logits to exponentials of their distance from the maximum, then zeros up to `width`.
struct Sum {
  float top = -INFINITY, total = 0.0f;
};
Sum exponentials(float* row, int64_t count, int64_t width, float top = -INFINITY) {
  float most = top, total = 0.0f;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; ++i) most = larger(most, row[i]);
  const float down = shift(most);
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) {
    row[i] = exponential(row[i] - down);
    total += row[i];
  }
  fill(row + count, width - count, 0.0f);
  return {most, total};
}

// A row of logits to probabilities, of slopes of the probabilities to slopes of the logits.
void slopes(float* logits, float* slope, int64_t count, int64_t width, float logsum, float mean) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    logits[i] = exponential(logits[i] - logsum);
    slope[i] = logits[i] * (slope[i] - mean);
  }
  fill(logits + count, width - count, 0.0f);
  fill(slope + count, width - count, 0.0f);
}

// C (rows, columns) = A (rows, inner) B; zeros when there is nothing to add up.
void multiply(int64_t rows, int64_t columns, int64_t inner, float alpha, const float* a,
              int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  if (rows == 0 || columns == 0) return;
  if (inner > 0) {
    product('N', 'N', rows, columns, inner, alpha, a, lda, b, ldb, 0.0f, c, ldc);
  } else {
    for (int64_t r = 0; r < rows; ++r) fill(c + r * ldc, columns, 0.0f);
  }
}

// C (rows, columns) += A^T B
void accumulate(int64_t rows, int64_t columns, int64_t inner, float alpha, const float* a,
                int64_t lda, const float* b, float* c) {
  if (rows > 0 && columns > 0 && inner > 0)
    product('T', 'N', rows, columns, inner, alpha, a, lda, b, columns, 1.0f, c, columns);
}

// Rows in blocks of `size` that are transposed each, (dim, size): products with them are faster
// than products with the transpose, and each block is used many times.
struct Transposed {
  Buffer data;
  int64_t size, blocks, dim;

  Transposed(In x, int64_t block, float scale)
      : size(block), blocks(ceil_div(x.axis(2), block)), dim(x.axis(3)) {
    const int64_t keys = x.axis(2), columns = dim, width = block, count = blocks;
    data = buffer(x.axis(0) * x.axis(1) * blocks * size * dim);
    float* whole = data.get();
    over(x.axis(0) * x.axis(1) * blocks, 1, [=](int64_t index, int64_t) {
      const int64_t first = index % count * width, rows = std::min(width, keys - first);
      const float* from = x + (index / count * keys + first) * columns;
      float* to = whole + index * width * columns;
      for (int64_t c = 0; c < columns; c += 16)
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = c; i < std::min(c + 16, columns); ++i)
            to[i * width + r] = scale * from[r * columns + i];
    });
  }
  const float* block(int64_t group, int64_t index) const {
    return data.get() + (group * blocks + index) * size * dim;
  }
};

// A gradient of keys or values: tiles of queries add to parts, and these are summed in order.
struct Parts {
  Out out;
  int64_t count, size;
  Buffer rest;  // part 0 is `out` itself

  Parts(Out whole, int64_t parts)
      : out(whole), count(parts), size(whole.size()), rest(buffer((parts - 1) * size)) {
    fill(out.data, size, 0.0f);
    fill(rest.get(), (count - 1) * size, 0.0f);
  }
  float* part(int64_t index, int64_t offset) const {
    return (index == 0 ? out.data : rest.get() + (index - 1) * size) + offset;
  }
  void sum() const {
    over(size, 1 << 14, [this](int64_t begin, int64_t end) {
      for (int64_t index = 1; index < count; ++index) {
        const float* more = part(index, 0);
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) out[i] += more[i];
      }
    });
  }
};

// Sizes that the operators share, and work cut into tiles of queries.
struct Problem {
  int64_t batch, heads, groups, share, queries, keys, dim, width, tile, tiles;
  float scale;

  Problem(In query, In key, int64_t values, int64_t option, const Options& options)
      : batch(query.axis(0)), heads(query.axis(1)), groups(key.axis(1)),
        share(groups > 0 ? heads / groups : 0), queries(query.axis(2)), keys(key.axis(2)),
        dim(query.axis(3)), width(values),
        scale(options.given(option) ? options[option] : 1.0 / std::sqrt(static_cast<double>(dim))) {
  }
  void cut(int64_t size) {
    tile = size;
    tiles = ceil_div(queries, size);
  }
  int64_t parts() const {
    return std::clamp<int64_t>(ceil_div(kParts, std::max<int64_t>(1, batch * groups)), 1,
                               std::max<int64_t>(1, tiles));
  }
  // Row of the queries of a head, of the group-th group of all batches.
  int64_t row(int64_t group, int64_t member, int64_t at) const {
    return (group * share + member) * queries + at;
  }
};

// Which compressed blocks a query sees: those that end at its position or before.
struct Compression {
  int64_t length, stride, start, blocks;

  Compression(const Options& options, int64_t first, int64_t count)
      : length(std::max<int64_t>(1, options.whole(0, 1))),
        stride(std::max<int64_t>(1, options.whole(1, 1))), start(options.whole(first, 0)),
        blocks(count) {}
  int64_t visible(int64_t query) const {
    const int64_t tokens = start + query + 1;
    return tokens < length ? 0 : std::min(blocks, (tokens - length) / stride + 1);
  }
  static int64_t tile(int64_t blocks) {
    return std::clamp(kLogits / std::max<int64_t>(1, blocks), kFewest, kMost);
  }
};

// (rows, count) of products with transposed blocks.
void scores(const Transposed& flipped, int64_t group, const float* rows_of, int64_t rows,
            int64_t count, float* out) {
  for (int64_t first = 0; first < count; first += kBlock)
    multiply(rows, std::min(kBlock, count - first), flipped.dim, 1.0f, rows_of, flipped.dim,
             flipped.block(group, first / kBlock), kBlock, out + first, count);
}

}  // namespace

SCIMIND_OPERATOR(compressed_attention,
                 (In query, In key, In value, Options options, Out out, Out logsumexp)) {
  Problem p(query, key, value.axis(3), 2, options);
  const Compression seen(options, 3, p.keys);
  p.cut(Compression::tile(p.keys));
  if (p.share == 0) {
    fill(out.data, out.size(), 0.0f);
    fill(logsumexp.data, logsumexp.size(), 0.0f);
    return;
  }
  const Transposed keys(key, kBlock, p.scale);
  over(p.batch * p.groups * p.tiles, 1, [&](int64_t index, int64_t) {
    // The last queries first: they see the most.
    const int64_t group = index % (p.batch * p.groups);
    const int64_t first = (p.tiles - 1 - index / (p.batch * p.groups)) * p.tile;
    const int64_t rows = std::min(p.tile, p.queries - first);
    const int64_t count = seen.visible(first + rows - 1);
    float* weights = scratch<0>(rows * count);
    float sums[kMost];
    for (int64_t member = 0; member < p.share; ++member) {
      const int64_t row = p.row(group, member, first);
      scores(keys, group, query + row * p.dim, rows, count, weights);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t visible = seen.visible(first + i);
        const Sum sum = exponentials(weights + i * count, visible, count);
        sums[i] = sum.total;
        logsumexp[row + i] = visible == 0 ? 0.0f : shift(sum.top) + std::log(sum.total);
      }
      float* to = out + row * p.width;
      multiply(rows, p.width, count, 1.0f, weights, count, value + group * p.keys * p.width,
               p.width, to, p.width);
      for (int64_t i = 0; i < rows; ++i) {
        if (seen.visible(first + i) == 0) {
          fill(to + i * p.width, p.width, 0.0f);
        } else {
#pragma omp simd
          for (int64_t w = 0; w < p.width; ++w) to[i * p.width + w] /= sums[i];
        }
      }
    }
  });
}

SCIMIND_OPERATOR(compressed_attention_grad,
                 (In query, In key, In value, In out, In logsumexp, In dout, Options options,
                  Out dquery, Out dkey, Out dvalue)) {
  Problem p(query, key, value.axis(3), 2, options);
  const Compression seen(options, 3, p.keys);
  p.cut(Compression::tile(p.keys));
  const Parts key_parts(dkey, p.parts()), value_parts(dvalue, p.parts());
  if (p.share == 0) {
    fill(dquery.data, dquery.size(), 0.0f);
    return;
  }
  const Transposed keys(key, kBlock, p.scale), values(value, kBlock, 1.0f);
  const int64_t parts = p.parts();
  over(p.batch * p.groups * parts, 1, [&](int64_t index, int64_t) {
    const int64_t group = index / parts, part = index % parts;
    float* dk = key_parts.part(part, group * p.keys * p.dim);
    float* dv = value_parts.part(part, group * p.keys * p.width);
    for (int64_t tile = part; tile < p.tiles; tile += parts) {
      const int64_t first = tile * p.tile, rows = std::min(p.tile, p.queries - first);
      const int64_t count = seen.visible(first + rows - 1);
      float* weights = scratch<0>(rows * count);
      float* slope = scratch<1>(rows * count);
      for (int64_t member = 0; member < p.share; ++member) {
        const int64_t row = p.row(group, member, first);
        const float* d = dout + row * p.width;
        scores(keys, group, query + row * p.dim, rows, count, weights);
        scores(values, group, d, rows, count, slope);
        for (int64_t i = 0; i < rows; ++i)
          slopes(weights + i * count, slope + i * count, seen.visible(first + i), count,
                 logsumexp[row + i], dot(d + i * p.width, out + (row + i) * p.width, p.width));
        multiply(rows, p.dim, count, p.scale, slope, count, key + group * p.keys * p.dim, p.dim,
                 dquery + row * p.dim, p.dim);
        accumulate(count, p.dim, rows, p.scale, slope, count, query + row * p.dim, dk);
        accumulate(count, p.width, rows, 1.0f, weights, count, d, dv);
      }
    }
  });
  key_parts.sum();
  value_parts.sum();
}

namespace {

// The blocks of a query, in order: its own, the first, the one before its own, then the most
// important of those that start at its position or before, of equal ones the earlier.
class Selection {
 public:
  explicit Selection(int64_t count) : count_(count) { kept_.reserve(count); }

  void write(const float* importance, int64_t current, int32_t* out) {
    kept_.clear();
    int64_t worst = 0;
    for (int64_t block = 0; block <= current; ++block) {
      // NaN compares with nothing; as the least of all it keeps the order total.
      const float value = block == current         ? kOwn
                          : block == 0             ? kFirst
                          : block + 1 == current   ? kBefore
                          : importance[block] >= 0 ? importance[block]
                                                   : -1.0f;
      if (static_cast<int64_t>(kept_.size()) < count_) {
        kept_.push_back({value, block});
      } else if (count_ > 0 && value > kept_[worst].first) {
        kept_[worst] = {value, block};
      } else {
        continue;
      }
      if (static_cast<int64_t>(kept_.size()) == count_) worst = find_worst();
    }
    std::sort(kept_.begin(), kept_.end(),
              [](const auto& a, const auto& b) { return a.second < b.second; });
    for (int64_t i = 0; i < count_; ++i)
      out[i] = i < static_cast<int64_t>(kept_.size()) ? kept_[i].second : -1;
  }

 private:
  int64_t find_worst() const {
    int64_t worst = 0;
    for (int64_t i = 1; i < static_cast<int64_t>(kept_.size()); ++i)
      if (kept_[i].first < kept_[worst].first ||
          (kept_[i].first == kept_[worst].first && kept_[i].second > kept_[worst].second))
        worst = i;
    return worst;
  }

  static constexpr float kOwn = 3e38f, kFirst = 2e38f, kBefore = 1e38f;
  int64_t count_;
  std::vector<std::pair<float, int64_t>> kept_;
};

}  // namespace

SCIMIND_OPERATOR(select_blocks, (In query, In key, Options options, View<int32_t> out)) {
  Problem p(query, key, 0, 4, options);
  const Compression seen(options, 5, p.keys);
  p.cut(Compression::tile(p.keys));
  const int64_t chosen = out.axis(3);
  const int64_t covered = ceil_div(seen.length, seen.stride);
  const int64_t size = std::max<int64_t>(1, options.whole(2, 1));
  const Transposed keys(key, kBlock, p.scale);
  over(p.batch * p.groups * p.tiles, 1, [&](int64_t index, int64_t) {
    const int64_t group = index % (p.batch * p.groups);
    const int64_t first = (p.tiles - 1 - index / (p.batch * p.groups)) * p.tile;
    const int64_t rows = std::min(p.tile, p.queries - first);
    const int64_t count = seen.visible(first + rows - 1);
    float* weights = scratch<0>(rows * count);
    float* shares = scratch<1>(rows * count);
    fill(shares, rows * count, 0.0f);
    for (int64_t member = 0; member < p.share; ++member) {
      scores(keys, group, query + p.row(group, member, first) * p.dim, rows, count, weights);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t visible = seen.visible(first + i);
        const Sum sum = exponentials(weights + i * count, visible, count);
        const float scale = 1.0f / sum.total;
#pragma omp simd
        for (int64_t k = 0; k < visible; ++k)
          shares[i * count + k] += scale * weights[i * count + k];
      }
    }
    Selection selection(chosen);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t current = std::max<int64_t>(0, seen.start + first + i) / size;
      const int64_t visible = seen.visible(first + i);
      float* importance = scratch<2>(current + 1);
      const float* share = shares + i * count;
      for (int64_t block = 0; block <= current; ++block) {
        float sum = 0.0f;
        // Equation 9: a compressed block counts once for each of its strides that starts here.
        for (int64_t part = ceil_div(block * size, seen.stride);
             part * seen.stride < (block + 1) * size; ++part)
          for (int64_t k = std::min(part, visible - 1); k >= 0 && k > part - covered; --k)
            sum += share[k];
        importance[block] = sum;
      }
      selection.write(importance, current, out + (group * p.queries + first + i) * chosen);
    }
  });
}

namespace {

// For a tile of queries, the queries of each block that was chosen by any of them.
struct Chosen {
  std::vector<int64_t> blocks;   // the chosen ones
  std::vector<int64_t> first;    // start of each one's queries
  std::vector<int64_t> queries;  // relative to the tile

  Chosen(const int32_t* table, int64_t count, int64_t rows, int64_t position, int64_t size,
         int64_t available) {
    // A block that is listed twice counts once, one that does not exist or lies ahead not at all.
    std::vector<int64_t> last(available, -1), number(available, 0);
    const auto pairs = [&](auto use) {
      std::fill(last.begin(), last.end(), -1);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t c = 0; c < count; ++c) {
          const int64_t block = table[i * count + c];
          if (block < 0 || block >= available || block * size > position + i || last[block] == i)
            continue;
          last[block] = i;
          use(block, i);
        }
    };
    int64_t total = 0;
    pairs([&](int64_t block, int64_t) { ++number[block]; });
    for (int64_t block = 0; block < available; ++block) {
      if (number[block] == 0) continue;
      blocks.push_back(block);
      first.push_back(total);
      total += number[block];
      number[block] = first.back();
    }
    first.push_back(total);
    queries.resize(total);
    pairs([&](int64_t block, int64_t i) { queries[number[block]++] = i; });
  }
  template <typename Body>
  void each(Body body) const {
    for (size_t i = 0; i < blocks.size(); ++i)
      body(blocks[i], queries.data() + first[i], first[i + 1] - first[i]);
  }
};

// Selected attention to blocks of `size` tokens.
struct Selected : Problem {
  int64_t size, blocks, count;

  Selected(In query, In key, int64_t values, Ints table, const Options& options)
      : Problem(query, key, values, 1, options),
        size(std::max<int64_t>(1, std::min(options.whole(0, 1), std::max<int64_t>(1, keys)))),
        blocks(ceil_div(keys, size)), count(table.axis(3)) {
    cut(std::max<int64_t>(1, kRows / std::max<int64_t>(1, share)));
  }
  Chosen chosen(Ints table, int64_t group, int64_t first, int64_t rows) const {
    return Chosen(table + (group * queries + first) * count, count, rows, position(first), size,
                  blocks);
  }
  // The last query is aligned with the last key.
  int64_t position(int64_t at) const { return at + keys - queries; }
  int64_t tokens(int64_t block) const { return std::min(size, keys - block * size); }
  int64_t visible(int64_t block, int64_t at) const {
    return std::min(tokens(block), position(at) - block * size + 1);
  }
  // Rows of all heads of the group for some queries, ordered by query, then head.
  void gather(In x, int64_t columns, int64_t group, int64_t start, const int64_t* at, int64_t some,
              float* to) const {
    for (int64_t i = 0; i < some * share; ++i)
      copy(x + row(group, i % share, start + at[i / share]) * columns, columns, to + i * columns);
  }
};

}  // namespace

SCIMIND_OPERATOR(selected_attention, (In query, In key, In value, Ints table, Options options,
                                      Out out, Out logsumexp)) {
  const Selected p(query, key, value.axis(3), table, options);
  if (p.share == 0 || p.keys == 0) {
    fill(out.data, out.size(), 0.0f);
    fill(logsumexp.data, logsumexp.size(), 0.0f);
    return;
  }
  const Transposed keys(key, p.size, p.scale);
  over(p.batch * p.groups * p.tiles, 1, [&](int64_t index, int64_t) {
    const int64_t group = index / p.tiles, first = index % p.tiles * p.tile;
    const int64_t length = std::min(p.tile, p.queries - first), rows = length * p.share;
    // Rows are ordered by query, then head.
    float* mixed = scratch<0>(rows * (p.width + 3));
    float* top = mixed + rows * p.width;
    float* total = top + rows;
    float* factor = total + rows;
    fill(mixed, rows * p.width, 0.0f);
    fill(top, rows, -INFINITY);
    fill(total, rows, 0.0f);
    float* near = scratch<1>(rows * (p.dim + p.size + p.width));
    float* weights = near + rows * p.dim;
    float* added = weights + rows * p.size;
    const Chosen chosen = p.chosen(table, group, first, length);
    chosen.each([&](int64_t block, const int64_t* at, int64_t some) {
      const int64_t tokens = p.tokens(block), taken = some * p.share;
      p.gather(query, p.dim, group, first, at, some, near);
      multiply(taken, tokens, p.dim, 1.0f, near, p.dim, keys.block(group, block), p.size, weights,
               tokens);
      for (int64_t i = 0; i < taken; ++i) {
        const int64_t query_at = at[i / p.share], row = query_at * p.share + i % p.share;
        const Sum sum = exponentials(weights + i * tokens, p.visible(block, first + query_at),
                                     tokens, top[row]);
        factor[i] = exponential(top[row] - shift(sum.top));
        total[row] = total[row] * factor[i] + sum.total;
        top[row] = sum.top;
      }
      multiply(taken, p.width, tokens, 1.0f, weights, tokens,
               value + (group * p.keys + block * p.size) * p.width, p.width, added, p.width);
      for (int64_t i = 0; i < taken; ++i) {
        float* to = mixed + (at[i / p.share] * p.share + i % p.share) * p.width;
#pragma omp simd
        for (int64_t w = 0; w < p.width; ++w) to[w] = to[w] * factor[i] + added[i * p.width + w];
      }
    });
    // A query that chose no block gets zeros; a sum of zero otherwise means NaN.
    for (int64_t row = 0; row < rows; ++row) factor[row] = 1.0f;
    for (const int64_t at : chosen.queries) fill(factor + at * p.share, p.share, 0.0f);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t to = p.row(group, row % p.share, first + row / p.share);
      const float sum = total[row] + factor[row];
      logsumexp[to] = shift(top[row]) + std::log(sum);
#pragma omp simd
      for (int64_t w = 0; w < p.width; ++w) out[to * p.width + w] = mixed[row * p.width + w] / sum;
    }
  });
}

SCIMIND_OPERATOR(selected_attention_grad,
                 (In query, In key, In value, Ints table, In out, In logsumexp, In dout,
                  Options options, Out dquery, Out dkey, Out dvalue)) {
  const Selected p(query, key, value.axis(3), table, options);
  const Parts key_parts(dkey, p.parts()), value_parts(dvalue, p.parts());
  if (p.share == 0 || p.keys == 0) {
    fill(dquery.data, dquery.size(), 0.0f);
    return;
  }
  const Transposed keys(key, p.size, p.scale), values(value, p.size, 1.0f);
  const int64_t parts = p.parts();
  over(p.batch * p.groups * parts, 1, [&](int64_t index, int64_t) {
    const int64_t group = index / parts, part = index % parts;
    float* dk = key_parts.part(part, group * p.keys * p.dim);
    float* dv = value_parts.part(part, group * p.keys * p.width);
    for (int64_t tile = part; tile < p.tiles; tile += parts) {
      const int64_t first = tile * p.tile, length = std::min(p.tile, p.queries - first);
      const int64_t rows = length * p.share;
      float* dq = scratch<0>(rows * (p.dim + 2));
      float* logsum = dq + rows * p.dim;
      float* mean = logsum + rows;
      fill(dq, rows * p.dim, 0.0f);
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t from = p.row(group, row % p.share, first + row / p.share);
        logsum[row] = logsumexp[from];
        mean[row] = dot(dout + from * p.width, out + from * p.width, p.width);
      }
      float* near = scratch<1>(rows * (2 * p.dim + p.width + 2 * p.size));
      float* added = near + rows * p.dim;
      float* d = added + rows * p.dim;
      float* weights = d + rows * p.width;
      float* slope = weights + rows * p.size;
      p.chosen(table, group, first, length)
          .each([&](int64_t block, const int64_t* at, int64_t some) {
            const int64_t tokens = p.tokens(block), taken = some * p.share;
            const int64_t token = block * p.size;
            p.gather(query, p.dim, group, first, at, some, near);
            p.gather(dout, p.width, group, first, at, some, d);
            multiply(taken, tokens, p.dim, 1.0f, near, p.dim, keys.block(group, block), p.size,
                     weights, tokens);
            multiply(taken, tokens, p.width, 1.0f, d, p.width, values.block(group, block), p.size,
                     slope, tokens);
            for (int64_t i = 0; i < taken; ++i) {
              const int64_t row = at[i / p.share] * p.share + i % p.share;
              slopes(weights + i * tokens, slope + i * tokens,
                     p.visible(block, first + at[i / p.share]), tokens, logsum[row], mean[row]);
            }
            accumulate(tokens, p.dim, taken, p.scale, slope, tokens, near, dk + token * p.dim);
            accumulate(tokens, p.width, taken, 1.0f, weights, tokens, d, dv + token * p.width);
            multiply(taken, p.dim, tokens, p.scale, slope, tokens,
                     key + (group * p.keys + token) * p.dim, p.dim, added, p.dim);
            for (int64_t i = 0; i < taken; ++i) {
              float* to = dq + (at[i / p.share] * p.share + i % p.share) * p.dim;
#pragma omp simd
              for (int64_t w = 0; w < p.dim; ++w) to[w] += added[i * p.dim + w];
            }
          });
      for (int64_t row = 0; row < rows; ++row)
        copy(dq + row * p.dim, p.dim,
             dquery + p.row(group, row % p.share, first + row / p.share) * p.dim);
    }
  });
  key_parts.sum();
  value_parts.sum();
}
