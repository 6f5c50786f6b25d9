#include "scimind/heads.h"

using namespace scimind;

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
