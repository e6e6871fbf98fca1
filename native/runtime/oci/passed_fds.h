// The descriptors from 3 on that a container's process gets from the caller: sockets of socket activation first (sd_listen_fds(3)), then those of --preserve-fds.
#pragma once

#include <sys/types.h>

#include "runtime/oci/options.h"

namespace strata::runtime::oci {

struct PassedFds {
  unsigned all = 0;     // of both kinds
  unsigned listen = 0;  // how many of them are sockets
};

// How many sockets $LISTEN_FDS gives to a process that is `own_pid`; null: the variable is not set. Without $LISTEN_PID they are taken, as crun does; with
// another's, or a number that is none, there are none.
unsigned count_listen_fds(const char* listen_fds, const char* listen_pid, pid_t own_pid);

// Every one of them is open; sockets that are not were none of this process's where $LISTEN_PID does not say so. They are handed on by number: one that is missing would be another file of this process by then.
Outcome<PassedFds> passed_fds(const Options& options);

}  // namespace strata::runtime::oci
