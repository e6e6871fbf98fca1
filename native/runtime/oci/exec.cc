#include "runtime/oci/exec.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <charconv>
#include <csignal>

#include "core/pseudo_file.h"
#include "runtime/capability_names.h"
#include "runtime/credentials.h"
#include "runtime/exec_session.h"
#include "runtime/init.h"
#include "runtime/launch.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/create.h"
#include "runtime/oci/files.h"
#include "runtime/oci/foreground.h"
#include "runtime/oci/seccomp_cache.h"
#include "runtime/oci/start.h"
#include "runtime/oci_process_extras.h"
#include "runtime/sandbox.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

Done take_user(const std::string& text, OciProcess& process) {
  const std::size_t colon = text.find(':');
  const auto number = [&](std::string_view part, std::uint32_t& id) -> Done {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), id);
    if (part.empty() || error != std::errc() || end != part.data() + part.size() || id == 0xffffffff) {
      return refuse(ErrorCode::kInvalidRequest, "--user must be UID or UID:GID, not '" + text + "'");
    }
    return {};
  };
  TRY(number(std::string_view(text).substr(0, colon), process.uid));
  if (colon != std::string::npos) {
    TRY(number(std::string_view(text).substr(colon + 1), process.gid));
  }
  return {};
}

Outcome<OciProcess> process_of(const Bundle& bundle, const ExecOptions& options) {
  if (!options.process_file.empty()) {
    const std::string text = TRY(read_whole_file(AT_FDCWD, options.process_file));
    const JsonDocument document = TRY(JsonDocument::parse(text));
    OciProcess process = TRY(read_process(document.root()));
    process.username.clear();
    if (process.initial_cpus.empty() && process.final_cpus.empty()) {
      process.initial_cpus = bundle.config.process.initial_cpus;
      process.final_cpus = bundle.config.process.final_cpus;
    }
    return process;
  }
  OciProcess process = bundle.config.process;
  process.unknown_capabilities.clear();  // `create` has told them
  process.args = options.args;
  process.terminal = options.tty;
  for (const std::string& entry : options.env) {
    if (entry.find('=') == std::string::npos || entry.front() == '=') {
      return refuse(ErrorCode::kInvalidRequest, "--env must be NAME=VALUE, not '" + entry + "'");
    }
  }
  process.env.insert(process.env.end(), options.env.begin(), options.env.end());
  process.cwd = options.cwd.empty() ? process.cwd : options.cwd;
  process.no_new_privileges = process.no_new_privileges || options.no_new_privileges;
  process.apparmor_profile = options.apparmor.empty() ? process.apparmor_profile : options.apparmor;
  process.selinux_label = options.process_label.empty() ? process.selinux_label : options.process_label;
  if (!options.user.empty()) {
    TRY(take_user(options.user, process));
  }
  process.additional_gids.insert(process.additional_gids.end(), options.additional_gids.begin(), options.additional_gids.end());
  for (const std::string& name : options.capabilities) {
    const int number = capability_number(name);
    if (number < 0) {
      process.unknown_capabilities.push_back(name);
      continue;
    }
    // Not inheritable: programs with file capabilities would have it too (CVE-2022-29162). Ambient takes inheritable.
    CapabilitySets& sets = process.capabilities;
    for (std::uint64_t* set : {&sets.bounding, &sets.effective, &sets.permitted}) {
      *set |= std::uint64_t{1} << number;
    }
    sets.ambient |= sets.inheritable & (std::uint64_t{1} << number);
  }
  if (process.args.empty()) {
    return refuse(ErrorCode::kInvalidRequest, "exec needs a command, or --process with one");
  }
  return process;
}

// What the container's init does not share with this process; a process enters a pid namespace by being born there.
struct Namespaces {
  int to_enter = 0;
  bool pid = false, user = false;
};

