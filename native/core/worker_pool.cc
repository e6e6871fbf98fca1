#include "worker_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>

#include "thread.h"

namespace strata {

struct WorkerPool::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> waiting;
  const size_t most_threads;
  size_t threads = 0, idle = 0;  // of `threads`, those that wait for work: the keeper or nobody
  bool has_keeper = false, closed = false;

  explicit State(size_t most) : most_threads(most) {}

  // Under the mutex; the new thread waits for it.
  static Status add_thread(const std::shared_ptr<State>& state) {
    const bool keeper = !state->has_keeper;
    TRY(Thread::start([state, keeper] { state->run(keeper); })).detach();
    ++state->threads;
    state->has_keeper = true;
    return {};
  }

  void run(bool keeper) {
    std::unique_lock lock(mutex);
    for (;;) {
      if (waiting.empty() && keeper && !closed) {
        ++idle;
        changed.wait(lock, [&] { return closed || !waiting.empty(); });
        --idle;
      }
      if (waiting.empty()) {
        --threads;
        return;
      }
      const std::function<void()> work = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }
};

WorkerPool::WorkerPool(size_t most_threads) : state_(std::make_shared<State>(most_threads)) {
  const std::lock_guard lock(state_->mutex);
  (void)State::add_thread(state_);
}

WorkerPool::~WorkerPool() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->changed.notify_all();
}

Status WorkerPool::submit(std::function<void()> work) {
  const std::lock_guard lock(state_->mutex);
  // Threads that have not come to wait or to take work yet are not idle: one too many ends at once, one too few would be somebody's wait.
  const bool wants_thread = state_->waiting.size() >= state_->idle && state_->threads < state_->most_threads;
  if (wants_thread) {
    if (auto added = State::add_thread(state_); !added && state_->threads == 0) {
      return added;
    }
  }
  state_->waiting.push_back(std::move(work));
  state_->changed.notify_one();
  return {};
}

}  // namespace strata
