// The kernel's own file systems (proc, sysfs, cgroups, ...): what is in them is not the container's, changes with who looks, and some of it acts when it is read or written.
#pragma once

#include <cstddef>

namespace strata {

[[nodiscard]] bool is_of_kernel(int node);

// Their files say nothing of their size, and some never end.
inline constexpr std::size_t kMostOfKernelFile = std::size_t{32} << 20;

}  // namespace strata
