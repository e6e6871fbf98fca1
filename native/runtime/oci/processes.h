// Who lives in a container, and who is about to be gone.
#pragma once

#include <vector>

#include "runtime/oci/container.h"

namespace strata::runtime::oci {

// Pids, ascending. Where the container has no cgroup: its pid namespace; without one of its own, init and its descendants.
Outcome<std::vector<pid_t>> processes_of(const Container& container);

// The same and, wherever somebody has moved them to, who is in the pid namespace or descends from init: all that keep it from being reaped.
std::vector<pid_t> all_processes_of(const Container& container);

// Has let go of memory, files and namespaces, and waits at most for others of its pid namespace to be reaped, which a process that is no child of the container's
// is by somebody else, whenever that one comes to it.
bool is_past_its_end(pid_t pid);

}  // namespace strata::runtime::oci
