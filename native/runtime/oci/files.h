// Small files of the host: configs, pid files, process files.
#pragma once

#include <string>

#include "runtime/failure.h"

namespace strata::runtime::oci {

// At most 16 MiB of a regular file or a pipe ("-" of a command line is read from descriptor 0 by its caller).
Outcome<std::string> read_whole_file(int directory, const std::string& path);
Outcome<std::string> read_to_end(int fd, const std::string& name);
// The pid in decimal, replaced atomically: an engine waits for the file to appear.
Done write_pid_file(const std::string& path, int pid);
// Absolute, with links resolved.
Outcome<std::string> real_path(const std::string& path);

}  // namespace strata::runtime::oci
