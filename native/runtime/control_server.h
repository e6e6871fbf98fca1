// control.sock: accepts connections, cuts their bytes into frames, queues frames to them. Knows nothing of what they mean.
// Invariants: never blocks on a client; a connection that breaks the framing or does not read is closed, the others do not notice. Where there is no
// descriptor for one more, the one that is kept spare lets a client be told so; the others wait in the listener's queue, which is not looked at until there is room again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "runtime/event_loop.h"
#include "runtime/failure.h"

namespace strata::runtime {

enum class FrameType : std::uint8_t { kRequest = 1, kResponse, kEvent, kStdin, kStdout, kStderr, kCredit };

struct Frame {
  FrameType type = FrameType::kRequest;
  std::uint32_t session = 0;
  std::string_view payload;
};

inline constexpr std::size_t kFrameHeader = 12;
inline constexpr std::size_t kMaxFramePayload = 1 << 20;

enum class FrameParse { kIncomplete, kFrame, kBroken };
// Pure: the first frame of `bytes`, if it is complete and one that a client may send.
FrameParse parse_frame(std::string_view bytes, Frame& frame);
std::string encode_frame_header(FrameType type, std::uint32_t session, std::size_t payload_bytes);

using ConnectionId = std::uint64_t;

class ControlServer {
 public:
  struct Handlers {
    std::function<void(ConnectionId, const Frame&)> frame;
    std::function<void(ConnectionId)> closed;
    std::function<void(ConnectionId)> drained;  // everything queued is with the kernel
  };

  ControlServer(EventLoop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
  // Binds "control.sock" in the directory and listens.
  Done listen(int directory);

  void send(ConnectionId connection, FrameType type, std::uint32_t session, std::string_view payload);
  // Bytes that the kernel has not taken yet; SIZE_MAX for a connection that is gone.
  [[nodiscard]] std::size_t queued_bytes(ConnectionId connection) const;
  // One above the limit: it is only there to be told so.
  [[nodiscard]] bool is_surplus(ConnectionId connection) const;
  void close(ConnectionId connection);
  // Whether clients wait for a descriptor that only this process's limit, or the host, can give: then retry() from time to time.
  [[nodiscard]] bool is_full() const { return listener_ && !listening_; }
  void retry();
  // Waits until all queues are empty, or for the time.
  void flush(int timeout_ms);

 private:
  struct Connection {
    UniqueFd socket;
    std::string inbox, outbox;
    bool waits_for_room = false;
    bool surplus = false;
  };

  void accept_one();
  // A connection, with or without the spare descriptor; invalid where there is none to be had.
  UniqueFd accept_socket(bool& has_spare);
  void listen_again();
  void keep_spare();
  void on_ready(ConnectionId id, std::uint32_t events);
  void read_from(ConnectionId id);
  void write_to(ConnectionId id);
  void watch(ConnectionId id, Connection& connection, bool for_room);

  EventLoop& loop_;
  Handlers handlers_;
  UniqueFd listener_, spare_;
  bool listening_ = false;
  std::map<ConnectionId, Connection> connections_;
  ConnectionId next_ = 1;
};

}  // namespace strata::runtime
