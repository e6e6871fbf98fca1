#include "runtime/init.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "runtime/launch.h"
#include "runtime/mount_plan.h"
#include "runtime/requests.h"
#include "runtime/rootfs.h"
#include "runtime/sandbox.h"
#include "runtime/trace.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace strata::runtime {
namespace {

// Everything that can be done before the container is known.
Done wait_warm(const Channel& channel, const NamespaceFlags& namespaces) {
  TRY(channel.expect(MessageKind::kJoined));
  if (namespaces.user && (::setgroups(0, nullptr) < 0 || ::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0)) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "become root of the user namespace", "the maps must contain 0");
  }
  // The change of user made the process undumpable, which hides its own /proc/self from it in the user namespace.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (namespaces.cgroup && ::unshare(CLONE_NEWCGROUP) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "make the cgroup namespace");
  }
  trace::mark("wait for id maps, make the cgroup namespace");
  if (namespaces.network) {
    TRY(loopback_up());
    trace::mark("bring the loopback up");
  }
  // A session keyring of its own, or the container would hold the supervisor's. A kernel without keys has nothing to hide.
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0);
  // Slaves: what the host unmounts while the sandbox waits goes here too, nothing goes the other way.
  if (::syscall(SYS_mount, "", "/", nullptr, MS_SLAVE | MS_REC, nullptr) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "make the mounts slaves of the host's");
  }
  if (!namespaces.user) {
    TRY(enter_empty_root(real_sys()));
  }
  trace::mark("enter an empty root");
  return channel.send(MessageKind::kReady);
}

Done build_root(const OciConfig& config, const NamespaceFlags& namespaces, const CgroupHost& cgroups, int root, const std::vector<UniqueFd>& binds) {
  const MountPlan plan = TRY(build_mount_plan(config, {.user_namespace = namespaces.user, .cgroup_namespace = namespaces.cgroup, .cgroups = &cgroups}));
  trace::mark("plan the mounts");
  TRY(enter_root(real_sys(), root));
  if (!namespaces.user) {
    TRY(detach_old_root());
  }
  trace::mark("attach the root, pivot");
  TRY(apply_mount_plan(real_sys(), root, plan, binds));
  if (namespaces.user) {
    TRY(detach_old_root());
  } else if (::chdir("/") < 0) {  // mounting moved about
    return refuse_errno(ErrorCode::kMountFailed, "enter the container's root");
  }
  return plan.root_propagation == 0 ? Done() : set_own_propagation(plan.root_propagation);
}

Outcome<CreateParams> read_order_params(int memory_file) {
  struct stat status {};
  if (::fstat(memory_file, &status) < 0) {
    return refuse_errno(ErrorCode::kInternal, "read the order");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const text = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, memory_file, 0);
  if (text == MAP_FAILED) {
    return refuse_errno(ErrorCode::kInternal, "read the order");
  }
  const JsonDocument document = TRY(JsonDocument::parse({static_cast<const char*>(text), size}));
  ::munmap(text, size);
  const Json root = document.root();
  return read_create_params(root["params"]);
}

// kCreate's descriptors: the request, the root, the seccomp program (if any), this program's file (for an init), three standard streams (no terminal), the binds.
struct OrderFds {
  UniqueFd request, root, seccomp, init_program;
  std::vector<UniqueFd> stdio, binds;
};

Outcome<OrderFds> sort_fds(Message& order, const CreateOrder& how, bool terminal) {
  OrderFds fds;
  const std::size_t init_program_at = how.has_seccomp ? 3 : 2;
  const std::size_t stdio_from = init_program_at + (how.has_init_program ? 1 : 0);
  const std::size_t binds_from = stdio_from + (terminal ? 0 : 3);
  if (order.fds.size() < binds_from) {
    return refuse(ErrorCode::kInternal, "the order came with too few descriptors");
  }
  fds.root = std::move(order.fds[1]);
  if (how.has_seccomp) {
    fds.seccomp = std::move(order.fds[2]);
  }
  if (how.has_init_program) {
    fds.init_program = std::move(order.fds[init_program_at]);
  }
  for (std::size_t i = stdio_from; i < order.fds.size(); ++i) {
    (i < binds_from ? fds.stdio : fds.binds).push_back(std::move(order.fds[i]));
  }
  return fds;
}

