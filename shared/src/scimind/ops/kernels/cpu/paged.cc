// Attention of the newest tokens to a cache that is kept in pages, for generation. A sequence is
// cut into pieces of tokens whose results are put together in order, as in Flash-Decoding.
#include <algorithm>
#include <vector>

#include "scimind/operator.h"

using namespace scimind;

namespace {

// The tokens of a cache that one sequence attends to.
struct Table {
  const int32_t* pages;
  int64_t blocks, slot, count;

  Table(Ints table, Ints length, int64_t sequence, int64_t slots)
      : pages(table + sequence * table.axis(1)), blocks(table.axis(1)), slot(slots) {
    const int64_t given = length[sequence], most = blocks * slot;
    count = given < 0 ? 0 : given < most ? given : most;
  }
};

// Consecutive tokens of one page.
struct Run {
  int64_t row, first, tokens;  // row of the cache, position in the sequence, how many
};

// The runs of tokens [begin, end) of a sequence; pages that do not exist are left out.
std::vector<Run> runs(const Table& table, int64_t available, int64_t begin, int64_t end) {
  std::vector<Run> found;
  for (int64_t at = begin; at < end;) {
    const int64_t block = at / table.slot, offset = at % table.slot;
    const int64_t rest = table.slot - offset, tokens = rest < end - at ? rest : end - at;
    const int64_t page = table.pages[block];
    if (page >= 0 && page < available) found.push_back({page * table.slot + offset, at, tokens});
    at += tokens;
  }
  return found;
}

int64_t total(const std::vector<Run>& found) {
  int64_t tokens = 0;
  for (const Run& run : found) tokens += run.tokens;
  return tokens;
}

// Which pieces of which sequences there are: piece i belongs to sequence[i].
struct Pieces {
  std::vector<int64_t> sequence, begin, end;
  std::vector<int64_t> first;  // of each sequence, and the number of all

  template <typename Length>
  Pieces(int64_t batch, Length tokens_and_step) {
    for (int64_t b = 0; b < batch; ++b) {
      first.push_back(sequence.size());
      const auto [tokens, step] = tokens_and_step(b);
      for (int64_t at = 0; at < tokens; at += step) {
        sequence.push_back(b);
        begin.push_back(at);
        end.push_back(at + step < tokens ? at + step : tokens);
      }
    }
    first.push_back(sequence.size());
  }
  int64_t count() const { return sequence.size(); }
};

SCIMIND_INLINE float larger(float x, float y) { return y > x ? y : x; }
// What to subtract before the exponential: a row of -infinity keeps a sum of zero, 0 / 0 is NaN.
SCIMIND_INLINE float shift(float top) { return top == -INFINITY ? 0.0f : top; }

void fill(float* data, int64_t count, float value) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) data[i] = value;
}

// One row of logits to exponentials; returns their sum.
float exponentials(float* row, int64_t count, float* top) {
  float most = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; ++i) most = larger(most, row[i]);
  const float down = shift(most);
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    row[i] = exponential(row[i] - down);
    sum += row[i];
  }
  *top = most;
  return sum;
}

// The weighted mean of the results of a row in several pieces, each an unnormalised row with its
// maximum and sum. `stride` is from piece to piece, in rows.
void join(const float* acc, const float* top, const float* sum, int64_t pieces, int64_t stride,
          int64_t width, float* out) {
  float most = -INFINITY, whole = 0.0f;
  for (int64_t i = 0; i < pieces; ++i) most = larger(most, top[i * stride]);
  fill(out, width, 0.0f);
  for (int64_t i = 0; i < pieces; ++i) {
    const float weight = exponential(top[i * stride] - shift(most));
    const float* part = acc + i * stride * width;
    whole += weight * sum[i * stride];
#pragma omp simd
    for (int64_t w = 0; w < width; ++w) out[w] += weight * part[w];
  }
#pragma omp simd
  for (int64_t w = 0; w < width; ++w) out[w] /= whole;
}

// oneDNN copies both operands of A B^T from 16 rows on, which costs more than two smaller products.
void scores(int64_t rows, int64_t tokens, int64_t dim, float scale, const float* query,
            const float* key, int64_t step, float* out, int64_t width) {
  if (dim == 0) {
    for (int64_t r = 0; r < rows; ++r) fill(out + r * width, tokens, 0.0f);
    return;
  }
  for (int64_t r = 0; r < rows; r += 8)
    product('N', 'T', rows - r < 8 ? rows - r : 8, tokens, dim, scale, query + r * dim, dim, key,
            step, 0.0f, out + r * width, width);
}

