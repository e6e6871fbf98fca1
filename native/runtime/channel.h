// The private wire between a supervisor and a process it forked (init, or the child of an exec): a SOCK_SEQPACKET pair, one message a packet.
//
//   supervisor                                 init
//       |  clone3(namespaces), uid maps, cgroups |
//       |------------- kJoined ----------------->|  cgroup namespace, loopback up, empty root
//       |<------------ kReady -------------------|      ... the warm sandbox: both wait ...
//       |------------- kCreate [fds] ----------->|  mounts, pivot, hostname
//       |<------------ kConsole [pty] -----------|      (terminal only)
//       |<------------ kCreated -----------------|
//       |------------- kStart ------------------>|      (kCreate of a `run` says already that no kStart is waited for)
//       |<------------ kExecuting ---------------|  the last thing before execve
//       |<------------ end of file --------------|  execve closed init's end: it came through
//       |<------------ kFailed ------------------|  at any point instead: exit status and an Error as JSON; init exits
//
// With the OCI command line the supervisor's part is taken by two short-lived processes: `create` up to kCreated, and `start`, which connects to
// init's socket in the state directory, from kStart on. There kWarning may come at any time (a text for the log), and kListener carries a seccomp notification
// descriptor before kExecuting. Where the runtime's side has hooks they run between kMounted (init's: everything is mounted) and kHooked (the answer), both before kCreated.
//
// The child of an exec says kConsole, kExecuting and kFailed alike; the process that cloned it kFailed, where it could not. Any other message, or one out of this order, is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/unique_fd.h"
#include "runtime/failure.h"

namespace strata::runtime {

enum class MessageKind : std::uint8_t { kJoined = 1, kReady, kCreate, kConsole, kCreated, kStart, kExecuting, kFailed, kWarning, kListener, kMounted, kHooked };

struct Message {
  MessageKind kind = MessageKind::kFailed;
  std::string text;  // at most kMaxText bytes
  std::vector<UniqueFd> fds;
};

class Channel {
 public:
  static constexpr std::size_t kMaxText = 16384;
  static constexpr std::size_t kMaxFds = 240;

  Channel() = default;
  explicit Channel(UniqueFd socket) : socket_(std::move(socket)) {}
  static Outcome<std::pair<Channel, Channel>> make_pair();

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool open() const { return socket_.valid(); }
  void close() { socket_.reset(); }

  Done send(MessageKind kind, std::string_view text = {}, const std::vector<int>& fds = {}) const;
  // nullopt at the end of file. `wait` false: EAGAIN as an error's errno where nothing is there.
  [[nodiscard]] Outcome<std::optional<Message>> receive(bool wait = true) const;
  // The next message, which must be of this kind; the end of file is an error too.
  [[nodiscard]] Outcome<Message> expect(MessageKind kind) const;
  // Holds places for descriptors that will be received: at the limit of open files they would be lost, and whose they are could not be ended any more.
  // To be let go right before receive().
  [[nodiscard]] Outcome<std::vector<UniqueFd>> reserve(std::size_t count) const;

 private:
  UniqueFd socket_;
};

// kFailed's text: the code's number, then the Error object. The sender may be a child that a container could have got hold of, so
// the text is parsed before it is believed.
std::string encode_failure(const Failure& failure);
Failure decode_failure(const Message& message);
// `own` is how this stage noticed that it cannot go on (EPIPE, say); what the other one has said before it ended is why.
Failure cause_of(const Channel& channel, Failure own);

}  // namespace strata::runtime
