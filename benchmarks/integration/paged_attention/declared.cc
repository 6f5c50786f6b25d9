#include "arithmetic.h"
#include "scimind/operator.h"

using namespace scimind;

SCIMIND_OPERATOR(demo_paged_attention,
                 (In query, In key, In value, Ints table, Ints length, Options options, Out out)) {
  const Cache cache{key.data,    value.data,  table.data,  length.data, table.axis(1),
                    key.axis(0), key.axis(1), key.axis(2), key.axis(3), value.axis(3)};
  const float scale = options.given(0) ? options[0] : 1.0 / std::sqrt(cache.dim);
  over(query.rows(), 4, [=](int64_t begin, int64_t end) {
    cache.attend(begin, end, query.data, query.axis(1), scale, out.data);
  });
}