Failure create_and_start(const Channel& channel, const NamespaceFlags& namespaces, const CgroupHost& cgroups, Message& order, int time_offsets) {
  trace::mark("wait for the order");
  const CreateOrder how = CreateOrder::decode(order.text);
  if (order.fds.empty()) {
    return Failure(Error{EBADF, "read the order", ""});
  }
  auto params = read_order_params(order.fds[0].get());
  if (!params) {
    return std::move(params).error();
  }
  trace::mark("read the config");
  OciConfig& config = params->config;
  config.process.console_size = params->console_size;
  auto fds = sort_fds(order, how, config.process.terminal);
  if (!fds) {
    return std::move(fds).error();
  }
  Launch launch(real_sys(), channel, config.process, {.init_program = fds->init_program.get()});
  const auto prepare = [&]() -> Done {
    if (namespaces.time) {
      TRY(set_time_offsets(config, time_offsets));
    }
    TRY(build_root(config, namespaces, cgroups, fds->root.get(), fds->binds));
    TRY(set_names(config));
    TRY(launch.prepare(fds->stdio, true));
    trace::mark("set names, find the user, take the streams");
    fds->stdio.clear();
    fds->binds.clear();
    fds->root.reset();
    if (how.wait_for_start) {
      TRY(channel.send(MessageKind::kCreated));
      TRY(channel.expect(MessageKind::kStart));
    }
    return {};
  };
  if (auto done = prepare(); !done) {
    return std::move(done).error();
  }
  return launch.execute(fds->seccomp.get());
}

}  // namespace

Done loopback_up() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "bring the loopback interface up");
  }
  return {};
}

Done set_time_offsets(const OciConfig& config, int offsets_file) {
  if (::unshare(CLONE_NEWTIME) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "make the time namespace", errno == EINVAL ? "time namespaces need Linux 5.6" : namespace_hint(errno));
  }
  std::string text;
  const auto add = [&](const char* clock, const std::optional<TimeOffset>& offset) {
    if (offset) {
      text += std::string(clock) + " " + std::to_string(offset->seconds) + " " + std::to_string(offset->nanoseconds) + "\n";
    }
  };
  add("monotonic", config.monotonic_offset);
  add("boottime", config.boottime_offset);
  // Goes to the namespace that unshare just made.
  if (!text.empty() && ::write(offsets_file, text.data(), text.size()) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "set the time offsets");
  }
  return {};
}

Done set_names(const OciConfig& config) {
  if (!config.hostname.empty() && ::sethostname(config.hostname.data(), config.hostname.size()) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "set the host name");
  }
  if (!config.domainname.empty() && ::setdomainname(config.domainname.data(), config.domainname.size()) < 0) {
    return refuse_errno(ErrorCode::kNamespaceFailed, "set the domain name");
  }
  return {};
}

void join_new_keyring() {
  // Or the container would hold its starter's. A kernel without keys has nothing to hide.
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0);
}

Done set_own_propagation(unsigned long propagation) {
  if (::syscall(SYS_mount, "", "/", nullptr, propagation, nullptr) < 0) {
    return refuse_errno(ErrorCode::kMountFailed, "cut the mounts off from the host's");
  }
  return {};
}

std::vector<std::string> NamespaceFlags::names() const {
  std::vector<std::string> list;
  const std::pair<bool, const char*> optional[] = {{mount, "mount"}, {pid, "pid"}, {network, "network"}, {uts, "uts"}, {ipc, "ipc"}, {cgroup, "cgroup"}, {user, "user"}, {time, "time"}};
  for (const auto& [present, name] : optional) {
    if (present) {
      list.emplace_back(name);
    }
  }
  return list;
}

void give_up(const Channel& channel, const Failure& failure) {
  static_cast<void>(channel.send(MessageKind::kFailed, encode_failure(failure)));
  ::_exit(exit_code_of(failure.code) < 0 ? 125 : exit_code_of(failure.code));
}

void run_init(Channel channel, const NamespaceFlags& namespaces, const CgroupHost& cgroups) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "strata-init", 0, 0, 0);
  reset_signals();
  trace::mark("begin, in its cgroups");
  const UniqueFd time_offsets(namespaces.time ? ::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC) : -1);
  if (auto warm = wait_warm(channel, namespaces); !warm) {
    give_up(channel, warm.error());
  }
  auto order = channel.receive();
  if (!order || !*order) {
    ::_exit(0);  // the supervisor discarded the sandbox
  }
  if ((*order)->kind != MessageKind::kCreate) {
    give_up(channel, Failure(Error{EPROTO, "wait for an order: unexpected message", ""}));
  }
  give_up(channel, create_and_start(channel, namespaces, cgroups, **order, time_offsets.get()));
}

}  // namespace strata::runtime
