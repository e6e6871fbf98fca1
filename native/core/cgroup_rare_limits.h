// The writes of the OCI resources that few containers use: block io, huge pages, network classes, rdma, real time, files of cgroup v2 by name.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup.h"
#include "cgroup_limits.h"

namespace strata {

// Whether a controller's directory has a file: what weights block io depends on the scheduler that the kernel has.
using HasFile = std::function<bool(const char* controller, const std::string& file)>;

// Pure. `is_v2` says where a controller lives. A write without a controller is for the unified tree. ENOTSUP for what that world does not have.
[[nodiscard]] Result<std::vector<LimitWrite>> plan_rare_writes(const CgroupResources& resources, const std::function<bool(std::string_view)>& is_v2, const HasFile& has_file);

// v2 has no limit of memory and swap together, so both must be known; `usage` is memory.current where checkBeforeUpdate asks for it.
[[nodiscard]] Status check_unified_memory(const CgroupResources& resources, std::string_view usage);

// io.weight (1..10000) of a blkio weight (10..1000), as runc and crun convert.
[[nodiscard]] uint64_t block_weight_to_io(uint64_t weight);

}  // namespace strata
