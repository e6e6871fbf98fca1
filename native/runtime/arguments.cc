#include "runtime/arguments.h"

#include <charconv>
#include <string_view>

namespace strata::runtime {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(at + 1);
  }
}

Outcome<NamespaceFlags> parse_namespaces(const std::string& text) {
  NamespaceFlags flags;
  bool mount = false;
  bool pid = false;
  const std::pair<const char*, bool*> known[] = {{"mount", &mount},   {"pid", &pid},           {"network", &flags.network}, {"uts", &flags.uts},
                                                 {"ipc", &flags.ipc}, {"cgroup", &flags.cgroup}, {"user", &flags.user},       {"time", &flags.time}};
  for (const std::string& name : split(text, ',')) {
    bool found = false;
    for (const auto& [word, flag] : known) {
      if (name == word) {
        *flag = found = true;
      }
    }
    if (!found) {
      return refuse(ErrorCode::kInvalidRequest, "--namespaces has an unknown name '" + name + "'");
    }
  }
  if (!mount || !pid) {
    return refuse(ErrorCode::kInvalidRequest, "--namespaces must name mount and pid");
  }
  return flags;
}

Outcome<IdMapping> parse_mapping(const std::string& text) {
  const auto parts = split(text, ':');
  std::uint32_t numbers[3]{};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string part = parts.size() == 3 ? parts[i] : "";
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), numbers[i]);
    if (part.empty() || error != std::errc() || end != part.data() + part.size()) {
      return refuse(ErrorCode::kInvalidRequest, "an id map must be CONTAINER:HOST:SIZE, not '" + text + "'");
    }
  }
  return IdMapping{numbers[0], numbers[1], numbers[2]};
}

Outcome<int> parse_wire(const std::string& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < kOldestWire || number > kWire) {
    return refuse(ErrorCode::kInvalidRequest, "--wire must be " + std::to_string(kOldestWire) + " to " + std::to_string(kWire));
  }
  return number;
}

bool is_plain_id(const std::string& id) {
  return !id.empty() && id.size() <= 128 && id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == std::string::npos && id.front() != '.';
}

}  // namespace

Outcome<SupervisorParams> parse_supervise(const std::vector<std::string>& arguments) {
  SupervisorParams params;
  std::string namespaces = "mount,pid,network,uts,ipc,cgroup";
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    if (i + 1 >= arguments.size()) {
      return refuse(ErrorCode::kInvalidRequest, "'" + name + "' needs a value");
    }
    const std::string& value = arguments[i + 1];
    if (name == "--id") {
      params.id = value;
    } else if (name == "--run-dir") {
      params.run_dir = value;
    } else if (name == "--cgroup-path") {
      params.cgroup_path = value;
    } else if (name == "--namespaces") {
      namespaces = value;
    } else if (name == "--trace") {
      params.trace = value;
    } else if (name == "--wire") {
      params.wire = TRY(parse_wire(value));
    } else if (name == "--uid-map") {
      params.sandbox.uid_map.push_back(TRY(parse_mapping(value)));
    } else if (name == "--gid-map") {
      params.sandbox.gid_map.push_back(TRY(parse_mapping(value)));
    } else {
      return refuse(ErrorCode::kInvalidRequest, "unknown option '" + name + "'");
    }
  }
  params.sandbox.namespaces = TRY(parse_namespaces(namespaces));
  if (!is_plain_id(params.id)) {
    return refuse(ErrorCode::kInvalidRequest, "--id must be 1 to 128 letters, digits, '_', '.' and '-'");
  }
  if (!params.run_dir.starts_with('/')) {
    return refuse(ErrorCode::kInvalidRequest, "--run-dir must be an absolute path");
  }
  if (auto checked = check_cgroup_path(params.cgroup_path); !checked) {
    return refuse(ErrorCode::kInvalidRequest, "--cgroup-path must be an absolute path like /strata/ID");
  }
  const bool mapped = !params.sandbox.uid_map.empty() && !params.sandbox.gid_map.empty();
  if (params.sandbox.namespaces.user != mapped) {
    return refuse(ErrorCode::kInvalidRequest, "a user namespace and both --uid-map and --gid-map belong together");
  }
  return params;
}

}  // namespace strata::runtime
