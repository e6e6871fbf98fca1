// Planned limits, written to a cgroup in an order that the kernel accepts.
#pragma once

#include <vector>

#include "cgroup.h"
#include "cgroup_limits.h"

namespace strata {

// Limits that depend on one another (quota and burst, memory and its sum with swap) are accepted in one order only, which depends on what was there:
// what the kernel refuses is tried again after the rest. v2: a controller that is not enabled for the cgroup yet is enabled from the root down.
[[nodiscard]] Status write_planned_limits(const Cgroup& cgroup, const std::vector<LimitWrite>& writes);

}  // namespace strata
