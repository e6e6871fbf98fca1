// The parameters of the control protocol's methods, read strictly.
#pragma once

#include <optional>
#include <string>

#include "runtime/log_writer.h"
#include "runtime/oci_config.h"
#include "runtime/overlay.h"

namespace strata::runtime {

struct CreateParams {
  OciConfig config;
  std::optional<OverlayParams> overlay;
  std::string log_path, exit_path, seccomp_program;
  LogLimits log_limits;
  bool durable = false, open_stdin = false;
  bool init = false;  // a first process of the runtime's own is the parent of the command
  std::optional<ConsoleSize> console_size;
};
Outcome<CreateParams> read_create_params(const Json& params);

struct ExecParams {
  OciProcess process;
  bool attach_stdin = false;
  bool detach = false;  // no streams, and nobody's leaving ends it
  std::string id;       // what the client calls it, or empty
};
Outcome<ExecParams> read_exec_params(const Json& params);

}  // namespace strata::runtime
