#include "cgroup_host.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "pseudo_file.h"

namespace strata {

namespace {

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape_mount_path(std::string_view text) {
  std::string path;
  path.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      path += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      path += text[i];
    }
  }
  return path;
}

bool is_mount_option(std::string_view option) {
  // What a v1 hierarchy's super options hold besides controllers.
  return option == "rw" || option == "ro" || option == "xattr" || option == "noprefix" || option == "clone_children" ||
         option == "cpuset_v2_mode" || option == "favordynmods" || option == "none" || option.starts_with("release_agent=") ||
         option == "all";
}

std::vector<std::string> v1_controllers(std::string_view options) {
  std::vector<std::string> names;
  while (!options.empty()) {
    const size_t comma = options.find(',');
    const std::string_view option = options.substr(0, comma);
    options.remove_prefix(comma == std::string_view::npos ? options.size() : comma + 1);
    if (!option.empty() && !is_mount_option(option)) {
      names.emplace_back(option);
    }
  }
  return names;
}

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// The root of the unified tree has no limit files, so a child is asked; with none, the kernel's swap support.
bool unified_counts_swap(const std::string& mount_point) {
  const std::unique_ptr<DIR, DirectoryCloser> directory(::opendir(mount_point.c_str()));
  if (directory == nullptr) {
    return false;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') {
      continue;
    }
    const std::string child = entry->d_name;
    if (pseudo_file_exists(::dirfd(directory.get()), child + "/memory.max")) {
      return pseudo_file_exists(::dirfd(directory.get()), child + "/memory.swap.max");
    }
  }
  return ::access("/proc/swaps", F_OK) == 0;
}

// With psi=0 on the kernel's command line the files are there and open(2) says EOPNOTSUPP.
bool pressure_is_measured() {
  const UniqueFd fd(::open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC));
  char byte = 0;
  return fd.valid() && ::read(fd.get(), &byte, 1) == 1;
}

}  // namespace

const char* cgroup_mode_name(CgroupMode mode) {
  switch (mode) {
    case CgroupMode::kV1:
      return "v1";
    case CgroupMode::kV2:
      return "v2";
    case CgroupMode::kHybrid:
      return "hybrid";
  }
  return "";
}

bool CgroupHierarchy::has(std::string_view controller) const {
  return std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

Result<CgroupHost> CgroupHost::parse(std::string_view mountinfo, std::string_view unified_controllers) {
  CgroupHost host;
  CgroupHierarchy unified;
  std::string_view line;
  while (next_line(mountinfo, line)) {
    // 32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu   (proc(5))
    const size_t separator = line.find(" - ");
    if (separator == std::string_view::npos) {
      continue;
    }
    std::string_view after = line.substr(separator + 3);
    const std::string_view type = next_word(after);
    if (type != "cgroup" && type != "cgroup2") {
      continue;
    }
    std::string_view before = line.substr(0, separator);
    std::string_view mount_point;
    for (int field = 0; field < 5; ++field) {
      mount_point = next_word(before);
    }
    next_word(after);  // the source
    if (type == "cgroup2") {
      // The first mount wins: later ones are copies of the same tree (a container's rootfs, a chroot).
      if (unified.mount_point.empty()) {
        unified.unified = true;
        unified.mount_point = unescape_mount_path(mount_point);
      }
      continue;
    }
    CgroupHierarchy hierarchy{unescape_mount_path(mount_point), v1_controllers(next_word(after)), false};
    const bool seen = std::any_of(host.hierarchies_.begin(), host.hierarchies_.end(),
                                  [&](const CgroupHierarchy& other) { return other.controllers == hierarchy.controllers; });
    if (!hierarchy.controllers.empty() && !seen) {
      host.hierarchies_.push_back(std::move(hierarchy));
    }
  }
  const bool v1 = std::any_of(host.hierarchies_.begin(), host.hierarchies_.end(), [](const CgroupHierarchy& hierarchy) {
    return !hierarchy.controllers.front().starts_with("name=");
  });
  if (!unified.mount_point.empty()) {
    unified_controllers = trim(unified_controllers);
    while (!unified_controllers.empty()) {
      unified.controllers.emplace_back(next_word(unified_controllers));
    }
    host.hierarchies_.push_back(std::move(unified));
    host.mode_ = v1 ? CgroupMode::kHybrid : CgroupMode::kV2;
  } else {
    host.mode_ = CgroupMode::kV1;
  }
  if (host.hierarchies_.empty()) {
    return fail(ENOENT, "find 'cgroup mounts'", "no cgroup file system is mounted; mount one with: mount -t cgroup2 none /sys/fs/cgroup");
  }
  return host;
}

Result<CgroupHost> CgroupHost::probe() {
  const std::string mountinfo = TRY(read_pseudo_file(AT_FDCWD, "/proc/self/mountinfo"));
  // Once without controllers to learn where the unified tree is, then with what its root offers.
  CgroupHost host = TRY(parse(mountinfo, ""));
  if (const int index = host.unified(); index >= 0) {
    const std::string& mount_point = host.hierarchies_[static_cast<size_t>(index)].mount_point;
    const auto controllers = read_pseudo_file(AT_FDCWD, mount_point + "/cgroup.controllers");
    host = TRY(parse(mountinfo, controllers ? *controllers : std::string()));
  }
  if (const int memory = host.find("memory"); memory >= 0) {
    const CgroupHierarchy& hierarchy = host.hierarchies_[static_cast<size_t>(memory)];
    host.swap_accounting_ = hierarchy.unified ? unified_counts_swap(hierarchy.mount_point)
                                              : pseudo_file_exists(AT_FDCWD, hierarchy.mount_point + "/memory.memsw.limit_in_bytes");
  }
  host.psi_ = pressure_is_measured();
  return host;
}

std::vector<std::string> CgroupHost::controllers() const {
  std::vector<std::string> names;
  for (const CgroupHierarchy& hierarchy : hierarchies_) {
    for (const std::string& name : hierarchy.controllers) {
      if (!name.starts_with("name=")) {
        names.push_back(name);
      }
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

int CgroupHost::find(std::string_view controller) const {
  for (size_t i = 0; i < hierarchies_.size(); ++i) {
    if (hierarchies_[i].has(controller)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int CgroupHost::unified() const {
  return !hierarchies_.empty() && hierarchies_.back().unified ? static_cast<int>(hierarchies_.size()) - 1 : -1;
}

}  // namespace strata
