#include "cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "cgroup_devices.h"
#include "cgroup_limits.h"
#include "cgroup_rare_limits.h"
#include "cgroup_write.h"
#include "pseudo_file.h"

namespace strata {

namespace {

constexpr int kDirectoryFlags = O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> names;
  std::string_view rest = path;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const size_t end = rest.find('/');
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
  }
  return names;
}

// v1: a new cpuset is empty, and no process may enter an empty one.
void inherit_cpuset(int parent, int child) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    const auto own = read_pseudo_file(child, file);
    if (own && own->empty()) {
      if (const auto value = read_pseudo_file(parent, file); value && !value->empty()) {
        (void)write_pseudo_file(child, file, *value);
      }
    }
  }
}

// v2: those that limits and figures need, each on its own, for one that is refused (EBUSY: processes in the cgroup; ENOENT: not offered here) must not stop the others.
void enable_controllers(int directory, const std::vector<std::string>& controllers) {
  const auto enabled = read_pseudo_file(directory, "cgroup.subtree_control");
  if (!enabled) {
    return;
  }
  for (const std::string& name : controllers) {
    const bool wanted = name == "cpu" || name == "cpuset" || name == "io" || name == "memory" || name == "pids";
    if (wanted && (" " + *enabled + " ").find(" " + name + " ") == std::string::npos) {
      (void)write_pseudo_file(directory, "cgroup.subtree_control", "+" + name);
    }
  }
}

// `made`: the last one was not there before.
Result<UniqueFd> make_path(const CgroupHierarchy& hierarchy, const std::vector<std::string>& names, bool& made) {
  UniqueFd current(::open(hierarchy.mount_point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!current) {
    return fail_errno("open '" + hierarchy.mount_point + "'");
  }
  for (const std::string& name : names) {
    if (hierarchy.unified) {
      enable_controllers(current.get(), hierarchy.controllers);
    }
    made = ::mkdirat(current.get(), name.c_str(), 0755) == 0;
    if (!made && errno != EEXIST) {
      return fail_errno("mkdir '" + hierarchy.mount_point + "/…/" + name + "'");
    }
    UniqueFd child(::openat(current.get(), name.c_str(), kDirectoryFlags));
    if (!child) {
      const int reason = errno;
      if (made) {
        ::unlinkat(current.get(), name.c_str(), AT_REMOVEDIR);
      }
      return fail(reason, "open '" + hierarchy.mount_point + "/…/" + name + "'");
    }
    if (!hierarchy.unified && hierarchy.has("cpuset")) {
      inherit_cpuset(current.get(), child.get());
    }
    current = std::move(child);
  }
  return current;
}

// Not how the hierarchy is, but how the machine is at the moment: a container without this hierarchy would lack what it is for.
bool is_exhaustion(int reason) { return reason == EIO || reason == ENOMEM || reason == ENOSPC || reason == EAGAIN || reason == EMFILE || reason == ENFILE || reason == EDQUOT; }

// The nearest cgroup that holds both: who moves a process from one to the other has to be allowed to write there.
std::string common_ancestor(const std::string& one, const std::string& other) {
  size_t end = 0;
  for (size_t at = 1; at <= std::min(one.size(), other.size()); ++at) {
    const bool one_ends = at == one.size() || one[at] == '/';
    const bool other_ends = at == other.size() || other[at] == '/';
    if (one_ends && other_ends && one.compare(0, at, other, 0, at) == 0) {
      end = at;
    }
  }
  return one.substr(0, end);
}

}  // namespace

Status check_cgroup_path(const std::string& path) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/' || path.size() > 3000) {
    return fail(EINVAL, "check cgroup path '" + path + "'", "it is absolute, below the hierarchies' roots, as in /strata/abc");
  }
  for (const std::string& name : components(path)) {
    const bool control = std::any_of(name.begin(), name.end(), [](char letter) { return static_cast<unsigned char>(letter) < 0x20; });
    if (name.empty() || name == "." || name == ".." || name.size() > 255 || control) {
      return fail(EINVAL, "check cgroup path '" + path + "'", "a component is empty, \".\", \"..\", too long or has control characters");
    }
  }
  return {};
}

