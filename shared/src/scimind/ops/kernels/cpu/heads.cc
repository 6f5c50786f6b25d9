// Between (batch, token, head * dim), where some tensors of heads lie side by side, and those
// tensors, (batch, head, token, dim).
#include <algorithm>
#include <type_traits>

#include "scimind/lanes.h"
#include "scimind/operator.h"

using namespace scimind;

namespace {

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

void copy(const float* from, float* to, int64_t dim) {
  assign(to, dim, [=](auto at) { return at(from); });
}

template <size_t count>
void split(In x, const Out (&parts)[count]) {
  rows(x, parts, [](const float* from, float* to, int64_t dim) { copy(from, to, dim); });
}

template <size_t count>
void merge(const In (&parts)[count], Out x) {
  rows(x, parts, [](float* to, const float* from, int64_t dim) { copy(from, to, dim); });
}

}  // namespace

SCIMIND_OPERATOR(split_heads, (In x, Options, Out y)) { split(x, {y}); }
SCIMIND_OPERATOR(split_heads_grad, (In dout, Options, Out dx)) { merge({dout}, dx); }

SCIMIND_OPERATOR(split_key_value, (In x, Options, Out key, Out value)) { split(x, {key, value}); }
SCIMIND_OPERATOR(split_key_value_grad, (In dkey, In dvalue, Options, Out dx)) {
  merge({dkey, dvalue}, dx);
}

SCIMIND_OPERATOR(split_query_key_value, (In x, Options, Out query, Out key, Out value)) {
  split(x, {query, key, value});
}
SCIMIND_OPERATOR(split_query_key_value_grad,
                 (In dquery, In dkey, In dvalue, Options, Out dx)) {
  merge({dquery, dkey, dvalue}, dx);
}

SCIMIND_OPERATOR(merge_heads, (In x, Out y)) { merge({x}, y); }
SCIMIND_OPERATOR(merge_heads_grad, (In, In dout, Out dx)) { split(dout, {dx}); }
