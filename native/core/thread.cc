#include "thread.h"

#include <cstdlib>
#include <memory>

namespace strata {

Thread& Thread::operator=(Thread&& other) noexcept {
  if (running_) {
    std::abort();
  }
  id_ = other.id_;
  running_ = std::exchange(other.running_, false);
  return *this;
}

Thread::~Thread() {
  if (running_) {
    std::abort();
  }
}

Result<Thread> Thread::start(std::function<void()> body) {
  auto owned = std::make_unique<std::function<void()>>(std::move(body));
  Thread thread;
  const int error = ::pthread_create(
      &thread.id_, nullptr,
      [](void* data) -> void* {
        const std::unique_ptr<std::function<void()>> run(static_cast<std::function<void()>*>(data));
        (*run)();
        return nullptr;
      },
      owned.get());
  if (error != 0) {
    return fail(error, "make 'thread'", error == EAGAIN ? "too many processes run on this host, or under this user or in this cgroup: end some of them" : "");
  }
  (void)owned.release();
  thread.running_ = true;
  return thread;
}

void Thread::join() {
  ::pthread_join(id_, nullptr);
  running_ = false;
}

void Thread::detach() {
  ::pthread_detach(id_);
  running_ = false;
}

}  // namespace strata
