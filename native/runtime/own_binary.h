#pragma once

#include "core/unique_fd.h"
#include "runtime/failure.h"

namespace strata::runtime {

// A container can make this program its own command ("/proc/self/exe" as entry point, or a link to it) and then hold its file
// through /proc; root in the container is root to that file, and could overwrite what the host runs as root (CVE-2019-5736).
// So whatever becomes init or exec runs from a read-only mount of the program's file that nothing else sees.
// Who may not mount (no root) runs from a sealed copy in memory, or from the file itself where only root can write it.
// Returns at once where that is so already; else executes the program anew, with the same arguments.
Done run_from_read_only_mount(char* const* argv);

// The file that this process was executed from, to be executed once more where a container can see it: after run_from_read_only_mount nobody can write to it.
Outcome<UniqueFd> open_own_file();

}  // namespace strata::runtime
