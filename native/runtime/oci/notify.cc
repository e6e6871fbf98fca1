#include "runtime/oci/notify.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/pseudo_file.h"
#include "runtime/oci/unix_socket.h"

namespace strata::runtime::oci {
namespace {

constexpr char kPlace[] = "/run/notify";
constexpr char kSocket[] = "notify.sock";

std::string notify_socket() {
  const char* const text = std::getenv("NOTIFY_SOCKET");
  return text == nullptr ? "" : text;
}

Outcome<UniqueFd> connect_to_manager(const std::string& name) {
  if (!name.starts_with('/') && !name.starts_with('@')) {  // sd_notify(3) knows vsock too
    return refuse(ErrorCode::kInvalidRequest, "$NOTIFY_SOCKET '" + name + "' is neither a path nor an abstract name", EAFNOSUPPORT);
  }
  return connect_to(name, SOCK_DGRAM, ErrorCode::kInvalidRequest, "service manager at $NOTIFY_SOCKET");
}

bool says_ready(std::string_view message) {
  std::string_view line;
  while (next_line(message, line)) {
    if (line == "READY=1") {
      return true;
    }
  }
  return false;
}

}  // namespace

bool has_notify_socket() { return !notify_socket().empty(); }

void add_notify_socket(OciConfig& config, const std::string& directory) {
  config.mounts.push_back({.destination = kPlace, .type = "bind", .source = directory, .options = {"bind", "nosuid", "noexec", "nodev", "ro"}});
  config.process.env.push_back(std::string("NOTIFY_SOCKET=") + kPlace + "/" + kSocket);
}

Outcome<NotifyRelay> NotifyRelay::listen(Context& context, const Container& container) {
  const UniqueFd directory = has_notify_socket() ? container.open_directory(kNotifyDirectory) : UniqueFd();
  if (!directory) {
    return NotifyRelay();
  }
  auto manager = connect_to_manager(notify_socket());
  if (!manager) {
    context.log.warning(sentence_of(manager.error()) + ": nobody is told when the container is ready");
    return NotifyRelay();
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory.get(), kSocket);
  ::unlinkat(directory.get(), kSocket, 0);  // of a `start` that was killed
  // Every user of the container may speak.
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 || ::fchmodat(directory.get(), kSocket, 0777, 0) < 0) {
    return refuse_errno(ErrorCode::kInternal, "make the container's notify socket");
  }
  return NotifyRelay(std::move(socket), std::move(*manager));
}

void NotifyRelay::take(pid_t main_pid) {
  std::array<char, 4096> buffer;
  // Descriptors that come along have no place here, so the kernel closes them.
  const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (size <= 0 || !says_ready({buffer.data(), static_cast<std::size_t>(size)})) {
    return;
  }
  const std::string text = "MAINPID=" + std::to_string(main_pid) + "\nREADY=1\n";
  best_effort(::send(manager_.get(), text.data(), text.size(), MSG_NOSIGNAL));
  socket_.reset();
  manager_.reset();
}

void NotifyRelay::wait(int pidfd, pid_t main_pid) {
  while (waits()) {
    std::array<pollfd, 2> ready{pollfd{fd(), POLLIN, 0}, pollfd{pidfd, POLLIN, 0}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) {
      return;
    }
    if (ready[0].revents != 0) {
      take(main_pid);
    } else if (ready[1].revents != 0) {
      return;
    }
  }
}

}  // namespace strata::runtime::oci
