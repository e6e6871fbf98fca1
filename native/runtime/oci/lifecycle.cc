#include "runtime/oci/lifecycle.h"

#include <poll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "core/cgroup_freezer.h"
#include "core/pseudo_file.h"
#include "runtime/environment.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/processes.h"
#include "runtime/oci/systemd_scope.h"
#include "runtime/trace.h"

namespace strata::runtime::oci {
namespace {

constexpr int kForceWaitMs = 10'000;
constexpr int kSoonMs = 50;  // what can die has by then, mostly

struct SignalName {
  const char* name;
  int number;
};
constexpr SignalName kSignals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ILL", SIGILL},       {"TRAP", SIGTRAP}, {"ABRT", SIGABRT}, {"IOT", SIGABRT},   {"BUS", SIGBUS},
    {"FPE", SIGFPE},   {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},     {"USR2", SIGUSR2}, {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},  {"TERM", SIGTERM},
    {"CHLD", SIGCHLD}, {"CONT", SIGCONT}, {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},     {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG},    {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ}, {"PROF", SIGPROF}, {"VTALRM", SIGVTALRM}, {"WINCH", SIGWINCH}, {"IO", SIGIO},    {"POLL", SIGPOLL}, {"PWR", SIGPWR},    {"SYS", SIGSYS},
    {"STKFLT", SIGSTKFLT}, {"RTMIN", 34}, {"RTMAX", 64},
};

// A process that was listed may have ended and its pid be another's: the descriptor is taken first, the list read again.
void signal_everyone(const Container& container, int signal) {
  std::vector<std::pair<pid_t, UniqueFd>> handles;
  for (const pid_t pid : processes_of(container).value_or(std::vector<pid_t>())) {
    handles.emplace_back(pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  }
  const std::vector<pid_t> still = processes_of(container).value_or(std::vector<pid_t>());
  for (const auto& [pid, handle] : handles) {
    if (handle && std::binary_search(still.begin(), still.end(), pid)) {
      ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0);
    }
  }
}

// Under v1 what is frozen dies only once it is thawed. Whoever was moved into a frozen cgroup, of the container's own or somebody else's, comes back into the
// container's, which is thawed: the other one and who lives there stay as they are.
void bring_home(const Container& container) {
  const auto host = CgroupHost::probe();
  if (!host || container.record.cgroup_path.empty()) {
    return;
  }
  const auto home = Cgroup::create(*host, container.record.cgroup_path);  // whoever emptied it may have removed it
  const int freezer = home && !home->controller_is_v2("freezer") ? home->controller_fd("freezer") : -1;
  if (freezer < 0) {
    return;
  }
  for (const pid_t pid : all_processes_of(container)) {
    static_cast<void>(write_pseudo_file(freezer, "cgroup.procs", std::to_string(pid)));
  }
  static_cast<void>(set_frozen(*home, false));
}

// The first process of a pid namespace waits for the others to be reaped before its own end shows in its descriptor.
bool await_end(const Container& container, int pidfd) {
  pollfd ended{pidfd, POLLIN, 0};
  int look_again_ms = kSoonMs;
  for (int waited_ms = 0, pause_ms = 1; waited_ms < kForceWaitMs; waited_ms += pause_ms, pause_ms = std::min(2 * pause_ms, 50)) {
    if (::poll(&ended, 1, pause_ms) > 0 || is_past_its_end(container.record.init.pid)) {
      return true;
    }
    if (waited_ms >= look_again_ms) {
      bring_home(container);
      look_again_ms = 2 * waited_ms;
    }
  }
  return false;
}

}  // namespace

Outcome<int> parse_signal(const std::string& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 0 && number <= 64) {
    return number;
  }
  std::string name = text;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  name = name.starts_with("SIG") ? name.substr(3) : name;
  int more = 0;
  if (const std::size_t sign = name.find_first_of("+-"); sign != std::string::npos && name.starts_with("RT")) {
    more = std::atoi(name.c_str() + sign);
    name.resize(sign);
  }
  for (const SignalName& known : kSignals) {
    if (name == known.name && known.number + more > 0 && known.number + more <= 64) {
      return known.number + more;
    }
  }
  return refuse(ErrorCode::kInvalidRequest, "unknown signal \"" + text + "\"");
}

