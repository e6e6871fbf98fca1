#include "runtime/control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace strata::runtime {
namespace {

constexpr std::size_t kMaxConnections = 64;
// So many more are told that there are too many; above that they are closed at once.
constexpr std::size_t kMaxSurplus = 64;
constexpr int kBacklog = 128;
// Far above what credits allow; who does not read events for so long is gone.
constexpr std::size_t kMaxOutbox = 4 << 20;

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);  // every Linux this runs on is little endian
  return value;
}

}  // namespace

FrameParse parse_frame(std::string_view bytes, Frame& frame) {
  if (bytes.size() < kFrameHeader) {
    return FrameParse::kIncomplete;
  }
  const std::size_t length = little_endian(bytes);
  const auto type = static_cast<FrameType>(bytes[4]);
  if (length > kMaxFramePayload || bytes[5] != 0 || bytes[6] != 0 || bytes[7] != 0) {
    return FrameParse::kBroken;
  }
  if (type != FrameType::kRequest && type != FrameType::kStdin && !(type == FrameType::kCredit && length == 4)) {
    return FrameParse::kBroken;
  }
  if (bytes.size() < kFrameHeader + length) {
    return FrameParse::kIncomplete;
  }
  frame = {type, little_endian(bytes.substr(8)), bytes.substr(kFrameHeader, length)};
  return FrameParse::kFrame;
}

std::string encode_frame_header(FrameType type, std::uint32_t session, std::size_t payload_bytes) {
  std::string header(kFrameHeader, '\0');
  const auto length = static_cast<std::uint32_t>(payload_bytes);
  std::memcpy(header.data(), &length, sizeof length);
  header[4] = static_cast<char>(type);
  std::memcpy(header.data() + 8, &session, sizeof session);
  return header;
}

Done ControlServer::listen(int directory) {
  listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Through the descriptor: sun_path holds 108 bytes, a run directory may be longer.
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/control.sock";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ::unlinkat(directory, "control.sock", 0);
  const mode_t before = ::umask(0177);
  const bool bound = listener_ && ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::umask(before);
  if (!bound || ::listen(listener_.get(), kBacklog) < 0) {
    return refuse_errno(ErrorCode::kInternal, "listen on 'control.sock'");
  }
  listen_again();
  return {};
}

void ControlServer::keep_spare() {
  if (!spare_) {
    spare_.reset(::fcntl(listener_.get(), F_DUPFD_CLOEXEC, 3));
  }
}

void ControlServer::listen_again() {
  keep_spare();
  if (!listening_) {
    listening_ = true;
    loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
  }
}

void ControlServer::retry() {
  if (is_full()) {
    listen_again();
  }
}

UniqueFd ControlServer::accept_socket(bool& has_spare) {
  keep_spare();
  has_spare = true;
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
    return socket;
  }
  has_spare = false;
  if (spare_) {
    spare_.reset();
    socket.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  }
  if (!socket) {
    // Who waits would wake the loop without end: the listener is back when a connection closes, or at the next retry().
    loop_.forget(listener_.get());
    listening_ = false;
  }
  return socket;
}

void ControlServer::accept_one() {
  bool has_spare = true;
  UniqueFd socket = accept_socket(has_spare);
  ucred peer{};
  socklen_t size = sizeof peer;
  // The directory's mode keeps others out already; this holds also where someone loosened it.
  if (!socket || connections_.size() >= kMaxConnections + kMaxSurplus || ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != ::geteuid()) {
    return;
  }
  const auto served = std::count_if(connections_.begin(), connections_.end(), [](const auto& entry) { return !entry.second.surplus; });
  const ConnectionId id = next_++;
  Connection& connection = connections_[id];
  connection.socket = std::move(socket);
  connection.surplus = !has_spare || static_cast<std::size_t>(served) >= kMaxConnections;
  watch(id, connection, false);
}

void ControlServer::watch(ConnectionId id, Connection& connection, bool for_room) {
  connection.waits_for_room = for_room;
  loop_.watch(connection.socket.get(), for_room ? EPOLLIN | EPOLLOUT : EPOLLIN, [this, id](std::uint32_t events) { on_ready(id, events); });
}

void ControlServer::on_ready(ConnectionId id, std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    write_to(id);
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && connections_.contains(id)) {
    read_from(id);
  }
}

void ControlServer::read_from(ConnectionId id) {
  static std::array<char, 65536> buffer;
  const ssize_t count = ::recv(connections_[id].socket.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (count <= 0) {
    close(id);
    return;
  }
  std::string bytes = std::move(connections_[id].inbox);
  connections_[id].inbox = {};
  bytes.append(buffer.data(), static_cast<std::size_t>(count));
  std::string_view rest = bytes;
  Frame frame;
  FrameParse parsed = FrameParse::kIncomplete;
  while ((parsed = parse_frame(rest, frame)) == FrameParse::kFrame) {
    rest.remove_prefix(kFrameHeader + frame.payload.size());
    handlers_.frame(id, frame);
    if (!connections_.contains(id)) {
      return;  // the handler closed it
    }
  }
  if (parsed == FrameParse::kBroken) {
    close(id);
    return;
  }
  connections_[id].inbox = rest;
}

void ControlServer::send(ConnectionId id, FrameType type, std::uint32_t session, std::string_view payload) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) {
    return;
  }
  Connection& connection = found->second;
  if (connection.outbox.size() > kMaxOutbox) {
    close(id);
    return;
  }
  connection.outbox += encode_frame_header(type, session, payload.size());
  connection.outbox += payload;
  if (!connection.waits_for_room) {
    write_to(id);
  }
}

void ControlServer::write_to(ConnectionId id) {
  Connection& connection = connections_[id];
  const ssize_t count = ::send(connection.socket.get(), connection.outbox.data(), connection.outbox.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    // Reading finds the end of it and closes; closing here would pull it away under a caller.
    connection.outbox = {};
    return;
  }
  if (count > 0) {
    connection.outbox.erase(0, static_cast<std::size_t>(count));
  }
  const bool for_room = !connection.outbox.empty();
  if (!for_room) {
    connection.outbox = {};
  }
  if (for_room != connection.waits_for_room) {
    watch(id, connection, for_room);
    if (!for_room) {
      handlers_.drained(id);
    }
  }
}

std::size_t ControlServer::queued_bytes(ConnectionId id) const {
  const auto found = connections_.find(id);
  return found == connections_.end() ? std::numeric_limits<std::size_t>::max() : found->second.outbox.size();
}

bool ControlServer::is_surplus(ConnectionId id) const {
  const auto found = connections_.find(id);
  return found != connections_.end() && found->second.surplus;
}

void ControlServer::close(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) {
    return;
  }
  loop_.forget(found->second.socket.get());
  connections_.erase(found);
  listen_again();
  handlers_.closed(id);
}

void ControlServer::flush(int timeout_ms) {
  for (auto& [id, connection] : connections_) {
    while (!connection.outbox.empty() && timeout_ms > 0) {
      pollfd room{connection.socket.get(), POLLOUT, 0};
      if (::poll(&room, 1, timeout_ms) != 1) {
        timeout_ms = 0;
        break;
      }
      const ssize_t count = ::send(connection.socket.get(), connection.outbox.data(), connection.outbox.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count <= 0) {
        break;
      }
      connection.outbox.erase(0, static_cast<std::size_t>(count));
    }
  }
}

}  // namespace strata::runtime
