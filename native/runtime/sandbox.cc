#include "runtime/sandbox.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "runtime/trace.h"

namespace strata::runtime {
namespace {

Status write_map(pid_t pid, const char* name, const std::vector<IdMapping>& map) {
  std::string text;
  for (const IdMapping& range : map) {
    text += std::to_string(range.container) + " " + std::to_string(range.host) + " " + std::to_string(range.size) + "\n";
  }
  return real_sys().write_file(AT_FDCWD, "/proc/" + std::to_string(pid) + "/" + name, text, 0);
}

std::uint32_t host_id_of_root(const std::vector<IdMapping>& map) {
  const auto found = std::find_if(map.begin(), map.end(), [](const IdMapping& range) { return range.container == 0; });
  return found == map.end() ? 0 : found->host;
}

Done make_user_namespace_known(const SandboxParams& params, Sandbox& sandbox) {
  TRY(map_ids(sandbox.pid, params.uid_map, params.gid_map));
  const std::string path = "/proc/" + std::to_string(sandbox.pid) + "/ns/user";
  sandbox.user_namespace.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!sandbox.user_namespace) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "open the user namespace");
  }
  sandbox.root = {sandbox.user_namespace.get(), host_id_of_root(params.uid_map), host_id_of_root(params.gid_map)};
  return {};
}

Done settle(const SandboxParams& params, Sandbox& sandbox) {
  if (params.namespaces.user) {
    TRY(make_user_namespace_known(params, sandbox));
  }
  TRY(sandbox.channel.send(MessageKind::kJoined));
  std::optional<Message> answer = TRY(sandbox.channel.receive());
  if (!answer) {
    return refuse(ErrorCode::kNamespaceFailed, "the sandbox ended while it was set up");
  }
  if (answer->kind == MessageKind::kFailed) {
    return std::unexpected(decode_failure(*answer));
  }
  if (answer->kind != MessageKind::kReady) {
    return refuse(ErrorCode::kInternal, "unexpected message from the sandbox");
  }
  return {};
}

}  // namespace

std::string namespace_hint(int reason) {
  switch (reason) {
    case EPERM: return "it takes root with CAP_SYS_ADMIN; a user namespace may be forbidden by kernel.unprivileged_userns_clone or an LSM";
    case ENOSPC: return "a limit of /proc/sys/user/max_*_namespaces is reached";
    case EINVAL: return "the kernel lacks one of the namespaces";
    case EAGAIN: return "a limit of processes is reached: the container's pids limit, or one of the host";
    default: return {};
  }
}

std::uint64_t clone_flags(const NamespaceFlags& namespaces) {
  std::uint64_t flags = 0;
  flags |= namespaces.mount ? CLONE_NEWNS : 0;
  flags |= namespaces.pid ? CLONE_NEWPID : 0;
  flags |= namespaces.network ? CLONE_NEWNET : 0;
  flags |= namespaces.uts ? CLONE_NEWUTS : 0;
  flags |= namespaces.ipc ? CLONE_NEWIPC : 0;
  flags |= namespaces.user ? CLONE_NEWUSER : 0;
  return flags;
}

Done write_id_map(pid_t pid, const char* name, const std::vector<IdMapping>& map) {
  return classify(write_map(pid, name, map), ErrorCode::kNamespaceFailed, name[0] == 'u' ? "map the user ids" : "map the group ids");
}

Done map_ids(pid_t pid, const std::vector<IdMapping>& uid_map, const std::vector<IdMapping>& gid_map) {
  TRY(write_id_map(pid, "uid_map", uid_map));
  return write_id_map(pid, "gid_map", gid_map);
}

int joinable_namespaces(const NamespaceFlags& namespaces) {
  std::uint64_t flags = clone_flags(namespaces) & ~static_cast<std::uint64_t>(CLONE_NEWPID);
  flags |= namespaces.cgroup ? CLONE_NEWCGROUP : 0;
  flags |= namespaces.time ? CLONE_NEWTIME : 0;
  return static_cast<int>(flags);
}

