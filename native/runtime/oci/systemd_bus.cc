#include "runtime/oci/systemd_bus.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace strata::runtime::oci {
namespace {

constexpr char kPrivateSocket[] = "/run/systemd/private";
constexpr char kSystemBus[] = "/run/dbus/system_bus_socket";
constexpr std::size_t kMaxMessage = 1 << 20;
constexpr time_t kAnswerWithinS = 30;

std::size_t aligned(std::size_t at, std::size_t to) { return (at + to - 1) / to * to; }

std::uint32_t number_at(std::string_view bytes, std::size_t at) {
  std::uint32_t number = 0;
  if (at + 4 <= bytes.size()) {
    std::memcpy(&number, bytes.data() + at, 4);
  }
  return number;
}

// A string or object path at a position that is aligned; `at` moves behind it, or beyond the end where it is cut off.
std::string text_from(std::string_view bytes, std::size_t& at) {
  at = aligned(at, 4);
  const std::size_t length = number_at(bytes, at);
  if (at + 4 > bytes.size() || length > bytes.size() - at - 4) {
    at = bytes.size() + 1;
    return {};
  }
  std::string text(bytes.substr(at + 4, length));
  at += 4 + length + 1;
  return text;
}

Done send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) {
      return refuse_errno(ErrorCode::kCgroupFailed, "ask systemd");
    }
    bytes.remove_prefix(sent < 0 ? 0 : static_cast<std::size_t>(sent));
  }
  return {};
}

Done read_exactly(int socket, char* to, std::size_t count) {
  while (count > 0) {
    const ssize_t got = ::recv(socket, to, count, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) {
      return refuse(ErrorCode::kCgroupFailed, "wait for systemd's answer", got == 0 ? ECONNRESET : errno == EAGAIN ? ETIMEDOUT : errno);
    }
    to += std::max<ssize_t>(got, 0);
    count -= static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  }
  return {};
}

UniqueFd connect_to(const char* path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  const timeval patience{kAnswerWithinS, 0};
  if (socket && (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
                 ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)) {
    const int reason = errno;
    socket.reset();
    errno = reason;
  }
  return socket;
}

}  // namespace

DbusBody& DbusBody::align(std::size_t to) {
  bytes_.resize(aligned(bytes_.size(), to));
  return *this;
}

DbusBody& DbusBody::byte(std::uint8_t value) {
  bytes_ += static_cast<char>(value);
  return *this;
}

