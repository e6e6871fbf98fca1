// Threads for work that takes long: as many as there is work, up to a bound, and fewer where the system refuses more.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "error.h"

namespace strata {

// Invariants: one thread, the keeper, is made at the first chance and stays, so that work goes on where no thread can be made any more (a fork bomb
// has filled pid_max, and the work is to end it); the others end when there is nothing to do. Work that was taken is done, also after the pool is gone.
class WorkerPool {
 public:
  // Makes the keeper; where that is refused, the next submit() tries again.
  explicit WorkerPool(size_t most_threads);
  // Waits for nobody: what runs or waits is done by threads that then end.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // In order of submission, `most_threads` at a time. EAGAIN where there is no thread at all and none can be made; the work was then not taken.
  [[nodiscard]] Status submit(std::function<void()> work);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace strata
