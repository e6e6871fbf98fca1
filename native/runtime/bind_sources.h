// Clones the host's side of bind mounts, in the supervisor: init gets descriptors and needs neither the host's tree nor the right to walk it.
#pragma once

#include <vector>

#include "core/sys.h"
#include "runtime/mount_plan.h"

namespace strata::runtime {

// One SCM_RIGHTS message carries 253 descriptors, some of which are others'.
inline constexpr std::size_t kMaxBinds = 200;

// Detached mounts, in the order of `binds`. `user_namespace` (-1: none) is for id-mapped ones.
Outcome<std::vector<UniqueFd>> open_bind_sources(Sys& sys, const std::vector<BindSource>& binds, int user_namespace);

}  // namespace strata::runtime
