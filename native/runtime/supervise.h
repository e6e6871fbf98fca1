// The foreground of `strata-runtime supervise`: forks the supervisor and waits until it serves.
#pragma once

#include "runtime/supervisor.h"

namespace strata::runtime {

// The process's exit status. In the foreground process it returns once the supervisor serves (0) or failed (1, with an Error object on
// stderr); in the supervisor when the container has ended.
int supervise(const SupervisorParams& params);

}  // namespace strata::runtime
