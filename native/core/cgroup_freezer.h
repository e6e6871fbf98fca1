// Pause and resume: the v1 freezer where the host has it, else cgroup.freeze.
#pragma once

#include "cgroup.h"

namespace strata {

// Itself, or one above it.
[[nodiscard]] bool is_frozen(const Cgroup& cgroup);
// Waits until the kernel says that everything in the cgroup stands still, or goes on. What could not be frozen as a whole is thawed again: ETIMEDOUT.
// EBUSY: it stays frozen because one above it is. ENOTSUP: the host has nothing to freeze with.
[[nodiscard]] Status set_frozen(const Cgroup& cgroup, bool frozen);

}  // namespace strata
