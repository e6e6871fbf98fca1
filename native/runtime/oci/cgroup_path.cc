#include "runtime/oci/cgroup_path.h"

namespace strata::runtime::oci {
namespace {

// "a-b.slice" → "/a.slice/a-b.slice" (systemd.slice(5)); "-.slice" is the root.
Outcome<std::string> expand_slice(const std::string& slice) {
  if (!slice.ends_with(".slice") || slice.find('/') != std::string::npos) {
    return refuse(ErrorCode::kInvalidRequest, "linux.cgroupsPath has no valid slice in '" + slice + "'", 0, "it must end in .slice, as in system.slice:docker:ID");
  }
  const std::string name = slice.substr(0, slice.size() - 6);
  if (name == "-") {
    return std::string();
  }
  std::string path;
  for (std::size_t dash = name.find('-');; dash = name.find('-', dash + 1)) {
    path += "/" + name.substr(0, dash) + ".slice";
    if (dash == std::string::npos) {
      return path;
    }
  }
}

}  // namespace

Outcome<std::string> cgroup_path_of(const std::string& cgroups_path, const std::string& id, bool systemd) {
  std::string path;
  if (cgroups_path.empty()) {
    path = systemd ? "/system.slice/strata-runtime-" + id + ".scope" : "/strata-runtime-" + id;
  } else if (systemd && cgroups_path.find(':') != std::string::npos) {
    const std::size_t first = cgroups_path.find(':');
    const std::size_t second = cgroups_path.find(':', first + 1);
    if (second == std::string::npos) {
      return refuse(ErrorCode::kInvalidRequest, "linux.cgroupsPath must be 'slice:prefix:name' for the systemd driver, not '" + cgroups_path + "'");
    }
    const std::string slice = first == 0 ? "system.slice" : cgroups_path.substr(0, first);
    const std::string prefix = cgroups_path.substr(first + 1, second - first - 1);
    const std::string name = cgroups_path.substr(second + 1);
    path = TRY(expand_slice(slice)) + "/" + (name.ends_with(".slice") ? name : (prefix.empty() ? "" : prefix + "-") + name + ".scope");
  } else {
    // A path of the config may say "//" and "/./", which mean nothing; ".." is refused below.
    std::string_view rest = cgroups_path;
    while (!rest.empty()) {
      const std::size_t slash = rest.find('/');
      const std::string_view part = rest.substr(0, slash);
      rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
      if (!part.empty() && part != ".") {
        path += "/" + std::string(part);
      }
    }
  }
  TRY(classify(check_cgroup_path(path), ErrorCode::kInvalidRequest, "linux.cgroupsPath"));
  return path;
}

void allow_standard_devices(CgroupResources& resources) {
  const auto allow = [&](std::optional<std::int64_t> major, std::optional<std::int64_t> minor, const char* access, char type = 'c') {
    resources.devices.push_back({true, type, major, minor, access});
  };
  allow(std::nullopt, std::nullopt, "m");
  allow(std::nullopt, std::nullopt, "m", 'b');
  for (const std::int64_t minor : {3, 5, 7, 8, 9}) {  // null, zero, full, random, urandom
    allow(1, minor, "rwm");
  }
  for (const std::int64_t minor : {0, 1, 2}) {  // tty, console, ptmx
    allow(5, minor, "rwm");
  }
  allow(136, std::nullopt, "rwm");  // terminals of devpts
}

}  // namespace strata::runtime::oci
