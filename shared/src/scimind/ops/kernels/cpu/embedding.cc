// Rows of a table by index.
#include <algorithm>
#include <vector>

#include "scimind/lanes.h"
#include "scimind/operator.h"

using namespace scimind;

namespace {

constexpr int64_t kAhead = 4;  // rows, which come in random order

bool inside(int32_t index, int64_t entries) { return index >= 0 && index < entries; }

}  // namespace

// An index outside the table gives zeros.
SCIMIND_OPERATOR(embedding, (Ints indices, In table, Out rows)) {
  const int64_t entries = table.axis(0), dim = table.axis(1);
  over(indices.size(), rows_of_chunk(dim), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end && inside(indices[i + kAhead], entries))
        prefetch(table + indices[i + kAhead] * dim, dim);
      float* row = rows + i * dim;
      if (!inside(indices[i], entries)) {
        std::fill_n(row, dim, 0.0f);
        continue;
      }
      const float* entry = table + indices[i] * dim;
      assign(row, dim, [=](auto at) { return at(entry); });
    }
  });
}

// Where each entry of the table was used, sorted by counting: entry after entry is then summed by
// one thread, in the order of the indices.
SCIMIND_OPERATOR(embedding_grad, (Ints indices, In table, In dout, Out dtable)) {
  const int64_t entries = table.axis(0), dim = table.axis(1), count = indices.size();
  std::vector<int64_t> ends(entries + 1, 0), uses(count);
  for (int64_t i = 0; i < count; ++i)
    if (inside(indices[i], entries)) ++ends[indices[i] + 1];
  for (int64_t entry = 0; entry < entries; ++entry) ends[entry + 1] += ends[entry];
  for (int64_t i = 0; i < count; ++i)
    if (inside(indices[i], entries)) uses[ends[indices[i]]++] = i;
  // Each place has moved from the beginning of its entry to the end, where the next one begins.
  const int64_t *stop = ends.data(), *use = uses.data();
  over(entries, rows_of_chunk(dim), [=](int64_t begin, int64_t end) {
    int64_t next = begin > 0 ? stop[begin - 1] : 0;
    for (int64_t entry = begin; entry < end; ++entry) {
      float* sum = dtable + entry * dim;
      if (next == stop[entry]) {
        std::fill_n(sum, dim, 0.0f);
        continue;
      }
      std::copy_n(dout + use[next++] * dim, dim, sum);
      for (; next < stop[entry]; ++next) {
        if (next + kAhead < count) prefetch(dout + use[next + kAhead] * dim, dim);
        const float* row = dout + use[next] * dim;
#pragma omp simd
        for (int64_t i = 0; i < dim; ++i) sum[i] += row[i];
      }
    }
  });
}
