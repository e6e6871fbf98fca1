#include "runtime/oci/namespaces.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "runtime/channel.h"
#include "runtime/exec_session.h"
#include "runtime/rootfs.h"
#include "runtime/sandbox.h"

namespace strata::runtime::oci {
namespace {

struct Joined {
  const OciJoinedNamespace* what = nullptr;
  int flag = 0;
  UniqueFd fd;
};

int flag_of(const std::string& type) {
  static constexpr std::pair<const char*, int> kFlags[] = {{"user", CLONE_NEWUSER}, {"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},
                                                           {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},   {"cgroup", CLONE_NEWCGROUP}, {"time", 0x80 /* CLONE_NEWTIME */}};
  const auto* const found = std::find_if(std::begin(kFlags), std::end(kFlags), [&](const auto& entry) { return type == entry.first; });
  return found == std::end(kFlags) ? 0 : found->second;
}

Outcome<std::vector<Joined>> open_joined(const OciConfig& config) {
  std::vector<Joined> joined;
  for (const OciJoinedNamespace& what : config.joined_namespaces) {
    UniqueFd fd(::open(what.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "open the " + what.type + " namespace '" + what.path + "'", "", what.path);
    }
    joined.push_back({&what, flag_of(what.type), std::move(fd)});
  }
  // The mount namespace last: it changes what paths mean. A pid namespace is for children only, so its place does not matter.
  std::stable_sort(joined.begin(), joined.end(), [](const Joined& a, const Joined& b) { return (a.flag == CLONE_NEWNS) < (b.flag == CLONE_NEWNS); });
  return joined;
}

// A namespace may belong to the host's user namespace or to the one that is joined: what is refused at first is tried again from inside.
Done join_all(const std::vector<Joined>& joined) {
  std::vector<const Joined*> left;
  const Joined* user = nullptr;
  for (const Joined& one : joined) {
    if (one.flag == CLONE_NEWUSER) {
      user = &one;
    } else if (::setns(one.fd.get(), one.flag) < 0) {
      left.push_back(&one);
    }
  }
  if (user != nullptr && ::setns(user->fd.get(), CLONE_NEWUSER) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "enter the user namespace '" + user->what->path + "'");
  }
  for (const Joined* one : left) {
    if (::setns(one->fd.get(), one->flag) < 0) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "enter the " + one->what->type + " namespace '" + one->what->path + "'",
                          errno == EINVAL ? "it is no " + one->what->type + " namespace" : "", one->what->path);
    }
  }
  return {};
}

// A user namespace's root could mount no procfs where it sees none, and createContainer hooks are programs of the host: they see the host's mounts up to the
// pivot. There it is up to the kernel who may trace the first process, which is not dumpable.
bool can_leave_host(const OciConfig& config) {
  return config.joins_namespace("pid") && config.makes_namespace("mount") && !config.makes_namespace("user") && !config.joins_namespace("user") &&
         config.hooks.create_container.empty();
}

// What the first process inherits: whoever shares the pid namespace and may trace it would find the host's files below its root (CVE-2016-9962).
Done leave_host(const OciConfig& config) {
  if (const auto& adj = config.process.oom_score_adj) {  // inherited; the first process has no /proc to do it
    auto written = real_sys().write_file(AT_FDCWD, "/proc/self/oom_score_adj", std::to_string(*adj), 0);
    if (!written && written.error().errno_value != EACCES && written.error().errno_value != EPERM) {
      return classify(std::move(written), ErrorCode::kLimitRejected, "set oomScoreAdj");
    }
  }
  if (config.makes_namespace("time")) {  // children are born in it
    const UniqueFd offsets(::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
    TRY(set_time_offsets(config, offsets.get()));
  }
  if (::unshare(CLONE_NEWNS) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "make the mount namespace", namespace_hint(errno));
  }
  TRY(set_own_propagation(MS_SLAVE | MS_REC));
  return enter_empty_root(real_sys());
}

