#include "runtime/oci/create.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <csignal>

#include "runtime/bind_sources.h"
#include "runtime/environment.h"
#include "runtime/exec_session.h"
#include "runtime/oci/container_init.h"
#include "runtime/oci/files.h"
#include "runtime/oci/namespaces.h"
#include "runtime/oci/new_container.h"
#include "runtime/oci/rootless.h"
#include "runtime/oci/seccomp_cache.h"
#include "runtime/oci/send_fd.h"
#include "runtime/oci/unix_socket.h"
#include "runtime/overlay.h"
#include "runtime/sandbox.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

class Creation {
 public:
  Creation(Context& context, const CreateOptions& options, Container container, Bundle bundle)
      : context_(context), options_(options), made_(context, std::move(container), std::move(bundle)) {}

  Outcome<Created> run() {
    TRY(made_.record_intent());
    trace::mark("write the state");
    Cgroup cgroup = TRY(made_.make_cgroup());
    const MountPlan plan = TRY(build_mount_plan(config(), plan_facts(config(), context_.privilege, cgroup.host(), cgroup.path())));
    auto [own_end, init_end] = TRY(Channel::make_pair());
    channel_ = std::move(own_end);
    TRY(clone_init(cgroup, plan, init_end));
    init_end.close();
    if (auto settled = settle(plan); !settled) {
      return std::unexpected(cause_of(channel_, std::move(settled).error()));
    }
    TRY(finish());
    made_.commit();
    return Created{std::move(made_.container), std::move(made_.bundle), std::move(init_), std::move(channel_), std::move(console_)};
  }

 private:
  [[nodiscard]] const OciConfig& config() const { return made_.config(); }
  [[nodiscard]] bool is_user() const { return context_.privilege == Privilege::kUser; }