Namespaces namespaces_of(pid_t pid) {
  constexpr std::pair<const char*, int> kKinds[] = {{"mnt", CLONE_NEWNS},       {"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC},
                                                    {"net", CLONE_NEWNET},      {"user", CLONE_NEWUSER}, {"cgroup", CLONE_NEWCGROUP},
                                                    {"time", 0x80 /* CLONE_NEWTIME */}, {"pid", CLONE_NEWPID}};
  Namespaces result;
  for (const auto& [name, flag] : kKinds) {
    struct stat own {}, other {};
    const bool differs = ::stat((std::string("/proc/self/ns/") + name).c_str(), &own) == 0 && ::stat(("/proc/" + std::to_string(pid) + "/ns/" + name).c_str(), &other) == 0 &&
                         (own.st_ino != other.st_ino || own.st_dev != other.st_dev);
    if (differs && flag == CLONE_NEWPID) {
      result.pid = true;
    } else if (differs) {
      result.to_enter |= flag;
      result.user = result.user || flag == CLONE_NEWUSER;
    }
  }
  return result;
}

// --cgroup: "[controller,...:]path" below the container's cgroup; without a controller it is a path of the unified tree, or of each of v1's.
struct SubCgroup {
  std::vector<std::string> controllers;
  std::string path;
};

Outcome<std::vector<SubCgroup>> sub_cgroups(const std::vector<std::string>& texts, const Cgroup& cgroup) {
  std::vector<SubCgroup> list;
  for (const std::string& text : texts) {
    const std::size_t colon = text.find(':');
    SubCgroup sub;
    for (std::string_view names = std::string_view(text).substr(0, colon); colon != std::string::npos;) {
      const std::size_t comma = names.find(',');
      sub.controllers.emplace_back(names.substr(0, comma));
      if (cgroup.controller_fd(sub.controllers.back()) < 0) {
        return refuse(ErrorCode::kInvalidRequest, "--cgroup '" + text + "': this host has no controller '" + sub.controllers.back() + "'");
      }
      if (comma == std::string_view::npos) {
        break;
      }
      names.remove_prefix(comma + 1);
    }
    if (colon == std::string::npos && cgroup.host().mode() != CgroupMode::kV2) {
      for (const CgroupHierarchy& hierarchy : cgroup.host().hierarchies()) {
        if (!hierarchy.unified && !hierarchy.controllers.empty() && cgroup.controller_fd(hierarchy.controllers.front()) >= 0) {
          sub.controllers.push_back(hierarchy.controllers.front());
        }
      }
    }
    std::string path = colon == std::string::npos ? text : text.substr(colon + 1);
    while (path.ends_with('/')) {
      path.pop_back();
    }
    sub.path = cgroup.path() + (path.empty() || path.front() == '/' ? "" : "/") + path;
    TRY(classify(check_cgroup_path(sub.path), ErrorCode::kInvalidRequest, "--cgroup"));
    list.push_back(std::move(sub));
  }
  return list;
}

struct Entry {
  int init = -1;  // pidfd
  Namespaces namespaces;
  int seccomp = -1;
  std::vector<SubCgroup> cgroups;
};

// v2: a container may have moved its processes into children of its cgroup, which then takes none itself: where init is, there is room.
strata::Status enter_cgroup(const Container& container, Cgroup& cgroup, bool in_unified) {
  auto entered = cgroup.add_process(0, in_unified);
  if (entered || entered.error().errno_value != EBUSY) {
    return entered;
  }
  const std::string text = TRY(read_pseudo_file(AT_FDCWD, "/proc/" + std::to_string(container.record.init.pid) + "/cgroup"));
  const std::size_t unified = text.rfind("0::");
  const std::string path = unified == std::string::npos ? "" : text.substr(unified + 3);
  if (check_cgroup_path(path) && path.starts_with(container.record.cgroup_path)) {
    Cgroup below = TRY(Cgroup::open(cgroup.host(), path));
    return below.add_process(0, false);
  }
  return entered;
}

strata::Status enter_sub_cgroups(const Cgroup& cgroup, const std::vector<SubCgroup>& subs) {
  for (const SubCgroup& sub : subs) {
    const Cgroup below = TRY(Cgroup::open(cgroup.host(), sub.path));
    if (sub.controllers.empty()) {
      TRY(write_pseudo_file(below.unified_fd(), "cgroup.procs", "0"));
    }
    for (const std::string& controller : sub.controllers) {
      if (below.controller_fd(controller) < 0) {
        return fail(ENOENT, "open cgroup '" + sub.path + "' of '" + controller + "'");
      }
      TRY(write_pseudo_file(below.controller_fd(controller), "cgroup.procs", "0"));
    }
  }
  return {};
}

[[noreturn]] void run_child(const OciProcess& process, const LaunchOptions& options, const Entry& entry, Channel channel) {
  join_new_keyring();
  Launch launch(real_sys(), channel, process, options);
  if (auto prepared = launch.prepare({}, false); !prepared) {
    give_up(channel, prepared.error());
  }
  give_up(channel, launch.execute(entry.seccomp));
}

// A process of the host's pid namespace, which the container cannot see: it enters the cgroups, lets go of everything that is the host's and takes
// the container's root before it clones, as its sibling, the one that can be seen. So there is nothing to be had even for a container with CAP_SYS_PTRACE (CVE-2016-9962, CVE-2024-21626).
[[noreturn]] void run_between(const Container& container, const OciProcess& process, const LaunchOptions& options, Cgroup& cgroup, bool in_unified, const Entry& entry, SharedPid& note,
                              Channel channel) {
  const auto prepare = [&]() -> Done {
    reset_signals();
    if (process.oom_score_adj) {
      static_cast<void>(real_sys().write_file(AT_FDCWD, "/proc/self/oom_score_adj", std::to_string(*process.oom_score_adj), 0));
    }
    trace::mark("begin");
    TRY(apply_cpu_affinity(process.initial_cpus));
    TRY(classify(enter_cgroup(container, cgroup, in_unified), ErrorCode::kCgroupFailed));
    TRY(classify(enter_sub_cgroups(cgroup, entry.cgroups), ErrorCode::kCgroupFailed));
    TRY(apply_cpu_affinity(process.final_cpus));
    trace::mark("enter the cgroups");
    best_effort(::chdir("/"));
    std::vector<int> kept = {channel.fd(), entry.init};
    if (entry.seccomp >= 0) {
      kept.push_back(entry.seccomp);
    }
    for (unsigned i = 0; i < options.preserved_fds; ++i) {
      kept.push_back(3 + static_cast<int>(i));
    }
    keep_only(kept);
    const int to_enter = entry.namespaces.to_enter | (entry.namespaces.pid ? CLONE_NEWPID : 0);
    if (to_enter != 0 && ::setns(entry.init, to_enter) < 0) {
      return refuse_errno(ErrorCode::kInvalidState, "enter the container's namespaces", "the container is ending");
    }
    if (entry.namespaces.user) {
      TRY(drop_groups());
    }
    if (entry.namespaces.user && (::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0)) {
      return refuse_errno(ErrorCode::kNamespaceFailed, "become root of the user namespace");
    }
    trace::mark("enter the namespaces");
    if (TRY(clone_sibling(0, note)) == 0) {
      run_child(process, options, entry, std::move(channel));
    }
    return {};
  };
  if (auto done = prepare(); !done) {
    give_up(channel, done.error());
  }
  ::_exit(0);
}

struct Joined {
  pid_t pid = -1;
  UniqueFd handle;
};

// The one in between ends as soon as it has cloned, or says why it could not.
Outcome<Joined> await_clone(pid_t between, const SharedPid& note, const Channel& channel) {
  reap(between);
  if (note.get() == 0) {
    return std::unexpected(cause_of(channel, Failure(ErrorCode::kNamespaceFailed, Error{0, "the process that joins the container ended early", ""})));
  }
  auto handle = open_child(note.get());
  if (!handle) {
    ::kill(note.get(), SIGKILL);
    reap(note.get());
    return std::unexpected(std::move(handle).error());
  }
  return Joined{note.get(), std::move(*handle)};
}

Done take_console(Context& context, const ExecOptions& options, const Channel& channel, UniqueFd& console) {
  for (;;) {
    std::optional<Message> message = TRY(channel.receive());
    if (message && message->kind == MessageKind::kFailed) {
      return std::unexpected(decode_failure(*message));
    }
    if (message && message->kind == MessageKind::kConsole && message->fds.size() == 1) {
      if (options.console_socket.empty()) {
        console = std::move(message->fds[0]);
        return {};
      }
      return send_console(options.console_socket, message->fds[0].get());
    }
    if (!message || message->kind != MessageKind::kWarning) {
      return refuse(ErrorCode::kInternal, "the process ended before it had its terminal");
    }
    context.log.warning(message->text);
  }
}

}  // namespace

