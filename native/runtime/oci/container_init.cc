#include "runtime/oci/container_init.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runtime/bind_sources.h"
#include "runtime/credentials.h"
#include "runtime/oci/log.h"
#include "runtime/oci/start.h"
#include "runtime/overlay.h"
#include "runtime/rootfs.h"
#include "runtime/sandbox.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

constexpr int kLeastRestMs = 10, kMostRestMs = 500;

class ContainerInit {
 public:
  ContainerInit(Channel channel, InitOrder order)
      : channel_(std::move(channel)), order_(std::move(order)), launch_(real_sys(), channel_, order_.config.process, order_.launch) {}

  // Returns only with a failure.
  Failure run() {
    if (auto done = enter(); !done) {
      return std::move(done).error();
    }
    auto created = channel_.expect(MessageKind::kCreate);
    if (!created && created.error().error.errno_value != 0) {
      return std::move(created).error();
    }
    if (!created) {
      ::_exit(0);  // `create` was given up
    }
    trace::mark("wait for the order");
    if (auto done = become_container(created->fds); !done) {
      return std::move(done).error();
    }
    if (auto done = wait_for_start(); !done) {
      return std::move(done).error();
    }
    trace::mark("wait for start");
    Failure failure = launch_.execute(seccomp_.get(), start_hooks());
    if (order_.start_socket >= 0 && is_for_program_to_tell(failure)) {
      ::dprintf(STDERR_FILENO, "strata-runtime: %s\n", sentence_of(failure).c_str());
    }
    return failure;
  }

  [[nodiscard]] const Channel& channel() const { return channel_; }

 private:
  [[nodiscard]] std::string state() const { return order_.state_before_pid + std::to_string(::getpid()) + order_.state_after_pid; }

  // Programs of the image, so they have what the container's process has and no more: user, capabilities, filter, environment. createContainer's are the
  // host's and have nothing but what the config says, for others of the pid namespace may look into them.
  [[nodiscard]] std::function<Done()> start_hooks() const {
    if (order_.config.hooks.start_container.empty()) {
      return {};
    }
    return [this] { return run_hooks(order_.config.hooks.start_container, "startContainer", state(), "", launch_.environment()); };
  }

