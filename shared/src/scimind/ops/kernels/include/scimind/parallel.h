// Splits work over a few threads, in chunks that do not depend on how many there are, so that a
// result has the same bits with any number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace scimind {

// Between two kernels of a graph lie a few microseconds, and a thread that sleeps takes 50 to wake.
constexpr std::chrono::microseconds kSpin{100};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

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
  // have joined, so a process forked without the workers still finishes. Work that is given while
  // other work runs, or by it, is done by its caller alone.
  void run(int64_t chunks, const std::function<void(int64_t)>& body) {
    if (chunks <= 1 || allowed_ < 1 || running_.exchange(true)) {
      for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
      return;
    }
    {
      std::lock_guard<std::mutex> guard(mutex_);
      open_ = allowed_;
      parts_ = std::min<int64_t>(open_ + 1, std::min<int64_t>(chunks, kMostParts));
      for (int64_t i = 0; i < parts_; ++i) {
        part_[i].next.store(chunks * i / parts_);
        part_[i].end = chunks * (i + 1) / parts_;
      }
      joined_ = 0;
      body_ = &body;
      ++jobs_;
    }
    wake_.notify_all();
    drain(body, 0);
    std::exception_ptr error;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      body_ = nullptr;
      lock.unlock();
      spin([this] { return active_ == 0; });
      lock.lock();
      done_.wait(lock, [this] { return active_ == 0; });
      std::swap(error, error_);
    }
    running_ = false;
    if (error) std::rethrow_exception(error);
  }

 private:
  // Waits for a short time, unless the threads have to share cores.
  template <typename Ready>
  void spin(Ready ready) const {
    if (allowed_ >= cores_) return;
    const auto end = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 32; ++i) {
        if (ready()) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < end);
  }

  // Each thread has a part of the chunks, one after the other, which is how the processor fetches
  // memory ahead and how a core finds what it wrote before; then it helps with the next part.
  void drain(const std::function<void(int64_t)>& body, int64_t first) {
    const int64_t parts = parts_;
    try {
      for (int64_t i = 0; i < parts; ++i) {
        Part& part = part_[(first + i) % parts];
        for (int64_t chunk; (chunk = part.next.fetch_add(1)) < part.end;) body(chunk);
      }
    } catch (...) {  // out of memory: leave the other chunks, and tell the caller
      for (int64_t i = 0; i < parts; ++i) part_[i].next.store(part_[i].end);
      std::lock_guard<std::mutex> guard(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      while (body_ == nullptr || open_ == 0) {
        const int64_t seen = jobs_;
        lock.unlock();
        spin([=] { return jobs_ != seen; });
        lock.lock();
        if (jobs_ == seen) wake_.wait(lock, [=] { return jobs_ != seen; });
      }
      --open_;
      ++active_;
      const auto* body = body_;
      const int64_t first = ++joined_;
      lock.unlock();
      drain(*body, first);
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  static constexpr int64_t kMostParts = 64;

  Part part_[kMostParts];
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)>* body_ = nullptr;
  std::exception_ptr error_;
  std::atomic<int64_t> jobs_{0};
  int64_t parts_ = 0, joined_ = 0;
  int started_ = 0, open_ = 0;
  const int cores_ = static_cast<int>(std::thread::hardware_concurrency());
  std::atomic<int> allowed_{0}, active_{0};
  std::atomic<bool> running_{false};
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

// Rows of `width` elements that are worth a chunk of their own.
inline int64_t rows_of_chunk(int64_t width) { return (1 << 14) / (width + 1) + 1; }

// Floats before the first address from p on that is a multiple of `count` of them.
inline int64_t to_multiple(const float* p, int64_t count) {
  return -(reinterpret_cast<uintptr_t>(p) / sizeof(float)) % count;
}

// Memory of this thread, from a multiple of 64 bytes on, that is kept for the next call; `slot` tells
// apart what one kernel needs at the same time. The contents are undefined.
template <int slot>
inline float* scratch(int64_t count) {
  thread_local std::vector<float> kept;
  const auto wanted = static_cast<size_t>(count) + 16;
  if (kept.size() < wanted) kept.resize(wanted);
  return kept.data() + to_multiple(kept.data(), 16);
}

}  // namespace scimind
