// Pseudo terminals of the container's own devpts.
#pragma once

#include "core/sys.h"
#include "runtime/oci_config.h"

namespace strata::runtime {

struct Console {
  UniqueFd master, slave;
};

// Opens a pair inside the container's root (the caller is in it): /dev/pts/ptmx, and the slave through the master, so that no name is looked up.
Outcome<Console> open_console(Sys& sys, const std::optional<ConsoleSize>& size);
// Binds the slave to /dev/console.
Done bind_console(Sys& sys, int slave);
// Makes the slave the controlling terminal of the calling session leader.
Done take_terminal(int slave);
// No carriage return before a line feed: whoever shows the output puts it there, and a pipe wants none.
Done leave_line_feeds_plain(int slave);
Done resize_console(int master, ConsoleSize size);

}  // namespace strata::runtime
