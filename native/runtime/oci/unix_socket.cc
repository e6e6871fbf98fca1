#include "runtime/oci/unix_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace strata::runtime::oci {

Outcome<UniqueFd> connect_to(const std::string& address, int type, ErrorCode code, const std::string& name) {
  sockaddr_un place{};
  place.sun_family = AF_UNIX;
  if (address.size() >= sizeof place.sun_path) {
    return refuse(code, "the path of the " + name + " is longer than a socket's path can be", ENAMETOOLONG, "", address);
  }
  std::copy(address.begin(), address.end(), place.sun_path);
  socklen_t size = sizeof place;
  if (address.starts_with('@')) {
    place.sun_path[0] = '\0';
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  }
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&place), size) < 0) {
    return refuse_errno(code, "connect to the " + name + " '" + address + "'", "", address);
  }
  return socket;
}

}  // namespace strata::runtime::oci
