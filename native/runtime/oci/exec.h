// `exec`: one more process in a container.
#pragma once

#include "runtime/oci/container.h"
#include "runtime/oci/context.h"
#include "runtime/oci/passed_fds.h"

namespace strata::runtime::oci {

struct ExecOptions {
  std::string process_file;               // an OCI process; else the rest, over the container's own process
  std::vector<std::string> args, env, capabilities;
  std::vector<std::string> cgroups;       // "[controller,...:]path" below the container's own
  std::string cwd, user, apparmor, process_label;
  std::vector<gid_t> additional_gids;
  bool tty = false, no_new_privileges = false, ignores_paused = false, detach = false;
  std::string console_socket, pid_file, pidfd_socket;
  PassedFds passed_fds;
};

// The exit status to end with: the process's own, or 0 where it is detached.
Outcome<int> exec_in_container(Context& context, const Container& container, const ExecOptions& options);

}  // namespace strata::runtime::oci