Result<Cgroup> Cgroup::create(const CgroupHost& host, const std::string& path) {
  TRY(check_cgroup_path(path));
  const std::vector<std::string> names = components(path);
  Cgroup cgroup(host, path);
  std::optional<Error> first_error;
  bool any = false;
  for (const CgroupHierarchy& hierarchy : host.hierarchies()) {
    bool made = false;
    auto directory = make_path(hierarchy, names, made);
    if (!directory && is_exhaustion(directory.error().errno_value)) {
      cgroup.remove_made();
      return std::unexpected(std::move(directory).error());
    }
    if (directory) {
      any = true;
      cgroup.was_there_ = cgroup.was_there_ || !made;
      if (made) {
        cgroup.made_paths_.push_back(hierarchy.mount_point + path);
      }
      cgroup.directories_.push_back(std::move(*directory));
      continue;
    }
    if (!first_error) {
      first_error = directory.error();
    }
    cgroup.directories_.emplace_back();
  }
  if (!any) {
    Error error = first_error.value_or(Error{ENOENT, "make '" + path + "'", {}});
    if (error.errno_value == EROFS || error.errno_value == EACCES || error.errno_value == EPERM) {
      error.hint = "cgroups can only be made by root where the cgroup file systems are writable";
    }
    return std::unexpected(std::move(error));
  }
  return cgroup;
}

std::string own_unified_path() {
  const std::string text = read_pseudo_file(AT_FDCWD, "/proc/self/cgroup").value_or("");
  std::string_view rest = text;
  std::string_view line;
  while (next_line(rest, line)) {
    if (line.starts_with("0::")) {
      return std::string(line.substr(3));
    }
  }
  return {};
}

bool Cgroup::keep_enterable() {
  bool any = false;
  for (size_t i = 0; i < directories_.size(); ++i) {
    UniqueFd& directory = directories_[i];
    const CgroupHierarchy& hierarchy = host_.hierarchies()[i];
    if (!directory) {
      continue;
    }
    bool allowed = ::faccessat(directory.get(), hierarchy.unified ? "cgroup.procs" : "tasks", W_OK, 0) == 0;
    if (allowed && hierarchy.unified) {
      const std::string own = own_unified_path();
      allowed = check_cgroup_path(own == "/" ? path_ : own) && ::access((hierarchy.mount_point + common_ancestor(own, path_) + "/cgroup.procs").c_str(), W_OK) == 0;
    }
    if (!allowed) {
      directory.reset();
      if (!was_there_) {
        ::rmdir((hierarchy.mount_point + path_).c_str());
      }
    }
    any = any || allowed;
  }
  return any;
}

void Cgroup::remove_made() const {
  for (const std::string& made_path : made_paths_) {
    ::rmdir(made_path.c_str());
  }
}

