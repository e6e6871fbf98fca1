#include "runtime/mapping_namespace.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "runtime/sandbox.h"

namespace strata::runtime {

// Held by its descriptor alone once the child is gone.
Outcome<UniqueFd> make_mapping_namespace(const std::vector<IdMapping>& uid_map, const std::vector<IdMapping>& gid_map) {
  clone_args arguments{};
  arguments.flags = CLONE_NEWUSER;
  arguments.exit_signal = SIGCHLD;
  const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  if (child < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "make a user namespace for its maps");
  }
  const auto pid = static_cast<pid_t>(child);
  auto mapped = map_ids(pid, uid_map, gid_map);
  UniqueFd found(::open(("/proc/" + std::to_string(pid) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  TRY(std::move(mapped));
  if (!found) {
    return refuse(ErrorCode::kNamespaceFailed, "open the user namespace of its maps");
  }
  return found;
}

}  // namespace strata::runtime
