// Turns the plan into the container's file system, in init.
#pragma once

#include <functional>
#include <vector>

#include "core/sys.h"
#include "runtime/mount_plan.h"

namespace strata::runtime {

// Applies the steps below `root` (a descriptor of the root's mount, attached already). `binds` are the detached mounts of plan.binds, in order.
// Changes the working directory. `before_sealing` runs before the step plan.sealed_from.
Done apply_mount_plan(Sys& sys, int root, const MountPlan& plan, const std::vector<UniqueFd>& binds, const std::function<Done()>& before_sealing = {});

// Puts the detached mount `root` over "/" and makes it the root. The old root is then mounted over it, and is the working directory's: detach_old_root()
// lets go of it. In between a user namespace can still mount proc and sysfs, which the kernel allows only while others are visible.
Done enter_root(Sys& sys, int root);
Done detach_old_root();
// The second half of enter_root, for a root that is attached somewhere already.
Done pivot_into(int root);

// For a sandbox that waits for its config: an empty read-only tmpfs as root, so that it keeps none of the host's mounts busy
// and the last step of a start has one mount to detach instead of all the host's.
Done enter_empty_root(Sys& sys);

}  // namespace strata::runtime
