// epoll with a handler a descriptor. Takes one event at a time: a handler may then forget any descriptor, its own too, and
// no event of a batch can reach something that is gone. Level-triggered readiness goes round, so nobody starves. What the kernel has no room for (a limit
// of watches, memory) is asked for again until it has.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "core/unique_fd.h"

namespace strata::runtime {

class EventLoop {
 public:
  using Handler = std::function<void(std::uint32_t events)>;

  EventLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  // Adds the descriptor, or changes what is waited for. The caller keeps it open until forget().
  void watch(int fd, std::uint32_t events, Handler handler);
  void forget(int fd);
  // Handles one event; false where none came in time (-1: no limit).
  bool run_once(int timeout_ms);

 private:
  [[nodiscard]] bool ask(int fd, std::uint32_t events, bool known);

  UniqueFd epoll_;
  std::map<int, std::shared_ptr<Handler>> handlers_;
  std::map<int, std::uint32_t> refused_;
};

}  // namespace strata::runtime
