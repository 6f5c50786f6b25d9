#include "arithmetic.h"
#include "scimind/operator.h"

using namespace scimind;

SCIMIND_OPERATOR(demo_latent_attention, (In query, In query_rope, In latent, In rope, Ints table,
                                         Ints length, Options options, Out out)) {
  const LatentCache cache{latent.data,    rope.data,      table.data,
                          length.data,    table.axis(1),  latent.axis(0),
                          latent.axis(1), latent.axis(2), rope.axis(2)};
  over(query.rows(), 4, [=](int64_t begin, int64_t end) {
    cache.attend(begin, end, query.data, query_rope.data, query.axis(1), options[0], out.data);
  });
}
