// Runs a program to its end and collects what it says, without fork(2): for a large, threaded caller.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "error.h"

namespace strata {

struct ProgramRun {
  int exit_code = 0;  // 128 + signal where one ended it
  std::string output, errors;
};

struct ProgramOptions {
  std::string input = {};  // to stdin, then closed; none: /dev/null
  bool has_input = false;
  int timeout_ms = 0;     // 0: none
  // Absent: PATH alone.
  std::optional<std::vector<std::string>> environment = {};
  std::string own_name = {};  // argv[0]; empty: the program
  std::string directory = "/";  // empty: the caller's
  size_t most_output = 1 << 20, most_errors = 64 << 10;  // what is above is read and dropped
};

// A session of its own, default signals, no descriptors but 0-2.
// Returns when the program itself has ended: what a daemon that it left behind may still write is not waited for.
// ETIMEDOUT: it was killed after timeout_ms.
[[nodiscard]] Result<ProgramRun> run_program(const std::string& program, const std::vector<std::string>& arguments, const ProgramOptions& options);

}  // namespace strata
