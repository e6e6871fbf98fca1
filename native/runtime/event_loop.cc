#include "runtime/event_loop.h"

#include <cerrno>

namespace strata::runtime {
namespace {

constexpr int kAskAgainMs = 200;

}  // namespace

bool EventLoop::ask(int fd, std::uint32_t events, bool known) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const int likely = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_.get(), likely, fd, &event) == 0) {
    return true;
  }
  // Of an earlier call that was refused.
  const bool otherwise = errno == EEXIST || errno == ENOENT;
  return otherwise && ::epoll_ctl(epoll_.get(), known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) == 0;
}

void EventLoop::watch(int fd, std::uint32_t events, Handler handler) {
  const bool known = handlers_.contains(fd);
  handlers_[fd] = std::make_shared<Handler>(std::move(handler));
  refused_.erase(fd);
  if (!ask(fd, events, known)) {
    refused_[fd] = events;
  }
}

void EventLoop::forget(int fd) {
  if (handlers_.erase(fd) > 0) {
    refused_.erase(fd);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
}

bool EventLoop::run_once(int timeout_ms) {
  if (!refused_.empty()) {
    std::erase_if(refused_, [this](const auto& one) { return ask(one.first, one.second, false); });
    timeout_ms = timeout_ms < 0 || timeout_ms > kAskAgainMs ? kAskAgainMs : timeout_ms;
  }
  epoll_event event{};
  if (::epoll_wait(epoll_.get(), &event, 1, timeout_ms) != 1) {
    return false;
  }
  const auto found = handlers_.find(event.data.fd);
  if (found != handlers_.end()) {
    const std::shared_ptr<Handler> handler = found->second;  // it may forget itself
    (*handler)(event.events);
  } else {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, event.data.fd, nullptr);
  }
  return true;
}

}  // namespace strata::runtime
