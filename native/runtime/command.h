// From an argument list to a running program, and what is wrong where there is none.
#pragma once

#include <string>
#include <vector>

#include "runtime/environment.h"
#include "runtime/failure.h"

namespace strata::runtime {

bool is_directory(const std::string& path);

// `reason`: execve's errno.
Failure not_started(const std::string& command, int reason);
Failure not_in_path(const std::string& command, const std::string& path);

// For execve: ends with a null pointer, and points into `texts`.
std::vector<char*> pointers(const std::vector<std::string>& texts);

// execve, along PATH where the command has no slash. Returns only with why it could not be.
Failure execute_command(const std::vector<std::string>& args, const std::vector<std::string>& environment);

}  // namespace strata::runtime
