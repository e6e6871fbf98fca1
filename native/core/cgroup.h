// One cgroup path below every hierarchy of the host. cgroup v1, v2 and hybrid are three readings of this interface.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup_host.h"
#include "error.h"
#include "unique_fd.h"

namespace strata {

// OCI linux.resources, parsed by the runtime.
struct CgroupResources {
  std::optional<int64_t> cpu_quota_us;    // -1: none
  std::optional<uint64_t> cpu_period_us;
  std::optional<uint64_t> cpu_shares;     // v1 terms, 2..262144; converted to a weight on v2
  std::optional<std::string> cpus, mems;  // lists as cpuset(7) writes them
  std::optional<int64_t> memory_limit;    // -1: none
  std::optional<int64_t> memory_swap;     // memory + swap together; -1: none; 0: leave alone, but without a limit with memory
  std::optional<int64_t> memory_reservation;
  std::optional<int64_t> pids_limit;      // -1 and 0: none
  struct DeviceRule {
    bool allow = false;
    char type = 'a';                      // 'a', 'b' or 'c'
    std::optional<int64_t> major, minor;  // absent: any
    std::string access;                   // of "rwm"; empty: all three
  };
  std::optional<uint64_t> cpu_burst_us;
  std::optional<bool> cpu_idle;
  std::optional<int64_t> realtime_runtime_us;
  std::optional<uint64_t> realtime_period_us;
  std::optional<uint64_t> swappiness;   // v1 alone
  bool disable_oom_killer = false;      // v1 alone
  std::optional<int64_t> memory_tcp;    // bytes of TCP buffers; v1 alone
  bool check_before_update = false;     // v2 alone: refuse a limit below what is in use
  std::optional<uint64_t> block_weight, block_leaf_weight;  // v1 terms, 10..1000; leaf weights are v1 alone
  struct BlockDevice {
    uint64_t major = 0, minor = 0, value = 0;
  };
  std::vector<BlockDevice> block_weights, block_leaf_weights;
  std::vector<BlockDevice> read_bps, write_bps, read_iops, write_iops;
  std::vector<std::pair<std::string, uint64_t>> huge_pages;  // "2MB" and its limit in bytes
  std::optional<uint64_t> network_class;                     // v1 alone
  std::vector<std::pair<std::string, uint64_t>> network_priorities;
  struct Rdma {
    std::string device;
    std::optional<uint64_t> handles, objects;
  };
  std::vector<Rdma> rdma;
  std::vector<std::pair<std::string, std::string>> unified;  // files of cgroup v2, as they are
  // The last rule that matches decides; a list that is not empty starts from "deny everything".
  std::vector<DeviceRule> devices;
};

// Holds an O_PATH descriptor of its directory in every hierarchy that has one. Dropping the object removes nothing.
class Cgroup {
 public:
  // Makes the directories (and missing parents) in every hierarchy; existing ones are taken as they are. A hierarchy that cannot be
  // used (read-only, no permission) is left out; it is an error only where none works, or where it is for want of memory or room. v1: a new cpuset gets its parent's cpus and mems.
  // v2: the host's controllers are enabled from the root down to the parent.
  [[nodiscard]] static Result<Cgroup> create(const CgroupHost& host, const std::string& path);
  // In no hierarchy: processes stay where they are.
  [[nodiscard]] static Cgroup none() { return {CgroupHost(), ""}; }
  // ENOENT where no hierarchy has it.
  [[nodiscard]] static Result<Cgroup> open(const CgroupHost& host, const std::string& path);

  // Of a caller without root: lets go of every hierarchy where the caller may not enter the cgroup from where it is (cgroup v2: Delegation Containment), and
  // removes what create() made there. False where none is left.
  [[nodiscard]] bool keep_enterable();

  // Puts a process into every hierarchy. Moving another process sleeps 5-15 ms in the kernel: a grace period under a lock that the whole host
  // shares, so that its threads stand still. 0: the caller, which must have one thread; then `tasks` of v1 does with neither (20 us a hierarchy),
  // as does CLONE_INTO_CGROUP in the unified tree. `in_unified_already`: it was cloned into unified_fd().
  [[nodiscard]] Status add_process(pid_t pid, bool in_unified_already = false);
  // For CLONE_INTO_CGROUP on a v2-only host, where it replaces add_process; -1 else. Borrowed.
  [[nodiscard]] int clone_fd() const;
  // The directory in the unified tree, on v2 and hybrid alike; -1 where there is none. Borrowed.
  [[nodiscard]] int unified_fd() const;
  // The directory in the hierarchy of a controller, -1 where there is none. Borrowed, O_PATH.
  [[nodiscard]] int controller_fd(std::string_view controller) const;
  [[nodiscard]] bool controller_is_v2(std::string_view controller) const;

  // Writes a new container's limits and device rules. An error names the file. Swap limits are left out where swap is not counted.
  [[nodiscard]] Status apply(const CgroupResources& resources);

  [[nodiscard]] Result<uint64_t> oom_kills() const;
  // nullopt where the kernel does not say (v2 before 5.19).
  [[nodiscard]] Result<std::optional<uint64_t>> memory_peak() const;
  // Pids in the cgroup and below it, ascending, of every hierarchy together.
  [[nodiscard]] Result<std::vector<pid_t>> processes() const;
  // SIGKILL to everything in the cgroup and below, frozen or not: cgroup.kill, else freeze + signal + thaw. Does not wait.
  [[nodiscard]] Status kill();
  // kill(), wait until nobody is left, remove it and everything below it in every hierarchy. Gone already is success; ETIMEDOUT names who stayed.
  [[nodiscard]] Status destroy(int timeout_ms = 10000);

  [[nodiscard]] const std::string& path() const { return path_; }
  // Of create(): a directory was there before, so that somebody else may live in it.
  [[nodiscard]] bool was_there() const { return was_there_; }
  // Takes back what create() made, where nobody is in it, and nothing that was there before.
  void remove_made() const;
  [[nodiscard]] const CgroupHost& host() const { return host_; }

 private:
  Cgroup(const CgroupHost& host, std::string path) : host_(host), path_(std::move(path)) {}
  [[nodiscard]] Status signal_all();
  // False at the first hierarchy that refuses.
  [[nodiscard]] bool remove_empty() const;

  CgroupHost host_;
  std::string path_;
  bool was_there_ = false;
  std::vector<std::string> made_paths_;
  std::vector<UniqueFd> directories_;  // as host_.hierarchies(); not valid where left out
};

// This process's own path in the unified tree; empty where there is none.
[[nodiscard]] std::string own_unified_path();

// Names of the direct children of `path` in any hierarchy, sorted; none where it is gone.
[[nodiscard]] Result<std::vector<std::string>> cgroup_children(const CgroupHost& host, const std::string& path);

// "/a/b": absolute, no empty, "." or ".." component, no control characters. EINVAL else.
[[nodiscard]] Status check_cgroup_path(const std::string& path);

}  // namespace strata