Outcome<FirstProcess> clone_between(const OciConfig& config, Cgroup& cgroup, std::vector<int> kept, bool pivots, const std::function<void(const Birth&)>& run) {
  const std::vector<Joined> joined = TRY(open_joined(config));
  auto [own_end, other_end] = TRY(Channel::make_pair());
  SharedPid note = TRY(SharedPid::make());
  UniqueFd between_handle;
  const bool leaves = pivots && can_leave_host(config);
  bool in_unified = false;
  const pid_t between = TRY(clone_child(0, cgroup, between_handle, in_unified));
  if (between == 0) {
    own_end.close();
    const auto clone = [&]() -> Outcome<pid_t> {
      TRY(classify(cgroup.add_process(0, in_unified), ErrorCode::kCgroupFailed));
      kept.push_back(other_end.fd());
      for (const Joined& one : joined) {
        kept.push_back(one.fd.get());
      }
      keep_only(kept);
      TRY(join_all(joined));
      NamespaceFlags made = new_namespaces(config);
      if (leaves) {
        TRY(leave_host(config));
        made.mount = false;
      }
      return clone_sibling(clone_flags(made), note);
    };
    const auto child = clone();
    if (child && *child == 0) {
      run({Entered::kAll, leaves});
    }
    if (!child) {
      give_up(other_end, child.error());
    }
    ::_exit(0);
  }
  other_end.close();
  reap(between);
  if (note.get() == 0) {
    return std::unexpected(cause_of(own_end, Failure(ErrorCode::kNamespaceFailed, Error{0, "the process that joins the namespaces ended early", ""})));
  }
  FirstProcess first;
  first.pid = note.get();
  auto handle = open_child(first.pid);
  if (!handle) {
    ::kill(first.pid, SIGKILL);
    reap(first.pid);
    return std::unexpected(std::move(handle).error());
  }
  first.handle = std::move(*handle);
  return first;
}

}  // namespace

NamespaceFlags new_namespaces(const OciConfig& config) {
  NamespaceFlags flags;
  flags.mount = config.makes_namespace("mount");
  flags.pid = config.makes_namespace("pid");
  flags.network = config.makes_namespace("network");
  flags.uts = config.makes_namespace("uts");
  flags.ipc = config.makes_namespace("ipc");
  flags.cgroup = config.makes_namespace("cgroup");
  flags.user = config.makes_namespace("user");
  flags.time = config.makes_namespace("time");
  return flags;
}

Done check_namespaces(const OciConfig& config) {
  if (!config.makes_namespace("mount") && !config.joins_namespace("mount")) {
    return refuse(ErrorCode::kInvalidRequest, "linux.namespaces has no mount namespace: the container's mounts would be the host's");
  }
  const bool maps = !config.uid_map.empty() || !config.gid_map.empty();
  if (config.makes_namespace("user") && (config.uid_map.empty() || config.gid_map.empty())) {
    return refuse(ErrorCode::kInvalidRequest, "a new user namespace needs linux.uidMappings and linux.gidMappings");
  }
  if (maps && !config.makes_namespace("user") && !config.joins_namespace("user")) {
    return refuse(ErrorCode::kInvalidRequest, "linux.uidMappings and gidMappings need a user namespace");
  }
  const bool own_uts = config.makes_namespace("uts");
  if (!own_uts && !config.joins_namespace("uts") && (!config.hostname.empty() || !config.domainname.empty())) {
    return refuse(ErrorCode::kInvalidRequest, "hostname and domainname need a uts namespace: without one they would be the host's");
  }
  if ((config.monotonic_offset || config.boottime_offset) && !config.makes_namespace("time")) {
    return refuse(ErrorCode::kInvalidRequest, "linux.timeOffsets need a new time namespace");
  }
  return {};
}

Outcome<FirstProcess> clone_first_process(const OciConfig& config, Cgroup& cgroup, const std::vector<int>& kept, bool pivots, const std::function<void(const Birth&)>& run) {
  if (!config.joined_namespaces.empty()) {
    return clone_between(config, cgroup, kept, pivots, run);
  }
  FirstProcess first;
  bool in_unified = false;
  first.pid = TRY(clone_child(clone_flags(new_namespaces(config)), cgroup, first.handle, in_unified));
  if (first.pid == 0) {
    run({in_unified ? Entered::kUnified : Entered::kNone});
  }
  return first;
}

}  // namespace strata::runtime::oci
