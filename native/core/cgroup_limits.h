// A container's limits in one set of terms for cgroup v1 and v2: read, checked, planned (pure), written with a way back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup.h"
#include "error.h"

namespace strata {

struct CgroupLimits {
  std::optional<int64_t> cpu_quota_us;  // nullopt: no limit, here and below
  uint64_t cpu_period_us = 100000;
  uint64_t cpu_weight = 100;            // 1..10000, as on v2
  std::optional<std::string> cpuset_cpus, cpuset_mems;
  std::optional<uint64_t> memory_max_bytes;
  std::optional<uint64_t> memory_swap_max_bytes;  // memory + swap
  std::optional<uint64_t> pids_max;
};

// A change: what is not named stays. The outer optional: named or not; the inner one: limit or none.
struct CgroupLimitsChange {
  std::optional<std::optional<int64_t>> cpu_quota_us;
  std::optional<uint64_t> cpu_period_us;
  std::optional<uint64_t> cpu_weight;
  std::optional<std::optional<std::string>> cpuset_cpus, cpuset_mems;
  std::optional<std::optional<uint64_t>> memory_max_bytes, memory_swap_max_bytes, pids_max;
};

// What the pure planner must know of the host and of the cgroup as it is.
struct LimitContext {
  CgroupLimits present;
  bool cpu_v2 = true, memory_v2 = true, swap_accounting = true;
  bool has_cpu = true, has_cpuset = true, has_memory = true, has_pids = true;
  std::string online_cpus, online_mems;  // lists
  std::string parent_cpus, parent_mems;  // what "not restricted" is written as
  uint64_t memory_in_use_bytes = 0;
};

struct LimitWrite {
  std::string controller;  // whose directory
  std::string file;
  std::string value;
  bool where_it_is = false;  // a kernel without the file is none worse
};

// v2 weight of v1 shares as runc and crun convert, and the least shares that convert to that weight.
[[nodiscard]] uint64_t shares_to_weight(uint64_t shares);
[[nodiscard]] uint64_t weight_to_shares(uint64_t weight);

// "0-1,3" as a sorted list of numbers; EINVAL for anything else. Numbers above 65535 are refused.
[[nodiscard]] Result<std::vector<uint32_t>> parse_cpu_list(std::string_view text);

// Sanity, then the writes in an order that the kernel accepts at every step. An error has a hint for people; its errno is EINVAL, ERANGE, EBUSY
// (memory in use) or ENOTSUP (no such controller).
[[nodiscard]] Result<std::vector<LimitWrite>> plan_limit_writes(const LimitContext& context, const CgroupLimitsChange& change);

[[nodiscard]] Result<CgroupLimits> read_limits(const Cgroup& cgroup);
// Plans, then writes; takes back what it wrote when a write is refused.
[[nodiscard]] Status write_limits(const Cgroup& cgroup, const CgroupLimitsChange& change);

// The writes of a new container's OCI resources (pure). Swap limits are left out where swap is not counted.
[[nodiscard]] std::vector<LimitWrite> plan_resource_writes(const CgroupResources& resources, bool cpu_v2, bool memory_v2, bool swap_accounting);

}  // namespace strata