void transpose(const float* from, int64_t rows, int64_t columns, float scale, float* to) {
  for (int64_t c = 0; c < columns; c += 16) {
    const int64_t end = c + 16 < columns ? c + 16 : columns;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = c; i < end; ++i) to[i * rows + r] = scale * from[r * columns + i];
  }
}

constexpr int64_t kPiece = 256;
// Tokens between two corrections of the softmax, and pieces that all sequences have together.
constexpr int64_t kStep = 256, kLatentPieces = 8;

}  // namespace

SCIMIND_OPERATOR(paged_attention,
                 (In query, In key, In value, Ints table, Ints length, Options options, Out out)) {
  const int64_t batch = query.axis(0), heads = query.axis(1), dim = query.axis(2);
  const int64_t pages = key.axis(0), slot = key.axis(1), groups = key.axis(2);
  const int64_t width = value.axis(3);
  const int64_t share = groups > 0 ? heads / groups : 0;
  const float scale = options.given(0) ? options[0] : 1.0 / std::sqrt(static_cast<double>(dim));
  if (heads == 0 || width == 0) return;
  const Pieces pieces(batch, [=](int64_t b) {
    return std::pair(groups > 0 && slot > 0 ? Table(table, length, b, slot).count : 0, kPiece);
  });
  // Of each piece and head: maximum, sum, and the sum of weighted values.
  std::vector<float> kept(pieces.count() * heads * (width + 2));
  float* tops = kept.data();
  float* sums = tops + pieces.count() * heads;
  float* parts = sums + pieces.count() * heads;
  std::vector<int64_t> seen(pieces.count());
  int64_t* tokens = seen.data();
  over(pieces.count(), 1, [&, tokens](int64_t piece, int64_t) {
    const int64_t b = pieces.sequence[piece];
    const std::vector<Run> found =
        runs(Table(table, length, b, slot), pages, pieces.begin[piece], pieces.end[piece]);
    const int64_t count = tokens[piece] = total(found);
    const float* q = query + b * heads * dim;
    float* part = parts + piece * heads * width;
    float* logits = scratch<0>(heads * kPiece);
    int64_t at = 0;
    for (const Run& run : found) {
      for (int64_t g = 0; g < groups; ++g)
        scores(share, run.tokens, dim, scale, q + g * share * dim,
               key + (run.row * groups + g) * dim, groups * dim, logits + g * share * count + at,
               count);
      at += run.tokens;
    }
    for (int64_t h = 0; h < heads; ++h)
      sums[piece * heads + h] = exponentials(logits + h * count, count, tops + piece * heads + h);
    at = 0;
    for (const Run& run : found) {
      for (int64_t g = 0; g < groups; ++g)
        product('N', 'N', share, width, run.tokens, 1.0f, logits + g * share * count + at, count,
                value + (run.row * groups + g) * width, groups * width, at == 0 ? 0.0f : 1.0f,
                part + g * share * width, width);
      at += run.tokens;
    }
    if (count == 0) fill(part, heads * width, 0.0f);
  });
  over(batch * heads, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / heads, from = pieces.first[b], number = pieces.first[b + 1] - from;
      int64_t any = 0;
      for (int64_t i = 0; i < number; ++i) any += seen[from + i];
      const int64_t head = from * heads + row % heads;
      if (any == 0)
        fill(out + row * width, width, 0.0f);
      else
        join(parts + head * width, tops + head, sums + head, number, heads, width,
             out + row * width);
    }
  });
}

