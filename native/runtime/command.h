// From an argument list to a running program, and what is wrong where there is none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/failure.h"

namespace strata::runtime {

// The value of an entry "NAME=value"; empty where there is none.
std::string value_of(const std::vector<std::string>& environment, std::string_view name);

bool is_directory(const std::string& path);

// `reason`: execve's errno.
Failure not_started(const std::string& command, int reason);
Failure not_in_path(const std::string& command, const std::string& path);

// For execve: ends with a null pointer, and points into `texts`.
std::vector<char*> pointers(const std::vector<std::string>& texts);

// execve, along PATH where the command has no slash. Returns only with why it could not be.
Failure execute_command(const std::vector<std::string>& args, const std::vector<std::string>& environment);

}  // namespace strata::runtime
