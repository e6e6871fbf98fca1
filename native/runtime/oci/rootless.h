// What differs for a runtime that is not root, or is root of a user namespace alone.
#pragma once

#include "core/cgroup.h"
#include "runtime/oci_config.h"

namespace strata::runtime::oci {

// Who runs this program.
enum class Privilege {
  kRoot,
  kRootOfNamespace,  // uid 0 in a user namespace, as an engine without root makes it: mounts as root does, but has only the cgroups it was given
  kUser,             // any other: can do only in the container's user namespace what takes a capability
};
Privilege own_privilege();

// Of --rootless: "auto" (the same as none) looks who runs it.
Outcome<bool> is_rootless(const std::string& option, Privilege privilege);

// Where containers are kept without --root.
std::string default_root(Privilege privilege);

// Refuses what takes root before anything is made.
Done check_rootless(const OciConfig& config, bool systemd_cgroup);

// Maps the ids of a process's new user namespace as a user may: the own ids alone by itself, ranges by newuidmap(1) and newgidmap(1).
Done map_ids_as_user(pid_t pid, const OciConfig& config);

// v2: where a container without a cgroupsPath, or with a relative one, has its cgroup: beside that of the caller, which has processes and can therefore have
// no children with limits.
std::string rootless_cgroup_path(const CgroupHost& host, const std::string& cgroups_path, const std::string& id);

// The file of the first limit that is asked for, as in "pids.max"; empty: none is.
std::string first_limit(const CgroupHost& host, const CgroupResources& resources);

}  // namespace strata::runtime::oci