// All rows (head and query) of a sequence share the cache, so logits are products of whole pages
// with the transposed queries, (tokens, rows), and the softmax runs down the columns.
SCIMIND_OPERATOR(latent_attention, (In query, In query_rope, In latent, In rope, Ints table,
                                    Ints length, Options options, Out out)) {
  const int64_t batch = query.axis(0), queries = query.axis(2), rank = query.axis(3);
  const int64_t rows = query.axis(1) * queries, pages = latent.axis(0), slot = latent.axis(1);
  const int64_t turned = rope.axis(2), dim = rank + turned;
  const float scale = options[0];
  if (rows == 0 || rank == 0) return;
  const int64_t wanted = (kLatentPieces + batch - 1) / (batch > 0 ? batch : 1);
  const Pieces pieces(batch, [=](int64_t b) {
    const int64_t tokens = slot > 0 ? Table(table, length, b, slot).count : 0;
    const int64_t steps = (tokens + kStep - 1) / kStep;
    return std::pair(tokens, (steps + wanted - 1) / wanted * kStep);
  });
  std::vector<float> flipped(batch * dim * rows);
  float* columns = flipped.data();
  std::vector<int64_t> visible(batch * queries);
  over(batch, 1, [&, columns](int64_t b, int64_t) {
    if (pieces.first[b] == pieces.first[b + 1]) return;
    const Table pages_of(table, length, b, slot);
    for (int64_t i = 0; i < queries; ++i)
      visible[b * queries + i] = total(runs(pages_of, pages, 0, pages_of.count - queries + 1 + i));
    float* to = columns + b * dim * rows;
    transpose(query + b * rows * rank, rows, rank, scale, to);
    transpose(query_rope + b * rows * turned, rows, turned, scale, to + rank * rows);
  });
  std::vector<float> kept(pieces.count() * rows * (rank + 2));
  float* tops = kept.data();
  float* sums = tops + pieces.count() * rows;
  float* parts = sums + pieces.count() * rows;
  over(pieces.count(), 1, [&, columns](int64_t piece, int64_t) {
    const int64_t b = pieces.sequence[piece];
    const Table pages_of(table, length, b, slot);
    const float* q = columns + b * dim * rows;
    float* part = parts + piece * rows * rank;
    float* top = tops + piece * rows;
    float* sum = sums + piece * rows;
    float* logits = scratch<0>((kStep + 2) * rows);
    float* most = logits + kStep * rows;
    float* rescale = most + rows;
    fill(top, rows, -INFINITY);
    fill(sum, rows, 0.0f);
    fill(part, rows * rank, 0.0f);
    for (int64_t begin = pieces.begin[piece]; begin < pieces.end[piece]; begin += kStep) {
      const int64_t end = std::min(begin + kStep, pieces.end[piece]);
      const std::vector<Run> found = runs(pages_of, pages, begin, end);
      const int64_t count = total(found);
      if (count == 0) continue;
      int64_t at = 0;
      for (const Run& run : found) {
        float* to = logits + at * rows;
        product('N', 'N', run.tokens, rows, rank, 1.0f, latent + run.row * rank, rank, q, rows,
                0.0f, to, rows);
        if (turned > 0)
          product('N', 'N', run.tokens, rows, turned, 1.0f, rope + run.row * turned, turned,
                  q + rank * rows, rows, 1.0f, to, rows);
        // Query i of the sequence's last ones does not see the tokens after it.
        for (int64_t t = std::max<int64_t>(0, pages_of.count - queries + 1 - run.first);
             t < run.tokens; ++t) {
          const int64_t hidden = run.first + t - (pages_of.count - queries);
          for (int64_t r = 0; r < rows; ++r)
            if (r % queries < hidden) to[t * rows + r] = -INFINITY;
        }
        at += run.tokens;
      }
      std::memcpy(most, top, rows * sizeof(float));
      for (int64_t t = 0; t < count; ++t)
#pragma omp simd
        for (int64_t r = 0; r < rows; ++r) most[r] = larger(most[r], logits[t * rows + r]);
#pragma omp simd
      for (int64_t r = 0; r < rows; ++r) {
        rescale[r] = exponential(top[r] - shift(most[r]));
        sum[r] *= rescale[r];
        top[r] = most[r];
        most[r] = shift(most[r]);
      }
      for (int64_t t = 0; t < count; ++t)
#pragma omp simd
        for (int64_t r = 0; r < rows; ++r) {
          float& x = logits[t * rows + r];
          x = exponential(x - most[r]);
          sum[r] += x;
        }
      if (begin > pieces.begin[piece])
        for (int64_t r = 0; r < rows; ++r)
#pragma omp simd
          for (int64_t i = 0; i < rank; ++i) part[r * rank + i] *= rescale[r];
      at = 0;
      for (const Run& run : found) {
        product('T', 'N', rows, rank, run.tokens, 1.0f, logits + at * rows, rows,
                latent + run.row * rank, rank, 1.0f, part, rank);
        at += run.tokens;
      }
    }
  });
  over(batch * rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t b = index / rows, from = pieces.first[b], row = from * rows + index % rows;
      if (visible[b * queries + index % queries] == 0)
        fill(out + index * rank, rank, 0.0f);
      else
        join(parts + row * rank, tops + row, sums + row, pieces.first[b + 1] - from, rows, rank,
             out + index * rank);
    }
  });
}