Done kill_container(const Container& container, int signal, bool all) {
  if (all) {
    signal_everyone(container, signal);
    if (const auto cgroup = container.open_cgroup(); cgroup && signal == SIGKILL && is_frozen(*cgroup)) {
      TRY(classify(set_frozen(*cgroup, false), ErrorCode::kCgroupFailed));
    }
    return {};
  }
  const UniqueFd init = TRY(container.open_init());
  if (::syscall(SYS_pidfd_send_signal, init.get(), signal, nullptr, 0) < 0) {
    return errno == ESRCH ? refuse(ErrorCode::kInvalidState, "container not running") : refuse_errno(ErrorCode::kInternal, "send signal " + std::to_string(signal));
  }
  // A frozen process takes even SIGKILL only when it is thawed (v1).
  if (signal == SIGKILL) {
    if (const auto cgroup = container.open_cgroup(); cgroup && is_frozen(*cgroup)) {
      TRY(classify(set_frozen(*cgroup, false), ErrorCode::kCgroupFailed));
    }
  }
  return {};
}

Done delete_container(Context& context, const Container& container, bool force) {
  const Phase phase = container.phase();
  // As the known runtime: what never started may be deleted; what runs may not.
  if (!force && (phase == Phase::kRunning || phase == Phase::kPaused || phase == Phase::kCreating)) {
    return refuse(ErrorCode::kInvalidState, "cannot delete container " + container.record.id + " that is not stopped: " + phase_name(phase), 0, "stop it first, or use --force");
  }
  if (auto init = container.open_init()) {
    if (container.record.cgroup_path.empty()) {
      signal_everyone(container, SIGKILL);  // else they go with the cgroup
    }
    ::syscall(SYS_pidfd_send_signal, init->get(), SIGKILL, nullptr, 0);
    if (const auto cgroup = container.open_cgroup(); cgroup && is_frozen(*cgroup)) {
      static_cast<void>(set_frozen(*cgroup, false));
    }
    if (!await_end(container, init->get())) {
      return refuse(ErrorCode::kInvalidState, "the container's process does not die", ETIMEDOUT, "it is in uninterruptible sleep; try again later");
    }
  }
  if (auto cgroup = container.open_cgroup()) {
    TRY(classify(cgroup->destroy(), ErrorCode::kCgroupFailed, "remove the cgroup of container '" + container.record.id + "'"));
  }
  trace::mark("remove the cgroups");
  // With nobody in it and its cgroup gone there is nothing that systemd would wait for.
  if (!container.record.systemd_unit.empty()) {
    if (auto stopped = stop_scope(container.record.systemd_unit); !stopped) {
      context.log.warning(sentence_of(stopped.error()));
    }
  }
  const auto text = container.config_text();
  TRY(container.remove());
  trace::mark("remove the state");
  // The container is gone whatever a hook says.
  if (text) {
    if (const auto bundle = read_config_of(*text, container.record.bundle)) {
      if (auto hooked = run_hooks(bundle->config.hooks.poststop, "poststop", container.state_json(Phase::kStopped, 0, false), "/", own_environment()); !hooked) {
        context.log.warning(sentence_of(hooked.error()));
      }
    }
  }
  return {};
}

Done set_paused(const Container& container, bool paused) {
  const Phase phase = container.phase();
  if (paused && phase != Phase::kRunning && phase != Phase::kCreated) {
    return refuse(ErrorCode::kInvalidState, std::string("container not running: it is ") + phase_name(phase));
  }
  if (!paused && phase != Phase::kPaused) {
    return refuse(ErrorCode::kInvalidState, std::string("container not paused: it is ") + phase_name(phase));
  }
  if (container.record.cgroup_path.empty()) {
    return refuse(ErrorCode::kCgroupFailed, std::string("cannot ") + (paused ? "pause" : "resume") + " a container that has no cgroup: nothing can freeze its processes", ENOTSUP,
                  "linux.cgroupsPath can name a cgroup that is delegated to this user");
  }
  const Cgroup cgroup = TRY(container.open_cgroup());
  return classify(set_frozen(cgroup, paused), ErrorCode::kCgroupFailed);
}

}  // namespace strata::runtime::oci
