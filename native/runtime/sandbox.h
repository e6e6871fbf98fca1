// A sandbox: init in its namespaces and cgroups, waiting for its config.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/cgroup.h"
#include "runtime/channel.h"
#include "runtime/init.h"
#include "runtime/oci_config.h"
#include "runtime/overlay.h"

namespace strata::runtime {

struct SandboxParams {
  NamespaceFlags namespaces;
  std::vector<IdMapping> uid_map, gid_map;
};

struct Sandbox {
  pid_t pid = -1;
  UniqueFd pidfd;
  Channel channel;
  NamespaceFlags namespaces;
  UniqueFd user_namespace;
  RootIdentity root;
};

// Clones init, writes its maps, puts it into the cgroups and waits until it is ready. On an error init is dead and reaped.
Outcome<Sandbox> make_sandbox(const SandboxParams& params, Cgroup& cgroup);

// What to do when the kernel refuses a namespace with this errno; empty where it is not known.
std::string namespace_hint(int reason);

// CLONE_NEW* of what clone3 makes: all but the cgroup namespace (made once its process is in its cgroups) and the time namespace (once its offsets are known).
std::uint64_t clone_flags(const NamespaceFlags& namespaces);

// Writes the maps of a process that was cloned into a new user namespace.
// `name`: uid_map or gid_map.
Done write_id_map(pid_t pid, const char* name, const std::vector<IdMapping>& map);
Done map_ids(pid_t pid, const std::vector<IdMapping>& uid_map, const std::vector<IdMapping>& gid_map);

// CLONE_NEW* of everything but the pid namespace, which a process enters by fork only.
int joinable_namespaces(const NamespaceFlags& namespaces);

// clone3 without CLONE_VM, into the unified cgroup where the host has one. 0 in the child. `in_unified` says whether that worked.
Outcome<pid_t> clone_child(std::uint64_t namespaces, const Cgroup& cgroup, UniqueFd& pidfd, bool& in_unified);

// A page shared with a process that clones a sibling. The kernel writes there who was born before anybody runs, so that it is known even if the one that
// cloned is killed before it could tell.
class SharedPid {
 public:
  static Outcome<SharedPid> make();
  [[nodiscard]] pid_t get() const { return *page_; }
  [[nodiscard]] pid_t* address() { return page_.get(); }

 private:
  struct Unmap {
    void operator()(pid_t* page) const;
  };
  std::unique_ptr<pid_t, Unmap> page_;
};

// A child of the caller's parent, in the cgroups of the caller. 0 in the child.
Outcome<pid_t> clone_sibling(std::uint64_t namespaces, SharedPid& note);
// The process that clone_sibling made, a child of this one that nobody has waited for.
Outcome<UniqueFd> open_child(pid_t pid);

// For a stream of the container.
Done make_pipe(const RootIdentity& root, UniqueFd& reader, UniqueFd& writer);

// In a fresh child: closes what it inherited but these.
void keep_only(std::vector<int> fds);

}  // namespace strata::runtime
