#include "peer.h"

#include <sys/socket.h>

#include <algorithm>

namespace strata {

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return fail_errno("getsockopt 'SO_PEERCRED'");
  }
  // Without a peer (a TCP or unconnected socket) the kernel answers pid 0 and ids of -1.
  if (credentials.pid == 0 || credentials.uid == static_cast<uid_t>(-1)) {
    return fail(ENOTCONN, "getsockopt 'SO_PEERCRED'", "not a connected unix socket, or a peer outside this pid namespace");
  }
  PeerCredentials peer{credentials.pid, credentials.uid, credentials.gid, {}};
  // ERANGE tells how much room is needed (NGROUPS_MAX is 65536).
  peer.groups.resize(64);
  for (;;) {
    length = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &length) == 0) {
      peer.groups.resize(length / sizeof(gid_t));
      break;
    }
    if (errno != ERANGE || length / sizeof(gid_t) <= peer.groups.size()) {
      return fail_errno("getsockopt 'SO_PEERGROUPS'");
    }
    peer.groups.resize(length / sizeof(gid_t));
  }
  std::sort(peer.groups.begin(), peer.groups.end());
  return peer;
}

}  // namespace strata