DbusBody& DbusBody::uint32(std::uint32_t value) {
  align(4).bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

DbusBody& DbusBody::uint64(std::uint64_t value) {
  align(8).bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

DbusBody& DbusBody::text(std::string_view value) {
  uint32(static_cast<std::uint32_t>(value.size())).bytes_.append(value);
  return byte(0);
}

DbusBody& DbusBody::signature(std::string_view value) {
  byte(static_cast<std::uint8_t>(value.size())).bytes_.append(value);
  return byte(0);
}

std::size_t DbusBody::begin_array(std::size_t alignment) {
  uint32(0);
  const std::size_t start = bytes_.size();
  align(alignment);
  return start;
}

// The padding before the first element is not part of the length.
void DbusBody::end_array(std::size_t start, std::size_t alignment) {
  const auto length = static_cast<std::uint32_t>(bytes_.size() - aligned(start, alignment));
  std::memcpy(bytes_.data() + start - 4, &length, sizeof length);
}

std::string DbusMessage::text_at(std::size_t n) const {
  std::size_t at = 0;
  for (std::size_t i = 0; i < signature.size() && i <= n; ++i) {
    const bool is_text = signature[i] == 's' || signature[i] == 'o';
    if (!is_text && signature[i] != 'u' && signature[i] != 'b') {
      return {};
    }
    if (is_text) {
      std::string text = text_from(body, at);
      if (i == n) {
        return text;
      }
    } else {
      at = aligned(at, 4) + 4;
    }
  }
  return {};
}

DbusMessage parse_dbus_message(std::string_view bytes) {
  DbusMessage message;
  const std::size_t fields_end = 16 + std::size_t{number_at(bytes, 12)};
  const std::size_t body_at = aligned(fields_end, 8);
  const std::size_t body_length = number_at(bytes, 4);
  if (bytes.size() < 16 || bytes[0] != 'l' || body_at > bytes.size() || body_length > bytes.size() - body_at) {
    return message;
  }
  for (std::size_t at = 16; at + 4 <= fields_end;) {
    const char code = bytes[at];
    const char type = bytes[at + 2];  // a signature of one letter: length, letter, zero
    at += 4;
    std::string text;
    std::uint32_t number = 0;
    if (type == 'u') {
      at = aligned(at, 4);
      number = number_at(bytes, at);
      at += 4;
    } else if (type == 'g') {
      const std::size_t length = at < fields_end ? static_cast<unsigned char>(bytes[at]) : 0;
      text = std::string(bytes.substr(std::min(at + 1, bytes.size()), length));
      at += length + 2;
    } else {
      text = text_from(bytes.substr(0, fields_end), at);
    }
    switch (code) {
      case 3: message.member = text; break;
      case 4: message.error_name = text; break;
      case 5: message.reply_to = number; break;
      case 8: message.signature = text; break;
      default: break;
    }
    at = aligned(at, 8);
  }
  message.type = static_cast<std::uint8_t>(bytes[1]);
  message.body = std::string(bytes.substr(body_at, body_length));
  return message;
}

Done SystemdBus::authenticate(const std::string& path) {
  // The identity in hexadecimal digits of its decimal digits.
  std::string request("\0AUTH EXTERNAL ", 15);
  for (const char digit : std::to_string(::geteuid())) {
    request += "3";
    request += digit;
  }
  // In one piece: systemd, once it has read BEGIN together with a whole message, looks at the message only when more comes.
  TRY(send_all(socket_.get(), request + "\r\nBEGIN\r\n"));
  std::string answer;
  for (char letter = 0; letter != '\n' && answer.size() < 1024;) {
    TRY(read_exactly(socket_.get(), &letter, 1));
    answer += letter;
  }
  if (!answer.starts_with("OK ")) {
    return refuse(ErrorCode::kCgroupFailed, "'" + path + "' does not accept this user", EACCES, "the systemd driver takes root; use the cgroupfs driver");
  }
  return {};
}

Outcome<SystemdBus> SystemdBus::connect() {
  if (UniqueFd direct = connect_to(kPrivateSocket)) {
    SystemdBus bus(std::move(direct));
    TRY(bus.authenticate(kPrivateSocket));
    return bus;
  }
  const int reason = errno;
  UniqueFd shared = connect_to(kSystemBus);
  if (!shared) {
    return refuse(ErrorCode::kCgroupFailed, std::string("connect to systemd at '") + kPrivateSocket + "'", reason,
                  "--systemd-cgroup needs a running systemd; without one use the cgroupfs driver", kPrivateSocket);
  }
  SystemdBus bus(std::move(shared));
  TRY(bus.authenticate(kSystemBus));
  TRY(bus.invoke("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", "", ""));
  DbusBody rule;
  rule.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
  TRY(bus.invoke("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", rule.bytes()));
  TRY(bus.call("Subscribe", "", {}));
  return bus;
}

Outcome<DbusMessage> SystemdBus::receive() {
  std::string bytes(16, '\0');
  TRY(read_exactly(socket_.get(), bytes.data(), bytes.size()));
  const std::size_t rest = aligned(std::size_t{number_at(bytes, 12)}, 8) + number_at(bytes, 4);
  if (bytes[0] != 'l' || rest > kMaxMessage) {
    return refuse(ErrorCode::kCgroupFailed, "understand systemd's answer", EPROTO);
  }
  bytes.resize(16 + rest);
  TRY(read_exactly(socket_.get(), bytes.data() + 16, rest));
  return parse_dbus_message(bytes);
}

Outcome<DbusMessage> SystemdBus::invoke(const std::string& destination, const std::string& path, const std::string& interface, const std::string& method,
                                        const std::string& signature, const std::string& body) {
  DbusBody message;
  message.byte('l').byte(1).byte(0).byte(1).uint32(static_cast<std::uint32_t>(body.size())).uint32(++serial_);
  const std::size_t fields = message.begin_array(8);
  const auto field = [&](std::uint8_t code, const char* type, const std::string& value) {
    message.begin_struct().byte(code).signature(type);
    if (*type == 'g') {
      message.signature(value);
    } else {
      message.text(value);
    }
  };
  field(1, "o", path);
  field(2, "s", interface);
  field(3, "s", method);
  field(6, "s", destination);
  if (!signature.empty()) {
    field(8, "g", signature);
  }
  message.end_array(fields, 8);
  message.begin_struct();  // the header ends on a multiple of 8
  TRY(send_all(socket_.get(), message.bytes() + body));
  const std::uint32_t serial = serial_;
  for (;;) {
    DbusMessage answer = TRY(receive());
    if (answer.type == 4) {
      signals_.push_back(std::move(answer));
    } else if (answer.reply_to == serial && answer.type == 3) {
      return refuse(ErrorCode::kCgroupFailed, "systemd refuses " + method + ": " + answer.text_at(0), 0, answer.error_name);
    } else if (answer.reply_to == serial && answer.type == 2) {
      return answer;
    }
  }
}

Outcome<DbusMessage> SystemdBus::call(const std::string& method, const std::string& signature, const DbusBody& body) {
  return invoke("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", method, signature, body.bytes());
}

Done SystemdBus::run_job(const std::string& method, const std::string& signature, const DbusBody& body, const std::string& unit) {
  auto queued = call(method, signature, body);
  if (!queued) {
    Failure failure = std::move(queued).error();
    failure.error = std::move(failure.error).within("unit '" + unit + "'");
    return std::unexpected(std::move(failure));
  }
  const DbusMessage answer = std::move(*queued);
  const std::string job = answer.text_at(0);
  for (;;) {
    for (const DbusMessage& said : signals_) {
      // JobRemoved(u id, o job, s unit, s result)
      if (said.member == "JobRemoved" && said.text_at(1) == job) {
        const std::string result = said.text_at(3);
        return result == "done" ? Done() : refuse(ErrorCode::kCgroupFailed, "systemd's job for '" + unit + "' ended with '" + result + "'");
      }
    }
    signals_.clear();
    DbusMessage next = TRY(receive());
    if (next.type == 4) {
      signals_.push_back(std::move(next));
    }
  }
}

}  // namespace strata::runtime::oci
