#include "runtime/stdin_queue.h"

#include <fcntl.h>
#include <unistd.h>

namespace strata::runtime {
namespace {

// Several connections may each use their credit.
constexpr std::size_t kMaxQueued = 16 * kStdinCredit;

}  // namespace

void StdinQueue::open(UniqueFd end, bool terminal) {
  end_ = std::move(end);
  opened_ = true;
  terminal_ = terminal;
  ::fcntl(end_.get(), F_SETFL, O_NONBLOCK | (terminal ? O_RDWR : O_WRONLY));
}

bool StdinQueue::push(ConnectionId from, std::string_view bytes) {
  if (queued_ + bytes.size() > kMaxQueued || bytes.size() > kStdinCredit) {
    return false;
  }
  if (!end_ || finishing_) {
    grant_(from, static_cast<std::uint32_t>(bytes.size()));  // nobody reads any more: the sender may go on to its end
    return true;
  }
  queued_ += bytes.size();
  chunks_.push_back({from, std::string(bytes)});
  if (!waiting_) {
    write_some();
  }
  return true;
}

void StdinQueue::finish() {
  if (!end_ || finishing_) {
    return;
  }
  if (terminal_) {
    chunks_.push_back({0, "\x04"});
    ++queued_;
  } else {
    finishing_ = true;
  }
  if (!waiting_) {
    write_some();
  }
}

void StdinQueue::write_some() {
  while (!chunks_.empty()) {
    Chunk& chunk = chunks_.front();
    const ssize_t count = ::write(end_.get(), chunk.bytes.data(), chunk.bytes.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0 && errno == EAGAIN) {
      wait_for_room(true);
      return;
    }
    if (count < 0) {  // EPIPE, EIO: the reader is gone
      close();
      return;
    }
    const auto written = static_cast<std::size_t>(count);
    const ConnectionId from = chunk.from;
    queued_ -= written;
    chunk.bytes.erase(0, written);
    if (chunk.bytes.empty()) {
      chunks_.pop_front();
    }
    if (from != 0) {
      grant_(from, static_cast<std::uint32_t>(written));
    }
  }
  wait_for_room(false);
  if (finishing_) {
    close();
  }
}

void StdinQueue::wait_for_room(bool wait) {
  if (wait == waiting_) {
    return;
  }
  waiting_ = wait;
  if (wait) {
    loop_.watch(end_.get(), EPOLLOUT, [this](std::uint32_t) { write_some(); });
  } else {
    loop_.forget(end_.get());
  }
}

void StdinQueue::close() {
  if (!end_) {
    return;
  }
  wait_for_room(false);
  end_.reset();
  std::deque<Chunk> rest = std::move(chunks_);
  chunks_.clear();
  queued_ = 0;
  for (const Chunk& chunk : rest) {
    if (chunk.from != 0) {
      grant_(chunk.from, static_cast<std::uint32_t>(chunk.bytes.size()));
    }
  }
}

}  // namespace strata::runtime