  // Cgroups first: what comes after is charged to the container.
  Done enter() {
    reset_signals();
    const bool makes_time = order_.made.time && !order_.birth.left_host;
    const UniqueFd time_offsets(makes_time ? ::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC) : -1);
    if (const auto& adj = order_.config.process.oom_score_adj; adj && !order_.birth.left_host) {
      TRY(adjust_oom_score(*adj));
    }
    if (order_.birth.entered != Entered::kAll) {
      TRY(classify(order_.cgroup.add_process(0, order_.birth.entered == Entered::kUnified), ErrorCode::kCgroupFailed));
    }
    trace::mark("enter the cgroups");
    keep_descriptors(time_offsets.get());
    TRY(channel_.expect(MessageKind::kJoined));
    trace::mark("wait for id maps");
    if (order_.made.user || order_.joins_user) {
      TRY(become_root_of_user_namespace());
    }
    if (order_.made.cgroup && ::unshare(CLONE_NEWCGROUP) < 0) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "make the cgroup namespace");
    }
    if (order_.made.network) {
      TRY(loopback_up());
    }
    if (order_.new_keyring) {
      join_new_keyring();
    }
    if (makes_time) {
      TRY(set_time_offsets(order_.config, time_offsets.get()));
    }
    TRY(set_own_propagation(MS_SLAVE | MS_REC));
    trace::mark("cgroup namespace, loopback, keyring, propagation");
    return channel_.send(MessageKind::kReady);
  }

  Done adjust_oom_score(int adj) {
    auto written = real_sys().write_file(AT_FDCWD, "/proc/self/oom_score_adj", std::to_string(adj), 0);
    if (!written && (written.error().errno_value == EACCES || written.error().errno_value == EPERM)) {
      return channel_.send(MessageKind::kWarning, "oomScoreAdj " + std::to_string(adj) + " needs CAP_SYS_RESOURCE, which this machine does not give: it stays as it is");
    }
    return classify(std::move(written), ErrorCode::kLimitRejected, "set oomScoreAdj");
  }

  // Nothing else of the host may be open once the container's files are in sight (CVE-2024-21626).
  void keep_descriptors(int time_offsets) const {
    std::vector<int> kept = {channel_.fd()};
    for (const int fd : {order_.start_socket, time_offsets}) {
      if (fd >= 0) {
        kept.push_back(fd);
      }
    }
    for (unsigned i = 0; i < order_.launch.preserved_fds; ++i) {
      kept.push_back(3 + static_cast<int>(i));
    }
    keep_only(kept);
  }

  [[nodiscard]] Done become_root_of_user_namespace() const {
    TRY(drop_groups());
    if (::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "become root of the user namespace", "linux.uidMappings and gidMappings must contain 0");
    }
    // The change of user made the process undumpable, which hides its own /proc/self from it in the user namespace. So it stays in one that others live in:
    // with their capabilities there they could look into this process, which has the host's mounts still.
    ::prctl(PR_SET_DUMPABLE, order_.made.user ? 1 : 0, 0, 0, 0);
    return {};
  }

  Done become_container(std::vector<UniqueFd>& fds) {
    const OciConfig& config = order_.config;
    const std::size_t seccomp_count = order_.has_seccomp ? 1 : 0;
    if (fds.size() != seccomp_count + (order_.opens_sources ? 0 : 1 + order_.plan.binds.size())) {
      return refuse(ErrorCode::kInternal, "the order came with the wrong number of descriptors");
    }
    if (order_.has_seccomp) {
      seccomp_ = std::move(fds[0]);
    }
    UniqueFd root;
    std::vector<UniqueFd> binds;
    if (order_.opens_sources) {
      binds = TRY(open_bind_sources(real_sys(), order_.plan.binds, -1));
      root = TRY(make_bound_root(real_sys(), config.root_path, {}, order_.plan.root_source_propagation));
    } else {
      root = std::move(fds[seccomp_count]);
      binds.assign(std::make_move_iterator(fds.begin() + static_cast<std::ptrdiff_t>(seccomp_count) + 1), std::make_move_iterator(fds.end()));
    }
    fds.clear();
    TRY(attach_root(root.get()));
    trace::mark("attach the root");
    TRY(apply_mount_plan(real_sys(), root.get(), order_.plan, binds, [&] { return let_hooks_in(root.get()); }));
    binds.clear();
    TRY(enter_new_root(root.get()));
    root.reset();
    if (order_.plan.root_propagation != 0) {
      TRY(set_own_propagation(order_.plan.root_propagation));
    }
    trace::mark("pivot, detach the old root");
    if (order_.made.uts) {
      TRY(set_names(config));
    }
    if (config.personality && ::personality(*config.personality) < 0) {
      return refuse_errno(ErrorCode::kInternal, "set linux.personality");
    }
    TRY(launch_.prepare({}, true));
    TRY(launch_.check_command());
    trace::mark("set names, find the user, take the streams");
    return channel_.send(MessageKind::kCreated);
  }

  // Who adds to the mounts finds them there, and nothing read-only or masked yet.
  Done let_hooks_in(int root) const {
    const OciHooks& hooks = order_.config.hooks;
    if (hooks.has_runtime_hooks()) {
      TRY(channel_.send(MessageKind::kMounted));
      TRY(channel_.expect(MessageKind::kHooked));
      trace::mark("wait for the hooks of the runtime");
    }
    // They find the root as their working directory, as with runc.
    if (!hooks.create_container.empty() && ::fchdir(root) < 0) {
      return refuse_errno(ErrorCode::kMountFailed, "enter the root file system");
    }
    return run_hooks(hooks.create_container, "createContainer", state(), "", {});
  }

  // At its own path, where createContainer hooks look for it; a user namespace's root may not be allowed to walk there, and who left the host has no such
  // path: then over the present root.
  Done attach_root(int root) const {
    auto place = real_sys().open_at(AT_FDCWD, order_.config.root_path, O_PATH | O_DIRECTORY, 0, 0);
    if (!place && (place.error().errno_value == EACCES || place.error().errno_value == ENOENT)) {
      place = real_sys().open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0);
    }
    const UniqueFd target = TRY(classify(std::move(place), ErrorCode::kMountFailed, "open the root file system", order_.config.root_path));
    return classify(real_sys().attach(root, target.get()), ErrorCode::kMountFailed, "attach the root file system");
  }

  Done enter_new_root(int root) const {
    if (::fchdir(root) < 0) {
      return refuse_errno(ErrorCode::kMountFailed, "enter the root file system");
    }
    if (order_.no_pivot || !order_.made.mount) {
      // On an initramfs, which cannot be pivoted away, and in a mount namespace that others live in: the mount is moved over "/" and chrooted to.
      if (::syscall(SYS_mount, ".", "/", nullptr, MS_MOVE, nullptr) < 0 || ::chroot(".") < 0 || ::chdir("/") < 0) {
        return refuse_errno(ErrorCode::kMountFailed, "change to the root file system");
      }
      return {};
    }
    TRY(pivot_into(root));
    return detach_old_root();
  }

  // How long to rest after an accept(2) that failed for want of descriptors or memory, which somebody else may give back; 0: it failed for good.
  static int rest_ms(int reason, int rested_ms) {
    const bool passes = reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS;
    return passes ? std::clamp(2 * rested_ms, kLeastRestMs, kMostRestMs) : 0;
  }

  Done wait_for_start() {
    // Whoever shares the pid namespace must not look into this process; execve makes it an ordinary one again (CVE-2016-9962). In a user namespace of its
    // own only its maker can, who without root could not enter it by exec else.
    if (!order_.opens_sources || !order_.made.user) {
      ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    if (order_.start_socket < 0) {
      TRY(channel_.expect(MessageKind::kStart));
      return {};
    }
    UniqueFd listener(order_.start_socket);
    channel_.close();
    for (int rested_ms = 0;;) {
      const int connection = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0 && errno != EINTR && errno != ECONNABORTED) {
        rested_ms = rest_ms(errno, rested_ms);
        if (rested_ms == 0) {
          return refuse_errno(ErrorCode::kInternal, "wait for start");
        }
        ::usleep(static_cast<useconds_t>(rested_ms) * 1000);
        continue;
      }
      rested_ms = 0;
      Channel channel{UniqueFd(connection)};
      // `state` connects too, to see whether anyone is here, and says nothing.
      if (connection >= 0 && channel.expect(MessageKind::kStart)) {
        channel_ = std::move(channel);
        return {};
      }
    }
  }

  Channel channel_;
  InitOrder order_;
  Launch launch_;
  UniqueFd seccomp_;
};

}  // namespace

void run_container_init(Channel channel, InitOrder order) {
  ::prctl(PR_SET_NAME, "strata-init", 0, 0, 0);
  trace::mark("begin");
  ContainerInit init(std::move(channel), std::move(order));
  const Failure failure = init.run();
  give_up(init.channel(), failure);
}

}  // namespace strata::runtime::oci
