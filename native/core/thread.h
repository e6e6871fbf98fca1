// A thread that may be refused: std::thread can only throw, and who has no exceptions ends with it.
#pragma once

#include <pthread.h>

#include <functional>

#include "error.h"

namespace strata {

// Joined by join() or detached by detach(); one that is neither ends the process, as std::thread's does.
class Thread {
 public:
  Thread() = default;
  Thread(Thread&& other) noexcept : id_(other.id_), running_(std::exchange(other.running_, false)) {}
  Thread& operator=(Thread&& other) noexcept;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread();

  // EAGAIN where the machine, the user or the cgroup has no room for one more task.
  [[nodiscard]] static Result<Thread> start(std::function<void()> body);

  [[nodiscard]] bool joinable() const { return running_; }
  void join();
  void detach();

 private:
  pthread_t id_{};
  bool running_ = false;
};

}  // namespace strata
