#include "runtime/container_view.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

#include "core/pseudo_file.h"
#include "runtime/credentials.h"
#include "runtime/mapping_namespace.h"

namespace strata::runtime {
namespace {

Outcome<std::string> absolute(const Json& json) {
  std::string path = TRY(json.text());
  if (!path.starts_with('/')) {
    return json.wrong("an absolute path");
  }
  return path;
}

std::unexpected<Failure> not_running() { return refuse(ErrorCode::kInvalidState, "the container has just ended", 0, "Try again."); }

std::string proc_path(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

// "4:memory:/strata/ID" or "0::/strata/ID", or a cgroup below.
bool is_in_cgroup(std::string_view text, const std::string& path) {
  std::string_view line;
  while (next_line(text, line)) {
    const std::size_t colon = line.find(':', line.find(':') + 1);
    const std::string_view found = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (found.starts_with(path) && (found.size() == path.size() || found[path.size()] == '/')) {
      return true;
    }
  }
  return false;
}

bool is_same_namespace(int left, int right) {
  struct stat one, other;
  return ::fstat(left, &one) == 0 && ::fstat(right, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// Ids are the namespace's from here on, and this process has no right outside of it.
Done become_root_of(int user_namespace) {
  TRY(drop_groups());
  if (::setns(user_namespace, CLONE_NEWUSER) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "enter the container's user namespace");
  }
  if (::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "become root of the container's user namespace", errno == EINVAL ? "its id maps have no root" : "");
  }
  return {};
}

// The root mount without those below it: a clone of it can be made only from within its namespace, which is left again at once.
Outcome<UniqueFd> clone_root(Sys& sys, int pidfd) {
  const UniqueFd own = TRY(sys.open_at(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY, 0, 0));
  const UniqueFd own_root = TRY(sys.open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0));
  if (::setns(pidfd, CLONE_NEWNS) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "enter the container's mount namespace");
  }
  auto clone = sys.clone_tree(AT_FDCWD, "/", false);
  if (::setns(own.get(), CLONE_NEWNS) < 0 || ::fchdir(own_root.get()) < 0 || ::chroot(".") < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "return to the host's mount namespace");
  }
  return classify(std::move(clone), ErrorCode::kMountFailed, "look at the container's root without its mounts");
}

Outcome<UniqueFd> open_running(Sys& sys, const RunningView& view, bool alone) {
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, view.pid, 0)));
  const auto cgroups = read_pseudo_file(AT_FDCWD, proc_path(view.pid, "cgroup"));
  if (!pidfd || !cgroups || !is_in_cgroup(*cgroups, view.cgroup_path)) {
    return not_running();
  }
  auto root = sys.open_at(AT_FDCWD, proc_path(view.pid, "root"), O_PATH | O_DIRECTORY, 0, 0);
  auto user_namespace = sys.open_at(AT_FDCWD, proc_path(view.pid, "ns/user"), O_RDONLY, 0, 0);
  const UniqueFd own_namespace = TRY(sys.open_at(AT_FDCWD, "/proc/self/ns/user", O_RDONLY, 0, 0));
  // It lives, so all that was opened by its number was its own.
  if (!root || !user_namespace || ::syscall(SYS_pidfd_send_signal, pidfd.get(), 0, nullptr, 0) < 0) {
    return not_running();
  }
  if (alone) {
    root = TRY(clone_root(sys, pidfd.get()));
  } else if (::setns(pidfd.get(), CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) < 0) {
    // What is below /proc/sys is of the namespaces of who reads it: else the host's host name would be copied as the container's.
    return errno == ESRCH ? Outcome<UniqueFd>(not_running()) : refuse_errno(ErrorCode::kNamespaceFailed, "enter the container's namespaces");
  }
  if (!is_same_namespace(user_namespace->get(), own_namespace.get())) {
    TRY(become_root_of(user_namespace->get()));
  }
  return std::move(*root);
}

Outcome<UniqueFd> open_stopped(Sys& sys, const StoppedView& view) {
  if (view.uid_map.empty()) {
    return make_overlay(sys, view.overlay, {}, view.private_place);
  }
  const UniqueFd user_namespace = TRY(make_mapping_namespace(view.uid_map, view.gid_map));
  RootIdentity root{.user_namespace = user_namespace.get()};
  for (const IdMapping& range : view.uid_map) {
    root.uid = range.container == 0 ? range.host : root.uid;
  }
  for (const IdMapping& range : view.gid_map) {
    root.gid = range.container == 0 ? range.host : root.gid;
  }
  UniqueFd overlay = TRY(make_overlay(sys, view.overlay, root, view.private_place));
  TRY(become_root_of(user_namespace.get()));
  return overlay;
}

}  // namespace

Outcome<ViewParams> read_view(const Json& json) {
  TRY(json.object());
  ViewParams view;
  if (const Json pid = json["pid"]; !pid.absent()) {
    view.running = RunningView{static_cast<pid_t>(TRY(pid.integer(1, 1 << 22))), TRY(absolute(json["cgroupPath"]))};
    return view;
  }
  const Json overlay = json["overlay"];
  const Json lower = overlay["lower"];
  const std::size_t size = TRY(lower.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    view.stopped.overlay.lower.push_back(TRY(absolute(lower.at(i))));
  }
  if (!overlay["upper"].absent()) {
    view.stopped.overlay.upper = TRY(absolute(overlay["upper"]));
    view.stopped.overlay.work = TRY(absolute(overlay["work"]));
  }
  view.stopped.overlay.is_read_only = TRY(overlay["readOnly"].boolean_or(false));
  view.stopped.private_place = TRY(absolute(json["privatePlace"]));
  if (!json["uidMappings"].absent()) {
    view.stopped.uid_map = TRY(read_id_map(json["uidMappings"]));
    view.stopped.gid_map = TRY(read_id_map(json["gidMappings"]));
  }
  return view;
}

Outcome<UniqueFd> open_view(Sys& sys, const ViewParams& params, bool alone) {
  return params.running ? open_running(sys, *params.running, alone) : open_stopped(sys, params.stopped);
}

}  // namespace strata::runtime
