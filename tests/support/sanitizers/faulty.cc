// Kernels with one mistake each. All get a vector and give another one of the same size.
#include <chrono>
#include <memory>
#include <thread>

#include "scimind/operator.h"

using namespace scimind;

SCIMIND_OPERATOR(faultless, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = x[i];
}

SCIMIND_OPERATOR(reads_past_the_end, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = x[i + 1];
}

SCIMIND_OPERATOR(reads_before_the_start, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = x[i - 1];
}

SCIMIND_OPERATOR(writes_past_the_end, (In x, Out y)) {
  for (int64_t i = 0; i <= x.size(); ++i) y[i] = 1.0f;
}

SCIMIND_OPERATOR(multiplies_past_the_end, (In x, Out y)) {
  const int64_t size = x.size();
  product('N', 'N', 1, size, 1, 1.0f, x.data, 1, x + 1, size, 0.0f, y.data, size);
}

SCIMIND_OPERATOR(overflows, (In x, Out y)) {
  const int32_t size = static_cast<int32_t>(x.size());
  for (int64_t i = 0; i < x.size(); ++i) y[i] = static_cast<float>(INT32_MAX - 1 + size);
}

SCIMIND_OPERATOR(rounds_what_is_no_number, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = static_cast<int32_t>(x[i] / 0.0f);
}

SCIMIND_OPERATOR(leaves_the_last_element, (In x, Out y)) {
  for (int64_t i = 0; i + 1 < x.size(); ++i) y[i] = x[i];
}

SCIMIND_OPERATOR(reads_what_nobody_wrote, (In x, Out y)) {
  const std::unique_ptr<float[]> kept(new float[x.size()]);
  for (int64_t i = 0; i < x.size(); ++i) y[i] = kept[i];
}

SCIMIND_OPERATOR(remembers_the_last_call, (In x, Out y)) {
  float* kept = scratch<0>(x.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    y[i] = kept[i];
    kept[i] = x[i];
  }
}

SCIMIND_OPERATOR(depends_on_the_threads, (In x, Out y)) {
  const std::thread::id caller = std::this_thread::get_id();
  over(x.size(), 1, [=](int64_t i, int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    y[i] = std::this_thread::get_id() == caller ? 0.0f : 1.0f;
  });
}