Outcome<int> exec_in_container(Context& context, const Container& container, const ExecOptions& options) {
  const Phase phase = container.phase();
  if (phase == Phase::kPaused && !options.ignores_paused) {
    return refuse(ErrorCode::kInvalidState, "cannot exec in a paused container (use --ignore-paused to override)");
  }
  if (phase == Phase::kStopped || phase == Phase::kCreating) {
    return refuse(ErrorCode::kInvalidState, "cannot exec in a stopped container", 0, "container not running");
  }
  const std::string config_text = TRY(container.config_text());
  const Bundle bundle = TRY(read_config_of(config_text, container.record.bundle));
  const OciProcess process = TRY(process_of(bundle, options));
  warn_of_unknown_capabilities(context.log, process);
  if (process.terminal && options.detach && options.console_socket.empty()) {
    return refuse(ErrorCode::kInvalidRequest, "cannot allocate tty if runc will detach without setting console socket", 0, "pass --console-socket");
  }
  UniqueFd seccomp;
  if (bundle.has_seccomp()) {
    const Json root = bundle.document->root();
    const Json linux_part = root["linux"];
    const Json profile = linux_part["seccomp"];
    seccomp = TRY(seccomp_program(context.root, profile, profile.to_text()));
  }
  Cgroup cgroup = container.record.cgroup_path.empty() ? Cgroup::none() : TRY(container.open_cgroup());
  const UniqueFd init = TRY(container.open_init());
  const Entry entry{init.get(), namespaces_of(container.record.init.pid), seccomp.get(), TRY(sub_cgroups(options.cgroups, cgroup))};
  LaunchOptions how;
  how.die_with_parent = false;
  how.inherits_streams = true;
  how.drops_impossible_limits = true;
  how.preserved_fds = options.passed_fds.all;
  how.listen_fds = options.passed_fds.listen;
  how.seccomp_flags = bundle.seccomp.flags;
  how.plain_line_feeds = !options.detach && options.console_socket.empty();
  how.has_listener = bundle.seccomp.notifies;
  trace::mark("read the container, load the seccomp program, open the cgroups");
  UniqueFd signals;
  if (!options.detach) {
    signals = take_signals();
  }
  auto [own_end, child_end] = TRY(Channel::make_pair());
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  SharedPid note = TRY(SharedPid::make());
  UniqueFd between_handle;
  bool in_unified = false;
  const pid_t between = TRY(clone_child(0, cgroup, between_handle, in_unified));
  if (between == 0) {
    own_end.close();
    run_between(container, process, how, cgroup, in_unified, entry, note, std::move(child_end));
  }
  child_end.close();
  const Joined joined = TRY(await_clone(between, note, own_end));
  UniqueFd console;
  const auto await = [&]() -> Done {
    if (process.terminal) {
      TRY(take_console(context, options, own_end, console));
    }
    return await_execution(context, bundle.seccomp, container.state_json(Phase::kRunning, container.record.init.pid, false), own_end);
  };
  const pid_t pid = joined.pid;
  context.log.debug("the process in container '" + container.record.id + "' is " + std::to_string(pid));
  if (auto started = await(); !started) {
    ::syscall(SYS_pidfd_send_signal, joined.handle.get(), SIGKILL, nullptr, 0);
    reap(pid);
    return std::unexpected(std::move(started).error());
  }
  own_end.close();
  trace::mark("wait for the execve");
  if (!options.pid_file.empty()) {
    TRY(write_pid_file(options.pid_file, pid));
  }
  TRY(send_pidfd(options.pidfd_socket, joined.handle.get()));
  return options.detach ? 0 : stay_in_foreground(pid, signals, std::move(console));
}

}  // namespace strata::runtime::oci
