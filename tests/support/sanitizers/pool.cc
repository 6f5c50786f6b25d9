// Work on the pool: from several threads at once, within other work, while the number of threads
// changes, and when some of it fails. Ends with 0 when every element was visited once and every
// failure reached the caller.
#include <atomic>
#include <cstdio>
#include <new>
#include <thread>
#include <vector>

#include "scimind/parallel.h"

using scimind::over;

namespace {

std::atomic<int> wrong{0};

void visit(int64_t count, int64_t grain) {
  std::vector<int> visits(count, 0);
  std::vector<float> sums(count, 0.0f);
  over(count, grain, [&](int64_t begin, int64_t end) {
    float* kept = scimind::scratch<0>(end - begin);
    for (int64_t i = begin; i < end; ++i) {
      ++visits[i];
      kept[i - begin] = static_cast<float>(i);
    }
    over(3, 1, [&](int64_t first, int64_t) {
      if (first == 2) sums[begin] = kept[0];
    });
  });
  for (int64_t i = 0; i < count; ++i)
    if (visits[i] != 1 || sums[i] != (i % grain == 0 ? static_cast<float>(i) : 0.0f)) ++wrong;
}

void fail(int64_t at) {
  try {
    over(64, 1, [=](int64_t i, int64_t) {
      if (i == at) throw std::bad_alloc();
    });
    ++wrong;
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

int main() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([] {
      for (int round = 0; round < 200; ++round) visit(round * 7, 1 + round % 5);
    });
  for (int round = 0; round < 200; ++round) {
    scimind::Pool::instance().resize(1 + round % 4);
    visit(100, 3);
    fail(round % 64);
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("%d wrong\n", wrong.load());
  return wrong.load() != 0;
}
