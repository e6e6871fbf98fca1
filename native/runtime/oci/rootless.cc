#include "runtime/oci/rootless.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/cgroup_limits.h"
#include "core/cgroup_rare_limits.h"
#include "core/pseudo_file.h"
#include "core/run_program.h"
#include "runtime/sandbox.h"

namespace strata::runtime::oci {
namespace {

// The first user namespace maps every id to itself. Where that cannot be read it is taken to be the first, which does without nothing.
bool in_user_namespace() {
  const auto text = read_pseudo_file(AT_FDCWD, "/proc/self/uid_map");
  if (!text) {
    return false;
  }
  std::string_view rest = *text;
  const auto first = parse_u64(next_word(rest));
  const auto host = parse_u64(next_word(rest));
  const auto count = parse_u64(next_word(rest));
  return first != 0U || host != 0U || count != 4294967295U;
}

bool is_own_id(const std::vector<IdMapping>& map, std::uint32_t own) { return map.size() == 1 && map.front().size == 1 && map.front().host == own; }

Done map_with_helper(const char* program, pid_t pid, const std::vector<IdMapping>& map) {
  std::vector<std::string> arguments = {std::to_string(pid)};
  for (const IdMapping& range : map) {
    for (const std::uint32_t number : {range.container, range.host, range.size}) {
      arguments.push_back(std::to_string(number));
    }
  }
  const std::string kind = std::string(program) == "newuidmap" ? "uid" : "gid";
  const std::string what = "linux." + kind + "Mappings has more than the caller's own id, which takes " + program;
  for (const char* folder : {"/usr/bin/", "/bin/", "/usr/local/bin/", "/usr/sbin/"}) {
    const std::string path = std::string(folder) + program;
    if (::access(path.c_str(), X_OK) < 0) {
      continue;
    }
    const ProgramRun run = TRY(classify(run_program(path, arguments, {}), ErrorCode::kNamespaceFailed, what));
    if (run.exit_code != 0) {
      const std::string said = run.errors.substr(0, run.errors.find_last_not_of('\n') + 1);
      return refuse(ErrorCode::kNamespaceFailed, what + ": " + said, 0, "the user needs the range in /etc/sub" + kind);
    }
    return {};
  }
  return refuse(ErrorCode::kNamespaceFailed, what, ENOENT, "install the package uidmap");
}

}  // namespace

Privilege own_privilege() {
  if (::geteuid() != 0) {
    return Privilege::kUser;
  }
  return in_user_namespace() ? Privilege::kRootOfNamespace : Privilege::kRoot;
}

Outcome<bool> is_rootless(const std::string& option, Privilege privilege) {
  static constexpr std::array kTrue = {"1", "t", "T", "true", "TRUE", "True"};
  static constexpr std::array kFalse = {"0", "f", "F", "false", "FALSE", "False"};
  if (option.empty() || option == "auto") {
    return privilege != Privilege::kRoot;
  }
  if (std::find(kTrue.begin(), kTrue.end(), option) != kTrue.end()) {
    return true;
  }
  if (std::find(kFalse.begin(), kFalse.end(), option) != kFalse.end()) {
    return false;
  }
  return refuse(ErrorCode::kInvalidRequest, "--rootless must be auto, true or false, not '" + option + "'");
}

std::string default_root(Privilege privilege) {
  const char* const own = privilege == Privilege::kRoot ? nullptr : std::getenv("XDG_RUNTIME_DIR");
  return std::string(own != nullptr && *own == '/' ? own : "/run") + "/strata-runtime";
}

Done check_rootless(const OciConfig& config, bool systemd_cgroup) {
  if (!config.makes_namespace("user") && !config.joins_namespace("user")) {
    return refuse(ErrorCode::kInvalidRequest, "who is not root needs a user namespace, and linux.namespaces has none", EPERM, "`strata-runtime spec --rootless` writes a config that has one");
  }
  if (systemd_cgroup) {
    return refuse(ErrorCode::kInvalidRequest, "--systemd-cgroup is for root: the systemd instance of a user is not asked", EPERM, "leave it out: linux.cgroupsPath is a path then");
  }
  for (const OciMount& mount : config.mounts) {
    const bool says_so = std::any_of(mount.options.begin(), mount.options.end(), [](const std::string& option) { return option == "idmap" || option == "ridmap"; });
    if (says_so || !mount.uid_map.empty()) {
      return refuse(ErrorCode::kInvalidRequest, "the mount on '" + mount.destination + "' is id-mapped, which takes root", EPERM);
    }
  }
  return {};
}

Done map_ids_as_user(pid_t pid, const OciConfig& config) {
  if (is_own_id(config.uid_map, ::geteuid())) {
    TRY(write_id_map(pid, "uid_map", config.uid_map));
  } else {
    TRY(map_with_helper("newuidmap", pid, config.uid_map));
  }
  if (!is_own_id(config.gid_map, ::getegid())) {
    return map_with_helper("newgidmap", pid, config.gid_map);
  }
  // user_namespaces(7): or who is kept out by a group could leave it.
  TRY(classify(real_sys().write_file(AT_FDCWD, "/proc/" + std::to_string(pid) + "/setgroups", "deny", 0), ErrorCode::kNamespaceFailed, "give up setgroups"));
  return write_id_map(pid, "gid_map", config.gid_map);
}

std::string rootless_cgroup_path(const CgroupHost& host, const std::string& cgroups_path, const std::string& id) {
  if (host.mode() != CgroupMode::kV2 || cgroups_path.starts_with('/')) {
    return cgroups_path;
  }
  const std::string own = own_unified_path();
  const std::size_t slash = own.rfind('/');
  return own.substr(0, slash == std::string::npos ? 0 : slash) + "/" + (cgroups_path.empty() ? "strata-runtime-" + id : cgroups_path);
}

std::string first_limit(const CgroupHost& host, const CgroupResources& resources) {
  const bool v2 = host.mode() == CgroupMode::kV2;
  std::vector<LimitWrite> writes = plan_resource_writes(resources, v2, v2, true);
  const auto rare = plan_rare_writes(resources, [&](std::string_view) { return v2; }, [](const char*, const std::string&) { return true; });
  if (!rare) {
    return rare.error().what;
  }
  writes.insert(writes.end(), rare->begin(), rare->end());
  return writes.empty() ? "" : writes.front().file;
}

}  // namespace strata::runtime::oci