Outcome<pid_t> clone_child(std::uint64_t namespaces, const Cgroup& cgroup, UniqueFd& pidfd, bool& in_unified) {
  int fd = -1;
  clone_args arguments{};
  arguments.flags = namespaces | CLONE_PIDFD;
  arguments.exit_signal = SIGCHLD;
  arguments.pidfd = reinterpret_cast<std::uint64_t>(&fd);
  in_unified = cgroup.unified_fd() >= 0;
  if (in_unified) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<std::uint64_t>(cgroup.unified_fd());
  }
  long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child < 0 && in_unified) {
    // The unified tree of a hybrid host may not take processes this way (a domain that became threaded, a read-only mount): joined afterwards then.
    in_unified = false;
    arguments.flags &= ~static_cast<std::uint64_t>(CLONE_INTO_CGROUP);
    arguments.cgroup = 0;
    child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  }
  if (child < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "clone the container's process", namespace_hint(errno));
  }
  if (child > 0) {
    pidfd.reset(fd);
  }
  return static_cast<pid_t>(child);
}

void SharedPid::Unmap::operator()(pid_t* page) const { ::munmap(page, sizeof *page); }

Outcome<SharedPid> SharedPid::make() {
  void* const page = ::mmap(nullptr, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    return refuse_errno(ErrorCode::kInternal, "share a page with the process that joins");
  }
  SharedPid note;
  note.page_.reset(static_cast<pid_t*>(page));
  *note.page_ = 0;  // the page is there from now on: the container's memory limit has no say in it
  return note;
}

Outcome<pid_t> clone_sibling(std::uint64_t namespaces, SharedPid& note) {
  clone_args arguments{};
  arguments.flags = namespaces | CLONE_PARENT | CLONE_PARENT_SETTID;
  arguments.parent_tid = reinterpret_cast<std::uint64_t>(note.address());
  const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "clone the container's process", namespace_hint(errno));
  }
  return static_cast<pid_t>(child);
}

Outcome<UniqueFd> open_child(pid_t pid) {
  UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!handle) {
    return refuse_errno(ErrorCode::kInternal, "open the container's process");
  }
  return handle;
}

Done make_pipe(const RootIdentity& root, UniqueFd& reader, UniqueFd& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) {
    return refuse_errno(ErrorCode::kInternal, "make a pipe");
  }
  reader.reset(ends[0]);
  writer.reset(ends[1]);
  if (root.uid != 0) {
    // Or the root of the user namespace could not hand it on to the container's user.
    best_effort(::fchown(ends[0], root.uid, root.gid));
  }
  return {};
}

void keep_only(std::vector<int> fds) {
  fds.push_back(trace::fd());
  std::sort(fds.begin(), fds.end());
  unsigned from = 3;
  for (const int fd : fds) {
    if (fd < static_cast<int>(from)) {
      continue;
    }
    if (static_cast<unsigned>(fd) > from) {
      ::syscall(SYS_close_range, from, static_cast<unsigned>(fd) - 1, 0U);
    }
    from = static_cast<unsigned>(fd) + 1;
  }
  ::syscall(SYS_close_range, from, ~0U, 0U);
}

Outcome<Sandbox> make_sandbox(const SandboxParams& params, Cgroup& cgroup) {
  auto [own_end, init_end] = TRY(Channel::make_pair());
  Sandbox sandbox;
  sandbox.namespaces = params.namespaces;
  bool in_unified = false;
  sandbox.pid = TRY(clone_child(clone_flags(params.namespaces), cgroup, sandbox.pidfd, in_unified));
  if (sandbox.pid == 0) {
    auto entered = classify(cgroup.add_process(0, in_unified), ErrorCode::kCgroupFailed);
    keep_only({init_end.fd()});
    if (!entered) {
      static_cast<void>(init_end.expect(MessageKind::kJoined));
      give_up(init_end, entered.error());
    }
    run_init(std::move(init_end), params.namespaces, cgroup.host());
  }
  trace::mark("clone init");
  init_end.close();
  sandbox.channel = std::move(own_end);
  if (auto settled = settle(params, sandbox); !settled) {
    ::kill(sandbox.pid, SIGKILL);
    while (::waitpid(sandbox.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return std::unexpected(std::move(settled).error());
  }
  return sandbox;
}

}  // namespace strata::runtime