Result<Cgroup> Cgroup::open(const CgroupHost& host, const std::string& path) {
  TRY(check_cgroup_path(path));
  Cgroup cgroup(host, path);
  bool any = false;
  for (const CgroupHierarchy& hierarchy : host.hierarchies()) {
    UniqueFd root(::open(hierarchy.mount_point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    cgroup.directories_.emplace_back(root ? ::openat(root.get(), path.c_str() + 1, kDirectoryFlags) : -1);
    // Not every hierarchy has it, nor may every user enter each. For any other reason a process that is to enter would be left out of limits.
    const bool absent = errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM;
    if (!cgroup.directories_.back() && !absent) {
      return fail_errno("open cgroup '" + path + "' in '" + hierarchy.mount_point + "'");
    }
    any = any || cgroup.directories_.back().valid();
  }
  if (!any) {
    return fail(ENOENT, "open cgroup '" + path + "'");
  }
  return cgroup;
}

Status Cgroup::add_process(pid_t pid, bool in_unified_already) {
  const std::string text = std::to_string(pid);
  for (size_t i = 0; i < directories_.size(); ++i) {
    const bool unified = host_.hierarchies()[i].unified;
    if (!directories_[i] || (in_unified_already && unified)) {
      continue;
    }
    const char* file = pid == 0 && !unified ? "tasks" : "cgroup.procs";
    if (auto written = write_pseudo_file(directories_[i].get(), file, text); !written) {
      return std::unexpected(std::move(written).error().within("enter '" + host_.hierarchies()[i].mount_point + path_ + "'"));
    }
  }
  return {};
}

int Cgroup::clone_fd() const { return host_.mode() == CgroupMode::kV2 ? unified_fd() : -1; }

int Cgroup::unified_fd() const {
  const int index = host_.unified();
  return index < 0 ? -1 : directories_[static_cast<size_t>(index)].get();
}

int Cgroup::controller_fd(std::string_view controller) const {
  const int index = host_.find(controller);
  return index < 0 ? -1 : directories_[static_cast<size_t>(index)].get();
}

bool Cgroup::controller_is_v2(std::string_view controller) const {
  const int index = host_.find(controller);
  return index < 0 ? host_.mode() == CgroupMode::kV2 : host_.hierarchies()[static_cast<size_t>(index)].unified;
}

Status Cgroup::apply(const CgroupResources& resources) {
  const bool memory_v2 = controller_is_v2("memory");
  const int memory = controller_fd("memory");
  const bool swap = memory >= 0 && pseudo_file_exists(memory, memory_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
  if (memory_v2) {
    TRY(check_unified_memory(resources, resources.check_before_update && memory >= 0 ? read_pseudo_file(memory, "memory.current").value_or("") : ""));
  }
  std::vector<LimitWrite> writes = plan_resource_writes(resources, controller_is_v2("cpu"), memory_v2, swap);
  const auto has_file = [this](const char* controller, const std::string& file) { return controller_fd(controller) >= 0 && pseudo_file_exists(controller_fd(controller), file); };
  for (LimitWrite& write : TRY(plan_rare_writes(resources, [this](std::string_view name) { return controller_is_v2(name); }, has_file))) {
    writes.push_back(std::move(write));
  }
  TRY(write_planned_limits(*this, writes));
  if (resources.devices.empty()) {
    return {};
  }
  if (const int devices = controller_fd("devices"); devices >= 0) {
    for (const DeviceCommand& command : v1_device_commands(resources.devices)) {
      if (auto written = write_pseudo_file(devices, command.allow ? "devices.allow" : "devices.deny", command.text); !written) {
        return std::unexpected(std::move(written).error().within("device rule \"" + command.text + "\""));
      }
    }
    return {};
  }
  if (unified_fd() >= 0) {
    return attach_device_program(unified_fd(), compile_device_program(resources.devices));
  }
  return fail(ENOTSUP, "set 'devices'", "this host has no way to restrict devices: neither the v1 devices controller nor cgroup v2");
}

Result<uint64_t> Cgroup::oom_kills() const {
  const int memory = controller_fd("memory");
  if (memory < 0) {
    return uint64_t{0};
  }
  const std::string text = TRY(read_pseudo_file(memory, controller_is_v2("memory") ? "memory.events" : "memory.oom_control"));
  return keyed_value(text, "oom_kill").value_or(0);
}

Result<std::optional<uint64_t>> Cgroup::memory_peak() const {
  const int memory = controller_fd("memory");
  if (memory < 0) {
    return std::nullopt;
  }
  const auto text = read_pseudo_file(memory, controller_is_v2("memory") ? "memory.peak" : "memory.max_usage_in_bytes");
  if (!text && text.error().errno_value == ENOENT) {
    return std::nullopt;
  }
  if (!text) {
    return std::unexpected(text.error());
  }
  return parse_u64(*text);
}

}  // namespace strata
