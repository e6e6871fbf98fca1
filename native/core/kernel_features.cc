#include "kernel_features.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "cgroup_host.h"
#include "pseudo_file.h"
#include "unique_fd.h"

namespace strata {

namespace {

UniqueFd overlay_context() { return UniqueFd(static_cast<int>(::syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC))); }

bool layers_by_descriptor() {
  const UniqueFd context = overlay_context();
  const UniqueFd layer(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  return context && ::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FD, "lowerdir+", nullptr, layer.get()) == 0;
}

bool layers_one_by_one() {
  const UniqueFd context = overlay_context();
  return context && ::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "lowerdir+", "/", 0) == 0;
}

// A kernel that knows the attribute looks for the user namespace (EBADF); an older one refuses the attribute (EINVAL) or the call (ENOSYS).
bool id_mapped_mounts() {
  const UniqueFd tree(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) {
    return false;
  }
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = INT32_MAX;
  return ::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0 && errno == EBADF;
}

// The same trick: no process is made, for the cgroup's descriptor is never a valid one.
bool clone_into_cgroup() {
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = 17;
  arguments.cgroup = INT32_MAX;
  const long result = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (result == 0) {
    ::_exit(0);
  }
  return result < 0 && errno == EBADF;
}

bool has_openat2() {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how)));
  return fd.valid();
}

bool namespace_allowed(const std::string& kind) {
  const auto most = read_pseudo_file(AT_FDCWD, "/proc/sys/user/max_" + kind + "_namespaces");
  return ::access(("/proc/self/ns/" + kind).c_str(), F_OK) == 0 && most && parse_u64(*most).value_or(0) > 0;
}

bool seccomp_filters() {
  const uint32_t action = SECCOMP_RET_ERRNO;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

struct UnifiedFiles {
  bool kill = false, freeze = false, memory_peak = false;
};

// The root of a hierarchy lacks these files, so an empty cgroup is made and removed.
UnifiedFiles probe_unified(const CgroupHost& host) {
  UnifiedFiles files;
  if (host.unified() < 0) {
    return files;
  }
  const CgroupHierarchy& hierarchy = host.hierarchies()[static_cast<size_t>(host.unified())];
  const UniqueFd root(::open(hierarchy.mount_point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::string name = "strata-probe-" + std::to_string(::getpid());
  if (!root || (::mkdirat(root.get(), name.c_str(), 0755) != 0 && errno != EEXIST)) {
    return files;
  }
  files.kill = pseudo_file_exists(root.get(), name + "/cgroup.kill");
  files.freeze = pseudo_file_exists(root.get(), name + "/cgroup.freeze");
  files.memory_peak = pseudo_file_exists(root.get(), name + "/memory.peak");
  ::unlinkat(root.get(), name.c_str(), AT_REMOVEDIR);
  return files;
}

void add_cgroup_features(std::vector<KernelFeature>& features) {
  const auto host = CgroupHost::probe();
  if (!host) {
    features.push_back({"cgroups", false, host.error().message()});
    return;
  }
  features.push_back({"cgroups", true, std::string("mode ") + cgroup_mode_name(host->mode())});
  for (const char* controller : {"cpu", "cpuset", "memory", "pids"}) {
    const bool found = host->find(controller) >= 0;
    features.push_back({std::string("cgroup.") + controller, found,
                        found ? "limits of this kind can be set"
                              : "its limits cannot be set; mount the v1 controller, or enable it on the kernel's command line (memory: cgroup_enable=memory)"});
  }
  const UnifiedFiles files = probe_unified(*host);
  const bool v1_memory = host->find("memory") >= 0 && host->find("memory") != host->unified();
  features.push_back({"cgroup.kill", files.kill, "kills a container at once; without it (Linux < 5.14 or cgroup v1 alone) it is frozen and its processes are killed one by one"});
  features.push_back({"cgroup.freeze", files.freeze || host->find("freezer") >= 0, "pauses a container"});
  features.push_back({"memory.peak", files.memory_peak || v1_memory, "the most memory a container used; cgroup v2 has it since Linux 5.19"});
  features.push_back({"swap accounting", host->swap_accounting(), "limits of memory and swap together; boot with swapaccount=1 where it is missing"});
  features.push_back({"pressure stall information", host->psi(), "tells how long processes waited for cpu, memory and io; boot with psi=1 where it is missing"});
}

}  // namespace

std::vector<KernelFeature> kernel_features() {
  std::vector<KernelFeature> features;
  const bool overlay = overlay_context().valid();
  features.push_back({"overlay", overlay, "every container's root file system; load it with: modprobe overlay (needs root)"});
  features.push_back({"overlay layers one by one", layers_one_by_one(), "any number of layers (Linux 6.7); without it the paths of all layers must fit into one page"});
  features.push_back({"overlay layers by descriptor", layers_by_descriptor(), "layers without paths (Linux 6.13); without it they are named by path"});
  features.push_back({"id-mapped mounts", id_mapped_mounts(), "containers with a user namespace share layers; Linux 5.12, overlay on them 5.19"});
  features.push_back({"clone into cgroup", clone_into_cgroup(), "starts a process inside its cgroup at once (cgroup v2, Linux 5.7)"});
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  features.push_back({"pidfd", pidfd.valid(), "signals that can never reach a stranger; Linux 5.3"});
  features.push_back({"openat2", has_openat2(), "safe paths inside images and containers; Linux 5.6. Strata does not work without it"});
  features.push_back({"user namespaces", namespace_allowed("user"), "root in the container is nobody on the host; see sysctl user.max_user_namespaces"});
  features.push_back({"time namespaces", namespace_allowed("time"), "a container's own uptime; Linux 5.6 with CONFIG_TIME_NS"});
  features.push_back({"seccomp", seccomp_filters(), "filters system calls; the kernel needs CONFIG_SECCOMP_FILTER"});
  add_cgroup_features(features);
  return features;
}

}  // namespace strata
