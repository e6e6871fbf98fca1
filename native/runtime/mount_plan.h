// What a container's file system is made of, as data: built without any effect from the config (build_mount_plan), applied by
// rootfs.cc in init, and, for the sources on the host, by bind_sources.cc in the supervisor. Both build the same plan from the same config.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/cgroup_host.h"
#include "runtime/oci_config.h"

namespace strata::runtime {

// A tree of the host that the supervisor clones, so that init needs no way to reach it by name.
struct BindSource {
  std::string path;
  bool recursive = false;
  std::uint64_t attributes = 0;          // MOUNT_ATTR_* to set
  std::uint64_t cleared = 0;             // MOUNT_ATTR_* to clear
  std::uint64_t everywhere_set = 0, everywhere_cleared = 0;  // the same for every mount below too ("rro")
  std::uint64_t propagation = 0;         // MS_PRIVATE...
  bool id_mapped = false;                // option "idmap": through the container's user namespace
  bool everything_id_mapped = false;     // "ridmap": the mounts below it too
  mode_t device_type = 0;                // not 0: it has to be this device (S_IFCHR, S_IFBLK)
  dev_t device = 0;
  std::vector<IdMapping> uid_map, gid_map;  // of its own, where it has one
};

struct MountStep {
  enum class Kind {
    kFilesystem,    // a new file system of `type` on the directory `target`
    kBind,          // bind source number `index` on `target`; `type` "proc": which must be of a procfs
    kPropagation,   // flags (MS_*) for the mount at `target`
    kAttributes,    // `set` and `cleared` (MOUNT_ATTR_*) for the mount at `target` and everything below it
    kNode,          // a device node
    kLink,          // a symbolic link `target` → `source`
    kSysctl,        // writes `source` into `target` (below /proc/sys)
    kReadOnlyMount, // the mount at `target` becomes read-only (it had to be filled first)
    kMask,          // hides a file behind /dev/null, a directory behind an empty tmpfs; absent is fine
    kReadOnlyPath,  // a read-only bind of the path on itself; absent is fine
    kWorkingDirectory,  // makes the directory where nothing is there
    kReadOnlyRoot,
  };
  Kind kind = Kind::kFilesystem;
  std::string target;
  std::string type, source, data;
  unsigned long flags = 0;  // MS_* of mount(2)
  std::uint64_t set = 0, cleared = 0;
  bool copy_up = false;     // kFilesystem: starts with what the directory held
  std::size_t index = 0;
  mode_t mode = 0;
  dev_t device = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct MountPlan {
  unsigned long root_source_propagation = 0;  // MS_PRIVATE or MS_SLAVE: of the clone of root.path, towards the mounts of the host
  unsigned long root_propagation = 0;  // MS_*, 0: as it is; for after pivot_root(2), which takes no shared root
  std::vector<BindSource> binds;
  std::vector<MountStep> steps;
  std::size_t sealed_from = 0;  // the steps from here on take something away or need all to be there: hooks that add to the mounts come before them
};

// How the sandbox and the host are, as far as the plan depends on it.
struct PlanFacts {
  bool user_namespace = false;
  bool cgroup_namespace = true;
  const CgroupHost* cgroups = nullptr;
  std::string cgroup_path = {};  // the container's, to be bound where it has no cgroup namespace; empty: cgroup mounts are refused then
  bool without_cgroup = false;  // it has none of its own
  bool host_network = false, host_ipc = false, host_uts = false;  // shared with the host: their sysctls are the host's
};

// Every option that is no file system's own.
std::vector<std::string> mount_option_names();

Outcome<MountPlan> build_mount_plan(const OciConfig& config, const PlanFacts& facts);

}  // namespace strata::runtime
