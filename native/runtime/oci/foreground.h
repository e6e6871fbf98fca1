// `run` and `exec` without --detach: this process stands between its terminal and the container's, passes signals on, and takes over the exit status.
#pragma once

#include <sys/types.h>

#include "core/unique_fd.h"
#include "runtime/oci/notify.h"

namespace strata::runtime::oci {

// Blocks the signals that are passed on; before anything is started, so that none is lost. Returns a signalfd.
UniqueFd take_signals();
// Until `pid`, a child of this process, ends; its exit status as a shell shows it (128 + signal). `console` not valid: no terminal.
// What `relay` waits for is told with this process's pid, for it stands for the container.
int stay_in_foreground(pid_t pid, const UniqueFd& signals, UniqueFd console, NotifyRelay relay = {});

}  // namespace strata::runtime::oci
