#include "arithmetic.h"
#include "scimind/operator.h"

using namespace scimind;

static Selection chosen(In query, In key, In value, Ints blocks, Options options) {
  const float scale = options.given(1) ? options[1] : 1.0 / std::sqrt(key.axis(3));
  return {query.data,          key.data,    value.data,  blocks.data,   query.axis(1) / key.axis(1),
          query.axis(2),       key.axis(2), key.axis(3), value.axis(3), blocks.axis(3),
          options.whole(0, 1), scale};
}

SCIMIND_OPERATOR(demo_selected_attention, (In query, In key, In value, Ints blocks, Options options,
                                           Out out, Out logsumexp)) {
  const Selection selection = chosen(query, key, value, blocks, options);
  over(key.axis(0) * key.axis(1), 1, [=](int64_t begin, int64_t end) {
    selection.forward(begin, end, out.data, logsumexp.data);
  });
}

SCIMIND_OPERATOR(demo_selected_attention_grad,
                 (In query, In key, In value, Ints blocks, In out, In logsumexp, In dout,
                  Options options, Out dquery, Out dkey, Out dvalue)) {
  const Selection selection = chosen(query, key, value, blocks, options);
  over(key.axis(0) * key.axis(1), 1, [=](int64_t begin, int64_t end) {
    selection.backward(begin, end, out.data, logsumexp.data, dout.data, dquery.data, dkey.data,
                       dvalue.data);
  });
}
