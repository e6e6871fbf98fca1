// Who a process runs as, by the container's own /etc/passwd and /etc/group. Runs inside the container's root.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/sys.h"
#include "runtime/oci_config.h"

namespace strata::runtime {

struct UserIdentity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  std::string home = "/";
};

// Pure: the texts are the two files' contents. `process.username` ("name|uid[:name|gid]") wins over process.uid and gid.
Outcome<UserIdentity> resolve_user(const OciProcess& process, std::string_view passwd, std::string_view group);

// Reads the files below "/" (never through a magic link, never a fifo or a device, 1 MiB at most; a missing one is empty) and resolves.
Outcome<UserIdentity> look_up_user(Sys& sys, const OciProcess& process);

}  // namespace strata::runtime
