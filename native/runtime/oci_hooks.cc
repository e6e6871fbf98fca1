#include "runtime/oci_hooks.h"

#include <csignal>
#include <cstring>

#include "core/run_program.h"

namespace strata::runtime {
namespace {

Outcome<std::vector<OciHook>> read_list(const Json& json) {
  std::vector<OciHook> hooks;
  const std::size_t size = TRY(json.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    const Json entry = json.at(i);
    OciHook hook;
    hook.path = TRY(entry["path"].text());
    if (!hook.path.starts_with('/')) {
      return entry["path"].wrong("an absolute path");
    }
    hook.args = TRY(entry["args"].texts());
    if (const Json env = entry["env"]; !env.absent()) {
      hook.env = TRY(env.texts());
    }
    if (const auto timeout = TRY(entry["timeout"].optional_integer(1, 1'000'000))) {
      hook.timeout_s = static_cast<int>(*timeout);
    }
    hooks.push_back(std::move(hook));
  }
  return hooks;
}

}  // namespace

Outcome<OciHooks> read_hooks(const Json& json) {
  OciHooks hooks;
  if (json.absent()) {
    return hooks;
  }
  TRY(json.object());
  hooks.prestart = TRY(read_list(json["prestart"]));
  hooks.create_runtime = TRY(read_list(json["createRuntime"]));
  hooks.create_container = TRY(read_list(json["createContainer"]));
  hooks.start_container = TRY(read_list(json["startContainer"]));
  hooks.poststart = TRY(read_list(json["poststart"]));
  hooks.poststop = TRY(read_list(json["poststop"]));
  return hooks;
}

Done run_hooks(const std::vector<OciHook>& hooks, const char* name, const std::string& state, const std::string& cwd, const std::vector<std::string>& environment) {
  for (std::size_t i = 0; i < hooks.size(); ++i) {
    const OciHook& hook = hooks[i];
    ProgramOptions options;
    options.input = state;
    options.has_input = true;
    options.timeout_ms = hook.timeout_s.value_or(0) > 2'000'000 ? 0 : hook.timeout_s.value_or(0) * 1000;
    options.environment = hook.env ? *hook.env : environment;
    options.own_name = hook.args.empty() ? hook.path : hook.args.front();
    options.directory = cwd;
    const std::vector<std::string> rest(hook.args.begin() + (hook.args.empty() ? 0 : 1), hook.args.end());
    const std::string what = std::string(name) + " hook #" + std::to_string(i) + " '" + hook.path + "'";
    const ProgramRun run = TRY(classify(run_program(hook.path, rest, options), ErrorCode::kInternal, "run " + what));
    if (run.exit_code != 0) {
      const int signal = run.exit_code - 128;
      const std::string of_signal = signal > 0 && signal < NSIG ? " (signal " + std::to_string(signal) + ", " + ::strsignal(signal) + ")" : "";
      return refuse(ErrorCode::kInternal, what + " failed with exit status " + std::to_string(run.exit_code) + of_signal + (run.errors.empty() ? "" : ": " + run.errors));
    }
  }
  return {};
}

}  // namespace strata::runtime
