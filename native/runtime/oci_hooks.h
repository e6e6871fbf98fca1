// The spec's hooks: programs of the host that look at a container at six moments of its life.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace strata::runtime {

struct OciHook {
  std::string path;
  std::vector<std::string> args;  // args[0] is the program's own name; empty: the path
  std::optional<std::vector<std::string>> env;
  std::optional<int> timeout_s;
};

struct OciHooks {
  std::vector<OciHook> prestart, create_runtime, create_container, start_container, poststart, poststop;
  // Those that run on the host while the container is made.
  [[nodiscard]] bool has_runtime_hooks() const { return !prestart.empty() || !create_runtime.empty(); }
};

Outcome<OciHooks> read_hooks(const Json& json);

// Runs them in order with `state` (the spec's state object) on stdin; the first that fails ends the row, its stderr is in the error. `name` is the kind,
// for the error. `cwd` empty: the caller's. `environment` is of hooks that name none.
Done run_hooks(const std::vector<OciHook>& hooks, const char* name, const std::string& state, const std::string& cwd, const std::vector<std::string>& environment);

}  // namespace strata::runtime
