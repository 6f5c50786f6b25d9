// Between (batch, token, head * dim), where some tensors of heads lie side by side, and those
// tensors, (batch, head, token, dim).
#pragma once

#include <algorithm>
#include <type_traits>

#include "scimind/lanes.h"
#include "scimind/operator.h"

namespace scimind {

// The rows of the heads are far apart, where the processor does not see the next ones coming: those
// that are read are fetched ahead, and those that are written are written a few at a time.
constexpr int64_t kAhead = 4, kTogether = 8;

// Calls move(row of the joined tensor, row of a tensor of heads, dim) for all heads of all tensors.
template <typename Joined, typename Heads, size_t count, typename Move>
void rows(View<Joined> joined, const View<Heads> (&parts)[count], Move move) {
  constexpr bool kRead = std::is_const_v<Heads>;
  constexpr int64_t kTokens = kRead ? 1 : kTogether;
  const int64_t tokens = joined.axis(1), width = joined.axis(2);
  const int64_t blocks = (tokens + kTokens - 1) / kTokens;
  const int64_t grain = rows_of_chunk(kTokens * width);
  over(joined.axis(0) * blocks, grain, [=, &parts](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t batch = block / blocks, first = block % blocks * kTokens;
      const int64_t some = std::min(kTokens, tokens - first);
      Joined* beside = joined + (batch * tokens + first) * width;
      for (const View<Heads>& part : parts) {
        const int64_t heads = part.axis(1), dim = part.axis(3);
        for (int64_t head = 0; head < heads; ++head, beside += dim) {
          Heads* own = part + ((batch * heads + head) * tokens + first) * dim;
          if constexpr (kRead) prefetch(own + kAhead * dim, dim);
          for (int64_t token = 0; token < some; ++token)
            move(beside + token * width, own + token * dim, dim);
        }
      }
    }
  });
}

inline void copy_row(const float* from, float* to, int64_t dim) {
  assign(to, dim, [=](auto at) { return at(from); });
}

// The first heads of x, as many as the parts have.
template <size_t count>
void split(In x, const Out (&parts)[count]) {
  rows(x, parts, [](const float* from, float* to, int64_t dim) { copy_row(from, to, dim); });
}

template <size_t count>
void merge(const In (&parts)[count], Out x) {
  rows(x, parts, [](float* to, const float* from, int64_t dim) { copy_row(from, to, dim); });
}

}  // namespace scimind
