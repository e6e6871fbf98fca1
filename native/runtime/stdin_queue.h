// What clients sent for a process's stdin, until its pipe or terminal takes it. Each byte that leaves is credit for the connection it came from.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "runtime/control_server.h"

namespace strata::runtime {

inline constexpr std::uint32_t kStdinCredit = 65536;

class StdinQueue {
 public:
  using Grant = std::function<void(ConnectionId, std::uint32_t bytes)>;

  StdinQueue(EventLoop& loop, Grant grant) : loop_(loop), grant_(std::move(grant)) {}
  StdinQueue(const StdinQueue&) = delete;
  StdinQueue& operator=(const StdinQueue&) = delete;
  ~StdinQueue() { close(); }

  // Takes the write end (non-blocking). For a terminal `end` is a copy of its master.
  void open(UniqueFd end, bool terminal);
  // Once it was, senders get credit even after its end: what they send is thrown away then, and nobody waits for ever.
  [[nodiscard]] bool was_opened() const { return opened_; }
  // False where the sender went beyond its credit.
  bool push(ConnectionId from, std::string_view bytes);
  // Closes once everything before is written; a terminal gets its end-of-file character instead.
  void finish();
  void close();

 private:
  struct Chunk {
    ConnectionId from = 0;
    std::string bytes;
  };
  void write_some();
  void wait_for_room(bool wait);

  EventLoop& loop_;
  Grant grant_;
  UniqueFd end_;
  bool opened_ = false, terminal_ = false, finishing_ = false, waiting_ = false;
  std::deque<Chunk> chunks_;
  std::size_t queued_ = 0;
};

}  // namespace strata::runtime