  Done clone_init(Cgroup& cgroup, const MountPlan& plan, Channel& init_end) {
    UniqueFd start_socket;
    if (!options_.starts_itself) {
      start_socket = TRY(made_.container.listen_for_start());
    }
    InitOrder order{.config = config(), .plan = plan, .cgroup = cgroup, .made = new_namespaces(config()), .birth = {}, .bundle = made_.bundle.path, .state_before_pid = {}, .state_after_pid = {}, .launch = {}};
    order.joins_user = config().joins_namespace("user");
    order.new_keyring = options_.new_keyring;
    order.no_pivot = options_.no_pivot;
    order.opens_sources = is_user();
    order.has_seccomp = made_.bundle.has_seccomp();
    order.start_socket = start_socket.get();
    const std::string state = made_.container.state_json(Phase::kCreated, 0, false);
    const std::size_t pid_at = state.find("\"pid\":0") + 6;
    order.state_before_pid = state.substr(0, pid_at);
    order.state_after_pid = state.substr(pid_at + 1);
    order.launch.die_with_parent = false;
    order.launch.inherits_streams = true;
    order.launch.drops_impossible_limits = true;
    order.launch.preserved_fds = options_.passed_fds.all;
    order.launch.listen_fds = options_.passed_fds.listen;
    order.launch.seccomp_flags = made_.bundle.seccomp.flags;
    order.launch.plain_line_feeds = options_.foreground;
    order.launch.has_listener = made_.bundle.seccomp.notifies;
    // Inherited by init, which others may see where a pid namespace is shared. Without root it would keep even this process from writing init's id maps; in a
    // user namespace of its own nobody else's capabilities reach it.
    if (!is_user() || !config().makes_namespace("user")) {
      ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    std::vector<int> kept = {init_end.fd(), start_socket.get()};
    for (unsigned i = 0; i < options_.passed_fds.all; ++i) {
      kept.push_back(3 + static_cast<int>(i));
    }
    FirstProcess first = TRY(clone_first_process(config(), cgroup, kept, !options_.no_pivot, [&](const Birth& birth) {
      order.birth = birth;
      run_container_init(std::move(init_end), std::move(order));
    }));
    trace::mark("plan the mounts, clone init");
    pid_ = first.pid;
    context_.log.debug("init of container '" + options_.id + "' is process " + std::to_string(pid_) + ", its cgroup '" + made_.record().cgroup_path + "'");
    init_ = std::move(first.handle);
    made_.undo_with([pid = pid_] {
      ::kill(pid, SIGKILL);
      reap(pid);
    });
    return {};
  }

  Done settle(const MountPlan& plan) {
    UniqueFd user_namespace;
    const std::string proc = "/proc/" + std::to_string(pid_);
    if (config().makes_namespace("user")) {
      TRY(is_user() ? map_ids_as_user(pid_, config()) : map_ids(pid_, config().uid_map, config().gid_map));
    }
    if (!is_user() && (config().makes_namespace("user") || config().joins_namespace("user"))) {  // for id-mapped binds
      user_namespace.reset(::open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
      if (!user_namespace) {
        return refuse_errno(ErrorCode::kNamespaceFailed, "open the user namespace");
      }
    }
    TRY(channel_.send(MessageKind::kJoined));
    // While init sleeps for its cgroups.
    UniqueFd seccomp;
    if (made_.bundle.has_seccomp()) {
      const Json root = made_.bundle.document->root();
      const Json linux_part = root["linux"];
      const Json profile = linux_part["seccomp"];
      seccomp = TRY(seccomp_program(context_.root, profile, profile.to_text()));
    }
    std::vector<UniqueFd> binds;
    UniqueFd root;
    if (!is_user()) {
      binds = TRY(open_bind_sources(real_sys(), plan.binds, user_namespace.get()));
      root = TRY(make_bound_root(real_sys(), config().root_path, {}, plan.root_source_propagation));
    }
    trace::mark("load the seccomp program, open binds and root");
    TRY(wait_for(MessageKind::kReady));
    made_.release_scope();
    trace::mark("wait for init to be in place");
    std::vector<int> fds;
    if (seccomp) {
      fds.push_back(seccomp.get());
    }
    if (root) {
      fds.push_back(root.get());
    }
    for (const UniqueFd& bind : binds) {
      fds.push_back(bind.get());
    }
    TRY(channel_.send(MessageKind::kCreate, {}, fds));
    if (config().hooks.has_runtime_hooks()) {
      TRY(wait_for(MessageKind::kMounted));
      TRY(run_runtime_hooks());
      TRY(channel_.send(MessageKind::kHooked));
    }
    TRY(wait_for(MessageKind::kCreated));
    trace::mark("wait for init to make the container");
    return {};
  }

  Done run_runtime_hooks() {
    const std::string state = made_.container.state_json(Phase::kCreating, pid_, false);
    // The environment is there, which this hook of old knows as "created".
    TRY(run_hooks(config().hooks.prestart, "prestart", made_.container.state_json(Phase::kCreated, pid_, false), made_.bundle.path, own_environment()));
    return run_hooks(config().hooks.create_runtime, "createRuntime", state, made_.bundle.path, own_environment());
  }

  // Takes what may come in between.
  Done wait_for(MessageKind kind) {
    for (;;) {
      std::optional<Message> message = TRY(channel_.receive());
      if (!message) {
        return refuse(ErrorCode::kInternal, "the container's init was killed while it was set up", 0, "its memory or pids limit may be too low to start in");
      }
      if (message->kind == kind) {
        return {};
      }
      if (message->kind == MessageKind::kWarning) {
        context_.log.warning(message->text);
      } else if (message->kind == MessageKind::kConsole && message->fds.size() == 1 && kind == MessageKind::kCreated) {
        if (options_.console_socket.empty()) {
          console_ = std::move(message->fds[0]);
        } else {
          TRY(send_console(options_.console_socket, message->fds[0].get()));
        }
      } else if (message->kind == MessageKind::kFailed) {
        return std::unexpected(decode_failure(*message));
      } else {
        return refuse(ErrorCode::kInternal, "unexpected message from the container's init");
      }
    }
  }

  Done finish() {
    TRY(made_.record_init(pid_));
    if (!options_.pid_file.empty()) {
      TRY(write_pid_file(options_.pid_file, pid_));
    }
    return send_pidfd(options_.pidfd_socket, init_.get());
  }

  Context& context_;
  const CreateOptions& options_;
  NewContainer made_;
  pid_t pid_ = -1;
  UniqueFd init_;     // pidfd
  Channel channel_;
  UniqueFd console_;
};

}  // namespace

Done check_terminal(const OciProcess& process, const CreateOptions& options) {
  if (process.terminal && options.console_socket.empty() && !options.foreground) {
    return refuse(ErrorCode::kInvalidRequest, "cannot allocate tty if runc will detach without setting console socket", 0, "process.terminal is true: pass --console-socket");
  }
  if ((!process.terminal || options.foreground) && !options.console_socket.empty()) {
    return refuse(ErrorCode::kInvalidRequest, "cannot use console socket if runc will not detach or allocate tty", 0,
                  process.terminal ? "run without --detach uses the terminal of its caller" : "process.terminal is false");
  }
  return {};
}

Outcome<Created> create_container(Context& context, const CreateOptions& options) {
  TRY(Container::check_id(options.id));
  Bundle bundle = TRY(read_bundle(options.bundle));
  trace::mark("read the bundle");
  TRY(check_namespaces(bundle.config));
  TRY(check_terminal(bundle.config.process, options));
  if (context.privilege == Privilege::kUser) {
    TRY(check_rootless(bundle.config, context.systemd_cgroup));
  }
  if (bundle.config.has_intel_rdt) {
    context.log.warning("linux.intelRdt is ignored: this runtime does not manage resctrl groups");
  }
  warn_of_unknown_capabilities(context.log, bundle.config.process);
  Container container = TRY(Container::make(context.root, options.id));
  return Creation(context, options, std::move(container), std::move(bundle)).run();
}

Done send_console(const std::string& socket_path, int master) {
  const UniqueFd socket = TRY(connect_to(socket_path, SOCK_STREAM, ErrorCode::kInvalidRequest, "console socket"));
  // The text is a name for people; runc sends the multiplexer's.
  return classify(send_fd(socket.get(), "/dev/ptmx", master), ErrorCode::kInternal, "send the terminal to '" + socket_path + "'");
}

Done send_pidfd(const std::string& socket_path, int pidfd) {
  if (socket_path.empty()) {
    return {};
  }
  const UniqueFd socket = TRY(connect_to(socket_path, SOCK_STREAM, ErrorCode::kInvalidRequest, "pidfd socket"));
  return classify(send_fd(socket.get(), "pidfd", pidfd), ErrorCode::kInternal, "send the process's descriptor to '" + socket_path + "'");
}

}  // namespace strata::runtime::oci
