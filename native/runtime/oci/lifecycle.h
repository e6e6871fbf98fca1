// kill, delete, pause, resume.
#pragma once

#include "runtime/oci/container.h"
#include "runtime/oci/context.h"

namespace strata::runtime::oci {

// "TERM", "SIGTERM", "15"; "RTMIN+3".
Outcome<int> parse_signal(const std::string& text);
// `all`: every process of its cgroup, also where init has ended.
Done kill_container(const Container& container, int signal, bool all);
// Removes cgroups and state, runs the poststop hooks. A container that runs is refused unless `force`.
Done delete_container(Context& context, const Container& container, bool force);
Done set_paused(const Container& container, bool paused);

}  // namespace strata::runtime::oci
