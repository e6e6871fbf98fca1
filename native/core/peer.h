// Who is at the other end of a unix socket, as the kernel noted it at connect(2).
#pragma once

#include <sys/types.h>

#include <vector>

#include "error.h"

namespace strata {

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary, sorted
};

[[nodiscard]] Result<PeerCredentials> peer_credentials(int socket);

}  // namespace strata
