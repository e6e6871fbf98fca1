// An OCI runtime-spec 1.2 config as the runtime understands it, and its strict reader.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/cgroup.h"
#include "runtime/json.h"
#include "runtime/oci_hooks.h"

namespace strata::runtime {

struct CapabilitySets {
  std::uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0;
};

struct ConsoleSize {
  unsigned short columns = 0, rows = 0;
};

struct IdMapping {
  std::uint32_t container = 0, host = 0, size = 0;
};

// sched_setattr(2).
struct OciScheduler {
  std::uint32_t policy = 0;  // SCHED_*
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t flags = 0;  // SCHED_FLAG_*
  std::uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;
};

struct OciProcess {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  // "name|uid[:name|gid]" in the container's own terms; wins over uid and gid.
  std::string username;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> additional_gids;
  std::optional<mode_t> umask;
  std::vector<std::string> args, env;
  std::string cwd = "/";
  CapabilitySets capabilities;
  std::vector<std::string> unknown_capabilities;  // names in the config that are no capability's: left out, which is for the log
  std::vector<std::pair<int, rlimit>> rlimits;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::string apparmor_profile, selinux_label;  // empty: as the runtime itself
  std::optional<int> io_priority;               // ioprio_set(2)'s value, class and data together
  std::optional<OciScheduler> scheduler;
  std::vector<unsigned> initial_cpus, final_cpus;  // execCPUAffinity: of an exec before and after it enters the cgroup
};

struct OciMount {
  std::string destination, type, source;
  std::vector<std::string> options;
  std::vector<IdMapping> uid_map = {}, gid_map = {};  // of an id-mapped mount that does not use the container's own
};

struct OciDevice {
  std::string path;
  mode_t type = 0;  // S_IFCHR, S_IFBLK, S_IFIFO
  mode_t mode = 0666;
  unsigned major = 0, minor = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct TimeOffset {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
};

// A namespace that exists already.
struct OciJoinedNamespace {
  std::string type, path;
};

struct OciConfig {
  OciProcess process;
  std::string root_path;
  bool root_read_only = false;
  std::string hostname, domainname;
  std::vector<OciMount> mounts;
  std::vector<std::string> namespaces;  // new ones, by the spec's names: pid, network, mount, ipc, uts, user, cgroup, time
  std::vector<OciJoinedNamespace> joined_namespaces;
  std::vector<IdMapping> uid_map, gid_map;
  std::vector<OciDevice> devices;
  std::vector<std::string> masked_paths, read_only_paths;
  std::vector<std::pair<std::string, std::string>> sysctl;
  std::string rootfs_propagation;
  std::optional<TimeOffset> monotonic_offset, boottime_offset;
  CgroupResources resources;
  OciHooks hooks;
  std::vector<std::pair<std::string, std::string>> annotations;
  std::string cgroups_path;
  std::optional<unsigned long> personality;
  bool has_intel_rdt = false;

  [[nodiscard]] bool makes_namespace(std::string_view type) const;
  [[nodiscard]] bool joins_namespace(std::string_view type) const;
};

// `bundle`: what relative paths (the root, sources of binds) start from; empty: they are refused.
Outcome<OciConfig> read_config(const Json& json, const std::string& bundle = {});
Outcome<OciProcess> read_process(const Json& json);
// uidMappings or gidMappings.
Outcome<std::vector<IdMapping>> read_id_map(const Json& json);
Outcome<std::optional<ConsoleSize>> read_console_size(const Json& json, const char* columns, const char* rows);

}  // namespace strata::runtime
