// How the host's cgroup hierarchies are mounted: v1 (one a controller), v2 (one), hybrid (both). Probed, never assumed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace strata {

enum class CgroupMode { kV1, kV2, kHybrid };

[[nodiscard]] const char* cgroup_mode_name(CgroupMode mode);

struct CgroupHierarchy {
  std::string mount_point;
  // "memory"; several for co-mounted v1 ones ("cpu", "cpuacct"); "name=systemd" for a named one. The unified tree: what its root offers.
  std::vector<std::string> controllers;
  bool unified = false;

  [[nodiscard]] bool has(std::string_view controller) const;
};

class CgroupHost {
 public:
  // Reads /proc/self/mountinfo and the unified tree's cgroup.controllers.
  [[nodiscard]] static Result<CgroupHost> probe();
  // The same from given texts (for tests): mountinfo, and the content of the unified tree's cgroup.controllers.
  [[nodiscard]] static Result<CgroupHost> parse(std::string_view mountinfo, std::string_view unified_controllers);

  [[nodiscard]] CgroupMode mode() const { return mode_; }
  // Every hierarchy a container is put into, the unified one (if any) last.
  [[nodiscard]] const std::vector<CgroupHierarchy>& hierarchies() const { return hierarchies_; }
  // Names of the resource controllers, sorted, whatever hierarchy they live in; no named hierarchies.
  [[nodiscard]] std::vector<std::string> controllers() const;
  // Index in hierarchies(), -1 where the host has none.
  [[nodiscard]] int find(std::string_view controller) const;
  [[nodiscard]] int unified() const;
  [[nodiscard]] bool swap_accounting() const { return swap_accounting_; }
  [[nodiscard]] bool psi() const { return psi_; }

 private:
  CgroupMode mode_ = CgroupMode::kV2;
  std::vector<CgroupHierarchy> hierarchies_;
  bool swap_accounting_ = false;
  bool psi_ = false;
};

}  // namespace strata
