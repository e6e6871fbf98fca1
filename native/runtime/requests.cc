#include "runtime/requests.h"

namespace strata::runtime {
namespace {

constexpr std::size_t kMaxExecId = 64;
constexpr std::int64_t kLeastLogBytes = 4096, kMostLogBytes = std::int64_t{1} << 40, kMostLogFiles = 1000;

Outcome<std::string> absolute(const Json& json) {
  std::string path = TRY(json.text());
  if (!path.starts_with('/')) {
    return json.wrong("an absolute path");
  }
  return path;
}

Outcome<std::optional<OverlayParams>> read_overlay(const Json& json) {
  if (json.absent()) {
    return std::optional<OverlayParams>();
  }
  TRY(json.object());
  OverlayParams overlay;
  const Json lower = json["lower"];
  const std::size_t size = TRY(lower.array_size());
  if (size == 0) {
    return lower.wrong("a non-empty array of absolute paths");
  }
  for (std::size_t i = 0; i < size; ++i) {
    overlay.lower.push_back(TRY(absolute(lower.at(i))));
  }
  overlay.upper = TRY(absolute(json["upper"]));
  overlay.work = TRY(absolute(json["work"]));
  overlay.is_volatile = TRY(json["volatile"].boolean_or(false));
  return std::optional(std::move(overlay));
}

// The helper knows the names: one that is wrong is a mistake of its own.
Done check_capabilities(const Json& process_json, const OciProcess& process) {
  if (!process.unknown_capabilities.empty()) {
    return process_json["capabilities"].wrong("capabilities by name, not '" + process.unknown_capabilities.front() + "'");
  }
  return {};
}

// Neither: a log of an older helper's container, in one segment.
Outcome<LogLimits> read_log_limits(const Json& params) {
  LogLimits limits;
  if (const Json bytes = params["logMaxBytes"]; !bytes.absent()) {
    limits.most_bytes = static_cast<std::uint64_t>(TRY(bytes.integer(kLeastLogBytes, kMostLogBytes)));
    limits.most_files = static_cast<std::uint64_t>(TRY(params["logMaxFiles"].integer(1, kMostLogFiles)));
  }
  return limits;
}

}  // namespace

Outcome<CreateParams> read_create_params(const Json& params) {
  TRY(params.object());
  CreateParams create;
  const Json config = params["config"];
  create.config = TRY(read_config(config));
  TRY(check_capabilities(config["process"], create.config.process));
  create.overlay = TRY(read_overlay(params["overlay"]));
  create.log_path = TRY(absolute(params["log"]));
  create.log_limits = TRY(read_log_limits(params));
  create.exit_path = TRY(absolute(params["exit"]["path"]));
  create.durable = TRY(params["exit"]["durable"].boolean_or(false));
  create.open_stdin = TRY(params["openStdin"].boolean_or(false));
  create.init = TRY(params["init"].boolean_or(false));
  create.console_size = TRY(read_console_size(params["consoleSize"], "columns", "rows"));
  if (!create.console_size) {
    create.console_size = create.config.process.console_size;
  }
  create.seccomp_program = TRY(params["seccompProgram"].text_or(""));
  if (!create.seccomp_program.empty() && create.seccomp_program.front() != '/') {
    return params["seccompProgram"].wrong("an absolute path");
  }
  return create;
}

Outcome<ExecParams> read_exec_params(const Json& params) {
  TRY(params.object());
  ExecParams exec;
  const Json process = params["process"];
  exec.process = TRY(read_process(process));
  TRY(check_capabilities(process, exec.process));
  exec.attach_stdin = TRY(params["attachStdin"].boolean_or(false));
  exec.detach = TRY(params["detach"].boolean_or(false));
  if (exec.detach && exec.attach_stdin) {
    return params["attachStdin"].wrong("false with detach");
  }
  exec.id = TRY(params["id"].text_or(""));
  if (exec.id.size() > kMaxExecId || exec.id.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz") != std::string::npos) {
    return params["id"].wrong("up to 64 lower-case letters and digits");
  }
  if (const auto size = TRY(read_console_size(params["consoleSize"], "columns", "rows"))) {
    exec.process.console_size = size;
  }
  return exec;
}

}  // namespace strata::runtime
