// Splits work over a few threads, in chunks that do not depend on how many there are, so that a
// result has the same bits with any number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace scimind {

class Pool {
 public:
  // Never destroyed: MindSpore may still launch operators while static objects are torn down.
  static Pool& instance() {
    static Pool* pool = new Pool();
    return *pool;
  }

  void resize(int threads) {
    std::lock_guard<std::mutex> guard(mutex_);
    for (; started_ + 1 < threads; ++started_) std::thread([this] { serve(); }).detach();
    allowed_ = threads - 1;
  }

  // Calls body(chunk) for every chunk. The caller takes chunks too and waits only for workers that
  // have joined, so a process forked without the workers still finishes.
  void run(int64_t chunks, const std::function<void(int64_t)>& body) {
    if (chunks <= 1 || allowed_ < 1 || !running_.try_lock()) {
      for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
      return;
    }
    {
      std::lock_guard<std::mutex> guard(mutex_);
      next_.store(0);
      chunks_ = chunks;
      body_ = &body;
      open_ = allowed_;
    }
    wake_.notify_all();
    drain(body, chunks);
    std::exception_ptr error;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      body_ = nullptr;
      done_.wait(lock, [this] { return active_ == 0; });
      std::swap(error, error_);
    }
    running_.unlock();
    if (error) std::rethrow_exception(error);
  }

 private:
  void drain(const std::function<void(int64_t)>& body, int64_t chunks) {
    try {
      for (int64_t chunk; (chunk = next_.fetch_add(1)) < chunks;) body(chunk);
    } catch (...) {  // out of memory: leave the other chunks, and tell the caller
      next_.store(chunks);
      std::lock_guard<std::mutex> guard(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return body_ != nullptr && open_ > 0; });
      --open_;
      ++active_;
      const auto* body = body_;
      const int64_t chunks = chunks_;
      lock.unlock();
      drain(*body, chunks);
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_, running_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)>* body_ = nullptr;
  std::exception_ptr error_;
  std::atomic<int64_t> next_{0};
  int64_t chunks_ = 0;
  int started_ = 0, active_ = 0, open_ = 0;
  std::atomic<int> allowed_{0};
};

// body(begin, end) over [0, count) in chunks of `grain`.
template <typename Body>
void over(int64_t count, int64_t grain, Body body) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t chunks = (count + grain - 1) / grain;
  Pool::instance().run(chunks, [&](int64_t chunk) {
    const int64_t begin = chunk * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

// Memory of this thread that is kept for the next call; `slot` tells apart what one kernel needs at
// the same time. The contents are undefined.
template <int slot>
inline float* scratch(int64_t count) {
  thread_local std::vector<float> kept;
  if (static_cast<int64_t>(kept.size()) < count) kept.resize(count);
  return kept.data();
}

}  // namespace scimind
